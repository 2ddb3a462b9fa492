"""What can be known of the page without a browser: its words, its policy, what it is told of models, and which models it can run itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from console import Console
from faces import TASKS, described
from pixloom.config import TaskConfig
from pixloom.errors import ConfigError, DependencyError, ModelError, OutputError
from pixloom.inference import web
from pixloom.inference.face import face_of
from pixloom.inference.onnxfile import Dropped, Signature

PAGE = Path(web.__file__).parents[1] / "serve" / "page"
SCRIPTS = sorted((PAGE / "assets").glob("*.js"))
WORDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (PAGE / "assets" / "words").glob("*.json")}


def test_both_languages_have_the_same_words():
    assert set(WORDS) == {"en", "zh"}
    assert WORDS["en"].keys() == WORDS["zh"].keys()
    for key, text in WORDS["en"].items():
        named = set(re.findall(r"\{\w+\}", text))
        if text != "{what}":  # the server's own words, which it has in English only
            assert named == set(re.findall(r"\{\w+\}", WORDS["zh"][key])), key
        assert WORDS["zh"][key].strip()


def test_every_word_that_is_used_is_there():
    text = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS) + (PAGE / "index.html").read_text(encoding="utf-8")
    groups = {key.partition(".")[0] for key in WORDS["en"]}
    used = set(re.findall(rf'["\'`]((?:{"|".join(groups)})\.[a-z_][\w-]*)["\'`]', text))
    used = {key for key in used if not key.endswith((".js", ".json"))}  # names of files
    assert used <= WORDS["en"].keys()
    beginnings = set(re.findall(rf"`((?:{'|'.join(groups)})\.[\w-]*)\$\{{", text))
    assert all(any(key.startswith(beginning) for key in WORDS["en"]) for beginning in beginnings)
    unused = [key for key in WORDS["en"] if key not in used and not any(key.startswith(beginning) for beginning in beginnings)]
    assert [key for key in unused if not key.startswith(("task.", "give.", "error.", "theme.", "nav."))] == []


def test_no_script_style_or_address_from_elsewhere():
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<style|\bstyle=|\bon[a-z]+=", html) == []
    for path in [PAGE / "index.html", *SCRIPTS, *(PAGE / "assets").glob("*.css"), *(PAGE / "assets").glob("*.svg")]:
        foreign = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"'`]*", path.read_text(encoding="utf-8"))
        assert [address for address in foreign if "www.w3.org/" not in address] == [], path
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert "unsafe-inline" not in policy[1]
    assert "script-src 'self' 'wasm-unsafe-eval'" in policy[1]


def test_every_module_that_is_imported_is_there():
    for path in SCRIPTS:
        for name in re.findall(r'from "\./([\w.]+)"', path.read_text(encoding="utf-8")):
            assert (path.parent / name).is_file(), f"{path.name} imports {name}"


@pytest.mark.parametrize("name", TASKS)
def test_a_model_of_every_task_has_a_face(name):
    face = face_of(described(name))
    json.dumps(face)
    assert face["task"] == TASKS[name].get("task", name)
    assert face["size"] == 32
    assert face["source"]["kind"] == ("labels" if name == "synthesize" else "picture")
    assert face["source"]["channels"] == (1 if name == "noisy" else 3)
    assert face["target"]["kind"] == ("labels" if name == "segment" else "picture")
    assert face["target"]["channels"] == 3
    assert face["wants"] == (["mask"] if name == "inpaint" else [])
    assert face["takes"] == (["hints"] if name == "colorize" else [])
    assert face["native"] == (name in ("restore", "super-resolve"))
    assert face["magnification"] == (2 if name == "super-resolve" else 1)
    assert face["answers"] == (name == "noisy")
    assert face["strength"] == (name in ("pair", "stylize", "edit", "restore"))
    classes = (face["source"] if name == "synthesize" else face["target"])["classes"]
    assert [each["name"] for each in classes] == (["sky", "house", "road", "tree"] if name in ("segment", "synthesize") else [])


def test_a_face_offers_the_conditions_of_the_model():
    face = face_of(described("pair", conditions=["label", "attributes", "text", "map", "image", "style"], dropout=0.1))
    assert face["label"] == {"names": ["cat", "dog"], "given": "one", "default": None}
    assert [(each["name"], each["low"], each["exclusive"]) for each in face["attributes"]] == [
        ("smile", -1, None),
        ("dark", 0, 0),
        ("fair", 0, 0),
    ]
    assert (face["text"], face["reference"], face["image"]) == (True, True, {"channels": 1})
    assert face["map"]["classes"][1] == {"id": 1, "name": "house", "color": [150, 110, 90]}
    assert face["needed"] == []
    assert face_of(described("pair", conditions=["label", "style"], dropout=0))["needed"] == ["label", "style"]
    assert face_of(described("pair"), title="edges2cats")["source"] == {
        "kind": "edges",
        "channels": 3,
        "classes": [],
        "background": [255, 255, 255],
    }
    assert face_of(described("edit"))["needed"] == ["label"]
    assert face_of(described("stylize"))["label"]["default"] == "cat"
    assert face_of(described("stylize"))["needed"] == []
    assert face_of(described("stylize"), back=True)["directions"] == [
        {"id": "forward", "title": "dog to cat"},
        {"id": "back", "title": "cat to dog"},
    ]
    back = replace(described("pair"), task=TaskConfig(name="pair", direction="BtoA"))
    assert [each["title"] for each in face_of(back)["directions"]] == ["B to A"]


def test_the_recipe_for_the_browser_says_what_python_does():
    signature = Signature(size_multiple=4, min_size=8, noise_channels=3, dropped=(Dropped(8, 2, 0.5),), conditions={"label": (2,)})
    recipe = web.recipe_of(described("colorize"), signature, runtimes={"wasm": "x.mjs"})
    assert recipe["inputs"] == {
        "source": 4,
        "noise": 3,
        "kept": [{"channels": 8, "stride": 2, "probability": 0.5}],
        "conditions": {"label": [2]},
    }
    assert recipe["size"] == {"short_side": 32, "multiple": 4, "least": 8, "most_squares": 16}
    assert recipe["runtimes"] == {"wasm": "runtime/x.mjs"}
    kinds = {name: (web._encoding(described(name)), web._composing(described(name))) for name in TASKS}
    assert kinds["colorize"] == ({"kind": "lightness", "hints": True}, {"kind": "lab"})
    assert kinds["synthesize"] == ({"kind": "planes"}, {"kind": "picture"})
    assert kinds["segment"] == ({"kind": "picture"}, {"kind": "classes"})
    assert kinds["inpaint"] == ({"kind": "hole"}, {"kind": "hole"})
    assert kinds["stylize"][1] == {"kind": "picture", "keep_colour": 0.5}


def test_what_a_browser_cannot_do_is_refused_with_the_reason():
    for name in ("super-resolve", "restore"):
        with pytest.raises(ModelError, match="own size"):
            web.check_web(described(name))
    feathered = replace(described("inpaint"), task=TaskConfig(name="inpaint", options={"feather": 4}))
    with pytest.raises(ModelError, match="blur"):
        web.check_web(feathered)
    with pytest.raises(ModelError, match="needs a map"):
        web.check_web(described("pair", conditions=["map"], dropout=0))
    many = described("pair")
    many.generator.options["source_channels"] = 5
    with pytest.raises(ModelError, match="5 channels"):
        web.check_web(many)
    assert web.check_web(described("pair", conditions=["label", "map", "text"])) == ("text", "map")
    assert web.face_for_web(described("pair", conditions=["label", "map", "text"]))["map"] is None


def test_onnxruntime_web_is_found_or_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DependencyError, match="npm install onnxruntime-web"):
        web.find_runtime(None)
    folder = tmp_path / web.INSTALLED
    folder.mkdir(parents=True)
    for name in (web.MODULES["wasm"], f"{web.BINARIES['wasm']}.wasm", f"{web.BINARIES['wasm']}.mjs"):
        (folder / name).write_bytes(b"x")
    assert web.find_runtime(None) == web.INSTALLED
    assert web.find_runtime(tmp_path) == web.find_runtime(folder) == folder
    assert web.copy_runtime(folder, tmp_path / "runtime") == {"wasm": web.MODULES["wasm"]}


def test_a_page_replaces_only_a_page(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="folder of its own"):
        web._place(None, overwrite=False)
    place = tmp_path / "web"
    place.mkdir()
    (place / web.MODEL).write_text('{"format": "layers-model"}', encoding="utf-8")  # as TensorFlow.js has it
    with pytest.raises(OutputError, match="not an exported page"):
        web._place(place, overwrite=True)
    (place / web.MODEL).write_text('{"onnx": {}}', encoding="utf-8")
    (place / web.NETWORK).write_bytes(b"x")
    with pytest.raises(OutputError, match="exists already"):
        web._place(place, overwrite=False)
    assert web._place(place, overwrite=True) == place
    (tmp_path / "link").symlink_to(place)
    assert web._place(tmp_path / "link", overwrite=True) == place
    (place / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"(?s)more in this folder.*thesis\.txt"):
        web._place(place, overwrite=True)
    monkeypatch.chdir(place)
    with pytest.raises(OutputError, match="current folder"):
        web._place(".", overwrite=True)


def test_the_command_says_what_has_no_effect(tmp_path, capsys):
    refused = Console(capsys)("export", tmp_path, "--runtime-files", tmp_path)
    assert refused.code == 2
    assert "--runtime-files would have no effect" in refused.err
