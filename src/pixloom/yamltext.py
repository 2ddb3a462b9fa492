"""YAML as the settings are written in it, with the scalars of YAML 1.2: PyYAML reads 1.1, where "no" is false and 1e-4 a text.

A module of its own because a translation needs settings, but no YAML, and is not to wait for it.
"""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """1e-4 is a number, "no" is a text, 010 is no octal."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else: a folder may be called 1e100."""


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", list("-+.0123456789")),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def read_yaml(text: str) -> Any:
    """Plain values from YAML text.

    >>> read_yaml("[1e-4, no, 010, true, 7, ~]")
    [0.0001, 'no', '010', True, 7, None]

    Raises:
        ValueError: it is none.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def write_yaml(tree: Any) -> str:
    """YAML text of plain values, keys in their order; :func:`read_yaml` gives the same values back."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
