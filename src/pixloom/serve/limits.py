"""What a server takes on at most. Imported by the command line for its defaults, so it imports nothing."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts to bind to that no other machine reaches."""

MOST_PARTS = 10
"""Parts of a multipart body."""

FIELD_BYTES = 64 * 1024
"""Of a part that is no file."""

HEADER_BYTES = 16 * 1024
"""Of a request's line and headers."""

HEADER_SECONDS = 10.0
"""From the opening of a connection, or the last answer on it, to the end of the next request's headers."""

MOST_CONNECTIONS = 500
"""Open at a time."""

MOST_KEPT = 1000
"""Jobs that are remembered."""

SHORTEST_TOKEN = 16
"""Characters of a token."""


@dataclass(frozen=True)
class Limits:
    """What a server takes on at most; every one is an option of ``pixloom serve``.

    Attributes:
        bytes: of a request's body, counted as they come in.
        pixels: of a picture that is read, of what the network works on, and of all results of a job together.
        frames: of a picture's file, the first of which is translated.
        seconds: from a job's start to its last encoded result.
        queue: jobs that wait or are being received.
        read_seconds: for a body to come in.
        keep_seconds: from a job's end until its results are forgotten.
        keep_bytes: of all results; the oldest are forgotten first.
        waiting_bytes: of decoded pictures that wait; and, halved, of the numbers that a network may be given.
        batch: pictures that go through the network together; None: as many as its runtime says.
    """

    bytes: int = 20_000_000
    pixels: int = 12_500_000
    frames: int = 1
    seconds: float = 30.0
    queue: int = 16
    read_seconds: float = 20.0
    keep_seconds: float = 600.0
    keep_bytes: int = 256_000_000
    waiting_bytes: int = 1_000_000_000
    batch: int | None = None
