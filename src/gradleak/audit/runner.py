"""Runs attacks one after another within a budget of time; one that fails does not stop the others."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from gradleak.audit.findings import Attack, Status
from gradleak.audit.time_limit import Clock, TimeUp, limited
from gradleak.errors import InputError
from gradleak.notes import note

T = TypeVar("T")


class Runner:
    """Attacks of one audit.

    Attributes:
        clock: time of all of them.
        attacks: what became of each, in order.
        interrupted: whether the user stopped it; further attacks are then skipped.
    """

    def __init__(self, clock: Clock, *, progress: bool) -> None:
        self.clock, self.progress = clock, progress
        self.attacks: list[Attack] = []
        self.interrupted = False

    def run(self, name: str, attack: Callable[[], T], *, share: float = 1.0, limits_itself: bool = False) -> T | None:
        """Run an attack and note what became of it.

        Args:
            name: of the attack.
            attack: returns its result; an InputError means that it does not apply.
            share: of the time left that it may take.
            limits_itself: whether it keeps to the time by itself.

        Returns:
            Its result, or None if it has none.
        """
        if self.interrupted:
            self.skip(name, "interrupted", "not tried any more")
            return None
        if not self.clock.left:
            self.skip(name, "out of time", "give more time with --minutes")
            return None
        if self.progress:
            print(f"{name} ...", file=sys.stderr, flush=True)
        began = time.perf_counter()
        status: Status
        try:
            if limits_itself:
                result = attack()
            else:
                with limited(share * self.clock.left):
                    result = attack()
        except TimeUp:
            status, why = "out of time", "give more time with --minutes"
        except KeyboardInterrupt:
            self.interrupted = True
            status, why = "interrupted", "stopped by the user"
        except InputError as error:
            status, why = "not applicable", str(error)
        except Exception as error:  # an attack must not take the others with it
            status, why = "failed", _reason(error)
        else:
            self.attacks.append(Attack(name, "ok", time.perf_counter() - began))
            return result
        self.attacks.append(Attack(name, status, time.perf_counter() - began, why))
        return None

    def measured(self, what: str, measure: Callable[[], T], *, limited_to: float | None = None) -> T | None:
        """Return a measurement, or None where it fails, which a line says, or the user stops it; it is no attack.

        Args:
            what: it is, for that line.
            measure: returns it.
            limited_to: share of the time left that it may take; without a limit by default.
        """
        if self.interrupted or (limited_to is not None and not self.clock.left):
            return None
        try:
            if limited_to is None:
                return measure()
            with limited(limited_to * self.clock.left):
                return measure()
        except TimeUp:
            pass
        except KeyboardInterrupt:
            self.interrupted = True
        except Exception as error:  # of the user's model, such as BatchNorm on a single image
            note(f"{what} could not be measured: {_reason(error)}")
        return None

    def skip(self, name: str, status: Status, why: str) -> None:
        """Note an attack that is not run."""
        self.attacks.append(Attack(name, status, 0.0, why))

    def note(self, **changes: object) -> None:
        """Add to what is noted of the last attack."""
        self.attacks[-1] = replace(self.attacks[-1], **changes)  # pyright: ignore[reportArgumentType]


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
