"""From a request to a job that waits: a place in the queue first, then the body, then what the network is to see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request

from pixloom.errors import PixloomError
from pixloom.serve.contract import Wishes
from pixloom.serve.failures import bad_parameter
from pixloom.serve.intake import Sent, prepare
from pixloom.serve.jobs import Job, new_job
from pixloom.serve.limits import Limits
from pixloom.serve.reading import check_type, read_body
from pixloom.serve.refusal import RefusedError, refusal_of
from pixloom.serve.served import Served, device_of
from pixloom.serve.service import Service


async def accepted(
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
        raise bad_parameter(error.errors()) from error


async def first(*waits: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first of several things, and give the others up."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def left(request: Request) -> None:
    """Until the client leaves."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
