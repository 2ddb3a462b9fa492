"""The command line: quick to answer, honest in its exit codes, and JSON where it was asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from console import NARROW, TINY, Console, snapshot
from pixloom import __version__
from pixloom.cli import doctor, work
from pixloom.cli.app import app, main
from pixloom.errors import ConfigError, PixloomError
from pixloom.images import list_pictures, read
from pixloom.recipes import RECIPES
from pixloom.tasks import TASKS
from tiny import write_pairs

HEAVY = ("torch", "numpy", "PIL", "yaml", "safetensors", "accelerate", "torchmetrics", "pixloom.config")
COMMANDS = ("train", "resume", "translate", "evaluate", "inspect", "describe", "recipes", "doctor", "weights")


@pytest.fixture
def console(capsys) -> Console:
    return Console(capsys)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs")


@pytest.fixture(scope="module")
def run(pairs, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    with pytest.raises(SystemExit) as ended:
        main(["train", str(pairs), "--out", str(folder), *TINY, "--images", "4"])
    assert not ended.value.code
    return folder


# --- Speed ---------------------------------------------------------------------------------------------------------------------------


LIST_MODULES = """
import sys
from pixloom.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit:
    print("\\n".join(sys.modules))
"""


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a process has loaded after a command."""
    ran = subprocess.run([sys.executable, "-c", LIST_MODULES, *arguments], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize("arguments", [("--help",), ("train", "--help"), ("--version",), ("translate",)])
def test_help_loads_nothing_heavy(arguments):
    loaded = loaded_by(*arguments)
    assert "pixloom.cli.app" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_help_answers_at_once():
    """Under half a second where nothing else runs; the bar is for a machine that is busy."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "pixloom", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1.5


# --- Help and lists ------------------------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_every_exit_code(console):
    text = console.ok("--help").out
    for command in COMMANDS:
        assert f"  {command} " in text
    codes = [line.split()[0] for line in text.partition("Exit codes:")[2].splitlines() if line.strip()]
    assert codes == ["0", "1", "2", "130", "143"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is(command):
    import typer

    for parameter in typer.main.get_command(app).commands[command].params:
        if parameter.name != "help":
            assert getattr(parameter, "help", None), parameter.name


def test_version(console):
    assert console.ok("--version").out == f"pixloom {__version__}\n"


def test_no_command_shows_the_help(console):
    ran = console()
    assert "Commands:" in ran.out + ran.err


@pytest.mark.parametrize("arguments", [["trian"], ["train", "--image", "3"], ["translate", "x"], ["train", "x", "--size", "big"]])
def test_a_command_line_that_cannot_be_read_is_an_error(console, arguments):
    ran = console(*arguments)
    assert ran.code == 2
    assert "Error" in ran.err
    assert "Traceback" not in ran.err


def test_recipes_lists_every_recipe_and_task(console):
    text = console.ok("recipes").out
    tree = json.loads(console.ok("recipes", "--json").out)
    assert set(tree["recipes"]) == set(RECIPES)
    assert set(tree["tasks"]) == set(TASKS)
    for names in tree.values():
        for name, summary in names.items():
            assert summary.strip()
            assert f"  {name} " in text


def test_doctor_looks_at_everything(console):
    ran = console("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(ran.out)}
    for name in ("python", "torch", "device cpu", "memory", "disk here", "writing here", "file names", "lpips heads"):
        assert name in checks
    assert ran.code == (0 if all(check["ok"] for check in checks.values() if check["needed"]) else 1)
    assert checks["device cpu"]["ok"]
    text = console("doctor").out
    assert all(name in text for name in checks)


def test_doctor_says_how_to_mend_what_is_broken(console, monkeypatch):
    broken = doctor.Check("device cpu", "a convolution is wrong", ok=False, fix="reinstall torch")
    optional = doctor.Check("tifffile", "not installed (optional)", ok=False, fix="pip install", needed=False)
    monkeypatch.setattr(doctor, "examine", lambda: [broken, optional])
    ran = console("doctor")
    assert ran.code == 1
    assert "BAD device cpu" in ran.out
    assert "fix: reinstall torch" in ran.out
    monkeypatch.setattr(doctor, "examine", lambda: [optional])
    assert console("doctor").code == 0


# --- Training ------------------------------------------------------------------------------------------------------------------------


def test_a_run_says_where_everything_is(console, pairs, tmp_path):
    ran = console.ok("train", pairs, "--out", tmp_path / "run", *TINY, "--images", "4", "--seed", "3")
    assert "finished after 4 images" in ran.out
    assert f"report: {tmp_path / 'run/report.html'}" in ran.out
    assert f"pixloom translate {tmp_path / 'run'}" in ran.out
    settings = yaml.safe_load((tmp_path / "run/config.yaml").read_text(encoding="utf-8"))
    assert settings["training"]["images"] == 4
    assert settings["training"]["seed"] == 3
    assert settings["generator"]["options"] == {"width": 8}


def test_options_become_settings(console, pairs, tmp_path):
    """Every option of train reaches the config of the run."""
    options = ["--task", "pair", "--direction", "BtoA", "--layout", "folders", "--source", "B", "--target", "A", "--device", "cpu"]
    console.ok("train", pairs, "--out", tmp_path / "run", *TINY, "--images", "2", *options, "--set", "losses.pixel=l2")
    settings = yaml.safe_load((tmp_path / "run/config.yaml").read_text(encoding="utf-8"))
    assert settings["task"] == {"name": "pair", "direction": "BtoA", "options": {}}
    assert (settings["data"]["source_folder"], settings["data"]["target_folder"], settings["data"]["layout"]) == ("B", "A", "folders")
    assert settings["compute"]["device"] == "cpu"
    assert settings["losses"]["pixel"] == "l2"
    assert settings["recipe"] == "cgan"


def test_the_config_of_a_run_makes_another(console, run, tmp_path):
    console.ok("train", "--config", run / "config.yaml", "--out", tmp_path / "again", "--images", "2", "--seed", "9")
    first, again = (yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) for folder in (run, tmp_path / "again"))
    assert (again["training"]["images"], again["training"]["seed"]) == (2, 9)
    first["training"].update(images=2, seed=9)
    assert again == first


def test_a_length_on_the_command_line_replaces_the_one_in_the_config():
    wishes = dict.fromkeys(("task", "recipe_name", "size", "images", "minutes", "seed", "direction", "device"))
    place = {"layout": "auto", "source_folder": None, "target_folder": None}
    images = work._changes(None, place, wishes | {"images": 5}, {})
    assert images == {"training.images": 5, "training.minutes": None}
    assert work._changes("x", place, wishes | {"minutes": 1.0}, {}) == {
        "data.path": "x",
        "training.images": None,
        "training.minutes": 1.0,
    }
    assert work._changes(None, place, wishes, {"training.epochs": 2.0}) == {
        "training.images": None,
        "training.minutes": None,
        "training.epochs": 2.0,
    }
    assert work._changes(None, place, wishes, {}) == {}


def test_a_dry_run_prints_the_plan_and_writes_nothing(console, pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = console.ok("train", pairs, "--dry-run", *TINY, "--images", "4")
    assert "s per step of 2" in ran.out
    assert "4 images take about" in ran.out
    assert not list(tmp_path.iterdir())


def test_a_finished_run_resumed_is_finished(console, run):
    before = snapshot(run / "model")
    said = console.ok("resume", run)
    assert "finished after 4 images" in said.out
    assert "1 picture is too few for these figures to mean much" in said.out
    assert "ALARM, pictures are few" in said.out  # what rang is said again at the end
    assert "so short a run is hardly watched" in said.err
    assert snapshot(run / "model") == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_training_in_order(console, pairs, tmp_path, number):
    folder = tmp_path / "run"

    ended, history = threading.Event(), folder / "history.jsonl"

    def send_when_it_learns() -> None:
        while not ended.wait(0.02):
            if history.is_file() and '"losses"' in history.read_text(encoding="utf-8"):
                os.kill(os.getpid(), number)
                return

    sender = threading.Thread(target=send_when_it_learns)
    sender.start()
    ran = console("train", pairs, "--out", folder, *TINY, "--images", "200000", "--set", "training.log_every_images=2")
    ended.set()
    sender.join()
    assert ran.code == 128 + number
    assert f"pixloom resume {folder}" in ran.err
    assert "interrupted after" in ran.out
    assert list((folder / "checkpoints").iterdir())


# --- Using, judging, looking ---------------------------------------------------------------------------------------------------------


def test_translate_keeps_names_and_sizes(console, run, pairs, tmp_path):
    ran = console.ok("translate", run, pairs / "A", "--out", tmp_path / "out")
    assert "6 of 6 translated" in ran.out
    for path in list_pictures(pairs / "A"):
        picture = read(tmp_path / "out" / path.name)
        assert (picture.height, picture.width, picture.channels) == (24, 24, 3)


def test_translate_needs_nothing_but_the_model_folder(console, run, pairs, tmp_path):
    """The model alone, moved away from its run and its data, gives the same pictures."""
    model = tmp_path / "far away" / "modèle"
    model.mkdir(parents=True)
    for path in (run / "model").iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    console.ok("translate", run, pairs / "A", "--out", tmp_path / "one")
    console.ok("translate", model, *sorted((pairs / "A").iterdir(), reverse=True), "--out", tmp_path / "two")
    assert {Path(name).name: digest for name, digest in snapshot(tmp_path / "one").items()}.items() >= {
        ("0.png", snapshot(tmp_path / "two")[str(tmp_path / "two/0.png")])
    }
    one, two = (list(snapshot(tmp_path / name).values()) for name in ("one", "two"))
    assert one == two


def test_translate_options_reach_the_translator(console, run, pairs, tmp_path):
    common = ["translate", run, pairs, "--recursive", "--size", "native", "--seed", "4", "--format", "npy", "--device", "cpu"]
    console.ok(*common, "--out", tmp_path / "out")
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.npy"))[:2] == ["A/0.npy", "A/1.npy"]
    assert console(*common, "--out", tmp_path / "out").code == 2
    console.ok(*common, "--out", tmp_path / "out", "--overwrite")
    trained = console.ok("translate", run, pairs / "A/0.png", "--format", "npy", "--out", tmp_path / "trained")
    assert trained.out
    assert not np.array_equal(np.load(tmp_path / "trained/0.npy"), np.load(tmp_path / "out/A/0.npy"))


def test_evaluate_prints_json_alone_on_standard_output(console, run, pairs, tmp_path):
    ran = console.ok("evaluate", run, pairs, "--json", "--out", tmp_path / "report")
    tree = json.loads(ran.out)
    assert {"psnr", "ssim"} <= set(tree["means"])
    assert "input" in tree["baselines"]
    assert json.loads((tmp_path / "report/evaluation.json").read_text(encoding="utf-8")) == tree
    text = console.ok("evaluate", run, pairs, "--split", "all", "--limit", "2", "--against", run / "model").out
    assert "psnr" in text


def test_inspect_prints_json_alone_on_standard_output(console, pairs, tmp_path):
    tree = json.loads(console.ok("inspect", pairs, "--no-cost", "--json", "--preview", tmp_path / "preview.png").out)
    assert tree["ok"]
    assert tree["layout"] == "folders"
    assert tree["counts"] == {"train": 6}
    assert read(tmp_path / "preview.png").channels == 3
    assert "all well" in console.ok("inspect", pairs, "--no-cost").out


def test_inspect_measures_the_default_run(console, pairs, monkeypatch):
    from pixloom.training import preflight

    monkeypatch.setattr(preflight, "measure", lambda plan, engine: preflight.Cost(1000, 1000, {32: 0.5}, 0.0, None, 10))
    tree = json.loads(console.ok("inspect", pairs, "--json").out)
    assert any("s per step" in line for line in tree["default_run"])


def test_inspect_exits_with_1_where_training_would_suffer(console, pairs, tmp_path):
    data = tmp_path / "pairs"
    write_pairs(data)
    (data / "A/0.png").write_text("no picture", encoding="utf-8")
    ran = console("inspect", data, "--no-cost")
    assert ran.code == 1
    assert "0.png" in ran.out
    assert "problem:" in ran.out
    assert json.loads(console("inspect", data, "--no-cost", "--json").out)["ok"] is False


def test_a_preview_replaces_nothing_unasked(console, pairs, tmp_path):
    target = tmp_path / "preview.png"
    console.ok("inspect", pairs, "--no-cost", "--preview", target)
    before = target.read_bytes()
    target.write_bytes(before + b"mine")
    assert console("inspect", pairs, "--no-cost", "--preview", target).code == 2
    assert target.read_bytes() == before + b"mine"
    console.ok("inspect", pairs, "--no-cost", "--preview", target, "--overwrite")
    assert target.read_bytes() == before


# --- Errors --------------------------------------------------------------------------------------------------------------------------


def failing(error: BaseException):
    def command(*arguments, **options):
        raise error

    return command


def test_an_error_is_one_message_and_its_traceback_is_there_for_the_asking(console, monkeypatch):
    monkeypatch.delenv("PIXLOOM_DEBUG", raising=False)
    monkeypatch.setattr(work, "recipes", failing(ConfigError("what", where="there", why="because", fix="do this")))
    ran = console("recipes")
    assert (ran.code, ran.out, ran.err) == (2, "", "error: what\n  where: there\n  why: because\n  fix: do this\n")
    monkeypatch.setenv("PIXLOOM_DEBUG", "1")
    with pytest.raises(PixloomError, match="what"):
        console("recipes")


def test_what_the_system_refuses_is_no_traceback_either(console, monkeypatch):
    monkeypatch.setattr(work, "recipes", failing(OSError(36, "File name too long", "x" * 9)))
    ran = console("recipes")
    assert ran.code == 2
    assert "File name too long" in ran.err
    assert "xxxxxxxxx" in ran.err


def test_ctrl_c_ends_with_130(console, monkeypatch):
    monkeypatch.setattr(work, "recipes", failing(KeyboardInterrupt()))
    assert console("recipes").code == 130


def test_names_that_the_terminal_cannot_show_are_no_reason_to_fail(tmp_path):
    """A folder whose name is no UTF-8, and a terminal that knows ASCII alone."""
    folder = os.fsencode(tmp_path) + b"/gr\xfc\xdfe"
    write_pairs(Path(os.fsdecode(folder)), count=2)
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    def inspect(name: bytes) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "pixloom", "inspect", os.fsdecode(name), "--no-cost"]
        return subprocess.run(command, capture_output=True, env=environment, check=False)

    good, bad = inspect(folder), inspect(folder + b"!")
    assert (good.returncode, good.stderr) == (0, b"")
    assert b"all well" in good.stdout
    assert bad.returncode == 2
    assert b"there is no such folder" in bad.stderr
    assert b"Traceback" not in bad.stderr


@pytest.mark.parametrize(
    ("wishes", "parsed", "named"),
    [
        ({"images": 3, "minutes": 2.0}, {}, "training.minutes"),
        ({"minutes": 2.0}, {"training.images": 4}, "training.images"),
        ({"images": 2}, {"training.epochs": 4}, "training.epochs"),
        ({"seed": 2}, {"training.seed": 4}, "--seed"),
        ({"size": 64}, {"data.size": 64}, "--size"),
    ],
)
def test_what_is_said_twice_is_refused(wishes, parsed, named):
    empty = dict.fromkeys(("task", "recipe_name", "size", "images", "minutes", "seed", "direction", "device"))
    with pytest.raises(ConfigError, match=named):
        work._check_wishes(empty | wishes, parsed, config=None)


def test_narrow_networks_are_what_the_tests_train():
    assert len(NARROW) == 4


def test_a_model_says_what_it_is_and_knows(console, run):
    for model in (run, run / "model"):
        said = console.ok("describe", model).out
        assert f"pixloom translate {model} pictures/" in said
        assert "trained at 16 px" in said
        assert "THIS_FOLDER" not in said
        assert "pipeline_tag" not in said
    missing = console("describe", run / "nothing")
    assert missing.code == 2
    assert "no such model" in missing.err
