"""Metrics that a job names: their rows, and one line for every fault."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests.plugin_state import bring, forgotten

from gradleak.errors import InputError
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.metric_facts import bounds, facts_of
from gradleak.records import Row
from gradleak.report.tex import figure
from gradleak.runs import images
from gradleak.runs.labels import restore

USUAL: dict[str, Any] = {"dataset": "mnist-sample", "model": "fcn", "batch_size": 4, "num_tries": 2, "progress": False}
IMAGES: dict[str, Any] = {"dataset": "mnist-sample", "num_clients": 1, "iterations": 2, "progress": False}
Of = Callable[[Callable[..., Any]], list[Row]]


@pytest.fixture(autouse=True)
def catalogue() -> Iterator[None]:
    with forgotten():
        yield


def of_labels(made: Callable[..., Any], methods: tuple[str, ...] = ("ilrg", "gi"), **facts: Any) -> list[Row]:
    bring("metrics", "mine", made, of="labels", **{"low": 0, "high": 4, **facts})
    return restore(RestoreLabels(**USUAL, methods=methods, metrics=("mine",))).rows


def of_images(made: Callable[..., Any]) -> list[Row]:
    bring("metrics", "mine", made, of="images", low=0, high=4)
    return images.run(Reconstruct(**IMAGES, metrics=("mine",))).rows


def mine(rows: list[Row]) -> list[tuple[str, int, int, int, float]]:
    return [(row.method, row.trial, row.client, row.image, row.value) for row in rows if row.metric == "mine"]


def test_a_metric_of_labels_has_a_row_per_try_and_none_for_nan():
    rows = of_labels(lambda guess, truth: math.nan if guess.counts is None else int(guess.counts.sum()))
    assert mine([row for row in rows if not row.method.startswith("floor")]) == [
        ("ilrg", 0, 0, -1, 4),
        ("ilrg", 1, 0, -1, 4),
    ]
    assert {method for method, *_ in mine(rows)} == {"ilrg", "floor-blank", "floor-uniform"}
    plain = restore(RestoreLabels(**USUAL, methods=("ilrg", "gi"))).rows
    values = [(row.method, row.metric, row.value) for row in plain if row.metric not in ("seconds", "peak_memory_mb")]
    assert set(values) <= {(row.method, row.metric, row.value) for row in rows}


def test_a_metric_of_images_has_a_row_per_image():
    rows = of_images(lambda truth, guess: (truth - guess).abs().amax((1, 2, 3)))
    ((method, trial, client, image, value),) = mine(rows)
    assert (method, trial, client, image) == ("dlg", 0, 0, 0)
    assert 0 < value <= 1


def wreck(guess: Any, truth: Any) -> float:
    for tensor in (guess.presence, truth.counts):
        tensor.zero_()
    return 0.0


def test_a_metric_cannot_change_what_others_see():
    rows = of_labels(wreck, methods=("ilrg",))
    assert [row.value for row in rows if (row.method, row.metric) == ("ilrg", "leacc")] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("of", "made", "message"),
    [
        (of_labels, lambda guess, truth: None, "metric mine: returns NoneType; return a number"),
        (of_labels, lambda guess, truth: True, "metric mine: returns bool; return a number"),
        (
            of_labels,
            lambda guess, truth: torch.ones(()),
            r"metric mine: returns a tensor \[\] of float32; return a number",
        ),
        (of_labels, lambda guess, truth: 5, "metric mine: returns 5; its range is 0 to 4, or NaN for no value"),
        (of_labels, lambda guess, truth: 4.0000001, "metric mine: returns 4.0000001; its range is 0 to 4"),
        (of_labels, lambda guess, truth: math.inf, "metric mine: returns inf; its range is 0 to 4"),
        (of_labels, lambda guess, truth: 1 / 0, "metric mine: mine.py: ZeroDivisionError: division by zero"),
        (of_labels, lambda guess: 1, "metric mine: mine.py: TypeError: .*positional argument"),
        (of_images, lambda truth, guess: 1.0, r"metric mine: returns float; return one .* number per image, \[1\]"),
        (
            of_images,
            lambda truth, guess: truth,
            r"metric mine: returns a tensor \[1, 1, 28, 28\] of float32; return one",
        ),
        (
            of_images,
            lambda truth, guess: truth.sum().int()[None],
            r"metric mine: returns a tensor \[1\] of int32; return one",
        ),
        (of_images, lambda truth, guess: truth.new_tensor([-1.0]), "metric mine: returns -1; its range is 0 to 4"),
    ],
)
def test_invalid_values_are_one_line(of, made, message):
    with pytest.raises(InputError, match=f"^{message}") as raised:
        of(made)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mean", "metrics: unknown metric 'mean'; known: leacc"),
        ("leacc", "metrics: metric leacc is always measured; leave it out"),
        ("ssim", "metrics: metric ssim measures images, but this job needs metrics of labels"),
    ],
)
def test_metrics_that_a_job_cannot_name(name, message):
    from gradleak.plan.cli import describe

    with pytest.raises(ValidationError) as raised:
        RestoreLabels(metrics=(name,))
    assert describe(raised.value, flag="").startswith(message)


def test_tables_know_its_range_and_its_decimals():
    bring("metrics", "mine", None, of="labels", low=0, high=4, digits=1, label="Mine")
    assert bounds("mine") == (0, 4)
    assert bounds("difference_mine") == (-4, 4)
    assert figure("mine", 2.345) == "2.3"
    facts = facts_of("mine")
    assert facts is not None
    assert facts.label == "Mine"
