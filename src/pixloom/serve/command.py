"""``pixloom serve``: from what was named at the start to a server that listens, and its clean end."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

import numpy as np
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from pixloom.errors import ConfigError, OutputError
from pixloom.inference.translator import Translator
from pixloom.serve.app import build_app
from pixloom.serve.guard import door_for
from pixloom.serve.limits import HEADER_BYTES, HEADER_SECONDS, LOOPBACK, MOST_CONNECTIONS, SHORTEST_TOKEN, Limits
from pixloom.serve.metrics import Metrics
from pixloom.serve.runs import follow
from pixloom.serve.served import device_of, open_all
from pixloom.serve.service import Service
from pixloom.serve.workplace import Workplace

STOP_SECONDS = 8.0
"""From the first signal on, for jobs that were accepted."""

END_SECONDS = 9.5
"""From the first signal on, until the process is ended whatever it is at."""

_LAST_SECONDS = 0.5  # for threads that have nothing to do to end
_GIVEN_UP = "some work was not finished in time; it was given up"
_TOKEN = re.compile(rf"[A-Za-z0-9._~-]{{{SHORTEST_TOKEN},}}")

_SWITCH_SECONDS = 0.001  # of Python's threads: what answers must not wait long for what decodes and prepares
_FLUSH_SECONDS = 60.0  # for what was answered to be fetched by a slow client, once its connection is given up


def serve(
    places: Sequence[str],
    *,
    host: str,
    port: int,
    token: str | None,
    allowed: Sequence[str],
    limits: Limits,
    device: str,
    runtime: str,
    say: Callable[[str], None],
) -> None:
    """Serve models and runs until a signal ends it; accepted jobs are finished.

    Raises:
        ConfigError: a token that is too short, or limits that cannot be.
        OutputError: the address is taken or not this machine's.
        PixloomError: a model cannot be loaded.
    """
    token, made = settled_token(token, host=host)
    check(limits, port=port)
    with listening(host, port) as listener:
        service = assembled(places, limits=limits, device=device, runtime=runtime, say=say)
        address = address_of(listener, host)
        say(f"models: {', '.join(service.models) or 'none'}; runs: {', '.join(service.runs) or 'none'}")
        say(f"Pixloom serves at {address}" + (f"?token={token}" if made else ""))
        door = door_for(host, allowed=allowed, token=token, port=listener.getsockname()[1])
        run(build_app(service, door=door), service.workplace, listener, say=say)
    service.readers.shutdown(wait=False, cancel_futures=True)
    if not service.workplace.close() or not threads_ended(within=_LAST_SECONDS):
        end(say, _GIVEN_UP)


def end(say: Callable[[str], None], why: str) -> NoReturn:
    """End the process at once: no thread can be interrupted, and the interpreter would wait for those that read and decode."""
    say(why)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def threads_ended(*, within: float) -> bool:
    """Whether the threads that the interpreter would wait for at its end are over within some seconds."""
    ends = time.monotonic() + within
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread() and not thread.daemon]
    for thread in others:
        thread.join(max(0.0, ends - time.monotonic()))
    return not any(thread.is_alive() for thread in others)


def settled_token(token: str | None, *, host: str) -> tuple[str | None, bool]:
    """The token of a server, and whether it was made here: one that other machines reach always has one.

    Raises:
        ConfigError: it is too short to be one, or has characters that mean something else in an address.
    """
    if token is not None and not _TOKEN.fullmatch(token):
        raise ConfigError(
            "this token can be guessed or cannot be sent",
            why=f"it must have {SHORTEST_TOKEN} characters or more, of A-Z, a-z, 0-9 and . _ ~ - only",
            fix=f"give {SHORTEST_TOKEN} or more letters and digits, or leave --token out",
        )
    if token is None and host not in LOOPBACK:
        return secrets.token_urlsafe(24), True
    return token, False


def check(limits: Limits, *, port: int) -> None:
    """Refuse limits that are none.

    Raises:
        ConfigError: naming one.
    """
    for name, value in vars(limits).items():
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"the limit '{name}' cannot be {value}", fix="give a number above 0")
    if not 0 <= port < 2**16:
        raise ConfigError(f"there is no port {port}", fix="give one from 1 to 65535, or 0 for any that is free")


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OutputError: it cannot.
    """
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(place, family=family, backlog=128)
    except OSError as error:
        fix = "choose another with --port, or end the program that listens there"
        raise OutputError(f"cannot listen at {host}, port {port}", why=error.strerror or str(error), fix=fix) from error


def address_of(listener: socket.socket, host: str) -> str:
    """What to open in a browser."""
    name = "localhost" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}/"


def assembled(
    places: Sequence[str], *, limits: Limits, device: str = "auto", runtime: str = "auto", say: Callable[[str], None] = lambda text: None
) -> Service:
    """Models loaded, runs found, threads at work."""
    served, followed = open_all(places, device=device, runtime=runtime, say=say)
    metrics = Metrics()
    workplace = Workplace(limits, metrics)
    warm_ups: dict[str, list[Callable[[], object]]] = {}
    for translator in (each for model in served for each in model.translators):
        warm_ups.setdefault(device_of(translator), []).append(lambda translator=translator: warm_up(translator))  # type: ignore[misc]
    workplace.start(warm_ups)
    return Service({model.id: model for model in served}, {place.id: follow(place) for place in followed}, workplace, limits, metrics)


def warm_up(translator: Translator) -> None:
    """Compute once: the first time takes longer than the others."""
    side, options = translator.description.size, translator.description.generator.options
    channels = int(options["source_channels"]) + sum(translator.conditions.planes.values())
    condition = {kind: values[None] for kind, values in translator.beside.vectors({}).items()}
    translator.generate(np.zeros((1, channels, side, side), np.float32), condition=condition)


def run(app: ASGIApp, workplace: Workplace, listener: socket.socket, *, say: Callable[[str], None]) -> None:
    """Answer until a signal comes, then until all that was accepted is done."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,  # addresses may hold the token; requests are counted in the metrics
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )
    server = Stoppable(config, workplace, say=say)
    server.run(sockets=[listener])
    if server.signalled is not None:
        for sig in (signal.SIGINT, signal.SIGTERM):  # the process is ending, within END_SECONDS
            signal.signal(sig, signal.SIG_IGN)


class Stoppable(uvicorn.Server):
    """A server that goes on answering after the first signal until its accepted jobs are done, and ends at once at the second."""

    def __init__(self, config: uvicorn.Config, workplace: Workplace, *, say: Callable[[str], None]) -> None:
        super().__init__(config)
        self.workplace, self.say = workplace, say
        self.signalled: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the first signal, and see to it that the process ends in time, whatever its threads are at; the second ends it."""
        if self.signalled is not None:
            os._exit(0)  # nothing is said: the signal may have come in the midst of saying something
        self.signalled = time.monotonic()
        watch = threading.Timer(END_SECONDS, end, (self.say, _GIVEN_UP))
        watch.daemon = True
        watch.start()

    async def on_tick(self, counter: int) -> bool:
        """Whether to end, asked ten times a second."""
        if self.signalled is not None:
            self.workplace.stop_taking()
            if time.monotonic() - self.signalled > STOP_SECONDS:
                self.workplace.give_up()
                return True
            if self.workplace.is_idle:
                return True
        return await super().on_tick(counter)


class Connection(H11Protocol):
    """A connection that is given up when its next request does not come in time, however slowly it trickles in."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on."""
        super().data_received(data)
        self._mind()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._stop_waiting()
        self._mind()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _mind(self) -> None:
        """Wait while no request is being answered."""
        if self.cycle is None or self.cycle.response_complete:
            self._wait()
        else:
            self._stop_waiting()

    def _wait(self) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self.transport.close()
        self._timer = self.loop.call_later(_FLUSH_SECONDS, self.transport.abort)
