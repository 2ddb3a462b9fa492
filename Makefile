# Everything a person or a machine does with this checkout. `make demo` and `make test` need nothing but Python 3.11 and make.
VENV ?= .venv
PY ?= python3
# The torch that is tested; `make setup TORCH=torch` takes the newest instead.
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
# uv looks where pip looks for local files.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
DEMO := runs/demo-$(shell date +%Y%m%d-%H%M%S)

.PHONY: setup demo test test-page check docs bench clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml Makefile
	test -x $(BIN)/python || $(PY) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "uv==0.13.*"
	$(BIN)/uv pip install --quiet --python $(BIN)/python "$(TORCH)" -e ".[all]" --group dev
	touch $@

demo: setup  ## train on real microscopy and show what came of it
	$(BIN)/pixloom train examples/nuclei --size 64 --images 1200 --out $(DEMO)
	$(BIN)/pixloom translate $(DEMO) examples/nuclei/val/source --out $(DEMO)/translated

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-page: setup  ## click through the page in headless Chromium (needs node, chromium and some npm packages, see CONTRIBUTING.md)
	$(BIN)/python -m pytest tests/browser

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/build.py --check

docs: setup  ## write docs/reference from the code, and check every link
	$(BIN)/python docs/build.py

bench: setup  ## speed against fixed plain references, into benchmarks/results/speed and the table in benchmarks/README.md (half an hour)
	$(BIN)/python -m benchmarks.speed all $(if $(DATA),--data "$(DATA)")
	$(BIN)/python -m benchmarks.speed table

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
