"""What would stop it: the update attacked again behind each defense that acts on the gradient alone."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from gradleak.audit.exact import Exact, exact
from gradleak.audit.findings import Defended
from gradleak.audit.runner import Runner
from gradleak.audit.time_limit import Clock
from gradleak.clients.defenses.base import DefenseContext, Gradients, build
from gradleak.clients.observation import Observation
from gradleak.clients.precision import rounded
from gradleak.errors import InputError
from gradleak.plan.jobs.options import canonical_defense
from gradleak.plan.names import shortest
from gradleak.streams import stream_seed

Estimate = Callable[[Observation, Exact | None], torch.Tensor | None]
"""Counts [C] that a label method estimates of an observation, given what exact inversion found, for the scale; None if
it does not apply."""


ROUNDED = ("float16", "bfloat16")
"""Candidates that are a type in which gradients are sent."""


@dataclass(frozen=True)
class Candidate:
    """A defense at one strength.

    Attributes:
        name: with the strength, as options of gradleak take it.
        what: in words.
    """

    name: str
    what: str


def candidates(gradients: Gradients) -> list[Candidate]:
    """Return defenses at strengths relative to a gradient, so that they mean the same for every model.

    Soteria is not among them: it needs the batch. Nor are strengths outside the range of their option.

    Args:
        gradients: the mean gradient.
    """
    square = sum(float(g.double().square().sum()) for g in gradients.values())
    entries = sum(g.numel() for g in gradients.values())
    norm, size = math.sqrt(square), math.sqrt(square / entries)
    tried = [
        Candidate(_named("clip", norm / 2), "norm clipped to half of what it is"),
        *(Candidate(kind, f"sent as {kind}") for kind in ROUNDED),
        *(Candidate(f"sparse-{percent}", f"smallest {percent}% of each tensor set to 0") for percent in (50, 90, 99)),
        *(
            Candidate(_named("dp", share * size), f"Gaussian noise of {share:.0%} of the entries' root mean square")
            for share in (0.01, 0.1, 1.0)
        ),
    ]
    return [each for each in tried if each.name in ROUNDED or _is_option(each.name)]


def _named(kind: str, strength: float) -> str:
    """Return a defense whose strength has three digits."""
    return f"{kind}-{shortest(float(f'{strength:.3g}'))}"


def _is_option(name: str) -> bool:
    try:
        return canonical_defense(name) == name
    except ValueError:
        return False


def defended(observation: Observation, candidate: Candidate, seed: int) -> Observation:
    """Return what the server would see behind a defense."""
    if candidate.name in ROUNDED:
        return rounded(observation, candidate.name)
    generator = torch.Generator().manual_seed(stream_seed("audit-defense", seed, candidate.name) % 2**63)
    context = DefenseContext(generator, observation.model, list)
    return replace(observation, gradients=build(candidate.name)(dict(observation.gradients), context))


def price(before: Gradients, after: Gradients) -> tuple[float, float]:
    """Return the relative change of a gradient, and the share of its nonzero entries that stayed as they were."""
    change = total = 0.0
    kept = entries = 0
    for name, old in before.items():
        new = after.get(name, torch.zeros_like(old))
        change += float((new.double() - old.double()).square().sum())
        total += float(old.double().square().sum())
        kept += int(((old == new) & (old != 0)).sum())
        entries += int((old != 0).sum())
    return math.sqrt(change / total), kept / entries


def compare(
    observation: Observation, found: Exact | None, estimate: Estimate, runner: Runner, seed: int
) -> tuple[Defended, ...]:
    """Attack an observation behind each defense: exact inversion, and the estimate of labels.

    They may take half of the time that is left, each the same share of what earlier ones leave.

    Args:
        observation: the mean gradient; undefended as far as the audit knows.
        found: in it, by exact inversion.
        estimate: see :data:`Estimate`.
        runner: for the time; notes no attack of its own.
        seed: of the noise.
    """
    own = Runner(Clock(runner.clock.left / 2), progress=False)
    usual = estimate(observation, found)
    results = []
    tried = candidates(observation.gradients)
    for number, candidate in enumerate(tried):
        if runner.progress:
            print(f"behind {candidate.name} ...", file=sys.stderr, flush=True)
        began = time.perf_counter()
        seen = defended(observation, candidate, seed)
        change, unchanged = price(observation.gradients, seen.gradients)
        left = own.run(candidate.name, lambda seen=seen: exact(seen), share=1 / (len(tried) - number))
        ran = left is not None or own.attacks[-1].status == "not applicable"
        results.append(
            Defended(
                candidate.name,
                candidate.what,
                change,
                unchanged,
                (0 if left is None else left.certified) if ran else None,
                (0 if left is None else left.inputs) if ran else None,
                _agreement(usual, seen, left, estimate),
                time.perf_counter() - began,
            )
        )
    runner.interrupted |= own.interrupted
    return tuple(results)


def _agreement(usual: torch.Tensor | None, seen: Observation, found: Exact | None, estimate: Estimate) -> float | None:
    if usual is None or not int(usual.sum()):
        return None
    try:
        other = estimate(seen, found)
    except InputError:  # such as entries beyond the range of float16
        return None
    return None if other is None else int(torch.minimum(usual, other).sum()) / int(usual.sum())
