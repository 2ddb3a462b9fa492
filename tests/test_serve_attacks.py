"""Named attacks on the server and what it answers; docs/server.md lists the same ones."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pixloom.config import TaskConfig
from pixloom.serve import runs
from pixloom.serve.contract import PICTURES, Wishes
from pixloom.serve.guard import door_for
from pixloom.serve.intake import header_of
from pixloom.serve.limits import Limits
from pixloom.serve.refusal import RefusedError
from pixloom.serve.served import Followed
from serving import client, code_of, png, saved, service, translator

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "server.md"
TOKEN = "the-token-of-this-test"
PNG = {"content-type": "image/png"}
LIMITS = Limits(bytes=200_000, pixels=1_000_000)
TRANSLATE = "/api/models/plain/translate"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def raw_png(width: int, height: int, *, more: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 100, 200)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


def huge_jpeg() -> bytes:
    data = bytearray(saved(Image.new("RGB", (8, 8)), "JPEG"))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", 65000, 65000)
    return bytes(data)


def cut_jpeg(part: bytes, times: int) -> bytes:
    """A JPEG with something many times behind its first two bytes."""
    data = saved(Image.new("RGB", (8, 8)), "JPEG")
    return data[:2] + part * times + data[2:]


def get(path: str, **headers: str) -> dict[str, Any]:
    return {"method": "GET", "url": path, "headers": {name.replace("_", "-"): value for name, value in headers.items()}}


def post(content: Any = None, *, url: str = TRANSLATE, params: Any = None, **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"method": "POST", "url": url, "content": png() if content is None else content, "params": params, "headers": PNG | named}


def form(*parts: tuple[str, Any], url: str = TRANSLATE, charset: str = "utf-8") -> dict[str, Any]:
    """A multipart body; a part is a file where its content is bytes."""
    body = b""
    for name, content in parts:
        file = '; filename="x.png"' if isinstance(content, bytes) else ""
        data = content if isinstance(content, bytes) else content.encode()
        body += f'--B\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
    kind = f"multipart/form-data; boundary=B; charset={charset}"
    return {"method": "POST", "url": url, "content": body + b"--B--\r\n", "headers": {"content-type": kind}}


def wished(**params: Any) -> dict[str, Any]:
    return post(params=params)


SOURCE = ("source", png())
PARTS = (413, "too-many-parts")

ATTACKS: dict[str, tuple[dict[str, Any], int, str]] = {
    # Who asks
    "foreign Host (DNS rebinding)": (get("/api/models", host="evil.example"), 403, "host-not-allowed"),
    "Host that begins like ours": (get("/api/models", host="localhost.evil.example"), 403, "host-not-allowed"),
    "Host with a user name": (get("/api/models", host="localhost@evil.example"), 403, "host-not-allowed"),
    "Host that is another address": (get("/api/models", host="169.254.169.254"), 403, "host-not-allowed"),
    "empty Host": (get("/api/models", host=""), 403, "host-not-allowed"),
    "two Hosts": ({"method": "GET", "url": "/", "headers": [("host", "localhost"), ("host", "evil.example")]}, 400, "bad-host"),
    "foreign Origin": (post(origin="https://evil.example"), 403, "origin-not-allowed"),
    "Origin null": (post(origin="null"), 403, "origin-not-allowed"),
    "Origin of another port": (post(origin="http://localhost:3000"), 403, "origin-not-allowed"),
    "Origin that is no web page": (post(origin="file://localhost"), 403, "origin-not-allowed"),
    "cross-site request without Origin": (get("/api/models", sec_fetch_site="cross-site"), 403, "cross-site"),
    "CORS preflight": (
        {"method": "OPTIONS", "url": TRANSLATE, "headers": {"origin": "https://evil.example", "access-control-request-method": "POST"}},
        403,
        "origin-not-allowed",
    ),
    # What is reached
    "climbing out of the assets": (get("/assets/%2e%2e/%2e%2e/app.py"), 404, "no-such-file"),
    "climbing with encoded slashes": (get("/assets/..%2f..%2fapp.py"), 404, "no-such-file"),
    "climbing with backslashes": (get("/assets/..%5c..%5capp.py"), 404, "no-such-file"),
    "absolute path in the assets": (get("/assets//etc/passwd"), 404, "no-such-file"),
    "NUL in a name": (get("/assets/app.js%00.png"), 404, "no-such-file"),
    "source text of the server": (get("/assets/app.py"), 404, "no-such-file"),
    "climbing out of a run's samples": (get("/api/runs/cells/samples/..%5cconfig.yaml"), 404, "no-such-picture"),
    "climbing out with encoded slashes": (get("/api/runs/cells/samples/..%2fconfig.yaml"), 404, "not-found"),
    "another file of a run": (get("/api/runs/cells/samples/config.yaml"), 404, "no-such-picture"),
    "link as a sample of a run": (get("/api/runs/cells/samples/000000009.png"), 404, "no-such-picture"),
    "another folder of a run": (get("/api/runs/cells/checkpoints/000000009.png"), 422, "bad-parameter"),
    "folder as the name of a run": (get("/api/runs/..%5c.."), 404, "no-such-run"),
    "folder as the name of a model": (get("/api/models/..%5c..%5cother/card"), 404, "no-such-model"),
    "guessed job": (get("/api/jobs/AAAAAAAAAAAAAAAAAAAAAA"), 404, "no-such-job"),
    "loading a model over HTTP": (post(url="/api/models"), 405, "method-not-allowed"),
    "replacing a model over HTTP": ({"method": "PUT", "url": "/api/models/plain"}, 405, "method-not-allowed"),
    "changing settings over HTTP": ({"method": "PATCH", "url": "/api/about", "json": {"limits": {"bytes": 1}}}, 405, "method-not-allowed"),
    "TRACE": ({"method": "TRACE", "url": "/"}, 405, "method-not-allowed"),
    "pages that other servers have": (get("/docs"), 404, "not-found"),
    # The body
    "body longer than allowed, and it says so": (post(bytes(300_000)), 413, "too-many-bytes"),
    "body longer than allowed, in chunks of no stated length": (post(iter([bytes(50_000)] * 6)), 413, "too-many-bytes"),
    "negative length": (post(content_length="-1"), 400, "bad-length"),
    "length that is no number": (post(content_length="1e3"), 400, "bad-length"),
    "length beyond any number": (post(content_length="9" * 40), 413, "too-many-bytes"),
    "compressed body": (post(zlib.compress(png()), content_encoding="gzip"), 415, "bad-content-encoding"),
    "address to be fetched (SSRF)": (post(b'{"url": "http://169.254.169.254/"}', content_type="application/json"), 415, "bad-content-type"),
    "form of names and values": (post(b"source=/etc/passwd", content_type="application/x-www-form-urlencoded"), 415, "bad-content-type"),
    "no type": (post(content_type=""), 415, "bad-content-type"),
    "eleven parts": (form(SOURCE, *[(name, b"x") for name in PICTURES], *[(name, "1") for name in list(Wishes.model_fields)[:5]]), *PARTS),
    "very many parts": (form(SOURCE, *[("seed", "1")] * 500), 400, "bad-form"),
    "very many files": (form(*[("source", b"x")] * 500), 400, "bad-form"),
    "very long field": (form(SOURCE, ("text", "a" * 100_000)), 400, "bad-form"),
    "form in an encoding that fails in a way of its own": (form(SOURCE, charset="undefined"), 415, "bad-charset"),
    "form in an encoding that takes very long": (form(("a" * 60_000, "1"), charset="punycode"), 415, "bad-charset"),
    "form without a boundary": (post(b"x", content_type="multipart/form-data"), 400, "bad-form"),
    "form that is none": (post(b"--C\r\n\r\n\r\n", content_type="multipart/form-data; boundary=B"), 400, "bad-form"),
    "file under an unknown name": (form(SOURCE, ("checkpoint", b"x")), 422, "unknown-parameter"),
    "path instead of a file": (form(("source", "/etc/passwd")), 422, "unknown-parameter"),
    "part that is there twice": (form(SOURCE, SOURCE), 422, "given-twice"),
    "unknown field": (form(SOURCE, ("output_dir", "/tmp")), 422, "unknown-parameter"),
    "empty body": (post(b""), 422, "no-source"),
    # Pictures
    "PNG that says it is enormous (bomb)": (post(raw_png(50_000, 50_000)), 413, "too-many-pixels"),
    "JPEG that says it is enormous": (post(huge_jpeg()), 413, "too-many-pixels"),
    "PNG without pixels": (post(raw_png(0, 0)), 422, "bad-picture"),
    "PNG whose pixels are missing": (post(raw_png(900, 900)), 422, "bad-picture"),
    "PNG with a text that unpacks to very much": (
        post(raw_png(10, 10, more=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000))))),
        422,
        "bad-picture",
    ),
    "PNG of very many chunks": (post(raw_png(10, 10, more=chunk(b"tEXt", b"") * 11_000)), 422, "too-many-segments"),
    "JPEG of very many segments": (post(cut_jpeg(b"\xff\xfe\0\2", 20_000)), 422, "too-many-segments"),
    "JPEG with much between its segments": (post(cut_jpeg(b"\xff\0...", 5000)), 422, "too-many-segments"),
    "JPEG of very many scans": (post(saved(Image.new("RGB", (8, 8)), "JPEG") + b"\xff\xda\0\2" * 200), 422, "too-many-segments"),
    "first bytes of a PNG only": (post(b"\x89PNG\r\n\x1a\n"), 422, "bad-picture"),
    "PNG that breaks off": (post(png(60, 60)[:-900]), 422, "bad-picture"),
    "JPEG that breaks off": (post(saved(Image.effect_noise((64, 64), 90), "JPEG")[:900]), 422, "bad-picture"),
    "SVG with a script": (post(b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"), 415, "not-a-picture"),
    "PDF": (post(b"%PDF-1.7\n"), 415, "not-a-picture"),
    "EPS, which would start Ghostscript": (post(b"%!PS-Adobe-3.0 EPSF-3.0\n"), 415, "not-a-picture"),
    "GIF": (post(saved(Image.new("P", (8, 8)), "GIF")), 415, "not-a-picture"),
    "TIFF": (post(saved(Image.new("RGB", (8, 8)), "TIFF")), 415, "not-a-picture"),
    "BMP": (post(saved(Image.new("RGB", (8, 8)), "BMP")), 415, "not-a-picture"),
    "NumPy file with a pickle": (post(b"\x93NUMPY\x01\x00" + bytes(100)), 415, "not-a-picture"),
    "pickle": (post(b"\x80\x04cos\nsystem\n"), 415, "not-a-picture"),
    "web page that calls itself a PNG": (post(b"<html><script>alert(1)</script>"), 415, "not-a-picture"),
    "animated WebP": (post(animated("WEBP")), 422, "several-frames"),
    "animated PNG": (post(animated("PNG")), 422, "several-frames"),
    "mask of another size": (form(SOURCE, ("mask", png(5, 5)), url="/api/models/holes/translate"), 422, "sizes-differ"),
    "reference that is a bomb": (form(SOURCE, ("reference", raw_png(40_000, 9)), url="/api/models/styled/translate"), 422, "bad-picture"),
    "result that would be enormous": (
        post(saved(Image.new("RGB", (300, 300)), "PNG"), url="/api/models/large/translate"),
        413,
        "too-many-pixels",
    ),
    # Parameters
    "negative seed": (wished(seed=-1), 422, "bad-parameter"),
    "endless seed": (wished(seed="9" * 400), 422, "bad-parameter"),
    "strength that is no number": (wished(strength="nan"), 422, "bad-parameter"),
    "enormous strength": (wished(strength=1e9), 422, "bad-parameter"),
    "enormous working size": (wished(size=20_000), 413, "too-many-pixels"),
    "size with a command": (wished(size="native; rm -rf /"), 422, "bad-parameter"),
    "very many samples": (wished(samples=10_000), 422, "bad-parameter"),
    "samples of a model that has one answer": (post(url="/api/models/plain/jobs", params={"samples": 2}), 422, "one-answer"),
    "direction that was not learnt": (wished(direction="back"), 422, "no-way-back"),
    "attributes that are no JSON": (wished(attributes="{'a': 1}"), 422, "bad-parameter"),
    "attributes with half a character": (wished(attributes='{"\\ud800": 1}'), 422, "bad-parameter"),
    "JSON of endless depth": (wished(attributes="[" * 15_000), 422, "bad-parameter"),
    "class that nobody knows": (wished(label="<script>"), 422, "bad-parameter"),
    "unknown parameter": (wished(callback="http://evil.example"), 422, "unknown-parameter"),
    "parameter that is there twice": (post(params=[("seed", "1"), ("seed", "2")]), 422, "given-twice"),
    "result before the first": (get("/api/jobs/x/results/-1"), 422, "bad-parameter"),
    "line beyond any number": (get(f"/api/runs/cells/history?after={'9' * 40}"), 422, "bad-parameter"),
}

WITHOUT_TOKEN: dict[str, dict[str, Any]] = {
    "no token": get("/api/models"),
    "wrong token": get("/api/models", authorization="Bearer not-the-token-at-all"),
    "beginning of the token": get("/api/models", authorization=f"Bearer {TOKEN[:-1]}"),
    "token by another scheme": get("/api/models", authorization=f"Basic {TOKEN}"),
    "token in the address of the interface": get(f"/api/models?token={TOKEN}"),
    "token as the cookie": get("/api/models", cookie=f"pixloom={TOKEN}"),
    "cookie that is none": get("/api/models", cookie='pixloom="\\777;;=='),
    "figures without the token": get("/metrics"),
}

OVER_TIME = {
    "full queue": (429, "busy"),
    "slow body": (408, "too-slow-body"),
    "slow headers": (None, "the connection is closed"),
    "very long headers": (400, "plain words"),
    "client that leaves": (None, "its job is cancelled"),
    "job that takes too long": (422, "too-slow"),
    "many results": (404, "no-such-job"),
    "picture while the server stops": (503, "stopping"),
}
"""Tested in test_serve.py and test_serve_process.py."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "cells"
    (folder / "samples").mkdir(parents=True)
    (folder / "config.yaml").write_text("recipe: auto\n", encoding="utf-8")
    (folder / "samples" / "000000009.png").symlink_to(folder / "config.yaml")
    models = {
        "plain": translator(),
        "holes": translator(task=TaskConfig(name="inpaint"), channels=(4, 3)),
        "styled": translator("unet", depth=4, conditions={"style": {"code": 4, "channels": 3}}),
        "large": translator("shuffle", task=TaskConfig(name="super-resolve", options={"scale": 4}), factor=4),
    }
    of = service(models, limits=LIMITS, runs=[runs.follow(Followed("cells", "cells", folder))])
    with client(of) as opened:
        yield opened
        assert of.workplace.load == 0
        assert not of.workplace._jobs


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_answered_as_written(site, name):
    request, status, code = ATTACKS[name]
    answer = site.request(**request)
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert "Traceback" not in answer.text
    assert not re.search(r"/(home|tmp|root|usr|etc|work|srv)/", answer.text)
    assert not [header for header in answer.headers if header.startswith("access-control")]


@pytest.mark.parametrize("name", WITHOUT_TOKEN)
def test_nothing_is_told_without_the_token(guarded, name):
    answer = guarded.request(**WITHOUT_TOKEN[name])
    assert (answer.status_code, code_of(answer)) == (401, "no-token")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.fixture(scope="module")
def guarded():
    with client(service({}), door=door_for("0.0.0.0", token=TOKEN)) as opened:
        yield opened


def test_a_server_on_all_addresses_answers_to_addresses_and_allowed_names_only():
    door = door_for("0.0.0.0", allowed=["cells.example:8443"], token=TOKEN)
    with client(service({}), door=door) as site:
        for host, status in {"192.168.1.5:8765": 200, "[fe80::1]:80": 200, "Cells.Example": 200, "evil.example": 403}.items():
            assert site.get("/healthz", headers={"host": host}).status_code == status


def test_a_page_of_this_server_may_ask(site):
    own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert site.post(TRANSLATE, content=png(), headers=PNG | own).status_code == 200
    behind = {"origin": "https://localhost:444", "host": "localhost:444"}  # a proxy that speaks TLS
    assert site.get("/api/models", headers=behind).status_code == 200


def test_the_documented_attacks_are_the_tested_ones():
    rows = re.findall(r"^\| ([^|]+) \| `?(\d+|-)`? \| `?([^|`]+)`? \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {name.strip(): (status, code.strip()) for name, status, code in rows}
    known = {name: (str(status), code) for name, (_, status, code) in ATTACKS.items()}
    known |= dict.fromkeys(WITHOUT_TOKEN, ("401", "no-token"))
    known |= {name: (str(status or "-"), code) for name, (status, code) in OVER_TIME.items()}
    assert documented == known
    assert len(known) >= 60


def test_more_frames_may_be_let_in_and_the_first_is_translated():
    header = header_of(animated("WEBP"), name="source", limits=Limits(frames=3))
    assert header.frames == 3
    with pytest.raises(RefusedError, match=r"(?s)3 frames.*limit is 2"):
        header_of(animated("WEBP"), name="source", limits=Limits(frames=2))
