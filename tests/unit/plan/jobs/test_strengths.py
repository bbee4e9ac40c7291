"""Strengths of defenses in ids: exact, short, and without the sign that joins composed defenses."""

import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.small_grid import expand

from gradleak.plan.catalogue import defenses
from gradleak.plan.catalogue.facts import DefenseFacts
from gradleak.plan.entry_labels import labels_of
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.options import canonical_defense
from gradleak.report.tables.base import Labels

FCN: dict[str, Any] = {"dataset": "mnist-sample", "model": "fcn"}


@given(st.floats(min_value=0, max_value=1e6, exclude_min=True))
@example(1e6)
@example(123456.789)
@example(math.nextafter(0.01, 1))
def test_a_strength_reads_back_as_exactly_itself(strength):
    name = canonical_defense(f"dp-{strength!r}")
    assert float(name.removeprefix("dp-")) == strength
    assert canonical_defense(name) == name
    assert "+" not in name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("dp-1e-2", "dp-0.01"),
        ("dp-1.0E-4", "dp-0.0001"),
        ("dp-1e-5", "dp-1e-05"),
        ("clip-4.0", "clip-4"),
        ("sparse-10", "sparse-10"),
        ("perturb-12.5", "perturb-12.5"),
        ("clip-1e6", "clip-1000000"),
        ("clip-1e+06", "clip-1000000"),
    ],
)
def test_a_strength_has_one_spelling(written, name):
    assert canonical_defense(written) == name


def test_a_strength_of_a_plugin_may_be_large(monkeypatch):
    monkeypatch.setitem(defenses.KINDS, "shift", DefenseFacts(strength="bits", high=1e30))
    spec = RestoreLabels.model_validate(FCN | {"defenses": "shift-1e16,shift-1.5e22"})
    assert spec.defense_id == "shift-1e16+shift-1.5e22"


def test_strengths_that_differ_in_the_seventh_digit_are_different_runs():
    expanded = expand(
        {
            "defenses/weak": {"kind": "dp", "noise_std": 0.1234567, "label": "weak"},
            "defenses/strong": {"kind": "dp", "noise_std": 0.1234568, "label": "strong"},
            "experiments/a/axes": [{**FCN, "dataset": "digits", "model_seed": 1, "defense": ["weak", "strong"]}],
        }
    )
    assert len(expanded.experiments["a"]) == 2
    assert {expanded.runs[run].defense_id for run in expanded.experiments["a"]} == {"dp-0.1234567", "dp-0.1234568"}


def test_a_composition_with_a_large_bound_has_its_labels():
    spec = RestoreLabels.model_validate(FCN | {"defenses": "clip-1e6,dp-0.01"})
    entries = {"c": {"kind": "clip", "clip_bound": 1e6, "label": "clipping at 1e6"}}
    entries |= {"n": {"kind": "dp", "noise_std": 0.01, "label": "noise 1e-2"}}
    config = expand({f"defenses/{name}": entry for name, entry in entries.items()}).config
    labels = Labels(defense=labels_of(config, [], [spec.defenses])["defense"])
    assert labels.defended(asdict(spec.setting())) == "clipping at 1e6 + noise 1e-2"
