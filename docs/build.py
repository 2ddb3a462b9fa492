"""Write docs/reference from the code, and check the documents: every relative link, picture and heading that they point to exists.

    python docs/build.py            write what is out of date, then check
    python docs/build.py --check    only check; exit code 1 when something is wrong

Nothing here imports torch: what lies in modules that do is read from their source text.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from inspect import cleandoc
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer
import yaml

import pixloom
from pixloom.cli.app import app
from pixloom.config import RunConfig, Section
from pixloom.recipes import RECIPES
from pixloom.training.monitor import RULES

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "pixloom"
DOCUMENTS = ("*.md", "docs/**/*.md", "benchmarks/**/*.md", "examples/**/*.md")
HEADER = "<!-- Made by docs/build.py from the code. Do not edit; run: make docs -->\n"
RECIPE_SIZE = 256

LAYERS = re.compile(r"(<!-- layers: made by docs/build\.py from pyproject\.toml -->\n```\n)[^`]*(```\n)")
"""The block in docs/architecture.md that follows pyproject.toml."""

ALARMS = re.compile(r"(<!-- alarms: made by docs/build\.py -->\n).*?(<!-- end of alarms -->)", re.DOTALL)
"""The table in docs/watchman.md that follows the rules."""

TABLES = {
    "task.name": ("tasks", "TASKS"),
    "method": ("methods", "METHODS"),
    "generator.name": ("nets", "GENERATORS"),
    "critic.name": ("nets", "CRITICS"),
    "generator.options.norm, critic.options.norm": ("nets.layers", "NORMS"),
    "losses.adversarial": ("losses.adversarial", "ADVERSARIAL"),
    "losses.pixel": ("losses.pixels", "PIXEL"),
    "data.layout": ("data.sources", "LAYOUTS"),
}
"""Setting -> module and literal dictionary of the names that it takes."""

ALSO = {
    "override": "config",
    "load_config": "config",
    "RunResult": "training.session",
    "discover": "data.sources",
    "inspect": "data.inspect",
    "load_model": "modelfile",
    "ModelDescription": "modelfile",
}
"""Names beside the public ones that a user of Python meets, with their modules."""

FROM_DATA = ("source_channels", "target_channels", "size")
"""Options of networks that follow from the data."""


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description="Write docs/reference from the code and check every link.")
    parser.add_argument("--check", action="store_true", help="write nothing")
    problems = build(check=parser.parse_args().check)
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


def build(*, check: bool) -> list[str]:
    """Bring the generated documents up to date (or complain that they are not), and check all; the problems found."""
    stale = {path: text for path, text in generated().items() if not path.is_file() or path.read_text(encoding="utf-8") != text}
    if not check:
        for path, text in stale.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
        stale = {}
    return [f"{path.relative_to(ROOT)} is out of date: run make docs" for path in stale] + broken_links(documents())


def generated() -> dict[Path, str]:
    """The text of every document that follows from the code."""
    pages = {"cli": cli_page(), "settings": settings_page(), "recipes": recipes_page(), "api": api_page()}
    architecture = ROOT / "docs" / "architecture.md"
    layers = LAYERS.sub(lambda found: f"{found[1]}{layer_lines()}\n{found[2]}", architecture.read_text(encoding="utf-8"))
    watchman = ROOT / "docs" / "watchman.md"
    alarms = ALARMS.sub(lambda found: f"{found[1]}\n{alarm_table()}\n\n{found[2]}", watchman.read_text(encoding="utf-8"))
    made = {architecture: layers, watchman: alarms}
    return {ROOT / "docs" / "reference" / f"{name}.md": HEADER + text for name, text in pages.items()} | made


# --- The command line ----------------------------------------------------------------------------------------------------------------


def cli_page() -> str:
    """Every command with its arguments and options."""
    group = typer.main.get_command(app)
    commands: Mapping[str, Any] = group.commands  # type: ignore[attr-defined]
    whole = [f"- `{param.opts[0]}`: {param.help}" for param in group.params if param.opts[0] != "--help"]
    lines = ["# Commands", "", str(app.info.help), "", "For all commands, before the command's name:", "", *whole]
    for name, command in commands.items():
        lines += ["", f"## pixloom {name}", "", cleandoc(command.help or ""), "", "```", _usage(name, command.params), "```", ""]
        lines += [f"- {_parameter(param)}" for param in command.params]
    codes = [line.strip().split(maxsplit=1) for line in str(app.info.epilog).splitlines() if re.match(r"\s+\d", line)]
    lines += ["", "## Exit codes", "", "| code | meaning |", "| --- | --- |", *(f"| {code} | {meaning} |" for code, meaning in codes)]
    return "\n".join([*lines, ""])


def _usage(name: str, params: Iterable[Any]) -> str:
    arguments = [_metavar(param) for param in params if param.param_type_name == "argument"]
    required = [f"{param.opts[0]} VALUE" for param in params if param.param_type_name == "option" and param.required]
    return " ".join(["pixloom", name, *arguments, *required, "[OPTIONS]"])


def _metavar(param: Any) -> str:
    name = param.metavar or param.name.upper()
    return name if param.required else f"[{name}]"


def _parameter(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{_metavar(param)}`: {param.help}"
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    value = "" if getattr(param, "is_flag", False) else f" `{param.metavar or 'VALUE'}`"
    default = "" if param.default is None or param.default is False or param.required else f" Default: `{_plain(param.default)}`."
    return f"{names}{value}: {param.help}{' Required.' if param.required else ''}{default}"


# --- Settings ------------------------------------------------------------------------------------------------------------------------


def settings_page() -> str:
    """Every setting of a run, the names that some of them take, and the options of the networks."""
    lines = [
        "# Settings",
        "",
        "Every key of a run's `config.yaml`. On the command line: `--set KEY=VALUE`. Some have an option of their own, such as `--size`;",
        "see [the commands](cli.md). The defaults are those of the package; a [recipe](recipes.md) sets some of them differently.",
    ]
    for title, rows in _grouped(_settings(RunConfig)).items():
        lines += ["", f"## {title}", "", "| key | values | default | meaning |", "| --- | --- | --- | --- |", *rows]
    lines += ["", "## Names", "", "| setting | names |", "| --- | --- |"]
    lines += [f"| {_code(key.split(', '))} | {_code(_table(*place))} |" for key, place in TABLES.items()]
    lines += ["", "## Options of the networks", "", "Set with `--set generator.options.NAME=VALUE` and `--set critic.options.NAME=VALUE`."]
    lines.append("Numbers of channels and the picture size follow from the data and are never given.")
    for role in ("GENERATORS", "CRITICS"):
        for name, constructor in _table("nets", role).items():
            lines += ["", *_network(name, constructor, role=role[:-1].lower())]
    return "\n".join([*lines, ""])


def _settings(model: type[Section], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, row of the table)."""
    for name, field in model.model_fields.items():
        inner = next((part for part in (field.annotation, *get_args(field.annotation)) if _is_section(part)), None)
        if inner is not None:
            yield from _settings(inner, f"{prefix}{name}.")
            continue
        default = "from the recipe" if field.is_required() else f"`{_plain(field.get_default(call_default_factory=True))}`"
        cells = [f"`{prefix}{name}`", _values(field.annotation, field.metadata), default, field.description or ""]
        yield prefix + name, f"| {' | '.join(cells)} |"


def _is_section(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, Section)


def _grouped(rows: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, row in rows:
        section = key.rpartition(".")[0].partition(".")[0]
        groups.setdefault(section or "run", []).append(row)
    return groups


def _values(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type in words, with its limits."""
    words = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "`null`"}
    origin = get_origin(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, UnionType):
        text = " or ".join(_values(part) for part in get_args(annotation))
    else:
        text = "mapping" if origin is dict else words.get(annotation, "")
    return ", ".join([text, *_limits(metadata)])


def _limits(metadata: Iterable[Any]) -> list[str]:
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return [f"{words} {getattr(limit, sign):.12g}" for limit in metadata for sign, words in signs.items() if hasattr(limit, sign)]


def _plain(value: Any) -> str:
    """A value as one writes it in YAML."""
    if value is None or isinstance(value, bool | dict):
        return json.dumps(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value) or '""'


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _network(name: str, constructor: str, *, role: str) -> list[str]:
    """The section on one network."""
    node = definition("nets", constructor)
    assert isinstance(node, ast.ClassDef)
    init = next(item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
    meanings = _arguments(ast.get_docstring(node) or "")
    rows = [
        f"| `{argument.arg}` | {f'`{ast.literal_eval(default)}`' if default else ''} | {meanings.get(argument.arg, '')} |"
        for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
        if argument.arg not in FROM_DATA
    ]
    head = [f"### {name} ({role})", "", _first_paragraph(ast.get_docstring(node)), ""]
    return [*head, "| option | default | meaning |", "| --- | --- | --- |", *rows]


def _arguments(docstring: str) -> dict[str, str]:
    """The Args or Attributes section of a Google-style docstring."""
    section = re.search(r"^(?:Args|Attributes):\n((?:    .*\n?)+)", docstring, re.MULTILINE)
    found = re.findall(r"^    (\w[\w, ]*): (.*(?:\n {8}.*)*)", section[1] if section else "", re.MULTILINE)
    return {name: _markdown(text) for name, text in found}


# --- Recipes -------------------------------------------------------------------------------------------------------------------------


def recipes_page() -> str:
    """What every recipe says of itself, and where it departs from the defaults."""
    lines = [
        "# Recipes",
        "",
        "A recipe is a published combination of method, networks and settings: a function of the picture size in `pixloom/recipes.py`.",
        f"Below each one are its settings for {RECIPE_SIZE} px that differ from [the defaults](settings.md).",
    ]
    for name, function in RECIPES.items():
        tree = _differences(function(RECIPE_SIZE))
        text = yaml.safe_dump(tree, sort_keys=False).strip()
        lines += ["", f"## {name}", "", cleandoc(function.__doc__ or "").replace("``", "`"), "", "```yaml", text, "```"]
    return "\n".join([*lines, ""])


def _differences(section: Section) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if not field.is_required() and value == field.get_default(call_default_factory=True):
            continue
        tree[name] = (_differences(value) or None) if isinstance(value, Section) else value
    return tree


# --- Python --------------------------------------------------------------------------------------------------------------------------


def api_page() -> str:
    """The public names, and every module with what it is for."""
    lines = ["# Python", "", "The public names: `from pixloom import ...`. They are imported when they are first used."]
    for name in sorted(pixloom.__all__, key=str.casefold):
        lines += ["", *_public(name, pixloom._HOMES[name].removeprefix("pixloom."))]
    lines += ["", "# Also useful", "", "From their own modules."]
    for name, module in ALSO.items():
        lines += ["", *_public(name, module)]
    lines += ["", "# Modules", "", "| module | what it is for |", "| --- | --- |"]
    for path in sorted(SOURCE.rglob("*.py")):
        if text := ast.get_docstring(_parsed(path)):
            lines.append(f"| `{_module_name(path)}` | {_first_paragraph(text)} |")
    return "\n".join([*lines, ""])


def _public(name: str, module: str) -> list[str]:
    node = definition(module, name)
    docstring = ast.get_docstring(node)
    lines = [f"## {name}", "", f"`pixloom.{module}`", "", "```python", _signature(node), "```", "", _first_paragraph(docstring)]
    if meanings := _arguments(docstring or ""):
        lines += ["", *(f"- `{argument}`: {text}" for argument, text in meanings.items())]
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef) and _is_public(item.name)]
    for method in methods if isinstance(node, ast.ClassDef) else []:
        lines += ["", "```python", _signature(method), "```", "", _first_paragraph(ast.get_docstring(method))]
    return lines


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__call__"


def _signature(node: ast.ClassDef | ast.FunctionDef) -> str:
    """A definition without its body."""
    if isinstance(node, ast.FunctionDef):
        decorators = "".join(f"@{ast.unparse(item)}\n" for item in node.decorator_list)
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{decorators}def {node.name}({_wrapped(_parts(node.args))}){returns}"
    init = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
    inside = [ast.unparse(base) for base in node.bases] if init is None else _parts(init.args)[1:]
    return f"class {node.name}({_wrapped(inside)})" if inside else f"class {node.name}"


def _parts(arguments: ast.arguments) -> list[str]:
    """The arguments one by one, as they are written."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    parts = [_part(argument, default) for argument, default in zip(positional, defaults, strict=True)]
    parts += ["*"] if arguments.kwonlyargs else []
    return parts + [_part(argument, default) for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]


def _part(argument: ast.arg, default: ast.expr | None) -> str:
    annotation = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    equals = " = " if annotation else "="
    return f"{argument.arg}{annotation}{'' if default is None else equals + ast.unparse(default)}"


def _wrapped(parts: list[str]) -> str:
    """In one line where it is short, else one to a line."""
    line = ", ".join(parts)
    return line if len(line) <= 90 else "\n    " + ",\n    ".join(parts) + ",\n"


def definition(module: str, name: str) -> ast.ClassDef | ast.FunctionDef:
    """Where a class or function is defined, seen from a module that may only import it."""
    for node in _parsed(_path(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pixloom."):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return definition(str(node.module).removeprefix("pixloom."), alias.name)
    raise LookupError(f"pixloom.{module} has no {name}")


def _table(module: str, name: str) -> dict[str, str]:
    """The literal dictionary of a module: names and the source of their values."""
    for node in _parsed(_path(module)).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name and isinstance(node.value, ast.Dict):
            return {ast.literal_eval(key): ast.unparse(value) for key, value in zip(node.value.keys, node.value.values, strict=True) if key}
    raise LookupError(f"pixloom.{module} has no literal dictionary {name}")


def _path(module: str) -> Path:
    path = SOURCE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _first_paragraph(docstring: str | None) -> str:
    return _markdown((docstring or "").split("\n\n")[0])


def _markdown(text: str) -> str:
    """A docstring's words in one line: Sphinx's roles become plain code, and no table is broken."""
    return re.sub(r":\w+:`([^`]+)`", r"`\1`", " ".join(text.split())).replace("``", "`").replace("|", "\\|")


def layer_lines() -> str:
    """The layers of the package, top first."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return "\n".join(next(contract["layers"] for contract in contracts if contract["type"] == "layers"))


def alarm_table() -> str:
    """Every alarm, when it rings, what to do."""
    rows = [f"| {name} | {rule.when} | {', or '.join(rule.remedies)} |" for name, rule in RULES.items()]
    return "\n".join(["| alarm | when | what to do |", "| --- | --- | --- |", *rows])


# --- Links ---------------------------------------------------------------------------------------------------------------------------


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    return sorted({path for pattern in DOCUMENTS for path in ROOT.glob(pattern)})


def broken_links(paths: Iterable[Path]) -> list[str]:
    """A sentence for every relative link whose file or heading does not exist."""
    return [f"{_shown(path)}: {target} {why}" for path in paths for target in links(path) if (why := _fault(path, target))]


def links(path: Path) -> list[str]:
    """The targets of links and pictures in a document, outside code and comments."""
    text = re.sub(r"^```.*?^```|<!--.*?-->|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    inline = re.findall(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)", text)
    return inline + re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)


def _fault(path: Path, target: str) -> str | None:
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return None
    name, _, heading = target.partition("#")
    file = path if not name else path.parent / name
    if not file.exists():
        return "does not exist"
    if heading and heading not in headings(file):
        return "points to no heading"
    return None


@cache
def headings(path: Path) -> frozenset[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+\s+(.+?)\s*$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles)


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    main()
