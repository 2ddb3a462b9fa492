"""Models on the Hugging Face Hub: fetched by ``user/name``, and put there with a card that is written from the report.

Only the files of a model are fetched, and nothing in them is executed: they are read as any model folder is, with its checksum.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from pixloom.errors import ConfigError, DependencyError, ModelError, OutputError, first_line
from pixloom.inference.choice import find_model
from pixloom.inference.onnxfile import EXPORT
from pixloom.modelfile import BACK, CARD, DESCRIPTION, WEIGHTS, read_description

FILES = (DESCRIPTION, WEIGHTS, CARD, EXPORT)
"""Of a model folder, that are fetched and put there."""


def fetched(name: str) -> Path:
    """The folder of a model on the Hub, fetched unless it is in the cache.

    Args:
        name: ``user/name``, or ``user/name@REVISION``.

    Raises:
        ConfigError: no such name is possible.
        DependencyError: the package ``huggingface_hub`` is missing.
        ModelError: it is not there, is no model, or the Hub cannot be reached.
    """
    hub = _hub()
    match = re.fullmatch(r"([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?", name)
    if match is None:
        raise ConfigError(f"'{name}' names no model on the Hub", fix="user/name")
    wanted = [*FILES, *(f"{BACK}/{file}" for file in FILES)]
    try:
        folder = Path(hub.snapshot_download(match[1], revision=match[2], allow_patterns=wanted))
    except Exception as error:  # the errors of several libraries, which have no class in common
        why = first_line(error)
        raise ModelError(
            "the model cannot be fetched from the Hugging Face Hub",
            where=name,
            why=why[:300],
            fix="check the name and the network, or give a folder",
        ) from error
    if not (folder / DESCRIPTION).is_file():
        raise ModelError(
            "this repository holds no pixloom model", where=name, why=f"it has no {DESCRIPTION} of ours", fix="give another name"
        )
    read_description(folder)
    return folder


def push(model: str | Path, name: str, *, licence: str | None = None, private: bool = False, token: str | None = None) -> str:
    """Put a model on the Hugging Face Hub, with its card; its address.

    Args:
        model: a model folder or a run folder.
        name: ``user/name``; made if it is not there.
        licence: of the weights, as the Hub writes it (``apache-2.0``, ``cc-by-4.0``); it follows from that of the training pictures.
        private: whether a repository that is made is.
        token: of the account; None: that of ``hf auth login``.

    Raises:
        ConfigError: no such name is possible.
        DependencyError: the package ``huggingface_hub`` is missing.
        ModelError: no model there, or a damaged one.
        OutputError: the Hub refuses it, or cannot be reached.
    """
    hub = _hub()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ConfigError(f"'{name}' names no repository on the Hub", fix="user/name")
    folder = find_model(Path(model))
    read_description(folder)
    api = hub.HfApi(token=token)
    with tempfile.TemporaryDirectory() as place:
        gathered = _gathered(folder, Path(place), licence=licence)
        try:
            address = api.create_repo(name, private=private, exist_ok=True)
            api.upload_folder(repo_id=name, folder_path=str(gathered), commit_message="A model, by pixloom")
        except Exception as error:  # the errors of several libraries, which have no class in common
            why = first_line(error)
            raise OutputError(
                "the model could not be put on the Hugging Face Hub", where=name, why=why[:300], fix="hf auth login, or check the name"
            ) from error
    return str(address)


def card_of(folder: Path, *, licence: str | None = None) -> str:
    """The card of a model: what its folder says, its licence, and the final judgement of its run where that is at hand.

    Names and places of pictures, which a report has, are left out.
    """
    text = (folder / CARD).read_text(encoding="utf-8")
    if licence is not None:
        text = text.replace("---\n", f"---\nlicense: {licence}\n", 1)
    report = folder.parent / "evaluation"
    if not (report / "evaluation.md").is_file():
        return text
    table = (report / "evaluation.md").read_text(encoding="utf-8").partition("\n## ")[0].partition("\n")[2].strip()
    protocol: dict[str, Any] = json.loads((report / "evaluation.json").read_text(encoding="utf-8")).get("protocol", {})
    said = [f"- {key}: {protocol[key]}" for key in ("pictures", "intervals", "seed") if key in protocol]
    said += [f"- {metric}: {how if isinstance(how, str) else _words(how)}" for metric, how in protocol.get("metrics", {}).items()]
    judged = "\n".join(["## How good it is", "", table, "", "How this was measured:", "", *said, ""])
    head, limits, rest = text.partition("## Limits")
    return f"{head}{judged}\n{limits}{rest}" if limits else f"{text}\n{judged}"


def _words(how: Any) -> str:
    """A protocol's entry without checksums."""
    if not isinstance(how, dict):
        return str(how)
    return ", ".join(f"{key} {value}" for key, value in how.items() if "sha256" not in key and not isinstance(value, dict))


def _gathered(folder: Path, place: Path, *, licence: str | None) -> Path:
    """Links to the files of a model, with the card that the Hub is given."""
    for source, target in ((folder, place), (folder / BACK, place / BACK)):
        if not source.is_dir():
            continue
        target.mkdir(exist_ok=True)
        for name in FILES:
            if (source / name).is_file() and not (source == folder and name == CARD):
                (target / name).symlink_to((source / name).resolve())
    (place / CARD).write_text(card_of(folder, licence=licence), encoding="utf-8")
    return place


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise DependencyError("the Hugging Face Hub needs the package 'huggingface_hub'", fix="pip install huggingface_hub") from error
    return huggingface_hub
