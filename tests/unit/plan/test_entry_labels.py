"""Labels follow the entries that a view's own experiments name."""

from typing import Any

from tests.small_grid import expand

from gradleak.plan.entry_labels import labels_of, two_labels
from gradleak.plan.jobs.labels import RestoreLabels

MINE: dict[str, Any] = {
    "datasets/mine": {"kind": "mnist-sample", "label": "my digits"},
    "models/mine": {"kind": "fcn", "n_hidden": 1, "label": "my FCN"},
    "attacks/mine": {"kind": "ilrg", "label": "my iLRG"},
    "defenses/theirs": {"kind": "dp", "noise_std": 0.01, "label": "noise"},
    "defenses/mine": {"kind": "dp", "noise_std": "1e-2", "label": "my noise"},
    "experiments/a": {
        "attacks": ["mine"],
        "axes": [{"dataset": "mine", "model": "mine", "batch_size": 4, "defense": "mine"}],
    },
    "experiments/b": {
        "attacks": ["ilrg"],
        "axes": [{"dataset": "digits", "model": "fcn", "batch_size": 4, "defense": "theirs"}],
    },
}
IDS = {"dataset": "mnist-sample", "model": "fcn", "method": "ilrg", "defense": "dp-0.01"}


def shown(grid: Any, *experiments: str) -> list[str]:
    labels = labels_of(grid.config, [grid.named[name] for name in experiments])
    return [labels[part][found] for part, found in IDS.items()]


def test_a_view_shows_the_labels_that_its_experiment_names():
    grid = expand(MINE)
    assert grid.experiments["a"] == grid.experiments["b"]
    assert shown(grid, "a") == ["my digits", "my FCN", "my iLRG", "my noise"]
    assert shown(grid, "b") == ["MNIST", "FCN-3", "iLRG", "noise"]


def test_of_two_labels_in_one_view_the_first_is_shown_with_a_warning():
    grid = expand(MINE)
    assert shown(grid, "b", "a") == ["MNIST", "FCN-3", "iLRG", "noise"]
    assert shown(grid, "a", "b") == ["my digits", "my FCN", "my iLRG", "my noise"]
    lines = two_labels(grid.config, [grid.named[name] for name in ("b", "a")])
    assert len(lines) == 4
    assert lines[1] == "models.fcn and models.mine have equal options (fcn), so both are written 'FCN-3'"
    assert two_labels(grid.config, [grid.named["a"]]) == []


def test_a_model_changed_by_an_axis_does_not_keep_the_label():
    grid = expand({"experiments/a/axes": [{"dataset": "digits", "model": "fcn", "n_hidden": [1, 3, 4]}]})
    labels = labels_of(grid.config, [grid.named["a"]])["model"]
    assert labels == {"fcn": "FCN-3", "fcn-n_hidden=3": "FCN"}


def test_an_axis_that_spells_out_the_options_of_a_model_keeps_its_label():
    """The built-in entry ``fcn`` has equal options, and another label."""
    models = {"models/mine": MINE["models/mine"], "models/deep": {"kind": "fcn", "n_hidden": 3, "label": "my deep FCN"}}
    axes = {"dataset": "digits", "batchnorm": False, "n_dim": "300"}
    grid = expand(
        {
            **models,
            "experiments/a/axes": [
                {**axes, "model": "mine", "n_hidden": ["1", 2]},
                {**axes, "model": "deep", "n_hidden": "3"},
            ],
        }
    )
    labels = labels_of(grid.config, [grid.named["a"]])["model"]
    assert labels["fcn"] == "my FCN"
    assert labels["fcn-n_hidden=3"] == "my deep FCN"
    assert "fcn-n_hidden=2" not in labels


def test_an_axis_that_overrides_a_default_of_the_job_does_not_keep_the_label():
    grid = expand(
        {
            "models/lenet": {"kind": "lenet", "label": "my LeNet"},
            "attacks/dlg": {"kind": "matching", "label": "DLG"},
            "experiments/c": {
                "kind": "images",
                "attacks": ["dlg"],
                "axes": [{"dataset": "digits", "model": "lenet", "activation": ["sigmoid", "relu"]}],
            },
        }
    )
    named = grid.named["c"]["model"]
    assert named == {"lenet-sigmoid": {"lenet": None}}


def test_a_model_whose_default_depends_on_the_job_has_its_label():
    """By default LeNet has a sigmoid in reconstructions, which is part of its id."""
    grid = expand(
        {
            "models/lenet": {"kind": "lenet", "label": "my LeNet"},
            "attacks/dlg": {"kind": "matching", "label": "DLG"},
            "experiments/c": {"kind": "images", "attacks": ["dlg"], "axes": [{"dataset": "digits", "model": "lenet"}]},
        }
    )
    labels = labels_of(grid.config, [grid.named["c"]])
    assert labels["model"]["lenet-sigmoid"] == "my LeNet"
    assert labels["method"]["dlg"] == "DLG"


def test_entries_without_runs_name_nothing():
    grid = expand(
        {
            "models/same": {"kind": "fcn", "label": "same"},
            "experiments/b/axes": [{"dataset": "digits", "model": ["same", "fcn"], "batch_size": 8}],
            "experiments/b/exclude": [{"model": "same"}],
        }
    )
    assert labels_of(grid.config, [grid.named["b"]])["model"]["fcn"] == "FCN-3"


def test_label_attacks_with_different_options_are_methods_of_one_run():
    grid = expand(
        {
            "attacks/half": {"kind": "ilrg", "label": "half", "options": {"alpha": "5e-1"}},
            "attacks/same": {"kind": "ilrg", "label": "same", "options": {"alpha": 1}},
            "experiments/c": {
                "attacks": ["half", "ilrg", "same"],
                "axes": [{"dataset": "digits", "model": "fcn", "model_seed": 1}],
            },
        }
    )
    (run,) = (grid.runs[name] for name in grid.experiments["c"])
    assert isinstance(run, RestoreLabels)
    assert run.methods == ("ilrg:alpha=0.5", "ilrg")
    labels = labels_of(grid.config, [grid.named["c"]])
    assert {name: labels["method"][name] for name in run.methods} == {"ilrg:alpha=0.5": "half", "ilrg": "iLRG"}
    (said,) = two_labels(grid.config, [grid.named["c"]])
    assert said == "attacks.ilrg and attacks.same have equal options (ilrg), so both are written 'iLRG'"


def test_labels_list_the_side_knowledge_of_methods():
    grid = expand({"attacks/known": {"kind": "ilrg-simplified", "label": "known", "options": {"alpha": 2}}})
    assert labels_of(grid.config, [])["told"]["ilrg-simplified:alpha=2"] == "present_classes"
    assert "ilrg" not in labels_of(grid.config, [])["told"]


def test_composed_defenses_are_written_by_the_label_of_each():
    strengths = {"a": 1, "b": 2}
    grid = expand(
        {f"defenses/{name}": {"kind": "dp", "noise_std": std, "label": name} for name, std in strengths.items()}
    )
    labels = labels_of(grid.config, [], [("dp-2", "dp-1"), ("dp-1",), ()])["defense"]
    assert labels == {"dp-1": "a", "dp-2": "b", "dp-2+dp-1": "b + a"}
