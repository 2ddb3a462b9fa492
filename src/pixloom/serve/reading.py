"""The body of a request: a raw picture, or a form of few parts, in memory; what is too large was stopped by the guard before."""

from __future__ import annotations

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from pixloom.serve.contract import PICTURES, Wishes
from pixloom.serve.intake import Sent
from pixloom.serve.limits import FIELD_BYTES, MOST_PARTS
from pixloom.serve.refusal import RefusedError

RAW = ("image/png", "image/jpeg", "image/webp")
"""Types of a body that is the picture itself."""

FORM = "multipart/form-data"


class _Form(MultiPartParser):
    """A parser that keeps files in memory: they are counted already, and nothing of a client is to lie on a disk."""

    spool_max_size = 2**62


def check_type(request: Request) -> str:
    """The type of a body, before anything of it is read.

    Raises:
        RefusedError: it is neither a picture nor a form; or texts are in another encoding than UTF-8: Python knows some that fail in ways
            of their own, or take very long.
    """
    stated = request.headers.get("content-type", "")
    found = stated.partition(";")[0].strip().lower()
    if found not in (*RAW, FORM):
        fix = f"send a picture as {', '.join(RAW)}, or a form as {FORM}"
        raise RefusedError("the body is of no accepted type", code="bad-content-type", status=415, fix=fix)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedError("the body is compressed", code="bad-content-encoding", status=415, fix="send the picture as it is")
    if parse_options_header(stated)[1].get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise RefusedError("the texts of the form are not in UTF-8", code="bad-charset", status=415, fix="leave the charset out")
    return found


async def read_body(request: Request, *, kind: str) -> Sent:
    """What a client sent.

    Raises:
        RefusedError: no source, an unknown or repeated part, or no form.
    """
    if kind != FORM:
        return _checked(Sent({"source": await request.body()}, {}))
    parser = _Form(request.headers, request.stream(), max_files=MOST_PARTS, max_fields=MOST_PARTS, max_part_size=FIELD_BYTES)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RefusedError(
            "the form cannot be read", code="bad-form", status=400, why=error.message, fix="send multipart/form-data"
        ) from error
    items = form.multi_items()
    try:
        return _checked(_sorted(items), count=len(items))
    finally:
        await form.close()


def _sorted(items: list[tuple[str, UploadFile | str]]) -> Sent:
    """Files and fields, each once, under known names."""
    names = [name for name, _ in items]
    for name, item in items:
        if name not in (("source", *PICTURES) if isinstance(item, UploadFile) else Wishes.model_fields):
            what = f"there is no {'file' if isinstance(item, UploadFile) else 'parameter'} '{name[:100]}'"
            raise RefusedError(
                what, code="unknown-parameter", status=422, fix=f"known: {', '.join(['source', *PICTURES, *Wishes.model_fields])}"
            )
        if names.count(name) > 1:
            raise RefusedError(f"'{name}' is given twice", code="given-twice", status=422, where=name, fix="give it once")
    files = {name: item.file.read() for name, item in items if isinstance(item, UploadFile)}
    return Sent(files, {name: item for name, item in items if isinstance(item, str)})


def _checked(sent: Sent, *, count: int = 1) -> Sent:
    if count > MOST_PARTS:
        raise RefusedError(f"the form has {count} parts", code="too-many-parts", status=413, why=f"at most {MOST_PARTS} are read")
    if not sent.pictures.get("source"):
        raise RefusedError(
            "there is no picture to translate",
            code="no-source",
            status=422,
            where="source",
            fix="send it as the body, or as the file source",
        )
    return sent
