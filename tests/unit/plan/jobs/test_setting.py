"""The columns of results that describe the setting of a job."""

import dataclasses
import hashlib
from typing import Any

import pytest
from tests.cells import columns

from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.records import CELL, COLUMNS, Row, Setting

CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"n_hidden": 3, "n_dim": 10}, {"model": "fcn-n_hidden=3-n_dim=10"}),
    ({"stage": "iter100"}, {"stage": "iter100"}),
    ({"distribution": "balanced", "num_uniform_cls": 4}, {"distribution": "balanced-4"}),
    ({"defenses": "clip-4,dp-1e-2"}, {"defense": "clip-4+dp-0.01"}),
    ({"defenses": "clip-4", "defense_scope": "all"}, {"defense": "clip-4@all"}),
]


@pytest.mark.parametrize(("options", "expected"), CASES)
def test_columns_of_a_job(options, expected):
    spec = RestoreLabels.model_validate({"dataset": "mnist-sample", "model": "fcn", "batch_size": 8, **options})
    expected = {"model": "fcn", "batch_size": 8, **expected}
    assert dataclasses.asdict(spec.setting()) == columns("mnist-sample", **expected)


def test_single_clients_are_not_an_aggregate():
    setting = Reconstruct(dataset="mnist-sample", num_clients=3, defenses=("dp-0.1",)).setting()
    assert (setting.aggregated, setting.batch_size, setting.defense_scope) == (0, 1, "all")


def test_a_column_has_the_value_of_the_option_of_its_name():
    class Odd(RestoreLabels):
        aggregated: bool = False

    for value in (False, True):
        row = vars(Odd(dataset="mnist-sample", model="fcn", aggregated=value).setting())
        assert (row["aggregated"], type(row["aggregated"])) == (int(value), int)


def test_weights_of_the_user_are_named_by_their_content(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    setting = RestoreLabels(dataset="mnist-sample", model="fcn", checkpoint=path).setting()
    assert setting.checkpoint == hashlib.sha256(b"weights").hexdigest()[:8]
    assert (setting.stage_unit, setting.stage_number) == ("", 0)


def test_the_columns_are_those_of_a_row_each_once():
    assert sorted(COLUMNS) == sorted(field.name for field in dataclasses.fields(Row))
    assert tuple(field.name for field in dataclasses.fields(Setting)) == CELL
