"""The guard before the application: who may ask, how much may come in and how slowly, and what every answer says to browsers.

Pure ASGI: it sees every request before anything of it is parsed, and every answer, its own refusals included.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixloom.serve.limits import LOOPBACK, Limits
from pixloom.serve.metrics import Metrics
from pixloom.serve.refusal import RefusedError, body_of

COOKIE = "pixloom"

CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
    "worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer that has no such header of its own."""

OPEN = ("/healthz", "/readyz")
"""What is answered without a token: one word."""


@dataclass(frozen=True)
class Door:
    """Who may ask.

    Attributes:
        hosts: names under which the server is asked, in small letters.
        addresses: whether any IP address will do as such a name; a page elsewhere cannot make a browser send one that is not its own.
        token: that must be shown; None: nobody but this machine reaches the server.
        cookie: name of the cookie, by port: browsers keep cookies by host, and servers on one host must not take each other's away.
    """

    hosts: frozenset[str]
    addresses: bool = False
    token: str | None = None
    cookie: str = COOKIE

    @property
    def pass_(self) -> str:
        """What a cookie holds: not the token itself."""
        return hmac.new((self.token or "").encode(), b"pixloom page", hashlib.sha256).hexdigest()


@dataclass
class _Seen:
    """What is known of an answer."""

    status: int = 500
    begun: bool = False
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def door_for(host: str, *, allowed: Iterable[str] = (), token: str | None = None, port: int | None = None) -> Door:
    """The door of a server that is bound to a host and a port."""
    names = {*LOOPBACK, host.strip("[]"), *(_name(other) for other in allowed)}
    cookie = COOKIE if port is None else f"{COOKIE}-{port}"
    return Door(frozenset(name.lower() for name in names), addresses=host in ("0.0.0.0", "::", ""), token=token, cookie=cookie)


class Guard:
    """Refuses what must not reach the application, limits what does, and counts."""

    def __init__(self, app: ASGIApp, *, door: Door, limits: Limits, metrics: Metrics) -> None:
        self.app, self.door, self.limits, self.metrics = app, door, limits, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, seen, method = time.perf_counter(), _Seen(), scope["method"]
        bare = method == "HEAD"
        scope = {**scope, "method": "GET"} if bare else scope  # every address that can be read can be asked for its headers
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status, seen.begun = message["status"], True
                own = {name.lower() for name, _ in message.get("headers", [])}
                more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *(pair for pair in more if pair[0] not in own)]}
            elif bare:
                message = {**message, "body": b""}
            await send(message)

        try:
            welcome = admit(scope, headers, door=self.door, limits=self.limits)
            if welcome is None:
                await self.app(scope, _Counted(receive, self.limits), dressed)
            else:
                await _answer(dressed, 303, b"", welcome)
        except RefusedError as refusal:
            if not seen.begun:
                content = json.dumps(body_of(refusal), ensure_ascii=False).encode()
                await _answer(dressed, refusal.status, content, {"content-type": "application/json", **refusal.headers})
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.observe(route=route, method=method, status=seen.status, seconds=time.perf_counter() - begun)


def admit(scope: Scope, headers: dict[str, str], *, door: Door, limits: Limits) -> dict[str, str] | None:
    """Let a request in: None, or the headers of a redirection that welcomes a browser.

    Raises:
        RefusedError: the request is let in nowhere.
    """
    check_host(scope, headers, door=door)
    check_origin(headers)
    if door.token is not None and scope["path"] not in OPEN:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[-1] if scope["path"] == "/" else ""
        if scope["method"] == "GET" and given and _same(given, door.token):
            return {"location": "./", "set-cookie": f"{door.cookie}={door.pass_}; HttpOnly; SameSite=Strict; Path=/"}
        check_token(headers, door=door)
    stated = headers.get("content-length", "0")
    if not stated.isascii() or not stated.isdecimal():
        raise RefusedError("the length of the body is no number", code="bad-length", status=400)
    if len(stated) > 15 or int(stated) > limits.bytes:
        raise too_large(limits)
    return None


def check_host(scope: Scope, headers: dict[str, str], *, door: Door) -> None:
    """Refuse a request that was meant for another name: a page whose name was bent to this machine (DNS rebinding).

    Raises:
        RefusedError: it is so.
    """
    if sum(name.lower() == b"host" for name, _ in scope["headers"]) != 1:
        raise RefusedError("the request must name one host", code="bad-host", status=400)
    name = _name(headers["host"])
    if name not in door.hosts and not (door.addresses and _is_address(name)):
        raise RefusedError(
            "this server does not answer to that name", code="host-not-allowed", status=403, fix="--allow-host NAME, at the server"
        )


def check_origin(headers: dict[str, str]) -> None:
    """Refuse what a page of another origin makes a browser send.

    Raises:
        RefusedError: it is so.
    """
    origin = headers.get("origin")
    scheme, _, place = (origin or "").partition("://")
    if origin is not None and (scheme not in ("http", "https") or place.lower() != headers["host"].lower()):
        raise RefusedError("a page of another origin may not ask this server", code="origin-not-allowed", status=403)
    if headers.get("sec-fetch-site", "").lower() == "cross-site":
        raise RefusedError(
            "another site may not ask this server", code="cross-site", status=403, fix="type the address in, or open it from a bookmark"
        )


def check_token(headers: dict[str, str], *, door: Door) -> None:
    """Refuse a request without the token; how long that takes says nothing about it.

    Raises:
        RefusedError: it is so.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    by_header = scheme.lower() == "bearer" and _same(token.strip(), door.token or "")
    if not by_header and not any(_same(value, door.pass_) for value in _cookies(headers.get("cookie", ""), door.cookie)):
        fix = "send it as 'Authorization: Bearer TOKEN', or open ./?token=TOKEN once"
        raise RefusedError("the token is missing or wrong", code="no-token", status=401, fix=fix, headers={"WWW-Authenticate": "Bearer"})


def too_large(limits: Limits) -> RefusedError:
    """More bytes than are taken on."""
    return RefusedError(
        "the body is too large", code="too-many-bytes", status=413, why=f"the limit is {limits.bytes:,} bytes", fix="send less"
    )


class _Counted:
    """A ``receive`` that counts the bytes of a body, whatever its length was said to be, and does not wait for it for ever."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self.receive, self.limits = receive, limits
        self.bytes, self.whole = 0, False
        self.deadline: float | None = None

    async def __call__(self) -> Message:
        if self.whole:
            return await self.receive()  # what comes now is that the client leaves
        loop = asyncio.get_running_loop()
        self.deadline = self.deadline or loop.time() + self.limits.read_seconds
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.receive()
        except TimeoutError as error:
            why = f"it must be here within {self.limits.read_seconds:g} seconds"
            raise RefusedError(
                "the body came in too slowly", code="too-slow-body", status=408, why=why, headers={"Connection": "close"}
            ) from error
        self.bytes += len(message.get("body", b""))
        self.whole = not message.get("more_body", False)
        if self.bytes > self.limits.bytes:
            raise too_large(self.limits)
        return message


async def _answer(send: Send, status: int, content: bytes, headers: dict[str, str]) -> None:
    fields = {**headers, "content-length": str(len(content))}
    pairs = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": content})


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), known.encode())


def _cookies(header: str, name: str) -> list[str]:
    """The values of a cookie; what else a browser sends for this host may have any form.

    >>> _cookies('x={"a":1}; pixloom=abc;pixloom = d=e', "pixloom")
    ['abc', 'd=e']
    """
    pairs = [pair.partition("=") for pair in header.split(";")]
    return [value.strip() for found, equals, value in pairs if equals and found.strip() == name]


def _name(host: str) -> str:
    """The name in a Host header, without its port.

    >>> _name("LOCALHOST:8765"), _name("[::1]:80"), _name("a.b:x"), _name("::1")
    ('localhost', '::1', 'a.b:x', '::1')
    """
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() and ":" not in name else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
