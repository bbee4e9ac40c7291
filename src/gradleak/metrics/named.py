"""Metrics that a job's options name: functions from the catalogue, possibly of plug-ins.

They get copies, and their results are checked.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from gradleak import global_draws
from gradleak.attacks.labels.guess import LabelGuess
from gradleak.clients.observation import BatchTruth
from gradleak.errors import InputError
from gradleak.plan import catalogue, plugins
from gradleak.plan.names import shortest

T = TypeVar("T", LabelGuess, BatchTruth)


def of_labels(names: Sequence[str], guess: LabelGuess, truth: BatchTruth) -> dict[str, float]:
    """Measure a label guess by metrics ``metric(guess, truth) -> float``.

    Args:
        names: names of the metrics.
        guess: the guess of a method.
        truth: the truth about the batch.

    Returns:
        Name -> value, without metrics that do not apply to this guess (NaN), such as those of counts if it has none.

    Raises:
        InputError: a metric fails, or returns anything but a number in its range or NaN.
    """
    results = {}
    for name in names:
        with _guarded(name):
            value = catalogue.load("metrics", name)(_copied(guess), _copied(truth))
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"metric {name}: returns {_kind(value)}; return a number")
        _check(name, float(value))
        results[name] = float(value)
    return {name: value for name, value in results.items() if not math.isnan(value)}


def of_images(names: Sequence[str], truth: Tensor, guess: Tensor) -> dict[str, Tensor]:
    """Measure reconstructed images by metrics ``metric(truth, guess) -> [n]``.

    Args:
        names: names of the metrics.
        truth: [n, channels, h, w] in [0, 1].
        guess: the same shape, image by image beside ``truth``, clamped to [0, 1].

    Returns:
        Name -> [n] float64, on the CPU.

    Raises:
        InputError: a metric fails, or returns anything but [n] numbers in its range or NaN.
    """
    results = {}
    for name in names:
        with _guarded(name):
            values = catalogue.load("metrics", name)(truth.clone(), guess.clone().clamp(0, 1))
        right = f"return one floating-point number per image, [{len(truth)}]"
        if not isinstance(values, Tensor) or not values.is_floating_point() or values.shape != (len(truth),):
            raise InputError(f"metric {name}: returns {_kind(values)}; {right}")
        results[name] = values.detach().double().cpu()
        for value in results[name].tolist():
            _check(name, value)
    return results


@contextmanager
def _guarded(name: str) -> Iterator[None]:
    what = f"metric {name}"
    with global_draws.refused(what), plugins.guarded("metrics", name, what):
        yield


def _check(name: str, value: float) -> None:
    low, high = catalogue.find("metrics", name).bounds
    if not math.isnan(value) and (math.isinf(value) or not low <= value <= high):
        actual, low, high = map(shortest, (value, low, high))
        raise InputError(f"metric {name}: returns {actual}; its range is {low} to {high}, or NaN for no value")


def _copied(of: T) -> T:
    tensors = {field.name: getattr(of, field.name) for field in fields(of)}
    return replace(of, **{name: tensor.clone() for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)})


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__
