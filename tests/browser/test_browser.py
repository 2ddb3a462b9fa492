"""The page in a real, headless Chromium: every function is clicked, axe looks at every view, and nothing leaves the machine.

Run with ``make test-page``. Skipped where Chromium or Node's packages are not there; ``PIXLOOM_NODE_MODULES`` names their folder, and
``PIXLOOM_CHROMIUM`` the browser. What people do is in ``scenarios.mjs``, by name.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
from PIL import Image

from browser.fake import Fake
from faces import CLASSES, save
from pixloom.images import resize
from pixloom.inference.runtimes import Dropped, draw_kept
from pixloom.inference.translator import Translator, working_size
from pixloom.inference.web import export_web
from pixloom.tasks.colorize import lab_to_rgb, rgb_to_lab

HERE = Path(__file__).parent
MODULES = Path(os.environ.get("PIXLOOM_NODE_MODULES", HERE.parents[1] / "node_modules"))
CHROMIUM = os.environ.get("PIXLOOM_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SHOTS = os.environ.get("PIXLOOM_SHOTS")
"""A folder that keeps the pictures of every view."""

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and shutil.which("node") and (MODULES / "playwright-core").is_dir() and (MODULES / "axe-core").is_dir()),
    reason="needs chromium, node, and npm install playwright-core axe-core onnxruntime-web",
)

LATEST_MS = 300 + 200
"""From the end of a stroke to the picture, with room for a busy machine."""


@pytest.fixture(autouse=True)
def no_checks_of_shapes() -> Iterator[None]:
    """Comparing shapes, as tests do, would fix the sizes that are to vary in an export."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def server() -> Iterator[Fake]:
    """The contract, with canned pictures."""
    fake = Fake()
    yield fake
    fake.stop()


def drive(name: str, url: str, folder: Path, *, wishes: Any = None) -> Any:
    """Run a scenario; what it returns."""
    (folder / "wishes.json").write_text(json.dumps(wishes), encoding="utf-8")
    shots = Path(SHOTS) if SHOTS else folder
    environment = {**os.environ, "PIXLOOM_NODE_MODULES": str(MODULES), "PIXLOOM_CHROMIUM": str(CHROMIUM)}
    command = ["node", str(HERE / "drive.mjs"), name, url, str(shots), str(folder / "wishes.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["strangers", "settings", "patience", "mark", "training", "keyboard", "views"])
def test_people_can(name, server, tmp_path):
    drive(name, server.url, tmp_path)
    sent = {post["model"]: post for post in server.posts}
    if name == "settings":
        wanted = {"strength": "0.5", "seed": "7", "samples": "3", "direction": "back", "size": "96"}
        assert wanted.items() <= sent["photos"].items()
        assert json.loads(sent["faces"]["attributes"]) == {"black hair": 1}
        assert sent["faces"]["label"] == "dog"
        assert {"reference", "map", "image"} <= sent["beside"].keys()
        assert sent["beside"]["text"] == "a red door"
    if name == "patience":
        assert len(server.deleted) >= 5  # what is done, and what was given up
    if name == "mark":
        mask = np.asarray(Image.open(io.BytesIO(sent["holes"]["mask"])).convert("RGB"))
        assert mask.shape == (60, 90, 3)
        assert set(np.unique(mask)) == {0, 255}
        hints = np.asarray(Image.open(io.BytesIO(sent["colours"]["hints"])))
        assert hints.shape == (50, 70, 4)
        assert np.unique(hints[hints[..., 3] == 255], axis=0).tolist() == [[178, 48, 44, 255]]
        assert set(np.unique(hints[..., 3])) == {0, 255}


def test_pictures_are_translated_and_come_as_one_zip(server, tmp_path):
    found = drive("translate", server.url, tmp_path)
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(found["zip"]))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["one-photos.png", "two-photos.png"]
        assert Image.open(io.BytesIO(archive.read("one-photos.png"))).size == (48, 40)


def test_painting_is_answered_at_once_in_exact_colours(server, tmp_path):
    found = drive("paint", server.url, tmp_path)
    assert sorted(found["milliseconds"])[2] < LATEST_MS
    painted = [post for post in server.posts if post["model"] == "streets" and post["act"] == "translate"]
    colours = np.unique(np.asarray(Image.open(io.BytesIO(painted[4]["source"])).convert("RGB")).reshape(-1, 3), axis=0)
    assert colours.tolist() == [[60, 130, 70], [90, 90, 100], [110, 170, 230], [150, 110, 90]]


def test_the_arithmetic_is_pythons(server, tmp_path):
    found = drive("arithmetic", server.url, tmp_path)
    plane = np.array(found["plane"], np.uint8).reshape(29, 37)
    for made in found["resized"]:
        size = {"height": made["height"], "width": made["width"]}
        assert np.array_equal(np.array(made["bytes"]).reshape(*size.values()), resize(plane, **size))
        expected = resize(plane.astype(np.float32) / np.float32(255), **size)
        assert np.abs(np.clip(np.array(made["floats"]).reshape(*size.values()), 0, 1) - expected).max() < 1e-6
        assert np.array_equal(np.array(made["nearest"]).reshape(*size.values()), resize(plane, **size, nearest=True))
    kept = draw_kept(Dropped(channels=3, stride=1, probability=0.5), seed=12345, number=2, height=5, width=7)
    assert np.array_equal(np.array(found["kept"]).reshape(1, 3, 5, 7), kept)
    assert abs(found["mean"]) < 0.03
    assert abs(found["variance"] - 1) < 0.05
    assert found["same"]
    colours = np.array([[0.1, 0.5, 0.9], [1, 0, 0], [0.2, 0.2, 0.2]], np.float32)
    assert np.abs(np.array(found["lab"]) - rgb_to_lab(colours)).max() < 1e-3
    assert np.abs(np.array(found["rgb"]) - lab_to_rgb(np.array([[50, 120, -120], [70, 20, 30]], np.float32))).max() < 2e-3
    values = (plane.ravel()[:6].astype(np.float32) / np.float32(255)).reshape(1, 1, 2, 3)
    assert np.allclose(np.array(found["padded"]).reshape(3, 5), np.pad(values[0, 0], ((0, 1), (0, 2)), mode="reflect"))
    sizes = [(321, 481), (1, 1000), (50, 50), (100, 333)]
    expected_sizes = [working_size(height, width, short_side=128, multiple=32) for height, width in sizes]
    assert [(made["height"], made["width"]) for made in found["working"]] == expected_sizes


def test_a_static_folder_translates_as_python_does(tmp_path):
    if not (MODULES / "onnxruntime-web").is_dir():
        pytest.skip("needs npm install onnxruntime-web")
    model, folder = tmp_path / "run", tmp_path / "web"
    examples = HERE.parents[1] / "examples" / "nuclei"
    pixloom = [sys.executable, "-m", "pixloom"]
    quick = {"env": {**os.environ, "OMP_NUM_THREADS": "1"}, "check": True, "capture_output": True, "timeout": 300}
    subprocess.run([*pixloom, "train", str(examples), "--size", "64", "--images", "100", "--out", str(model)], **quick)
    wishes = ["--format", "web", "--out", str(folder), "--runtime-files", str(MODULES / "onnxruntime-web")]
    subprocess.run([*pixloom, "export", str(model), *wishes], **quick)
    fake = Fake(folder)
    found = drive("web", fake.url, tmp_path)
    fake.stop()
    translate = Translator.from_pretrained(model, runtime="torch")
    for name, answer in found["answers"].items():
        expected = translate(Image.open(io.BytesIO(base64.b64decode(answer["source"]))))
        made = Image.open(io.BytesIO(base64.b64decode(answer["made"]))).convert(expected.mode)
        difference = np.abs(np.asarray(made, np.int16) - np.asarray(expected, np.int16))
        assert difference.max() <= 2, (name, difference.max(), difference.mean())
    print(found["milliseconds"], found["model"])


def png(pixels: np.ndarray) -> str:
    """A picture as the scenarios take it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def pictures() -> dict[str, np.ndarray]:
    """A photograph of sorts, a label map, its ids, a mask, and hints."""
    rows, columns = np.mgrid[:50, :70]
    photo = np.dstack([128 + 100 * np.sin(columns / 8), 128 + 100 * np.cos(rows / 6), 3 * columns]).clip(0, 255).astype(np.uint8)
    ids = ((rows // 17) + (columns > 40)).clip(0, 3).astype(np.uint8)
    colours = np.array([label["colour"] for label in CLASSES], np.uint8)
    mask = ((rows - 25) ** 2 + (columns - 30) ** 2 < 150).astype(np.uint8) * 255
    hints = np.zeros((50, 70, 4), np.uint8)
    hints[10:14, 20:23], hints[40:43, 50:56] = (200, 40, 40, 255), (40, 90, 200, 255)
    return {"photo": photo, "colours": colours[ids], "ids": ids, "mask": mask, "hints": hints}


SHOWN = pictures()
WISHES: dict[str, list[dict[str, Any]]] = {
    "pair": [{}, {"size": "native"}, {"strength": 0.5}, {"size": 48}],
    "colorize": [{}, {"files": ["hints"]}, {"size": "native", "files": ["hints"]}],
    "inpaint": [{"files": ["mask"]}],
    "segment": [{}, {"size": "native"}, {"index": True}],
    "synthesize": [{"source": "colours"}, {"source": "ids"}, {"source": "colours", "size": "native"}],
    "stylize": [{}, {"label": "dog"}, {"strength": 0.3}],
    "edit": [{"label": "dog"}, {"label": "cat", "attributes": {"smile": 0.3, "dark": 1}}, {"attributes": {"fair": 0}}],
}
FAR = {"segment": 0.01, "colorize": 0.0}
"""Share of values that may differ by more than 2 of 255: at the edges of classes the last bit of a share decides."""


@pytest.mark.parametrize("name", WISHES)
def test_every_task_is_prepared_and_finished_as_in_python(name, tmp_path):
    if not (MODULES / "onnxruntime-web").is_dir():
        pytest.skip("needs npm install onnxruntime-web")
    save(tmp_path / "model", name)
    export_web(tmp_path / "model", out=tmp_path / "web", runtime_files=MODULES / "onnxruntime-web")
    wishes, expected = [], []
    for wish in WISHES[name]:
        rest = dict(wish)
        source, files = SHOWN[rest.pop("source", "photo")], rest.pop("files", [])
        wishes.append({"source": png(source), "files": {each: png(SHOWN[each]) for each in files}, "parameters": rest})
        steered = {key: rest[key] for key in ("label", "attributes") if key in rest}
        translate = Translator.from_pretrained(
            tmp_path / "model", runtime="torch", strength=rest.get("strength", 1.0), index=rest.get("index", False)
        )
        given = {each: Image.fromarray(SHOWN[each]) for each in files} | steered
        expected.append(np.asarray(translate(Image.fromarray(source), size=rest.get("size", "trained"), given=given)))
    fake = Fake(tmp_path / "web")
    made = drive("answers", fake.url, tmp_path, wishes=wishes)
    fake.stop()
    for wish, answer, wanted in zip(WISHES[name], made, expected, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer))).convert("RGB" if wanted.ndim == 3 else "L"))
        assert pixels.shape == wanted.shape
        assert np.ptp(wanted) > 0
        difference = np.abs(pixels.astype(int) - wanted)
        assert (difference > 2).mean() <= FAR.get(name, 0), (wish, difference.max(), (difference > 2).mean())
