"""What a client is told when something is refused or fails: one shape, a stable code, and nothing about the machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pixloom.errors import ConfigError, DataError, DependencyError, ImageError, PixloomError

LONGEST = 500
"""Characters of a text that a client is told."""

_ROOT = r"(?:file:/+|[A-Za-z]:[\\/]|\\\\(?=\w)|~\w*/|/(?=[^\W\d][\w./-]|[.~]\w|\d[^\s/<>]*/))"  # of an absolute path, on any system
_PLACE = re.compile(
    r"(?P<address>\b(?!file:)[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s'\"`]*)"  # on the web: it stays
    rf"|(?P<quote>['\"`]){_ROOT}[^'\"`\n]*(?P=quote)"  # spaces are part of what is quoted
    rf"|(?<![\w.)/\\>])(?!/\w+>){_ROOT}[^\s'\"`,;)<>]*"  # no fraction, and no end of a tag
    r"(?: (?:[^\s'\"`,;:)/\\<>]+ ){0,3}[^\s'\"`,;:)/\\<>]+(?:[\\/]|\.[A-Za-z0-9]{1,5}\b)[^\s'\"`,;)<>]*)*"  # more of it, see without_places
    r"(?<![:.])"  # the end of a sentence is none of a path
)

_OPTIONS = (
    (r",? or (?:choose |give )?the other --direction if [^,;]*", ""),
    (r"--attribute\b(?: NAME=VALUE)?", "the parameter attributes"),
    (r"--label\b(?: NAME)?", "the parameter label"),
    (r'--text\b(?: "WORDS")?', "the parameter text"),
    (r"--size (trained|native)\b", r"size=\1"),
    (r"--keep-alpha\b", "the parameter keep_alpha"),
    (r"--(strength|size|direction|index|seed|samples)\b", r"the parameter \1"),
    (r"--(mask|hints|map|image|reference)\b(?: FILE)?", r"the part \1"),
)
"""Options of the command line, as patterns, and what stands for them in a request."""

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
            why = None if kind is DependencyError else told(error.why)  # what another library said of this machine
            return RefusedError(told(error.what) or "", code=code, status=status, where=where, why=why, fix=_fix(error.fix))
    return fault()


def for_requests(text: str) -> str:
    """A text of the command line as one who sends requests understands it.

    >>> for_requests("give it with --mask"), for_requests("leave --strength out")
    ('give it with the part mask', 'leave the parameter strength out')
    """
    for option, instead in _OPTIONS:
        text = re.sub(option, instead, text)
    return text


def _fix(text: str | None) -> str | None:
    """What a client can do; nothing where it names an option that requests do not have."""
    found = told(text)
    return None if found is not None and re.search(r"(?<!\w)--[a-z]", found) else found


def fault() -> RefusedError:
    """A real fault, of which only the server's own log knows more."""
    return RefusedError(
        "something failed inside the server", code="fault", status=500, fix="tell the server's operator, who sees more in its log"
    )


def told(text: str | None) -> str | None:
    r"""A text without paths of the machine and options of the command line, and not too long.

    >>> told("it lies in C:\\data\\x.png, or in /srv/x"), told("JPEG/PNG or 1/2")
    ('it lies in (a file), or in (a file)', 'JPEG/PNG or 1/2')
    """
    return None if text is None else for_requests(without_places(text))[:LONGEST]


def without_places(text: str) -> str:
    """A text without absolute paths, as far as they can be told from other text; addresses on the web stay.

    A path with spaces is known as a whole where it is quoted, or where a further part or an ending follows within a few words.

    >>> without_places("see https://example.org/x, or ~/models and /srv")
    'see https://example.org/x, or (a file) and (a file)'
    >>> without_places("lies in:/home/me/my old secret.png: <b>3 /4</b>")
    'lies in:(a file): <b>3 /4</b>'
    """
    return _PLACE.sub(lambda found: found["address"] or "(a file)", text)


def valid(text: str) -> str:
    r"""A text that can be sent: half a character, which JSON can write and UTF-8 cannot, becomes a question mark.

    >>> valid("a\ud800b")
    'a?b'
    """
    return text.encode("utf-8", "replace").decode()


def cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """Nested lists and dictionaries with every text cleaned, those that are keys as well."""
    if isinstance(value, dict):
        return {clean(name) if isinstance(name, str) else name: cleaned(item, clean) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(item, clean) for item in value]
    return clean(value) if isinstance(value, str) else value


def body_of(refusal: RefusedError) -> dict[str, Any]:
    """The answer's body."""
    texts = {"what": refusal.what, "where": refusal.where, "why": refusal.why, "fix": refusal.fix}
    return {"error": {"code": refusal.code, **{name: None if text is None else valid(str(text)) for name, text in texts.items()}}}


def not_found(what: str, *, why: str | None = None, fix: str | None = None) -> RefusedError:
    """There is no such thing."""
    return RefusedError(f"there is no such {what}", code=f"no-such-{what}", status=404, why=why, fix=fix)
