"""Tags that accept everything and hold nothing."""

from __future__ import annotations


class Tag:
    """Any element."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> Tag:
        return self

    def __exit__(self, *_: object) -> None:
        pass


meta = h3 = table = tr = td = p = a = img = br = Tag
