"""Stands in for dominate where it is not installed: the peer's web page of results is left empty, which can only make the peer faster."""

from __future__ import annotations

from dominate.tags import Tag


class document(Tag):  # noqa: N801 - the peer's name for it
    """The page."""

    @property
    def head(self) -> Tag:
        return Tag()

    def add(self, tag: Tag) -> None:
        """Nothing is kept."""

    def render(self) -> str:
        """The empty page."""
        return "<!doctype html>\n"
