"""Plug-ins registered by a test are removed after it, so that no other test sees their kinds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gradleak.plan import catalogue
from gradleak.plan.catalogue import PARTS, Part
from gradleak.plan.plugins import Plugin


@contextmanager
def forgotten() -> Iterator[None]:
    """Restore the catalogue of this process."""
    before = list(catalogue.ENTERED)
    try:
        yield
    finally:
        catalogue.ENTERED[:] = before


@dataclass(frozen=True)
class _Made(Plugin):
    """A plug-in with one kind, whose object the test provides."""

    made: Any = field(default=None)

    def load(self, part: Part, name: str) -> Any:
        return self.made


def bring(part: Part, name: str, made: Any, path: str = "mine.py", **facts: Any) -> None:
    """Register a kind as a plug-in would; call it only where the catalogue will be :func:`forgotten`."""
    catalogue.ENTERED.append(_Made(path, "", {part: {name: PARTS[part](**facts)}}, "00000000", made))
