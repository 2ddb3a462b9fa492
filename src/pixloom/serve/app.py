"""The routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from pixloom import __version__
from pixloom.errors import PixloomError
from pixloom.serve import contract, page
from pixloom.serve.contract import PICTURES, Refused, Wishes
from pixloom.serve.describing import Served, describe, device_of
from pixloom.serve.guard import Door, Guard
from pixloom.serve.intake import Sent, check_samples, prepare
from pixloom.serve.jobs import Job, new_job, view
from pixloom.serve.limits import MOST_PARTS, Limits
from pixloom.serve.metrics import CONTENT_TYPE, Metrics
from pixloom.serve.reading import FORM, RAW, check_type, read_body
from pixloom.serve.refusal import RefusedError, body_of, fault, not_found, refusal_of
from pixloom.serve.runs import Run
from pixloom.serve.workplace import Workplace, give_way

_SWEEP_SECONDS = 0.5
_READERS = 2  # threads that decode and prepare

SANDBOX = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
"""For the report of a run: nothing in it runs or loads."""


@dataclass(frozen=True)
class Service:
    """What the routes work with.

    Attributes:
        models: by id.
        runs: by id.
        workplace: where jobs are.
        limits: of the server.
        metrics: what is counted.
        readers: threads that decode and prepare.
    """

    models: Mapping[str, Served]
    runs: Mapping[str, Run]
    workplace: Workplace
    limits: Limits
    metrics: Metrics
    readers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_READERS, thread_name_prefix="read", initializer=give_way)
    )

    def model(self, ident: str) -> Served:
        """A model by its id.

        Raises:
            RefusedError: there is none.
        """
        if ident not in self.models:
            raise not_found("model", fix=f"known: {', '.join(self.models) or 'none'}")
        return self.models[ident]

    def run(self, ident: str) -> Run:
        """A run by its id.

        Raises:
            RefusedError: there is none.
        """
        if ident not in self.runs:
            raise not_found("run", fix=f"known: {', '.join(self.runs) or 'none'}")
        return self.runs[ident]


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
        exception_handlers={
            PixloomError: _on_refusal,
            RequestValidationError: _on_bad_parameter,
            HTTPException: _on_http,
            ClientDisconnect: _on_leaving,
            Exception: _on_fault,
        },
    )
    app.state.service = service
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
    job = await _accepted(request, service, service.model(model), wishes)
    return view(job, position=service.workplace.position(job))


@router.post("/api/models/{model}/translate", responses=_gives("image/png", *_REFUSES), response_class=Response, openapi_extra=_BODY)
async def translate(model: Id, wishes: Asked, request: Request, service: Known) -> Response:
    """Translate a picture and wait for the first answer; a client that leaves cancels it."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(over.set)

    job = await _accepted(request, service, service.model(model), wishes, first_only=True, on_end=tell)
    try:
        await _first(over.wait(), _left(request))
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


async def _accepted(
    request: Request,
    service: Service,
    model: Served,
    wishes: Wishes,
    *,
    first_only: bool = False,
    on_end: Callable[[], None] | None = None,
) -> Job:
    """Receive a picture and let it wait, once there is a place for it: nothing of the body is read before."""
    kind = check_type(request)
    _check_once(request)
    with service.workplace.place():
        sent = await read_body(request, kind=kind)
        wishes = _merged(wishes, sent).model_copy(update={"samples": 1} if first_only else {})
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(service.readers, _made, model, sent, wishes, service.limits)
        made.on_end = on_end
        service.workplace.accept(made)
    return made


def _made(model: Served, sent: Sent, wishes: Wishes, limits: Limits) -> Job:
    try:
        translator = model.translator(wishes.direction, strength=wishes.strength, index=wishes.index)
        check_samples(translator, wishes)
        prepared = prepare(translator, sent, wishes=wishes, limits=limits)
    except PixloomError as error:
        raise refusal_of(error) from error
    return new_job(model.id, translator, prepared, wishes=wishes, device=device_of(translator))


def _check_once(request: Request) -> None:
    """Refuse a parameter that stands in the address more than once: one of them would have no effect."""
    names = [name for name, _ in request.query_params.multi_items()]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RefusedError(f"'{twice[:100]}' is given twice", code="given-twice", status=422, where=twice[:100], fix="give it once")


def _merged(wishes: Wishes, sent: Sent) -> Wishes:
    """The parameters of address and form together."""
    for name in sent.fields:
        if name in wishes.model_fields_set:
            raise RefusedError(
                f"'{name}' is given twice", code="given-twice", status=422, where=name, fix="give it in the address or in the form"
            )
    try:
        return Wishes.model_validate({**wishes.model_dump(exclude_unset=True), **sent.fields})
    except ValidationError as error:
        raise _bad_parameter(error.errors()) from error


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first of several things, and give the others up."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _left(request: Request) -> None:
    """Until the client leaves."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


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
            service.workplace.sweep()
            await asyncio.sleep(_SWEEP_SECONDS)

    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()
        service.readers.shutdown(wait=False, cancel_futures=True)


# ---- what goes wrong


def _refused(refusal: RefusedError) -> JSONResponse:
    return JSONResponse(body_of(refusal), status_code=refusal.status, headers=refusal.headers)


async def _on_refusal(request: Request, error: Exception) -> Response:
    return _refused(refusal_of(error) if isinstance(error, PixloomError) else fault())


async def _on_bad_parameter(request: Request, error: Exception) -> Response:
    return _refused(_bad_parameter(error.errors() if isinstance(error, RequestValidationError) else []))


async def _on_http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    what, code = {404: ("there is nothing here", "not-found"), 405: ("this cannot be done here", "method-not-allowed")}.get(
        status, ("the request cannot be understood", "bad-request")
    )
    headers = {"Allow": ", ".join(_methods(request.url.path))} if status == 405 else {}
    return _refused(RefusedError(what, code=code, status=status, headers=headers))


def _methods(path: str) -> list[str]:
    """What can be done with an address; a router alone names the methods of one function only."""
    routes = [route for route in router.routes if isinstance(route, APIRoute)]
    return sorted({method for route in routes if route.path_regex.match(path) for method in route.methods or ()})


async def _on_leaving(request: Request, error: Exception) -> Response:
    return _refused(RefusedError("the client left", code="client-left", status=400))


async def _on_fault(request: Request, error: Exception) -> Response:
    return _refused(fault())


def _bad_parameter(errors: Any) -> RefusedError:
    """The first mistake in some parameters."""
    first = next(iter(errors), {"loc": (), "msg": "it cannot be understood", "type": ""})
    name = str(first["loc"][-1]) if first["loc"] else "a parameter"
    if first["type"] == "extra_forbidden":
        fix = f"known: {', '.join(Wishes.model_fields)}"
        return RefusedError(f"there is no parameter '{name[:100]}'", code="unknown-parameter", status=422, fix=fix)
    return RefusedError(f"{name} cannot be that", code="bad-parameter", status=422, where=name, why=str(first["msg"])[:200])
