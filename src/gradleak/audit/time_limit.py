"""A limit on the time of attacks that have none of their own."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class TimeUp(KeyboardInterrupt):
    """The time is up. It looks like Ctrl-C to attacks, which then return the best that they have."""


@dataclass
class Limit:
    """A limit.

    Attributes:
        is_up: whether it was reached.
    """

    is_up: bool = False


@contextmanager
def limited(seconds: float) -> Iterator[Limit]:
    """Raise :class:`TimeUp` in a block that takes longer; only in the main thread, elsewhere there is no limit."""
    limit = Limit()
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield limit
        return

    def up(*_: object) -> None:
        limit.is_up = True
        raise TimeUp

    handler = signal.signal(signal.SIGALRM, up)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield limit
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


class Clock:
    """Time left of a budget."""

    def __init__(self, seconds: float) -> None:
        self.started, self.budget = time.perf_counter(), seconds

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self.started

    @property
    def left(self) -> float:
        """Seconds left, 0 or more."""
        return max(self.budget - self.spent, 0.0)
