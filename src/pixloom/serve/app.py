"""The routes."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from pixloom import __version__
from pixloom.serve import contract, page
from pixloom.serve.contract import PICTURES, Refused, Wishes
from pixloom.serve.failures import HANDLERS
from pixloom.serve.guard import Door, Guard
from pixloom.serve.jobs import view
from pixloom.serve.limits import MOST_PARTS
from pixloom.serve.metrics import CONTENT_TYPE
from pixloom.serve.reading import FORM, RAW
from pixloom.serve.reception import accepted, first, left
from pixloom.serve.refusal import RefusedError, not_found
from pixloom.serve.served import describe
from pixloom.serve.service import Service

_SWEEP_SECONDS = 0.5

SANDBOX = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
"""For the report of a run: nothing in it runs or loads."""


def build_app(service: Service, *, door: Door) -> ASGIApp:
    """The application behind its guard."""
    app = FastAPI(
        title="Pixloom",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_sweeping,
        responses={status: {"model": Refused} for status in (400, 401, 403, 422)},
        exception_handlers=HANDLERS,
    )
    app.state.service, app.state.routes = service, router.routes
    app.include_router(router)
    return Guard(app, door=door, limits=service.limits, metrics=service.metrics)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Known = Annotated[Service, Depends(_service)]
Id = Annotated[str, Path(max_length=100)]
Asked = Annotated[Wishes, Query()]

router = APIRouter()


def _fails(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refused} for status in statuses}


def _gives(media_type: str, *failures: int) -> dict[int | str, dict[str, Any]]:
    kind = {"type": "string"} | ({} if media_type.startswith("text/") else {"format": "binary"})
    return {200: {"content": {media_type: {"schema": kind}}}, **_fails(*failures)}


_FILE = {"type": "string", "format": "binary"}
_FIELDS = Wishes.model_json_schema()["properties"]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            **{kind: {"schema": _FILE} for kind in RAW},
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["source"],
                    "properties": {"source": _FILE, **dict.fromkeys(PICTURES, _FILE), **_FIELDS},
                    "additionalProperties": False,
                    "maxProperties": MOST_PARTS,
                }
            },
        },
    }
}
_REFUSES = (404, 408, 413, 415, 429, 503)


# ---- the server


@router.get("/", responses=_gives("text/html"), response_class=Response)
async def index() -> Response:
    """The page."""
    return _file(page.INDEX)


@router.get("/assets/{name:path}", responses=_gives("application/octet-stream", 404), response_class=Response, include_in_schema=False)
async def asset(name: str) -> Response:
    """A file of the page."""
    return _file(f"assets/{name}")


@router.get("/healthz", response_model=contract.Status)
async def healthz() -> contract.Status:
    """Whether the process lives."""
    return contract.Status(status="ok")


@router.get("/readyz", response_model=contract.Status, responses=_fails(503))
async def readyz(service: Known) -> contract.Status:
    """Whether every model is loaded and warm, and jobs are taken."""
    if not service.workplace.is_ready:
        raise RefusedError("the server is starting or stopping", code="not-ready", status=503, headers={"Retry-After": "2"})
    return contract.Status(status="ready")


@router.get("/metrics", responses=_gives("text/plain"), response_class=Response)
async def metrics(service: Known) -> Response:
    """Figures for Prometheus."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/api/about", response_model=contract.About)
async def about(service: Known) -> contract.About:
    """The server's version and limits, and what it serves."""
    limits = service.limits
    told = contract.LimitsView(
        bytes=limits.bytes, pixels=limits.pixels, seconds=limits.seconds, queue=limits.queue, results_seconds=limits.keep_seconds
    )
    return contract.About(version=__version__, limits=told, models=list(service.models), runs=list(service.runs))


# ---- models


@router.get("/api/models", response_model=contract.ModelList)
async def models(service: Known) -> contract.ModelList:
    """Every model."""
    return contract.ModelList(models=[describe(model) for model in service.models.values()])


@router.get("/api/models/{model}", response_model=contract.ModelView, responses=_fails(404))
async def model(model: Id, service: Known) -> contract.ModelView:
    """All that a page needs to offer a model."""
    return describe(service.model(model))


@router.get("/api/models/{model}/card", responses=_gives("text/markdown", 404), response_class=Response)
async def card(model: Id, service: Known) -> Response:
    """The model card."""
    return Response(service.model(model).card, media_type="text/markdown; charset=utf-8")


# ---- jobs


@router.post("/api/models/{model}/jobs", status_code=202, response_model=contract.JobView, responses=_fails(*_REFUSES), openapi_extra=_BODY)
async def ask(model: Id, wishes: Asked, request: Request, service: Known) -> contract.JobView:
    """Translate a picture in the background: the body is the picture, or a form with ``source`` and what goes with it."""
    job = await accepted(request, service, service.model(model), wishes)
    return view(job, position=service.workplace.position(job))


@router.post("/api/models/{model}/translate", responses=_gives("image/png", *_REFUSES), response_class=Response, openapi_extra=_BODY)
async def translate(model: Id, wishes: Asked, request: Request, service: Known) -> Response:
    """Translate a picture and wait for the first answer; a client that leaves cancels it."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(over.set)

    job = await accepted(request, service, service.model(model), wishes, first_only=True, on_end=tell)
    try:
        await first(over.wait(), left(request))
    finally:
        service.workplace.cancel(job)
        service.workplace.forget(job)
    if job.error is not None:
        raise job.error
    if not job.results:
        raise ClientDisconnect
    return _png(job.results[0], f"{model}.png")


@router.get("/api/jobs/{job}", response_model=contract.JobView, responses=_fails(404))
async def job(job: Id, service: Known) -> contract.JobView:
    """Where a job is."""
    found = service.workplace.job(job)
    return view(found, position=service.workplace.position(found))


@router.delete("/api/jobs/{job}", status_code=204, responses=_fails(404), response_class=Response)
async def forget(job: Id, service: Known) -> Response:
    """Cancel a job that waits or runs, forget one that is over."""
    found = service.workplace.job(job)
    if found.is_over:
        service.workplace.forget(found)
    service.workplace.cancel(found)
    return Response(status_code=204)


@router.get("/api/jobs/{job}/results/{number}", responses=_gives("image/png", 404, 409), response_class=Response)
async def result(job: Id, number: Annotated[int, Path(ge=0, le=contract.MOST_SAMPLES)], service: Known) -> Response:
    """A result of a job that is done."""
    found = service.workplace.job(job)
    if found.state != "done":
        raise RefusedError(f"this job is {found.state}", code="not-done", status=409, fix="ask for the job until its state is done")
    if number not in found.results:
        raise not_found("result", why=f"there are {len(found.results)}, counted from 0")
    return _png(found.results[number], f"{found.model}-{number + 1}.png")


# ---- runs


@router.get("/api/runs", response_model=contract.RunList)
def runs(service: Known) -> contract.RunList:
    """Every run."""
    return contract.RunList(runs=[run.view() for run in service.runs.values()])


@router.get("/api/runs/{run}", response_model=contract.RunView, responses=_fails(404))
def run(run: Id, service: Known) -> contract.RunView:
    """Where a training is."""
    return service.run(run).view()


@router.get("/api/runs/{run}/history", response_model=contract.HistoryView, responses=_fails(404))
def history(run: Id, service: Known, after: Annotated[int, Query(ge=0, le=10**12)] = 0) -> contract.HistoryView:
    """The record of a run from a line on, 2,000 lines at most."""
    return service.run(run).history(after=after)


@router.get("/api/runs/{run}/samples", response_model=contract.SampleList, responses=_fails(404))
def samples(run: Id, service: Known) -> contract.SampleList:
    """The previews of a run."""
    return contract.SampleList(samples=service.run(run).samples())


@router.get("/api/runs/{run}/{kind}/{name}", responses=_gives("image/png", 404), response_class=Response)
def picture(run: Id, kind: Literal["samples", "alarms"], name: Id, service: Known) -> Response:
    """A preview, or the picture of an alarm."""
    return Response(service.run(run).picture(kind, name), media_type="image/png")


@router.get("/api/runs/{run}/report", responses=_gives("text/html", 404), response_class=Response)
def report(run: Id, service: Known) -> Response:
    """The report of a run."""
    return Response(service.run(run).report(), media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": SANDBOX})


# ---- what routes share


def _file(name: str) -> Response:
    file = page.files().get(name)
    if file is None:
        raise not_found("file")
    return Response(file.content, media_type=file.media_type, headers={"Cache-Control": "no-cache"})


def _png(data: bytes, name: str) -> Response:
    return Response(data, media_type="image/png", headers={"Content-Disposition": f'attachment; filename="{name}"'})


@asynccontextmanager
async def _sweeping(app: FastAPI) -> AsyncIterator[None]:
    """End and forget jobs in time while the server lives."""
    service: Service = app.state.service

    async def sweep() -> None:
        while True:
            try:
                service.workplace.sweep()
            except Exception:  # whatever it was, the next sweep is as needed as this one
                traceback.print_exc()
            await asyncio.sleep(_SWEEP_SECONDS)

    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()
        service.readers.shutdown(wait=False, cancel_futures=True)
