"""The Hugging Face Hub: what is put there, what is fetched from there, and what is refused; without a network."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from console import Console
from pixloom.errors import ConfigError, ModelError, OutputError
from pixloom.inference.hub import card_of, fetched, push
from pixloom.inference.translator import Translator
from pixloom.training.api import train
from tiny import tiny_config, write_pairs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("hub")
    train(tiny_config(write_pairs(place / "pairs"), training__images=4), out=place / "run", quiet=True)
    return place / "run"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that is a folder."""
    there = tmp_path / "hub"

    class Api:
        def __init__(self, token: str | None = None) -> None:
            pass

        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
            (there / name).mkdir(parents=True, exist_ok=exist_ok)
            return f"https://hub/{name}"

        def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
            shutil.copytree(folder_path, there / repo_id, dirs_exist_ok=True)

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        if not (there / name).is_dir():
            raise OSError("404: no such repository\nmore")
        cache = tmp_path / "cache" / name
        for pattern in allow_patterns:
            if (there / name / pattern).is_file():
                (cache / pattern).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(there / name / pattern, cache / pattern)
        cache.mkdir(parents=True, exist_ok=True)
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return SimpleNamespace(folder=there)


def test_what_is_put_there_comes_back_the_same(run, hub, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = Console(capsys)("push", run, "someone/cells", "--license", "cc0-1.0")
    assert "https://hub/someone/cells" in done.out, done.err
    assert {path.name for path in (hub.folder / "someone" / "cells").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    (hub.folder / "someone" / "cells" / "evil.py").write_text("raise SystemExit", encoding="utf-8")
    picture = Image.new("L", (20, 16), 90)
    ours, theirs = (np.asarray(Translator.from_pretrained(place)(picture)) for place in (run, "someone/cells"))
    assert np.array_equal(ours, theirs)
    assert not list((tmp_path / "cache").rglob("*.py")), "nothing but the files of a model is fetched"


def test_the_card_says_how_good_it_is_and_no_names_of_pictures(run):
    card = card_of(run / "model", licence="cc0-1.0")
    assert card.startswith("---\nlicense: cc0-1.0\n")
    assert "## How good it is" in card
    assert "psnr" in card
    assert "pictures: short side to 16 px" in card
    assert "## Limits" in card
    assert str(run.parent) not in card
    assert "pictures/worst" not in card
    assert "How good" not in card_of(Path(shutil.copytree(run / "model", run.parent / "alone")))


def test_a_translator_puts_itself_there(run, hub):
    Translator.from_pretrained(run).push_to_hub("someone/more")
    assert (hub.folder / "someone" / "more" / "model.safetensors").is_file()


def test_what_cannot_be_had_is_said(run, hub, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"(?s)cannot be fetched.*404"):
        Translator.from_pretrained("someone/nothing")
    (hub.folder / "someone" / "other").mkdir(parents=True)
    with pytest.raises(ModelError, match="holds no pixloom model"):
        fetched("someone/other")
    with pytest.raises(ConfigError, match="names no model"):
        fetched("a/b/c")
    with pytest.raises(ConfigError, match="names no repository"):
        push(run, "cells")
    with pytest.raises(ModelError, match="no such model"):
        Translator.from_pretrained("runs/nothing")
    (tmp_path / "someone").mkdir()
    with pytest.raises(ModelError, match="no such model"):
        Translator.from_pretrained("someone/here")

    class Broken:
        def __init__(self, token: str | None = None) -> None:
            pass

        def create_repo(self, *_: object, **__: object) -> None:
            raise RuntimeError("401 Unauthorized")

    monkeypatch.setattr(huggingface_hub, "HfApi", Broken)
    with pytest.raises(OutputError, match=r"(?s)could not be put.*401.*hf auth login"):
        push(run, "someone/cells")
