"""Specs: what their ids hash, and the command lines that rebuild them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gradleak.plan import cli
from gradleak.plan.aliases import RestoreLabelsShorthand
from gradleak.plan.jobs.labels import RestoreLabels


def test_where_a_job_runs_is_not_part_of_its_identity(tmp_path):
    spec = RestoreLabels()
    moved = RestoreLabels(data_root=tmp_path, device="cpu", output=tmp_path / "x.csv", progress=False, chunk_size=8)
    assert moved.run_id == spec.run_id
    assert moved.identity() == spec.identity()


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 25},
        {"num_tries": 51},
        {"seed": 13},
        {"model_seed": 3},
        {"methods": ("ilrg:alpha=2",)},
        {"methods": ("ilrg", "gi")},
        {"activation": "silu"},
        {"batchnorm": True},
        {"split": "val"},
        {"distribution": "unique"},
        {"distribution": "balanced", "num_uniform_cls": 4},
    ],
)
def test_every_parameter_changes_the_run_id(change):
    assert RestoreLabels(**change).run_id != RestoreLabels().run_id


@given(
    shares=st.integers(2, 1250),
    seed=st.integers(0, 2**31),
    methods=st.lists(st.sampled_from(["ilrg", "idlg", "gi", "rlg"]), min_size=1, unique=True),
    distribution=st.sampled_from(["random", "balanced", "random2"]),
)
def test_ids_are_paths_and_commands_rebuild_their_spec(shares, seed, methods, distribution):
    spec = RestoreLabels(
        dataset="mnist",
        model="fcn",
        batch_size=4 * shares,
        seed=seed,
        methods=methods,
        distribution=distribution,
        num_uniform_cls=4 if distribution == "balanced" else None,
    )
    assert re.fullmatch(r"labels/mnist/fcn/[a-z0-9-]+-B\d+-seed\d+-[0-9a-f]{8}", spec.run_id)
    rebuilt = cli.parse(RestoreLabels, spec.to_argv(), shorthand=RestoreLabelsShorthand)
    assert rebuilt == spec
    assert rebuilt.run_id == spec.run_id


def test_run_ids_are_frozen():
    """A change here invalidates every finished result of every user: if that is intended, raise VERSION instead."""
    spec = RestoreLabels(dataset="mnist", model="fcn", model_seed=1, methods=("ilrg", "idlg"))
    assert spec.run_id == FROZEN_ID


FROZEN_ID = "labels/mnist/fcn/random-B24-seed1-f92b0d07"


def test_specs_are_frozen():
    with pytest.raises(ValidationError):
        RestoreLabels().seed = 3  # pyright: ignore[reportAttributeAccessIssue]
