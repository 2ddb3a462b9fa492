"""What a client is told when something is refused or fails: one shape, a stable code, and nothing about the machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pixloom.errors import ConfigError, DataError, DependencyError, ImageError, PixloomError

LONGEST = 500
"""Characters of a text that a client is told."""

_PLACE = re.compile(r"(?<![\w.):/])(?:[A-Za-z]:[\\/]|~?/|\\\\)[^\s'\",;)]+")  # a path of any system

_KINDS: dict[type[PixloomError], tuple[int, str]] = {
    ImageError: (422, "bad-picture"),
    DataError: (422, "bad-picture"),
    ConfigError: (422, "bad-parameter"),
    DependencyError: (422, "not-supported-here"),
}


class RefusedError(PixloomError):
    """A request, or a job, that is refused: an error with an HTTP status and a code that stays what it is.

    Args:
        what: happened.
        code: for programs, in kebab-case.
        status: of HTTP.
        where: in the request; never a path of the machine.
        why: it is so.
        fix: what to do.
        headers: that go with the answer.
    """

    def __init__(
        self,
        what: str,
        *,
        code: str,
        status: int,
        where: str | None = None,
        why: str | None = None,
        fix: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.code, self.status, self.headers = code, status, dict(headers or {})


def refusal_of(error: PixloomError, *, where: str | None = None) -> RefusedError:
    """Any error of the package as a client may be told it; what is not the client's mistake is told without its reasons.

    >>> refusal_of(ImageError("the file is empty", where="/home/me/x.png", fix="see /home/me")).fix
    'see (a file)'
    """
    if isinstance(error, RefusedError):
        return error
    for kind, (status, code) in _KINDS.items():
        if isinstance(error, kind):
            return RefusedError(told(error.what) or "", code=code, status=status, where=where, why=told(error.why), fix=told(error.fix))
    return fault()


def fault() -> RefusedError:
    """A real fault, of which only the server's own log knows more."""
    return RefusedError(
        "something failed inside the server", code="fault", status=500, fix="tell the server's operator, who sees more in its log"
    )


def told(text: str | None) -> str | None:
    r"""A text without paths of the machine, and not too long.

    >>> told("it lies in C:\\data\\x.png, or in /srv/x"), told("JPEG/PNG or 1/2")
    ('it lies in (a file), or in (a file)', 'JPEG/PNG or 1/2')
    """
    return None if text is None else without_places(text)[:LONGEST]


def without_places(text: str) -> str:
    """A text without paths of the machine; addresses on the web stay.

    >>> without_places("see https://example.org/x, or ~/models and /srv")
    'see https://example.org/x, or (a file) and (a file)'
    """
    return _PLACE.sub("(a file)", text)


def body_of(refusal: RefusedError) -> dict[str, Any]:
    """The answer's body."""
    texts = {"what": refusal.what, "where": refusal.where, "why": refusal.why, "fix": refusal.fix}
    return {"error": {"code": refusal.code, **texts}}


def not_found(what: str, *, why: str | None = None, fix: str | None = None) -> RefusedError:
    """There is no such thing."""
    return RefusedError(f"there is no such {what}", code=f"no-such-{what}", status=404, why=why, fix=fix)
