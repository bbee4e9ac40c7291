"""Ctrl-C and SIGTERM end a program in the same way: both are a KeyboardInterrupt of the main thread."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_last = signal.SIGINT


def _interrupt(number: int, _: FrameType | None) -> None:
    global _last
    _last = signal.Signals(number)
    raise KeyboardInterrupt


def catch() -> None:
    """Turn SIGTERM, with which Snakemake and Slurm end jobs, into the KeyboardInterrupt that Ctrl-C is already."""
    signal.signal(signal.SIGTERM, _interrupt)


def status() -> int:
    """Return the exit status of an interrupted program, as shells count it: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + _last


@contextmanager
def held() -> Iterator[None]:
    """Let signals wait until the block is done: for the seconds in which files that belong together are written."""
    if threading.current_thread() is not threading.main_thread():  # signals interrupt only the main thread
        yield
        return
    waiting: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: waiting.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if waiting:  # even if the block failed: the user asked to stop
            signal.raise_signal(waiting[0])
