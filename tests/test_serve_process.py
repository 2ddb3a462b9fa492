"""The server on a real socket: clients that dawdle, and a process that is told to end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from pixloom.modelfile import save_model
from pixloom.serve import command
from pixloom.serve.app import build_app
from pixloom.serve.command import Connection, listening
from pixloom.serve.guard import door_for
from pixloom.serve.limits import Limits
from serving import png, saved, service, translator


@pytest.fixture(scope="module")
def port():
    """Of a server in a thread, whose patience is short."""
    import uvicorn

    patience = pytest.MonkeyPatch()
    patience.setattr(command, "HEADER_SECONDS", 0.6)
    patience.setattr(command, "MOST_CONNECTIONS", 8)
    of = service({"plain": translator()}, limits=Limits(read_seconds=0.6))
    of.workplace.start({"cpu": []})
    with listening("127.0.0.1", 0) as listener:
        config = uvicorn.Config(
            build_app(of, door=door_for("127.0.0.1")), http=Connection, ws="none", log_level="critical", h11_max_incomplete_event_size=16384
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(20)
    of.workplace.close()
    patience.undo()


@contextmanager
def speaking(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        yield line


def heard(line):
    """Everything until the server closes the connection."""
    parts = []
    while part := line.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_slow_body_is_given_up(port):
    with speaking(port) as line:
        head = b"POST /api/models/plain/translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 5000\r\n\r\n"
        line.sendall(head)
        begun = time.monotonic()
        line.sendall(png()[:100])
        answer = heard(line)
    assert b"408" in answer.splitlines()[0]
    assert b'"too-slow-body"' in answer
    assert time.monotonic() - begun < 10


def test_slow_headers_are_given_up_however_they_trickle(port):
    with speaking(port) as line:
        begun = time.monotonic()
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        try:
            for _ in range(100):
                time.sleep(0.1)
                line.sendall(b"X: y\r\n")
            gone = False
        except OSError:
            gone = True
    assert gone
    assert time.monotonic() - begun < 8


def test_a_connection_that_says_nothing_is_closed(port):
    with speaking(port) as line:
        assert heard(line) == b""


def test_an_ordinary_client_may_take_its_time_between_requests(port):
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as site:
        for _ in range(2):
            assert site.get("/healthz").status_code == 200
            time.sleep(0.3)


def test_connections_beyond_the_limit_are_closed_at_once(port):
    with ExitStack() as lines:
        opened = [lines.enter_context(speaking(port)) for _ in range(12)]
        begun, gone = time.monotonic(), 0
        for line in opened[8:]:
            try:
                gone += line.recv(1) == b""
            except ConnectionResetError:
                gone += 1
        assert gone == 4
        assert time.monotonic() - begun < 0.5
        opened[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert opened[0].recv(12) == b"HTTP/1.1 200"


def test_very_long_headers_are_refused(port):
    with speaking(port) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000)
        assert b"400" in heard(line).splitlines()[0]


def test_a_body_in_chunks_is_counted(port):
    def body():
        for _ in range(30):
            yield bytes(1_000_000)

    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as site:
        try:
            answer = site.post("/api/models/plain/translate", content=body(), headers={"content-type": "image/png"})
            assert answer.status_code == 413
        except httpx2.TransportError:  # closed while it was still being sent: then nothing is heard of the answer
            pass
        assert site.get("/healthz").status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
def test_sigterm_lets_accepted_jobs_finish_and_takes_no_new_ones(tmp_path):
    model = translator()
    save_model(tmp_path / "plain", generator=model.generator, description=model.description)
    arguments = [sys.executable, "-m", "pixloom", "serve", str(tmp_path / "plain"), "--port", "0", "--device", "cpu"]
    source = str(Path(command.__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": source, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr
            address = next(found[0] for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+/", line)))
            with httpx2.Client(base_url=address, timeout=20) as site:
                while site.get("readyz").status_code != 200:
                    time.sleep(0.05)
                large = saved(Image.new("RGB", (1000, 1000)), "PNG")
                head = {"content-type": "image/png"}
                jobs = [site.post("api/models/plain/jobs?size=native", content=large, headers=head).json()["id"] for _ in range(3)]
                process.send_signal(signal.SIGTERM)
                begun = time.monotonic()
                while site.get("readyz").status_code != 503:
                    time.sleep(0.02)
                refused = site.post("api/models/plain/translate", content=png(), headers=head)
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
                states = []
                while "done" not in states or {"queued", "running"} & set(states):
                    states = [site.get(f"api/jobs/{job}").json()["state"] for job in jobs]
                assert states == ["done"] * 3
                assert site.get(f"api/jobs/{jobs[-1]}/results/0").status_code == 200
            assert process.wait(20) == 0
            assert time.monotonic() - begun < 10
        finally:
            process.kill()


def test_help_needs_neither_torch_nor_the_packages_of_the_server():
    program = (
        "import sys\nfrom pixloom.cli.app import main\ntry:\n    main(['serve', '--help'])\nexcept SystemExit as ended:\n"
        "    assert not ended.code\nassert not {'torch', 'fastapi', 'uvicorn', 'numpy'} & set(sys.modules), 'too much is imported'\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(command.__file__).parents[2])}
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert told.returncode == 0, told.stderr
    assert "--max-pixels" in told.stdout
