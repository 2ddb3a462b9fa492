"""A small server that keeps the contract with the page and translates nothing: it turns pictures upside down in colour.

Pictures of 13 x 13 pixels fail, those of 14 x 14 take long; ``/test/busy?count=N`` makes the next N posts answer 429.
"""

from __future__ import annotations

import io
import itertools
import json
import threading
import time
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from PIL import Image

PAGE = Path(__file__).resolve().parents[2] / "src" / "pixloom" / "serve" / "page"
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
    "worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
TYPES = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
TYPES |= {".json": "application/json", ".wasm": "application/wasm", ".png": "image/png", ".md": "text/markdown"}

CLASSES = [
    {"id": 0, "name": "sky", "color": [110, 170, 230]},
    {"id": 1, "name": "building", "color": [150, 110, 90]},
    {"id": 2, "name": "road", "color": [90, 90, 100]},
    {"id": 3, "name": "tree", "color": [60, 130, 70]},
    {"id": 4, "name": "water", "color": [40, 80, 160]},
]


def model(name: str, **more: Any) -> dict[str, Any]:
    """A MODEL of the contract."""
    source = {"kind": "picture", "channels": 3, "classes": [], "background": [255, 255, 255]}
    target = {"kind": "picture", "channels": 3, "classes": []}
    plain: dict[str, Any] = {"id": name, "title": name, "task": "pair", "summary": "a model of the tests", "size": 64, "native": False}
    plain |= {"source": source, "target": target, "wants": [], "takes": [], "needed": [], "magnification": 1, "strength": False}
    plain |= {"answers": False, "reference": False, "text": False, "label": None, "attributes": [], "map": None, "image": None}
    return plain | {"directions": [{"id": "forward", "title": "A to B"}]} | more


ATTRIBUTES = [
    {"name": "smile", "low": -1, "high": 1, "default": None, "exclusive": None},
    {"name": "black hair", "low": 0, "high": 1, "default": None, "exclusive": 0},
    {"name": "blond hair", "low": 0, "high": 1, "default": None, "exclusive": 0},
]
MODELS = [
    model(
        "streets",
        task="synthesize",
        answers=True,
        source={"kind": "labels", "channels": 3, "classes": CLASSES, "background": [110, 170, 230]},
    ),
    model("photos", strength=True, answers=True, directions=[{"id": "forward", "title": "A to B"}, {"id": "back", "title": "B to A"}]),
    model("colours", task="colorize", takes=["hints"]),
    model("holes", task="inpaint", wants=["mask"]),
    model("segments", task="segment", target={"kind": "labels", "channels": 3, "classes": CLASSES}),
    model("faces", task="edit", needed=["label"], label={"names": ["cat", "dog"], "given": "one", "default": None}, attributes=ATTRIBUTES),
    model("beside", text=True, reference=True, map={"classes": CLASSES}, image={"channels": 1}),
]


def history(run: str) -> list[dict[str, Any]]:
    """Entries of a run; the one that goes on has more every second."""
    count = 40 if run == "done" else min(60, 20 + int(time.time() - STARTED))
    entries: list[dict[str, Any]] = [{"images": 0, "kind": "event", "elapsed_seconds": 0.0, "event": "started", "total_images": 6000}]
    for step in range(1, count):
        common = {"images": 100 * step, "elapsed_seconds": 4.0 * step}
        wave = np.sin(step / 4)
        losses = {"adversarial": 2 + wave / (1 + step / 10), "pixel": 30 / (step + 3)}
        entries.append({**common, "kind": "losses", "generator": losses, "critic": {"real": 0.7 - step / 200, "fake": 0.6 + wave / 20}})
        if step % 4 == 0:
            entries.append({**common, "kind": "signs", "ahead": 0.6 + wave / 10, "spread": 1 - 1 / step, "grid": "nan"})
        if step % 10 == 0:
            entries.append({**common, "kind": "validation", "psnr": 14 + np.log(step), "ssim": 0.4 + step / 200})
    return entries


STARTED = time.time()
RUNS = ["going", "done"]


def run_of(name: str) -> dict[str, Any]:
    """A RUN of the contract."""
    last = history(name)[-1]
    alarm = {"name": "the critic is too far ahead", "images": 800, "message": "it ranks 99 % of the real pictures above made ones"}
    alarm |= {"remedies": ["losses.augment=0.2", "more pictures"], "picture": "000000800-critic.png"}
    return {
        "id": name, "title": f"streets, {name}", "state": "training" if name == "going" else "finished", "recipe": "auto",
        "task": "pair", "size": 64, "images": last["images"], "total_images": 6000, "elapsed_seconds": last["elapsed_seconds"],
        "remaining_seconds": 754.0 if name == "going" else None, "images_per_second": 24.96, "alarms": [alarm] if name == "going" else [],
        "metrics": {"psnr": 17.21, "ssim": 0.612}, "has_report": True,
    }  # fmt: skip


def sample(number: int) -> bytes:
    """A preview that becomes sharper."""
    rows, columns = np.mgrid[:96, :288]
    shade = 128 + 90 * np.sin(rows / 9) * np.cos(columns / (40 - 4 * number))
    return png(Image.fromarray(np.dstack([shade, 255 - shade, 60 + columns / 2]).astype(np.uint8)))


def png(image: Image.Image) -> bytes:
    """A picture as bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class Fake(ThreadingHTTPServer):
    """The server with what it remembers."""

    daemon_threads = True

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.busy, self.jobs, self.numbers = folder, 0, dict[str, dict[str, Any]](), itertools.count()
        self.posts: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    """The contract; or, with a folder, its files."""

    server: Fake
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Nothing."""

    def answer(self, body: bytes | dict[str, Any], *, kind: str = "application/json", status: int = 200, **headers: str) -> None:
        """Send it with the headers of the contract."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        common = {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        policy = {} if self.server.folder else {"Content-Security-Policy": POLICY, "Cross-Origin-Opener-Policy": "same-origin"}
        for name, value in {**common, **policy, **{key.replace("_", "-"): text for key, text in headers.items()}}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def fail(self, status: int, code: str, **texts: str) -> None:
        """An error of the contract."""
        self.answer({"error": {"code": code, "what": code, "where": None, "why": None, "fix": None} | texts}, status=status)

    def do_GET(self) -> None:
        """Files, models, jobs, runs."""
        url = urlsplit(self.path)
        path, query = unquote(url.path).strip("/"), parse_qs(url.query)
        root = self.server.folder or PAGE
        file = root / (path or "index.html")
        if not path.startswith("api") and file.is_file():
            return self.answer(file.read_bytes(), kind=TYPES.get(file.suffix, "application/octet-stream"))
        parts = path.split("/")[1:]
        if path == "test/posts":
            return self.answer({"count": len(self.server.posts)})
        if path == "test/busy":
            self.server.busy = int(query["count"][0])
            return self.answer({})
        if parts == ["about"]:
            return self.answer({"version": "0.1.0", "limits": {}, "models": [one["id"] for one in MODELS], "runs": RUNS})
        if parts == ["models"]:
            return self.answer({"models": MODELS})
        if parts[:1] == ["models"] and parts[2:] == ["card"]:
            return self.answer(b"# A card\n\nIt says `much`.\n\n- one\n- two\n\n```\ncode <b>\n```\n", kind="text/markdown")
        if parts[:1] == ["jobs"] and parts[1] in self.server.jobs:
            return self.job(self.server.jobs[parts[1]], parts[2:])
        if parts[:1] == ["runs"]:
            return self.run(parts[1:], query)
        return self.fail(404, "not-found")

    def run(self, parts: list[str], query: dict[str, list[str]]) -> None:
        """What is asked of runs."""
        if not parts:
            return self.answer({"runs": [run_of(name) for name in RUNS]})
        if len(parts) == 1:
            return self.answer(run_of(parts[0]))
        if parts[1] == "history":
            after = int(query.get("after", ["0"])[0])
            entries = history(parts[0])[after : after + 30]
            return self.answer({"next": after + len(entries), "entries": entries})
        if parts[1] == "samples" and len(parts) == 2:
            return self.answer({"samples": [{"name": f"{100 * number:09d}.png", "images": 100 * number} for number in range(1, 7)]})
        if parts[1] == "report":
            return self.answer(b"<!doctype html><title>Report</title>report", kind="text/html")
        return self.answer(sample(int(parts[2][:9]) // 100 % 7), kind="image/png")

    def job(self, job: dict[str, Any], parts: list[str]) -> None:
        """A job as it stands, or one of its results."""
        if parts:
            return self.answer(job["pictures"][int(parts[1])], kind="image/png", Content_Disposition="attachment")
        age = (time.time() - job["since"]) / job["takes"]
        state = "running" if age < 1 else "failed" if job["fails"] else "done"
        error = {
            "code": "cannot-do",
            "what": "this picture cannot be translated",
            "where": None,
            "why": "it has 13 rows",
            "fix": "give another",
        }
        known = {"id": job["id"], "model": job["model"], "state": state, "position": None, "progress": min(1, age), "notes": []}
        known |= {
            "width": 1,
            "height": 1,
            "milliseconds": 42.0,
            "results": len(job["pictures"]),
            "error": error if state == "failed" else None,
        }
        return self.answer(known)

    def do_POST(self) -> None:
        """A picture to be translated."""
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = url.path.strip("/").split("/")
        if self.server.busy:
            self.server.busy -= 1
            return self.answer({"error": {"code": "busy"}}, status=429, Retry_After="1")
        given: dict[str, Any] = {name: values[0] for name, values in parse_qs(url.query).items()}
        given |= fields(self.headers["Content-Type"], body)
        source = Image.open(io.BytesIO(given["source"])).convert("RGB")
        self.server.posts.append({"model": parts[2], "act": parts[3], **given})
        time.sleep(0.02)
        made = png(Image.fromarray(255 - np.asarray(source)))
        if parts[3] == "translate":
            return self.answer(made, kind="image/png")
        name = f"job{next(self.server.numbers)}"
        takes = {14: 20.0}.get(source.width, 0.15)
        pictures = [made] * int(given.get("samples", 1))
        self.server.jobs[name] = {
            "id": name,
            "model": parts[2],
            "since": time.time(),
            "takes": takes,
            "fails": source.width == 13,
            "pictures": pictures,
        }
        return self.answer({"id": name, "state": "queued", "position": 1, "progress": 0.0}, status=202)

    def do_DELETE(self) -> None:
        """Forget a job."""
        self.server.deleted.append(self.path.rsplit("/", 1)[-1])
        self.answer(b"", status=204)


def fields(kind: str, body: bytes) -> dict[str, Any]:
    """The parts of a body: a raw picture is the source."""
    if not kind.startswith("multipart/"):
        return {"source": body}
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    found: dict[str, Any] = {}
    for part in message.iter_parts():
        data = part.get_payload(decode=True)
        found[str(part.get_param("name", header="content-disposition"))] = data if part.get_filename() else data.decode()
    return found


if __name__ == "__main__":
    import sys

    print(Fake(Path(sys.argv[1]) if len(sys.argv) > 1 else None).url, flush=True)
    threading.Event().wait()
