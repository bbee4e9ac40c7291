"""Plug-ins entered by a test are forgotten after it, so that no other test meets their kinds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gradleak.plan import catalogue
from gradleak.plan.catalogue import PARTS, Part
from gradleak.plan.plugins import Plugin


@contextmanager
def forgotten() -> Iterator[None]:
    """Put the catalogue of this process back as it was."""
    before = list(catalogue.ENTERED)
    try:
        yield
    finally:
        catalogue.ENTERED[:] = before


@dataclass(frozen=True)
class _Made(Plugin):
    """A plug-in of one kind, whose object the test made itself."""

    made: Any = field(default=None)

    def load(self, part: Part, name: str) -> Any:
        return self.made


def bring(part: Part, name: str, made: Any, path: str = "mine.py", **facts: Any) -> None:
    """Enter a kind as if a plug-in brought it; to be called while the catalogue will be :func:`forgotten`."""
    catalogue.ENTERED.append(_Made(path, "", {part: {name: PARTS[part](**facts)}}, "00000000", made))
