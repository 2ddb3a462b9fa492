"""The command line as a test calls it: in this process, with what it printed, and with proof of what it changed on the disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pixloom.cli.app import main

NARROW = ("--set", "generator.options.width=8", "--set", "critic.options.width=8")
TINY = ("--recipe", "cgan", "--size", "16", "--set", "training.batch_size=2", *NARROW)


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


class Console:
    """Runs ``pixloom`` commands without starting a process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: Any) -> Ran:
        self.capsys.readouterr()
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        printed = self.capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    def ok(self, *arguments: Any) -> Ran:
        """A command that must succeed."""
        ran = self(*arguments)
        assert ran.code == 0, ran.err
        return ran


def snapshot(*roots: Path) -> dict[str, str]:
    """Every file below some folders with the digest of its content, and every folder."""
    found = {}
    for root in roots:
        for path in [root, *root.rglob("*")]:
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found
