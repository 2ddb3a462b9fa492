"""How what goes wrong becomes an answer."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from pixloom.errors import PixloomError
from pixloom.serve.contract import MOST_SAMPLES, Wishes
from pixloom.serve.refusal import RefusedError, body_of, fault, refusal_of

FIXES = {
    "seed": "give a whole number from 0 to 2^53 - 1",
    "samples": f"give a number of answers from 1 to {MOST_SAMPLES}",
    "strength": "give a number from 0, the source, over 1, the translation, to 1.5",
    "size": "give trained, native, or a number of pixels",
    "direction": "give forward, or back for a model that learnt both directions",
    "label": "give the name of a class, or shares such as cat=0.5,dog=0.5",
    "attributes": 'give a JSON object of numbers by name, such as {"smile": 1}',
    "keep_alpha": "give true or false",
    "index": "give true or false",
}
"""What can be given, by parameter."""


def bad_parameter(errors: Any) -> RefusedError:
    """What a client is told of mistakes in parameters: the first one."""
    first = next(iter(errors), {"loc": (), "msg": "it cannot be understood", "type": ""})
    name = str(first["loc"][-1]) if first["loc"] else "a parameter"
    if first["type"] == "extra_forbidden":
        fix = f"known: {', '.join(Wishes.model_fields)}"
        return RefusedError(f"there is no parameter '{name[:100]}'", code="unknown-parameter", status=422, fix=fix)
    if name in FIXES:
        return RefusedError(f"{name} cannot be that", code="bad-parameter", status=422, where=name, fix=FIXES[name])
    return RefusedError(f"{name} cannot be that", code="bad-parameter", status=422, where=name, why=str(first["msg"])[:200])


def _refused(refusal: RefusedError) -> JSONResponse:
    return JSONResponse(body_of(refusal), status_code=refusal.status, headers=refusal.headers)


async def _on_refusal(request: Request, error: Exception) -> Response:
    return _refused(refusal_of(error) if isinstance(error, PixloomError) else fault())


async def _on_bad_parameter(request: Request, error: Exception) -> Response:
    return _refused(bad_parameter(error.errors() if isinstance(error, RequestValidationError) else []))


async def _on_http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    what, code = {404: ("there is nothing here", "not-found"), 405: ("this cannot be done here", "method-not-allowed")}.get(
        status, ("the request cannot be understood", "bad-request")
    )
    methods = ", ".join(_methods(request)) if status == 405 else ""
    fix = {404: "what there is stands in openapi.json", 405: f"here: {methods}"}.get(status)
    return _refused(RefusedError(what, code=code, status=status, fix=fix, headers={"Allow": methods} if methods else {}))


def _methods(request: Request) -> list[str]:
    """What can be done with an address; a router alone names the methods of one function only."""
    routes = [route for route in request.app.state.routes if isinstance(route, APIRoute)]
    found = {method for route in routes if route.path_regex.match(request.url.path) for method in route.methods or ()}
    return sorted(found | {"HEAD"} if "GET" in found else found)


async def _on_leaving(request: Request, error: Exception) -> Response:
    return _refused(RefusedError("the client left", code="client-left", status=400))


async def _on_fault(request: Request, error: Exception) -> Response:
    return _refused(fault())


HANDLERS: dict[int | type[Exception], Any] = {
    PixloomError: _on_refusal,
    RequestValidationError: _on_bad_parameter,
    HTTPException: _on_http,
    ClientDisconnect: _on_leaving,
    Exception: _on_fault,
}
"""What answers to each kind."""
