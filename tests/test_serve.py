"""The server: every route, the queue, jobs together and alone, results with a lifetime; in this process."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from pixloom.config import TaskConfig
from pixloom.errors import ConfigError, DependencyError, ModelError, OutputError
from pixloom.images import read
from pixloom.modelfile import save_model
from pixloom.serve import page, runs
from pixloom.serve.command import assembled, check, listening, settled_token, warm_up
from pixloom.serve.contract import PICTURES, Wishes
from pixloom.serve.guard import door_for
from pixloom.serve.intake import Sent, prepare
from pixloom.serve.jobs import new_job
from pixloom.serve.limits import Limits
from pixloom.serve.metrics import Metrics
from pixloom.serve.refusal import RefusedError
from pixloom.serve.served import Followed, Served, describe, open_all
from pixloom.serve.workplace import Workplace
from serving import Gate, client, code_of, pixels_of, png, saved, service, translator

PNG = {"content-type": "image/png"}
CLASSES = [{"name": "sky", "colour": [0, 0, 200], "id": 3, "share": 0.7}, {"name": "wall", "colour": [200, 0, 0], "id": 5, "share": 0.3}]
NUMBERS = {"names": ["age", "smile", "frown"], "low": [0, 0, 0], "high": [9, 1, 1], "exclusive": [["smile", "frown"]]}
DEEP = {"name": "unet", "depth": 4}

KINDS = {
    "plain": {},
    "noisy": DEEP | {"noise_channels": 4},
    "holes": {"task": TaskConfig(name="inpaint"), "channels": (4, 3)},
    "hinted": {"task": TaskConfig(name="colorize", options={"hints": True}), "channels": (4, 2)},
    "large": {"name": "shuffle", "task": TaskConfig(name="super-resolve", options={"scale": 2}), "factor": 2},
    "painted": {"task": TaskConfig(name="synthesize", options={"classes": CLASSES})},
    "parsed": DEEP | {"task": TaskConfig(name="segment", options={"classes": CLASSES}), "channels": (3, 2), "head": "softmax"},
    "named": DEEP | {"conditions": {"label": {"names": ["cat", "dog"]}}},
    "shaped": DEEP | {"conditions": {"attributes": NUMBERS}},
    "worded": DEEP | {"conditions": {"text": {"words": ["red", "blue"]}}},
    "styled": DEEP | {"conditions": {"style": {"code": 4, "channels": 3}}},
    "mapped": DEEP | {"conditions": {"map": {"classes": CLASSES}}},
    "drawn": DEEP | {"conditions": {"image": {"channels": 1}}},
}


@pytest.fixture(scope="module")
def models():
    return {name: translator(**kind) for name, kind in KINDS.items()}


@pytest.fixture(scope="module")
def site(models):
    with client(service(models, back=models["noisy"])) as opened:
        yield opened


def finished(site, job, *, seconds=20.0):
    """A job once it is over."""
    ends = time.monotonic() + seconds
    while (found := site.get(f"/api/jobs/{job['id']}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < ends
        time.sleep(0.01)
    return found


def label_map(height=20, width=24):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = CLASSES[0]["colour"], CLASSES[1]["colour"]
    return saved(Image.fromarray(pixels), "PNG")


def hole(height=20, width=24):
    return saved(Image.fromarray(np.pad(np.full((4, 4), 255, np.uint8), ((2, height - 6), (2, width - 6)))), "PNG")


# --- The server ----------------------------------------------------------------------------------------------------------------------


def test_the_page_and_its_files_are_served(site, tmp_path):
    answer = site.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert b"<html" in answer.content
    (tmp_path / "assets" / "deep").mkdir(parents=True)
    for name in ("index.html", "assets/app.js", "assets/deep/x.css", "assets/secret.py"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert sorted(page.files(tmp_path)) == ["assets/app.js", "assets/deep/x.css", "index.html"]
    assert site.get("/assets/nothing.js").status_code == 404


def test_every_asset_of_the_page_has_its_type(site):
    for name, file in page.files().items():
        answer = site.get("/" if name == page.INDEX else f"/{name}")
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, file.content, file.media_type)


def test_health_metrics_and_about(site, models):
    assert site.get("/healthz").json() == {"status": "ok"}
    assert site.get("/readyz").json() == {"status": "ready"}
    about = site.get("/api/about").json()
    assert about["models"] == list(models)
    assert about["limits"] == {"bytes": 20_000_000, "pixels": 12_500_000, "seconds": 30, "queue": 16, "results_seconds": 600}
    figures = site.get("/metrics").text
    assert 'pixloom_requests_total{method="GET",route="/healthz",status="200"}' in figures
    assert "pixloom_queue_jobs 0.0" in figures


def test_the_interface_is_described_without_a_page_from_elsewhere(site):
    paths = site.get("/openapi.json").json()["paths"]
    assert {"/healthz", "/api/models/{model}/jobs", "/api/jobs/{job}/results/{number}", "/api/runs/{run}/history"} <= set(paths)
    form = paths["/api/models/{model}/translate"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(form) == {"source", *PICTURES, *Wishes.model_fields}
    assert site.get("/docs").status_code == 404


def test_every_answer_carries_the_headers_that_browsers_heed(site):
    for answer in (site.get("/"), site.get("/none"), site.get("/api/models"), site.get("/", headers={"origin": "null"})):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' blob: data:;")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_server_that_is_warming_up_is_not_ready(models):
    of = service({"plain": models["plain"]})
    go = threading.Event()
    of.workplace.start({"elsewhere": [lambda: go.wait(20)]})
    of.workplace._warming.add("elsewhere")
    assert not of.workplace.is_ready
    go.set()
    ends = time.monotonic() + 20
    while not of.workplace.is_ready:
        assert time.monotonic() < ends
        time.sleep(0.01)
    of.workplace.close()


def test_a_token_opens_by_header_and_by_a_cookie_that_is_not_the_token(models):
    token = "a-token-of-some-length"
    with client(service({"plain": models["plain"]}), door=door_for("0.0.0.0", token=token)) as site:
        assert code_of(site.get("/api/models")) == "no-token"
        assert site.get("/healthz").status_code == 200
        assert site.get("/api/models", headers={"authorization": f"Bearer {token}"}).status_code == 200
        welcome = site.get("/", params={"token": token}, follow_redirects=False)
        assert (welcome.status_code, welcome.headers["location"]) == (303, "./")
        assert "HttpOnly; SameSite=Strict" in welcome.headers["set-cookie"]
        assert token not in welcome.headers["set-cookie"]
        assert site.get("/api/models").status_code == 200  # the client keeps cookies


# --- Models --------------------------------------------------------------------------------------------------------------------------


def test_models_are_described_for_a_page(site, models):
    found = {each["id"]: each for each in site.get("/api/models").json()["models"]}
    assert list(found) == list(models)
    assert site.get("/api/models/named").json() == found["named"]
    assert found["plain"]["strength"]
    assert not found["plain"]["answers"]
    assert found["noisy"]["answers"]
    assert found["holes"]["wants"] == ["mask"]
    assert found["hinted"]["takes"] == ["hints"]
    assert found["large"]["magnification"] == 2
    assert found["painted"]["source"]["kind"] == "labels"
    assert found["painted"]["source"]["classes"][0] == {"id": 3, "name": "sky", "color": [0, 0, 200]}
    assert found["painted"]["source"]["background"] == [0, 0, 200]
    assert not found["painted"]["strength"]
    assert found["parsed"]["target"]["kind"] == "labels"
    assert [each["id"] for each in found["parsed"]["target"]["classes"]] == [3, 5]
    assert found["named"]["label"] == {"names": ["cat", "dog"], "given": "one", "default": None}
    assert found["named"]["needed"] == ["label"]
    assert [each["exclusive"] for each in found["shaped"]["attributes"]] == [None, 0, 0]
    assert found["shaped"]["attributes"][0] == {"name": "age", "low": 0, "high": 9, "default": None, "exclusive": None}
    assert found["worded"]["text"]
    assert found["styled"]["reference"]
    assert [each["name"] for each in found["mapped"]["map"]["classes"]] == ["sky", "wall"]
    assert found["drawn"]["image"] == {"channels": 1}
    assert [each["id"] for each in found["plain"]["directions"]] == ["forward", "back"]


def test_a_model_of_edges_is_told_by_its_name(models):
    assert describe(Served("x", "edges to shoes", models["plain"])).source.kind == "edges"


def test_what_can_be_done_with_an_address_is_said_where_something_else_was_asked(site):
    assert site.put("/api/jobs/x").headers["allow"] == "DELETE, GET, HEAD"


def test_the_card_is_markdown(site):
    answer = site.get("/api/models/plain/card")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "## Use" in answer.text


def test_what_is_named_at_the_start_is_found(tmp_path, models):
    run = tmp_path / "Zellen 细胞"
    (run / "model-dir").mkdir(parents=True)
    (run / "config.yaml").write_text("recipe: auto\n", encoding="utf-8")
    served, followed = open_all([str(run)])
    assert not served
    assert [(each.id, each.title) for each in followed] == [("Zellen", "Zellen 细胞")]
    plain = models["plain"]
    save_model(run / "model", generator=plain.generator, description=plain.description, back=(plain.generator, plain.description))
    served, followed = open_all([str(run), str(run / "model")], device="cpu")
    assert [each["id"] for each in describe(served[0]).model_dump()["directions"]] == ["forward", "back"]
    assert [each.id for each in served] == ["Zellen", "Zellen-2"]
    assert [each.id for each in followed] == ["Zellen"]
    with pytest.raises(ModelError, match="no such model"):
        open_all([str(tmp_path / "nothing")])
    wide = translator(channels=(3, 5))
    save_model(tmp_path / "wide", generator=wide.generator, description=wide.description)
    with pytest.raises(ModelError, match="5 channels cannot be served"):
        open_all([str(tmp_path / "wide")])
    assert list(assembled([str(run)], limits=Limits()).models) == ["Zellen"]


def test_every_kind_can_be_warmed_up(models):
    for each in models.values():
        warm_up(each)


# --- Translating ---------------------------------------------------------------------------------------------------------------------


def test_a_translation_is_that_of_the_translator(site, models):
    answer = site.post("/api/models/plain/translate", content=png(), headers=PNG)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["content-disposition"] == 'attachment; filename="plain.png"'
    assert np.array_equal(pixels_of(answer.content), models["plain"].translate(read(png())).pixels)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_three_formats_are_read_and_metadata_goes_nowhere(site, kind):
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    data = saved(Image.fromarray(np.zeros((9, 7, 3), np.uint8)), kind, exif=exif)
    answer = site.post("/api/models/plain/translate", content=data, headers={"content-type": f"image/{kind.lower()}"})
    assert answer.status_code == 200
    assert pixels_of(answer.content).shape == (9, 7, 3)
    assert b"secret" not in answer.content
    assert b"eXIf" not in answer.content


def test_a_job_goes_from_the_queue_to_its_results(site):
    answer = site.post("/api/models/noisy/jobs", params={"samples": 3, "seed": 7}, content=png(), headers=PNG)
    assert answer.status_code == 202
    job = finished(site, answer.json())
    assert (job["state"], job["results"], job["width"], job["height"], job["progress"], job["error"]) == ("done", 3, 24, 20, 1, None)
    assert job["milliseconds"] > 0
    first, second, third = (site.get(f"/api/jobs/{job['id']}/results/{n}").content for n in range(3))
    assert len({first, second, third}) == 3
    assert second == site.post("/api/models/noisy/translate", params={"seed": 8}, content=png(), headers=PNG).content
    assert code_of(site.get(f"/api/jobs/{job['id']}/results/3")) == "no-such-result"
    assert site.delete(f"/api/jobs/{job['id']}").status_code == 204
    assert code_of(site.get(f"/api/jobs/{job['id']}")) == "no-such-job"
    assert code_of(site.delete(f"/api/jobs/{job['id']}")) == "no-such-job"


@pytest.mark.parametrize(
    ("model", "files", "fields"),
    [
        ("holes", {"mask": hole()}, {}),
        ("hinted", {"hints": saved(Image.new("RGBA", (24, 20), (255, 0, 0, 255)), "PNG")}, {}),
        ("hinted", {}, {}),
        ("named", {}, {"label": "dog"}),
        ("named", {}, {"label": "cat=0.5,dog=0.5"}),
        ("shaped", {}, {"attributes": json.dumps({"age": 3, "smile": 1})}),
        ("worded", {}, {"text": "a red one"}),
        ("styled", {"reference": png(5, 6)}, {}),
        ("mapped", {"map": label_map()}, {}),
        ("drawn", {"image": png(channels=1)}, {}),
        ("plain", {}, {"strength": "0.5", "size": "24", "keep_alpha": "true"}),
        ("plain", {}, {"direction": "back", "seed": "3"}),
        ("parsed", {}, {"index": "true"}),
        ("large", {}, {"size": "native"}),
    ],
)
def test_whatever_goes_with_a_picture_comes_in_a_form(site, model, files, fields):
    sent = {"source": ("x.png", png(), "image/png")} | {name: (name, data, "image/png") for name, data in files.items()}
    answer = site.post(f"/api/models/{model}/translate", files=sent, data=fields)
    assert answer.status_code == 200, answer.text
    scale = 2 if model == "large" else 1
    assert pixels_of(answer.content).shape == ((20, 24) if "index" in fields else (20 * scale, 24 * scale, 3))


def test_a_label_map_is_translated_in_its_colours(site):
    assert site.post("/api/models/painted/translate", content=label_map(), headers=PNG).status_code == 200
    unknown = saved(Image.new("L", (24, 20), 7), "PNG")  # ids are 3 and 5
    answer = site.post("/api/models/painted/translate", content=unknown, headers=PNG)
    assert (answer.status_code, code_of(answer)) == (422, "bad-picture")


def test_every_parameter_changes_a_result(site):
    def made(model, **wishes):
        return site.post(f"/api/models/{model}/translate", params=wishes, content=png(), headers=PNG).content

    plain = made("plain")
    assert len({plain, made("plain", strength=0.5), made("plain", size=32), made("plain", direction="back")}) == 4
    assert made("noisy", seed=1) != made("noisy", seed=2)
    assert made("named", label="cat") != made("named", label="dog")
    assert made("worded", text="red") != made("worded", text="blue")
    assert made("shaped", attributes='{"age": 1}') != made("shaped", attributes='{"age": 9}')
    assert made("parsed") != made("parsed", index=True)
    clear = saved(Image.new("RGBA", (8, 8), (9, 9, 9, 100)), "PNG")
    kept = site.post("/api/models/plain/translate", params={"keep_alpha": True}, content=clear, headers=PNG)
    assert pixels_of(kept.content).shape == (8, 8, 4)


def test_a_large_picture_goes_through_in_pieces_with_its_notes(site):
    data = saved(Image.new("RGB", (1500, 800)), "PNG")
    answer = site.post("/api/models/plain/jobs", params={"size": "native"}, content=data, headers=PNG)
    job = finished(site, answer.json())
    assert (job["state"], job["width"], job["height"]) == ("done", 1500, 800)


# --- The queue -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def held():
    """A site whose network waits, and its gate."""
    model = translator()
    gate = Gate(model)
    of = service({"plain": model}, limits=Limits(queue=2, batch=4))
    with client(of) as site:
        yield site, gate, of
        gate.open.set()


def ask(site, *, seed=0, **params):
    return site.post("/api/models/plain/jobs", params=params, content=png(seed=seed), headers=PNG)


def wait_for(condition, *, seconds=20.0):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_a_full_queue_says_so_at_once_without_reading_the_picture(held):
    site, gate, of = held
    running = ask(site).json()
    assert gate.entered.wait(20)
    waiting = [ask(site).json(), ask(site).json()]
    assert [site.get(f"/api/jobs/{job['id']}").json()["position"] for job in waiting] == [1, 2]
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        answer = site.post("/api/models/plain/jobs", content=b"never looked at", headers=PNG)
        seconds.append(time.perf_counter() - begun)
        assert (answer.status_code, code_of(answer)) == (429, "busy")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert min(seconds) < 0.05
    assert code_of(site.get(f"/api/jobs/{running['id']}/results/0")) == "not-done"
    gate.open.set()
    assert [finished(site, job)["state"] for job in (running, *waiting)] == ["done"] * 3
    wait_for(lambda: of.workplace.load == 0)


def test_waiting_pictures_of_one_size_go_together_and_come_out_as_alone(held):
    site, gate, _ = held
    first = ask(site).json()
    assert gate.entered.wait(20)
    others = [ask(site, seed=seed).json() for seed in (1, 2)]
    gate.open.set()
    for job in (first, *others):
        finished(site, job)
    assert gate.batches == [1, 2]
    for seed, job in zip((1, 2), others, strict=True):
        alone = site.post("/api/models/plain/translate", content=png(seed=seed), headers=PNG).content
        assert site.get(f"/api/jobs/{job['id']}/results/0").content == alone


def test_only_what_is_alike_goes_together(held):
    site, gate, of = held
    ask(site)
    assert gate.entered.wait(20)
    jobs = [ask(site, seed=1).json(), ask(site, size=32).json()]
    gate.open.set()
    for job in jobs:
        finished(site, job)
    assert gate.batches == [1, 1, 1]


def test_what_fails_together_is_tried_alone(models):
    model = translator()
    of = service({"plain": model}, limits=Limits(batch=4))
    jobs = [made_job(model, seed=seed) for seed in range(3)]
    run = model.runtime.run

    def failing(source, *, condition=None, seed):
        if len(source) > 1:
            raise MemoryError
        return run(source, condition=condition, seed=seed)

    model.runtime.run = failing
    for job in jobs:
        of.workplace.accept(job)
    of.workplace.start({"cpu": []})
    wait_for(lambda: all(job.is_over for job in jobs))
    assert {job.state for job in jobs} == {"done"}
    of.workplace.close()


def made_job(model, *, seed=0, limits=None, **wishes):
    wished = Wishes(**wishes)
    prepared = prepare(model, Sent({"source": png(seed=seed)}, {}), wishes=wished, limits=limits or Limits())
    return new_job("plain", model, prepared, wishes=wished, device="cpu")


def test_a_job_can_be_cancelled_while_it_waits_and_while_it_runs(held):
    site, gate, of = held
    running, waiting = ask(site).json(), None
    assert gate.entered.wait(20)
    waiting = ask(site).json()
    for job in (running, waiting):
        assert site.delete(f"/api/jobs/{job['id']}").status_code == 204
        assert site.get(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"
    assert of.workplace.load == 0
    gate.open.set()
    assert finished(site, ask(site).json())["state"] == "done"
    assert gate.batches == [1, 1]  # what was cancelled in the queue never went through


def test_what_fails_inside_is_a_fault_without_its_reasons(held, capsys):
    site, gate, of = held
    model = of.models["plain"].forward
    model.runtime.run = lambda *args, **kinds: 1 / 0
    job = finished(site, ask(site).json())
    assert (job["state"], job["error"]["code"], job["error"]["why"]) == ("failed", "fault", None)
    answer = site.post("/api/models/plain/translate", content=png(), headers=PNG)
    assert (answer.status_code, code_of(answer)) == (500, "fault")
    assert "division" not in answer.text
    assert "division" in capsys.readouterr().err


def test_too_long_a_translation_fails_at_its_time(models):
    clock = [0.0]
    model = translator()
    gate = Gate(model)
    of = service({"plain": model}, limits=Limits(seconds=5), clock=lambda: clock[0])
    with client(of) as site:
        job = ask(site).json()
        assert gate.entered.wait(20)
        clock[0] = 6
        found = site.get(f"/api/jobs/{job['id']}").json()
        assert (found["state"], found["error"]["code"]) == ("failed", "too-slow")
        of.workplace.sweep()  # while the network is still at it
        assert site.delete(f"/api/jobs/{job['id']}").status_code == 204
        of.workplace.sweep()
        assert of.metrics.registry.get_sample_value("pixloom_jobs_total", {"model": "plain", "state": "failed"}) == 1
        gate.open.set()
        assert finished(site, ask(site).json())["state"] == "done"


def test_a_picture_in_pieces_stops_when_nobody_waits(models):
    model = translator()
    of = service({"plain": model})
    jobs = [made_job(model)]
    of.workplace.accept(jobs[0])
    of.workplace.cancel(jobs[0])
    with pytest.raises(Exception, match="nobody waits"):
        of.workplace._tell(jobs[0], 0.5)


def test_results_are_forgotten_after_their_time_and_when_they_take_too_much(models):
    clock = [0.0]
    size = len(png(64, 64))
    of = service({"plain": models["plain"]}, limits=Limits(keep_seconds=10, keep_bytes=2 * size), clock=lambda: clock[0])
    with client(of) as site:
        jobs = [finished(site, site.post("/api/models/plain/jobs", content=png(64, 64), headers=PNG).json()) for _ in range(5)]
        there = [site.get(f"/api/jobs/{job['id']}").status_code for job in jobs]
        assert there[-1] == 200
        assert there[0] == 404
        assert sorted(there, reverse=True) == there
        clock[0] = 11
        assert code_of(site.get(f"/api/jobs/{jobs[-1]['id']}")) == "no-such-job"


def test_pictures_that_wait_take_bounded_memory(models):
    model = models["plain"]
    place = Workplace(Limits(waiting_bytes=5000), Metrics())
    place.accept(made_job(model))
    with pytest.raises(RefusedError) as refused:
        place.accept(made_job(model, strength=0.5))
    assert (refused.value.status, refused.value.code) == (429, "busy")
    place.close()


def test_a_client_that_leaves_cancels_its_translation():
    import anyio

    from pixloom.serve.app import build_app

    model = translator()
    gate = Gate(model)
    of = service({"plain": model})
    of.workplace.start({"cpu": []})
    app = build_app(of, door=door_for("127.0.0.1"))
    said = []

    async def visit():
        gone = anyio.Event()
        messages = [{"type": "http.request", "body": png(), "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            said.append(message)

        async def leave():
            while not gate.entered.is_set():
                await anyio.sleep(0.01)
            gone.set()

        head = [(b"host", b"localhost"), (b"content-type", b"image/png")]
        scope = {"type": "http", "method": "POST", "path": "/api/models/plain/translate", "query_string": b"", "headers": head}
        async with anyio.create_task_group() as group:
            group.start_soon(leave)
            await app({**scope, "http_version": "1.1", "root_path": "", "scheme": "http", "asgi": {"version": "3.0"}}, receive, send)

    anyio.run(visit)
    assert [message.get("status") for message in said][:1] == [400]
    assert of.workplace.load == 0
    assert of.metrics.registry.get_sample_value("pixloom_jobs_total", {"model": "plain", "state": "cancelled"}) == 1
    gate.open.set()
    of.workplace.close()


def test_many_clients_at_once_each_get_their_own(site, models):
    def visit(seed):
        return seed, site.post("/api/models/plain/translate", content=png(seed=seed), headers=PNG)

    with ThreadPoolExecutor(8) as pool:
        for seed, answer in pool.map(visit, range(16)):
            assert np.array_equal(pixels_of(answer.content), models["plain"].translate(read(png(seed=seed))).pixels)


def test_a_server_that_stops_finishes_and_takes_no_more(held):
    site, gate, of = held
    job = ask(site).json()
    assert gate.entered.wait(20)
    of.workplace.stop_taking()
    answer = ask(site)
    assert (answer.status_code, code_of(answer)) == (503, "stopping")
    assert site.get("/readyz").status_code == 503
    assert not of.workplace.is_idle
    gate.open.set()
    assert finished(site, job)["state"] == "done"


def test_what_is_not_done_in_time_is_given_up_with_words(held):
    site, gate, of = held
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(site.post, "/api/models/plain/translate", content=png(), headers=PNG)
        assert gate.entered.wait(20)
        of.workplace.stop_taking()
        of.workplace.give_up()
        answer = waiting.result(20)
    assert (answer.status_code, code_of(answer)) == (503, "stopping")
    assert not of.workplace.close()
    gate.open.set()


# --- Runs ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def followed(tmp_path, models):
    folder = tmp_path / "cells"
    (folder / "samples").mkdir(parents=True)
    (folder / "alarms").mkdir()
    (folder / "config.yaml").write_text("recipe: auto\ntask: {name: pair}\ndata: {size: 64}\ntraining: {images: 400}\n", encoding="utf-8")
    lines = [
        {"images": 0, "kind": "event", "elapsed_seconds": 0, "event": "started", "message": "data in /home/me/x", "total_images": 300},
        {"images": 50, "kind": "losses", "elapsed_seconds": 5.0, "generator": {"pixel": "nan"}, "images_per_second": 10.0},
        {"images": 60, "kind": "validation", "elapsed_seconds": 6.0, "psnr": 12.5, "protocol": "words"},
        {"images": 60, "kind": "event", "elapsed_seconds": 6.0, "event": "alarm", "alarm": "collapse", "evidence": "all alike"}
        | {"remedies": ["pixloom resume /srv/runs/x"], "picture": "alarms/60-collapse.png"},
    ]
    record = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "history.jsonl").write_text(record + '{"images": 61, "ki', encoding="utf-8")
    for name in ("samples/000000002.png", "samples/000000060.png", "samples/notes.txt", "alarms/60-collapse.png"):
        (folder / name).write_bytes(png())
    (folder / "report.html").write_text("<script>alert(1)</script>", encoding="utf-8")
    with client(service({"plain": models["plain"]}, runs=[runs.follow(Followed("cells", "Cells", folder))])) as site:
        yield site, folder


def test_a_run_is_followed(followed, monkeypatch):
    site, folder = followed
    monkeypatch.setattr(runs, "is_locked", lambda path: True)
    run = site.get("/api/runs/cells").json()
    assert site.get("/api/runs").json() == {"runs": [run]}
    assert (run["state"], run["recipe"], run["task"], run["size"], run["title"]) == ("training", "auto", "pair", 64, "Cells")
    assert (run["images"], run["total_images"], run["remaining_seconds"]) == (60, 300, 24)
    assert run["metrics"] == {"psnr": 12.5}
    alarm = {
        "name": "collapse",
        "images": 60,
        "message": "all alike",
        "remedies": ["pixloom resume (a file)"],
        "picture": "60-collapse.png",
    }
    assert run["alarms"] == [alarm]
    assert run["has_report"]


@pytest.mark.parametrize(
    ("locked", "event", "state"),
    [
        (True, "finished", "training"),
        (False, "finished", "finished"),
        (False, "interrupted", "stopped"),
        (False, "started", "stopped"),
        (None, "started", "training"),
        (None, "failed", "stopped"),
    ],
)
def test_whether_a_run_goes_on(tmp_path, monkeypatch, locked, event, state):
    (tmp_path / "history.jsonl").touch()
    monkeypatch.setattr(runs, "is_locked", lambda path: locked)
    assert runs.state_of(tmp_path, [{"kind": "event", "event": event, "images": 0}]) == state


def test_a_lock_is_seen_without_taking_it(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / ".lock").open("w") as file:
        seen = runs.is_locked(tmp_path / ".lock")
        if seen is None:
            pytest.skip("this system does not show locks")
        assert not seen
        fcntl.flock(file, fcntl.LOCK_EX)
        assert runs.is_locked(tmp_path / ".lock")
    assert runs.is_locked(tmp_path / "none") is False


def test_the_record_is_read_on_line_by_line(followed):
    site, folder = followed
    first = site.get("/api/runs/cells/history").json()
    assert (first["next"], len(first["entries"])) == (4, 4)
    assert first["entries"][0]["message"] == "data in (a file)"
    assert site.get("/api/runs/cells/history", params={"after": 4}).json() == {"next": 4, "entries": []}
    with (folder / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write('nd": "signs"}\n{"images": 62, "kind": "losses", "x": NaN}\nno json\n' + "[" * 5000 + "\n")
    more = site.get("/api/runs/cells/history", params={"after": 4}).json()
    assert (more["next"], [entry["images"] for entry in more["entries"]]) == (6, [61, 62])
    (folder / "new").write_text('{"images": 1, "kind": "losses"}\n', encoding="utf-8")
    (folder / "new").replace(folder / "history.jsonl")  # as a resumed run does
    assert site.get("/api/runs/cells/history", params={"after": 6}).json() == {"next": 1, "entries": []}
    assert site.get("/api/runs/cells/history").json()["next"] == 1


def test_long_records_come_in_parts(followed):
    site, folder = followed
    (folder / "history.jsonl").write_text('{"images": 1, "kind": "losses"}\n' * 4100, encoding="utf-8")
    places = [0]
    while (part := site.get("/api/runs/cells/history", params={"after": places[-1]}).json())["entries"]:
        places.append(part["next"])
    assert [after - before for before, after in pairwise(places)] == [2000, 2000, 100]


def test_pictures_and_report_of_a_run(followed):
    site, folder = followed
    samples = site.get("/api/runs/cells/samples").json()["samples"]
    assert samples == [{"name": "000000002.png", "images": 2}, {"name": "000000060.png", "images": 60}]
    assert site.get("/api/runs/cells/samples/000000060.png").content == png()
    assert site.get("/api/runs/cells/alarms/60-collapse.png").headers["content-type"] == "image/png"
    assert site.get("/api/runs/cells/samples/notes.txt").status_code == 404
    report = site.get("/api/runs/cells/report")
    assert report.headers["content-security-policy"].startswith("sandbox;")
    (folder / "report.html").unlink()
    assert code_of(site.get("/api/runs/cells/report")) == "no-such-report"
    assert code_of(site.get("/api/runs/none")) == "no-such-run"


def test_a_run_that_has_just_begun_or_is_damaged_is_no_fault(tmp_path, models):
    (tmp_path / "config.yaml").write_text("{", encoding="utf-8")
    with client(service({}, runs=[runs.follow(Followed("new", "new", tmp_path))])) as site:
        assert site.get("/api/runs/new").json()["state"] in ("stopped", "unknown")
        assert site.get("/api/runs/new/history").json() == {"next": 0, "entries": []}
        assert site.get("/api/runs/new/samples").json() == {"samples": []}


# --- The command ---------------------------------------------------------------------------------------------------------------------


def test_other_machines_need_a_token():
    assert settled_token(None, host="127.0.0.1") == (None, False)
    token, made = settled_token(None, host="0.0.0.0")
    assert made
    assert len(token) >= 24
    assert settled_token("x" * 16, host="0.0.0.0") == ("x" * 16, False)
    for weak in ("short", "with spaces in it, long", "ünïcödé-ünïcödé-"):
        with pytest.raises(ConfigError, match="can be guessed"):
            settled_token(weak, host="127.0.0.1")


def test_limits_and_addresses_that_cannot_be_are_refused():
    for limits, port in ((Limits(queue=0), 1), (Limits(seconds=float("inf")), 1), (Limits(), 70000)):
        with pytest.raises(ConfigError):
            check(limits, port=port)
    with listening("127.0.0.1", 0) as taken, pytest.raises(OutputError, match="cannot listen"):
        listening("127.0.0.1", taken.getsockname()[1])


def test_the_command_names_the_packages_that_it_lacks(monkeypatch, tmp_path):
    import sys

    from pixloom.cli import use

    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(DependencyError, match="fastapi"):
        use.serve([str(tmp_path)], host="127.0.0.1", port=0, token=None, allowed=[], limits=Limits(), device="cpu", runtime="auto")
