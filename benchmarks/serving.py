"""How the server holds under load, and for how long: throughput, refusals, memory; and an attack by generated requests.

    python -m benchmarks.serving MODEL [--only load soak schemathesis] [--seconds 60] [--minutes 10] [--cases 2000] [--side 128] [--batch N]

From the checkout. Starts ``pixloom serve MODEL`` on a free port, asks it from this process, and writes what was seen to
benchmarks/results/serving.json. Clients and server share the machine, so its load is written down beside the figures.

load: 1, 2, 4 and 8 clients in a closed loop, then 32; a client that is refused waits as long as it is told, at most a second.
soak: requests at 70 % of the best throughput of up to 8 clients, as they would come from many people, not waiting for each other.
schemathesis: needs ``pip install schemathesis``; requests made from openapi.json, valid and not.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import numpy as np
from PIL import Image

import pixloom

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "serving.json"
FEW, MANY, SHARE = (1, 2, 4, 8), 32, 0.7
LOST = 599  # a request without an answer
IDLE_SECONDS = 2  # of a client's connection: the server closes it after five, and a request must not meet that
# What a model takes is not in the interface's description, which is the same for all: a valid parameter may be refused.
LEFT_OUT = "positive_data_acceptance"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--only", nargs="+", default=["load", "soak", "schemathesis"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int)
    options = parser.parse_args()
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    with served(options.model, *([] if options.batch is None else ["--batch", str(options.batch)])) as server:
        if "load" in options.only:
            name = "load" if options.batch is None else f"load, batch {options.batch}"
            found[name] = circumstances(options) | asyncio.run(load(server, options))
            write(found)
        if "soak" in options.only:
            best = found["load"]["best_of_few"]
            found["soak"] = circumstances(options) | asyncio.run(soak(server, options, rate=SHARE * best))
            write(found)
        if "schemathesis" in options.only:
            found["schemathesis"] = circumstances(options) | attacked(server, cases=options.cases)
            write(found)


def write(found: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1)[-1500:])


def circumstances(options: argparse.Namespace) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "commit": commit,
        "command": f"python -m benchmarks.serving MODEL {' '.join(sys.argv[2:])}",
        "versions": {"pixloom": pixloom.__version__, "python": platform.python_version()},
        "cores": os.cpu_count(),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "side": options.side,
        "threads_of_the_network": os.environ.get("OMP_NUM_THREADS", "all"),
    }


@dataclass(frozen=True)
class Server:
    """A server, its address and its process."""

    address: str
    pid: int


@contextmanager
def served(model: str, *options: str) -> Iterator[Server]:
    arguments = [sys.executable, "-m", "pixloom", "serve", model, "--port", "0", *options]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://[^\s]+/", line)))
        with httpx2.Client(base_url=address) as site:
            while site.get("readyz").status_code != 200:
                time.sleep(0.2)
        try:
            yield Server(address, process.pid)
        finally:
            process.terminate()
            process.wait(20)


@dataclass
class Seen:
    """What clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: dict[int, list[float]] = field(default_factory=dict)

    def note(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        self.seconds.setdefault(status, []).append(seconds)

    def p95(self, status: int) -> float | None:
        return round(float(np.quantile(self.seconds[status], 0.95)), 4) if status in self.seconds else None


def usage(server: Server) -> dict[str, float]:
    """Memory in MiB, threads and open files of the server's process (Linux)."""
    text = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii", errors="replace")
    values = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", text, re.MULTILINE))
    files = len(os.listdir(f"/proc/{server.pid}/fd"))
    return {"mib": int(values["VmRSS"]) / 1024, "threads": int(values["Threads"]), "files": files}


def picture(side: int, seed: int) -> bytes:
    buffer = io.BytesIO()
    small = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    Image.fromarray(small).resize((side, side)).save(buffer, "PNG")
    return buffer.getvalue()


async def ask(site: httpx2.AsyncClient, model: str, data: bytes, seen: Seen) -> httpx2.Response:
    begun = time.perf_counter()
    try:
        answer = await site.post(f"api/models/{model}/translate", content=data, headers={"content-type": "image/png"})
    except httpx2.TransportError:
        seen.note(LOST, time.perf_counter() - begun)
        return httpx2.Response(LOST)
    seen.note(answer.status_code, time.perf_counter() - begun)
    return answer


async def closed_loop(server: Server, *, clients: int, seconds: float, side: int) -> tuple[Seen, list[dict[str, float]]]:
    seen, used, ends = Seen(), [], time.monotonic() + seconds
    async with httpx2.AsyncClient(
        base_url=server.address, timeout=60, limits=httpx2.Limits(max_connections=clients, keepalive_expiry=IDLE_SECONDS)
    ) as site:
        model = (await site.get("api/about")).json()["models"][0]

        async def visit(number: int) -> None:
            data = picture(side, number)
            while time.monotonic() < ends:
                answer = await ask(site, model, data, seen)
                if answer.status_code == 429:
                    await asyncio.sleep(min(1.0, float(answer.headers["retry-after"])))

        async def watch() -> None:
            while time.monotonic() < ends:
                used.append(usage(server))
                await asyncio.sleep(1)

        await asyncio.gather(watch(), *(visit(number) for number in range(clients)))
    return seen, used


def refused_within(server: Server, seconds: float) -> float | None:
    """Share of the refusals for which the server took so long at most, by its own figures: without what clients take of the cores."""
    figures = httpx2.get(f"{server.address}metrics").text
    label = r'route="/api/models/\{model\}/translate",status="429"'
    within = re.search(rf'_request_seconds_bucket\{{le="{seconds}",{label}\}} ([\d.e+]+)', figures)
    total = re.search(rf"_request_seconds_count\{{{label}\}} ([\d.e+]+)", figures)
    return round(float(within[1]) / float(total[1]), 4) if within and total else None


async def load(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    few = {}
    for clients in FEW:
        seen, _ = await closed_loop(server, clients=clients, seconds=options.seconds / 4, side=options.side)
        few[clients] = round(seen.statuses[200] / (options.seconds / 4), 2)
    seen, used = await closed_loop(server, clients=MANY, seconds=options.seconds, side=options.side)
    best, many, total = max(few.values()), seen.statuses[200] / options.seconds, sum(seen.statuses.values())
    return {
        "pictures_per_second_by_clients": few,
        "best_of_few": best,
        "clients": MANY,
        "seconds": options.seconds,
        "pictures_per_second": round(many, 2),
        "against_best": round(many / best, 3),
        "statuses": dict(seen.statuses),
        "share_refused": round(seen.statuses[429] / total, 3),
        "p95_seconds_refused": seen.p95(429),
        "share_refused_within_50_ms_by_the_server": refused_within(server, 0.05),
        "p95_seconds_done": seen.p95(200),
        "mib_first_and_last": [round(used[0]["mib"]), round(used[-1]["mib"])],
        "load_after": [round(value, 2) for value in os.getloadavg()],
    }


async def soak(server: Server, options: argparse.Namespace, *, rate: float) -> dict[str, Any]:
    seen, used, asked = Seen(), [], []
    async with httpx2.AsyncClient(base_url=server.address, timeout=60, limits=httpx2.Limits(keepalive_expiry=IDLE_SECONDS)) as site:
        model = (await site.get("api/about")).json()["models"][0]
        begun = time.monotonic()
        for number in range(int(rate * options.minutes * 60)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            asked = [task for task in asked if not task.done()]
            asked.append(asyncio.create_task(ask(site, model, picture(options.side, number % 50), seen)))
            if number % max(1, int(5 * rate)) == 0:
                used.append(usage(server))
        await asyncio.gather(*asked)
    quarter = max(1, len(used) // 4)
    return {
        "minutes": options.minutes,
        "asked_per_second": round(rate, 2),
        "statuses": dict(seen.statuses),
        "p95_seconds_done": seen.p95(200),
        **{
            f"{name}_first_and_last_quarter": [round(median(each[name] for each in part), 1) for part in (used[:quarter], used[-quarter:])]
            for name in ("mib", "threads", "files")
        },
        "load_after": [round(value, 2) for value in os.getloadavg()],
    }


def attacked(server: Server, *, cases: int) -> dict[str, Any]:
    program = shutil.which("schemathesis", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None:
        sys.exit("schemathesis is not installed: pip install schemathesis")
    patience = ["--request-timeout", "60"]  # a job may take 30 seconds, after those that wait before it
    arguments = ["run", f"{server.address}openapi.json", "--max-examples", str(cases // 12), "--exclude-checks", LEFT_OUT, *patience]
    ended = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, cwd="/")
    print(ended.stdout[-6000:])
    counted = re.search(r"(\d[\d,]*) generated", ended.stdout)
    version = re.search(r"Schemathesis v([\d.]+)", ended.stdout)
    return {
        "version": version[1] if version else None,
        "cases": int(counted[1].replace(",", "")) if counted else None,
        "passed": ended.returncode == 0,
        "left_out": LEFT_OUT,
        "failures": re.findall(r"- (ST\d+ .+)", ended.stdout),
        "errors": re.findall(r"🚫 (.+)", ended.stdout.partition("Errors:")[2]),
    }


if __name__ == "__main__":
    main()
