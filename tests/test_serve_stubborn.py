"""What once broke the server: work that does not end, texts that cannot be sent, folders that hold other things than they should."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from pixloom.conditions import CONDITIONS
from pixloom.config import TaskConfig
from pixloom.errors import ConfigError, DependencyError, ImageError, PixloomError
from pixloom.modelfile import save_model
from pixloom.serve import command, runs, workplace
from pixloom.serve.command import Stoppable, settled_token
from pixloom.serve.guard import door_for
from pixloom.serve.limits import Limits
from pixloom.serve.refusal import LONGEST, RefusedError, body_of, refusal_of, without_places
from pixloom.serve.served import Followed, describe, open_all, title_of
from serving import client, code_of, png, service, translator

PNG = {"content-type": "image/png"}
NUMBERS = {"names": ["age", "smile"], "low": [0, 0], "high": [9, 1]}
SOURCE = Path(command.__file__).parents[2]


def until(condition, *, seconds=20.0):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


# --- Work that does not end ----------------------------------------------------------------------------------------------------------


class Held:
    """Holds the last step of a translator back while it is closed."""

    def __init__(self, held):
        self.open, self.entered = threading.Event(), []
        finish = held.finish

        def waiting(*args, **kinds):
            self.entered.append(threading.current_thread())
            assert self.open.wait(20)
            return finish(*args, **kinds)

        held.finish = waiting


@contextmanager
def held_site(*, limits, clock):
    model, free = translator(), translator()
    gate = Held(model)
    of = service({"plain": model, "free": free}, limits=limits, clock=clock)
    with client(of) as site:
        try:
            yield site, gate, of
        finally:
            gate.open.set()


def ask(site, name="plain", *, seed=0):
    return site.post(f"/api/models/{name}/jobs", content=png(seed=seed), headers=PNG).json()["id"]


def test_a_job_that_is_finished_and_encoded_too_long_fails_at_its_time():
    now = [0.0]
    with held_site(limits=Limits(seconds=5), clock=lambda: now[0]) as (site, gate, of):
        job = ask(site)
        until(lambda: gate.entered)
        until(lambda: not of.workplace._running)  # the network is done with it
        assert site.get(f"/api/jobs/{job}").json()["state"] == "running"
        now[0] = 6
        found = site.get(f"/api/jobs/{job}").json()
        assert (found["state"], found["error"]["code"]) == ("failed", "too-slow")
        assert not of.workplace.close()  # its thread is at it still
        gate.open.set()
        until(lambda: of.workplace.close())
        assert site.get(f"/api/jobs/{job}").json()["state"] == "failed"


def test_work_that_nobody_waits_for_holds_up_no_network(monkeypatch):
    monkeypatch.setattr(workplace, "_ENCODERS", 2)
    with held_site(limits=Limits(queue=30), clock=time.monotonic) as (site, gate, of):
        jobs = [ask(site, seed=seed) for seed in range(9)]  # two at work, four wait, the network waits with the seventh
        until(lambda: len(gate.entered) == 2 and len(of.workplace._to_finish) == 4)
        for job in jobs:
            assert site.delete(f"/api/jobs/{job}").status_code == 204
        until(lambda: not of.workplace._running)
        assert not of.workplace._to_finish
        later = ask(site, "free")
        until(lambda: len(of.workplace._to_finish) == 1)  # through the network, while both threads are at what was cancelled
        gate.open.set()
        until(lambda: site.get(f"/api/jobs/{later}").json()["state"] == "done")
        assert len(gate.entered) == 2  # what waited there never began


def test_a_picture_above_the_default_limit_is_refused_however_few_bytes_it_has():
    from PIL import Image

    from serving import saved

    with client(service({"grey": translator(task=TaskConfig(name="colorize"), channels=(1, 2))})) as site:
        data = saved(Image.new("1", (5000, 5000)), "PNG")
        assert len(data) < 10_000
        assert code_of(site.post("/api/models/grey/translate", content=data, headers=PNG)) == "too-many-pixels"


STUBBORN = """
import sys, time
from pixloom.inference.translator import Translator
from pixloom.serve import command, limits, reception
command.STOP_SECONDS, command.END_SECONDS = 0.5, 1.5
def stay(*args, **kinds):
    print("stuck", file=sys.stderr, flush=True)
    time.sleep(60)
def prepare(*args, prepare=reception.prepare, **kinds):
    reception.prepare = stay  # from the second picture on
    return prepare(*args, **kinds)
Translator.finish, reception.prepare = stay, prepare
def say(text):
    print(text, file=sys.stderr, flush=True)
options = {"host": "127.0.0.1", "port": 0, "token": None, "allowed": [], "limits": limits.Limits(), "device": "cpu", "runtime": "auto"}
command.serve([sys.argv[1]], **options, say=say)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
def test_a_signal_ends_the_process_whatever_its_threads_are_at(tmp_path):
    model = translator()
    save_model(tmp_path / "plain", generator=model.generator, description=model.description)
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}
    arguments = [sys.executable, "-c", STUBBORN, str(tmp_path / "plain")]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr
            assert process.stderr.readline() == "loading plain ...\n"
            address = next(found[0] for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+/", line)))
            asking = [threading.Thread(target=attempt, args=(address,)) for _ in range(2)]
            for thread in asking:
                thread.start()
                assert process.stderr.readline() == "stuck\n"  # the first where pictures are finished, the second where they are read
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert time.monotonic() - begun < 4
            assert process.stderr.read() == "some work was not finished in time; it was given up\n"
            for thread in asking:
                thread.join(10)
        finally:
            process.kill()


def attempt(address):
    with suppress(httpx2.HTTPError):
        httpx2.post(f"{address}api/models/plain/translate", content=png(), headers=PNG, timeout=20)


# --- Texts ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site():
    shaped = translator("unet", depth=4, conditions={"attributes": NUMBERS})
    with client(service({"plain": translator(), "shaped": shaped})) as opened:
        yield opened


def test_half_characters_are_refused(site):
    for attributes in ('{"\\ud800":1}', '{"smile\\udfff":1}'):
        answer = site.post(f"/api/models/shaped/translate?attributes={quote(attributes)}", content=png(), headers=PNG)
        assert (answer.status_code, code_of(answer)) == (422, "bad-parameter")
    assert body_of(RefusedError("a\ud800", code="x", status=422, why="\udfff"))["error"]["what"] == "a?"


@pytest.mark.parametrize("charset", ["undefined", "punycode", "unicode_escape", "utf-16", "idna", '"undefined"', "none of these"])
def test_a_form_in_another_encoding_is_refused_before_it_is_parsed(site, charset):
    body = b'--b\r\nContent-Disposition: form-data; name="\\ud800"\r\n\r\n' + b"a" * 60_000 + b"\r\n--b--\r\n"
    for parameter in (f"charset={charset}", f"CHARSET={charset}", f"charset*=utf-8''{charset}"):
        begun = time.monotonic()
        answer = site.post(
            "/api/models/plain/translate", content=body, headers={"content-type": f"multipart/form-data; boundary=b; {parameter}"}
        )
        assert (answer.status_code, code_of(answer)) in [(415, "bad-charset"), (422, "unknown-parameter")]
        assert answer.status_code == 415 or "*" in parameter
        assert time.monotonic() - begun < 1


def test_utf_8_may_be_said(site):
    body = b'--b\r\nContent-Disposition: form-data; name="source"; filename="x"\r\n\r\n' + png() + b"\r\n--b--\r\n"
    head = {"content-type": "multipart/form-data; boundary=b; charset=UTF-8"}
    assert site.post("/api/models/plain/translate", content=body, headers=head).status_code == 200


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lies in:/home/me/secret.png", "lies in:(a file)"),
        ("see file:///home/me/x.png", "see (a file)"),
        ("FILE=/home/me/x", "FILE=(a file)"),
        ("cannot read '/home/me/my pictures/a b'", "cannot read (a file)"),
        ("cannot read /home/me/my pictures/a.png: damaged", "cannot read (a file): damaged"),
        ("in /home/me/my old cat.png, twice", "in (a file), twice"),
        ("in C:\\Users\\My Name\\x.png", "in (a file)"),
        ("in \\\\server\\share\\x", "in (a file)"),
        ("~me/x and /2024/x", "(a file) and (a file)"),
        ("in `/srv/my pictures/x`, (`/srv/x.png` too)", "in (a file), ((a file) too)"),
        ("<b>3 /4</b> of 1/2, JPEG/PNG, a / b", None),
        ("https://example.org/home/x", None),
        ("up to 25 /s", None),
    ],
)
def test_paths_are_taken_out_and_other_texts_stay(text, told):
    assert without_places(text) == (text if told is None else told)


def test_taking_paths_out_takes_no_time():
    begun = time.monotonic()
    for text in (
        "a." * 50_000,
        "/1" + "1" * 100_000,
        "/a " + "b " * 50_000,
        "/a " + "b." * 50_000,
        "'/a" * 30_000,
        "~" * 50_000,
        "/a b." * 20_000,
    ):
        without_places(text)
    assert time.monotonic() - begun < 2


def test_reasons_of_other_libraries_are_not_told():
    assert refusal_of(DependencyError("it needs x", why="secret place", fix="pip install x")).why is None


def all_errors():
    """What checks of every task and kind of condition say, and what else is said while a picture is prepared."""
    for kind in CONDITIONS.values():
        yield ConfigError("what", fix=kind.offer)
    models = [
        translator(),
        translator(task=TaskConfig(name="inpaint"), channels=(4, 3)),
        translator("shuffle", task=TaskConfig(name="super-resolve", options={"scale": 2}), factor=2),
        translator("unet", depth=4, conditions={"label": {"names": ["cat", "dog"]}, "attributes": NUMBERS, "image": {"channels": 1}}),
        translator("unet", depth=4, conditions={"text": {"words": ["red"]}, "style": {"code": 4, "channels": 3}}),
    ]
    names = ["mask", "hints", "map", "image", "style", "label", "text", "attributes"]
    asked = [lambda model, name=name: model.beside.check([name]) for name in names]
    asked += [lambda model: model.beside.check([])]
    asked += [lambda model: type(model)(model.runtime, model.description, index=True)]
    asked += [lambda model: type(model)(model.runtime, model.description, strength=0.5)]
    asked += [
        lambda model: model.beside.check_stated({"label": "nobody"}),
        lambda model: model.beside.check_stated({"attributes": {"x": 1}}),
    ]
    for ask_for in asked:
        for model in models:
            try:
                ask_for(model)
            except PixloomError as error:
                yield error


def test_no_answer_names_an_option_of_the_command_line():
    told = [refusal_of(error) for error in all_errors()]
    assert len(told) > 30
    for refusal in told:
        for text in (refusal.what, refusal.why, refusal.fix):
            assert text is None or (not re.search(r"(?<!\w)--[a-z]", text) and "=VALUE" not in text and "FILE" not in text)
    fixes = {refusal.fix for refusal in told}
    assert {"leave the parameter strength out", "leave the part mask out", "give it with the part mask"} <= fixes
    assert {"give it with the parameter label", "give them with the parameter attributes", "give it with the part image"} <= fixes
    assert refusal_of(ImageError("x", fix="work at --size trained, or --runtime torch")).fix is None
    assert len(refusal_of(ImageError("x" * 900)).what) == LONGEST


# --- Who asks ------------------------------------------------------------------------------------------------------------------------


def test_two_servers_on_one_host_have_a_cookie_each():
    token = "a-token-of-some-length"
    door = door_for("0.0.0.0", token=token, port=8765)
    with client(service({}), door=door) as guarded:
        welcome = guarded.get("/", params={"token": token}, follow_redirects=False).headers["set-cookie"]
        assert welcome.startswith("pixloom-8765=")
        guarded.cookies.clear()
        others = 'x={"a":1}; pixloom-8766=abc; '
        assert guarded.get("/api/models", headers={"cookie": others + welcome.partition(";")[0]}).status_code == 200
        assert guarded.get("/api/models", headers={"cookie": others}).status_code == 401
        assert guarded.get("/api/models", headers={"cookie": f"pixloom={door.pass_}"}).status_code == 401


def test_what_can_be_read_can_be_asked_for_its_headers(site):
    for address in ("/", "/healthz", "/api/models/plain", "/api/models/none"):
        full, bare = site.get(address), site.head(address)
        assert (bare.status_code, bare.content) == (full.status_code, b"")
        assert bare.headers["content-length"] == full.headers["content-length"]
    assert site.head("/api/models/plain/jobs").status_code == 405


@pytest.mark.parametrize(
    "token", ["sixteen+letters+and+more", "sixteen&letters&and&more", "sixteen%20letters%20", "sixteen letters#", "aü" * 10]
)
def test_tokens_that_mean_something_else_in_an_address_are_refused(token):
    with pytest.raises(ConfigError, match="A-Z, a-z, 0-9"):
        settled_token(token, host="127.0.0.1")


def test_tokens_of_letters_and_marks_are_taken():
    assert settled_token("A-token_with.many~marks", host="127.0.0.1") == ("A-token_with.many~marks", False)


def test_a_second_signal_ends_the_process_at_once(monkeypatch):
    ended = []
    monkeypatch.setattr(command.os, "_exit", ended.append)
    monkeypatch.setattr(command, "END_SECONDS", 60)
    import uvicorn

    server = Stoppable(uvicorn.Config("x"), service({}).workplace, say=print)
    server.handle_exit(signal.SIGINT, None)
    assert not ended
    server.handle_exit(signal.SIGINT, None)
    assert ended == [0]
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


# --- Runs ----------------------------------------------------------------------------------------------------------------------------


def followed(folder, name="cells"):
    return service({}, runs=[runs.follow(Followed(name, name, folder))])


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "cells"
    made.mkdir()
    (made / "config.yaml").write_text('recipe: "a\\uD800"\n', encoding="utf-8")
    return made


def test_lines_that_cannot_be_sent_spoil_no_record(folder):
    lines = [
        '{"images": 1, "kind": "losses", "a\\ud800": "b\\udfff", "/home/me/x": 1}',
        '{"images": 2, "kind": "losses", "x": 1e999, "images_per_second": 1e-320}',
        '{"images": 1' + "0" * 400 + ', "kind": "losses"}',
        '{"images": 3, "kind": "losses", "x": ' + "[" * 400 + "]" * 400 + "}",
        '{"images": 4, "kind": ["event"], "total_images": 1' + "0" * 400 + "}",
    ]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with client(followed(folder)) as site:
        entries = site.get("/api/runs/cells/history").json()["entries"]
        assert [entry["images"] for entry in entries] == [1, 2, 4]
        assert entries[0] == {"images": 1, "kind": "losses", "a?": "b?", "(a file)": 1}
        assert site.get("/api/runs").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are text")
def test_a_folder_whose_name_is_no_text_is_a_run_like_others(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/cells\xff"))
    folder.mkdir()
    (folder / "config.yaml").touch()
    assert title_of(folder) == "cells\ufffd"
    _, found = open_all([str(folder)])
    with client(service({}, runs=[runs.follow(found[0])])) as site:
        assert [run["title"] for run in site.get("/api/runs").json()["runs"]] == ["cells\ufffd"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names there")
def test_pipes_are_not_waited_for(folder):
    for name in ("history.jsonl", "report.html"):
        os.mkfifo(folder / name)
    with client(followed(folder)) as site:
        begun = time.monotonic()
        assert site.get("/api/runs/cells/history").json() == {"next": 0, "entries": []}
        assert code_of(site.get("/api/runs/cells/report")) == "no-such-report"
        assert not site.get("/api/runs/cells").json()["has_report"]
        assert time.monotonic() - begun < 2


def test_links_in_a_circle_are_not_there(folder):
    for name in ("samples", "history.jsonl", "report.html"):
        try:
            (folder / name).symlink_to(folder / name)
        except OSError:
            pytest.skip("no links here")
    with client(followed(folder)) as site:
        assert site.get("/api/runs/cells/samples").json() == {"samples": []}
        assert site.get("/api/runs").status_code == 200
        assert site.get("/api/runs/cells/report").status_code == 404


def test_links_out_of_a_run_lead_nowhere(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "000000001.png").write_bytes(png())
    (outside / "1-collapse.png").write_bytes(png())
    (outside / "record").write_text('{"images": 1, "kind": "losses"}\n', encoding="utf-8")
    for name, place in {
        "samples": outside,
        "alarms": outside,
        "history.jsonl": outside / "record",
        "report.html": outside / "record",
    }.items():
        try:
            (folder / name).symlink_to(place)
        except OSError:
            pytest.skip("no links here")
    with client(followed(folder)) as site:
        assert site.get("/api/runs/cells/samples").json() == {"samples": []}
        for address in ("samples/000000001.png", "alarms/1-collapse.png", "report"):
            assert site.get(f"/api/runs/cells/{address}").status_code == 404
        assert site.get("/api/runs/cells/history").json() == {"next": 0, "entries": []}
        assert not site.get("/api/runs/cells").json()["has_report"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not show locks")
def test_a_lock_on_another_device_says_nothing(tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    path.touch()
    told = path.stat()
    own = f"{os.major(told.st_dev):02x}:{os.minor(told.st_dev):02x}:{told.st_ino}"
    for held, known in ((own, True), (f"fe:fe:{told.st_ino}", None), (f"{own}1", False)):
        monkeypatch.setattr(Path, "read_text", lambda self, held=held, **kinds: f"1: FLOCK  ADVISORY  WRITE 1 {held} 0 EOF\n")
        assert runs.is_locked(path) is known


def test_names_of_a_model_that_cannot_be_sent_are_mended():
    model = translator("unet", depth=4, conditions={"label": {"names": ["cat\ud800", "dog"]}})
    with client(service({"named": model})) as site:
        assert site.get("/api/models").json()["models"][0]["label"]["names"] == ["cat?", "dog"]
    assert json.dumps(describe(service({"named": model}).model("named")).model_dump(), ensure_ascii=False).encode()
