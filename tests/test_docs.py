"""The documents: made from the code where they can be, and held against it where they are written by hand."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from pixloom.cli import use, work
from pixloom.cli.app import main
from pixloom.config import override, parse_settings
from pixloom.importers import SETTINGS
from pixloom.recipes import RECIPES, recipe

ROOT = Path(__file__).resolve().parents[1]
README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
PACKAGE = ROOT / "src" / "pixloom"


def load(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load(ROOT / "docs" / "build.py")
DOCUMENTS = [path for path in build.documents() if path.parent.name != "reference"]


def fences(path: Path, language: str = "") -> list[str]:
    """The contents of the fenced blocks of one language."""
    text = path.read_text(encoding="utf-8")
    return [body for name, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) if name == language]


def commands(path: Path, program: str) -> list[str]:
    """The lines of fenced blocks that call a program."""
    lines = [line.split(" #")[0].strip() for block in fences(path) for line in block.splitlines()]
    return [line for line in lines if re.match(rf"(torchrun .*-m )?{program} ", line)]


# --- Made from the code --------------------------------------------------------------------------------------------------------------


def test_the_reference_is_up_to_date_and_no_link_is_broken():
    assert build.build(check=True) == []


def test_a_stale_page_is_found(monkeypatch):
    page = ROOT / "docs" / "reference" / "cli.md"
    monkeypatch.setattr(build, "generated", lambda: {page: page.read_text(encoding="utf-8") + "more"})
    before = page.read_bytes()
    assert any("docs/reference/cli.md is out of date" in problem for problem in build.build(check=True))
    assert page.read_bytes() == before


def test_broken_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# A heading, and more\n", encoding="utf-8")
    page = tmp_path / "page.md"
    good = "[a](other.md) [b](other.md#a-heading-and-more) [c](#here) <https://example.org> `[d](none.md)`\n\n## Here\n"
    page.write_text(good + "```\n[e](none.md)\n```\n<!-- [f](none.md) -->\n", encoding="utf-8")
    assert build.broken_links([page]) == []
    page.write_text(good + "[g](none.md) ![h](none.png) [i](other.md#nothing)\n", encoding="utf-8")
    build.headings.cache_clear()
    found = build.broken_links([page])
    assert [problem.split(": ")[1] for problem in found] == [
        "none.md does not exist",
        "none.png does not exist",
        "other.md#nothing points to no heading",
    ]


def test_every_command_setting_and_recipe_is_in_the_reference():
    pages = {path.stem: text for path, text in build.generated().items()}
    for name in (
        "train",
        "tune",
        "resume",
        "translate",
        "serve",
        "export",
        "import",
        "push",
        "evaluate",
        "inspect",
        "recipes",
        "doctor",
        "weights",
    ):
        assert f"## pixloom {name}\n" in pages["cli"]
    assert "`--dry-run`: Print the plan" in pages["cli"]
    assert "| `training.batch_size` | whole number, at least 1 | `1` | images per update over all processes |" in pages["settings"]
    assert "| `losses.pixel` | `l1`, `l2`, `charbonnier` |" in pages["settings"]
    assert "| `noise_channels` | `0` | length of the noise vector z" in pages["settings"]
    for name in RECIPES:
        assert f"## {name}\n" in pages["recipes"]
    assert "## Translator\n" in pages["api"]
    assert "cli\nserve\ntraining\nevaluation" in pages["architecture"]


# --- Written by hand -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Names of the functions that commands call; their arguments must fit the real ones."""
    called: list[str] = []

    def recorder(name: str):
        module = use if hasattr(use, name) else work
        signature = inspect.signature(getattr(module, name))

        def record(*args, **kwargs) -> None:
            signature.bind(*args, **kwargs)
            called.append(name)

        return record

    for name in (
        "train",
        "tune",
        "resume",
        "translate",
        "serve",
        "export",
        "import_",
        "push",
        "evaluate",
        "inspect",
        "recipes",
        "doctor",
        "weights",
    ):
        monkeypatch.setattr(use if hasattr(use, name) else work, name, recorder(name))
    return called


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_is_one_that_the_command_line_takes(path, calls):
    for line in commands(path, "pixloom"):
        words = shlex.split(line)
        arguments = words[words.index("pixloom") + 1 :]
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code, line
        assert calls.pop().rstrip("_") == arguments[0]


def test_a_wrong_option_would_be_noticed(calls):
    with pytest.raises(SystemExit) as ended:
        main(["train", "cells", "--oot", "runs/cells"])
    assert ended.value.code == 2
    assert not calls


def test_the_five_verbs_are_shown_for_each_kind_of_data():
    verbs = [line.split()[1] for line in commands(README, "pixloom")]
    for verb in ("inspect", "train", "resume", "evaluate", "translate"):
        assert verbs.count(verb) >= 3


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_that_is_shown_exists(path):
    texts = re.findall(r"--set ([\w.]+=[\w.-]+)(?=[\s`,;)])", path.read_text(encoding="utf-8"))
    for text in texts:
        if not text.endswith(("=...", "=VALUE")) and text.partition("=")[0] not in SETTINGS:
            override(recipe("pix2pix", size=128), parse_settings([text]))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_exists(path):
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in commands(path, "make"):
        assert line.split()[1] in targets


@pytest.mark.parametrize("path", [README, ROOT / "docs" / "models.md", ROOT / "docs" / "metrics.md", ROOT / "docs" / "pictures.md"])
def test_python_snippets_compile_and_import_what_is_there(path):
    blocks = fences(path, "python")
    assert blocks
    for block in blocks:
        for node in ast.walk(compile(block, str(path), "exec", ast.PyCF_ONLY_AST)):
            if isinstance(node, ast.ImportFrom) and node.module == "pixloom":
                assert {alias.name for alias in node.names} <= set(build.pixloom.__all__)
            elif isinstance(node, ast.ImportFrom):
                assert all(build.definition(str(node.module).removeprefix("pixloom."), alias.name) for alias in node.names)


def test_both_readmes_say_the_same():
    for program in ("pixloom", "make", "pip"):
        assert commands(README, program)
        assert commands(README, program) == commands(CHINESE, program)
    assert fences(README, "python") == fences(CHINESE, "python")
    english, chinese = (re.findall(r"^(#+) ", path.read_text(encoding="utf-8"), re.MULTILINE) for path in (README, CHINESE))
    assert english == chinese


@pytest.mark.parametrize("path", [README, CHINESE], ids=lambda path: path.name)
def test_the_tree_lists_every_module_and_no_other(path):
    (tree,) = [block for block in fences(path) if block.startswith("src/pixloom/\n")]
    listed = re.findall(r"^  ([\w.]+)/? ", tree, re.MULTILINE)
    there = [item.name for item in PACKAGE.iterdir() if item.suffix == ".py" or (item / "__init__.py").is_file()]
    assert sorted(listed) == sorted(name for name in there if not name.startswith("__"))


def test_the_metrics_page_names_every_file_of_weights_and_every_feature_network():
    from pixloom.backbones.weights import PUBLISHED
    from pixloom.metrics.features import FEATURES

    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name, published in PUBLISHED.items():
        assert f"| `{name}` | <{published.url}> |" in text
    for name, spec in FEATURES.items():
        assert f"| `{name}` |" in text
        assert f"| `{spec.kid}`, `{spec.frechet}` |" in text


def test_no_document_names_a_place_on_a_machine():
    for path in DOCUMENTS:
        assert not re.search(r"/work/|/home/|/root/|/tmp/|\bshared/", path.read_text(encoding="utf-8")), path


# --- The table of results ------------------------------------------------------------------------------------------------------------


def test_the_table_of_results(tmp_path):
    from pixloom.evaluation import Estimate, Evaluation

    def judged(value: float) -> dict:
        evaluation = Evaluation(
            model="m",
            split="val",
            count=40,
            means={"lpips": Estimate(value, value - 0.1, value + 0.1), "fid_inception768": Estimate(2.0)},
            floors={"fid_inception768": 1.25},
            per_image=[],
            baselines={"twin": {"lpips": Estimate(0.6, 0.5, 0.7)}, "input": {"lpips": Estimate(0.9, 0.8, 1.0)}},
            worst=(),
            best=(),
            protocol={"seed": 0, "model": {"facts": {"training": {"images": 2000, "seed": 1}}}},
            missing={},
        )
        return json.loads(evaluation.to_json())

    record = {"name": "colorize-pix2pix", "processor_minutes": 20.5, "last": judged(0.5), "best": judged(0.4)}
    (tmp_path / "colorize-pix2pix-seed1.json").write_text(json.dumps(record), encoding="utf-8")
    lines = load(ROOT / "benchmarks" / "table.py").table(tmp_path).splitlines()
    assert lines[2] == "| colorize-pix2pix (seed 1) | lpips ↓ | 0.5 [0.4, 0.6] | 0.4 [0.3, 0.5] | 0.9 | 0.6 |  | 40 | 2,000 | 20.5 |"
    assert lines[3] == "|  | fid_inception768 ↓ | 2 | 2 | – | – | 1.25 |  |  |  |"
    assert len(lines) == 4
