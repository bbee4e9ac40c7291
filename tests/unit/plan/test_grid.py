"""From configuration to runs, and all faults of a configuration together."""

from typing import Any

import pytest
import yaml
from tests.small_grid import BASE, expand

from gradleak.errors import InputError
from gradleak.plan import config as configuration
from gradleak.plan.jobs.images import ImageAttack


def test_the_product_of_the_axes():
    expanded = expand()
    assert len(expanded.experiments["a"]) == 2 * 2
    assert len(expanded.experiments["b"]) == 2 * 2
    assert {expanded.runs[run].model_id for run in expanded.experiments["b"]} == {"fcn", "fcn-n_hidden=3"}


@pytest.mark.parametrize("kind", ["labels", "images"])
def test_local_training_is_an_axis_of_all_kinds_of_attacks(kind):
    axes = {"dataset": "digits", "model": "fcn", "model_seed": 1, "batch_size": 8}
    block = {**axes, "local_epochs": [1, 5], "local_batch_size": [2, 4], "local_momentum": [0, 0.9]}
    attacks = {"labels": ["ilrg"], "images": ["match"]}[kind]
    expanded = expand(
        {
            "attacks/match": {"kind": "matching", "label": "M"},
            "experiments/c": {"kind": kind, "attacks": attacks, "axes": [block]},
        }
    )
    runs = [expanded.runs[run] for run in expanded.experiments["c"]]
    found = {(run.local_epochs, run.local_batch_size, run.local_momentum) for run in runs}
    assert found == {(epochs, size, momentum) for epochs in (1, 5) for size in (2, 4) for momentum in (0.0, 0.9)}


def test_options_of_clients_are_not_options_of_an_attack():
    with pytest.raises(InputError, match="local_epochs"):
        expand({"attacks/match": {"kind": "matching", "label": "M", "options": {"local_epochs": 5}}})


def test_equal_runs_of_two_experiments_are_one_run():
    expanded = expand()
    shared = set(expanded.experiments["a"]) & set(expanded.experiments["b"])
    assert {expanded.runs[run].batch_size for run in shared} == {8}
    assert len(expanded.runs) == 4 + 4 - 2


def test_a_block_overrides_the_defaults():
    expanded = expand({"experiments/a/axes": [{"dataset": "digits", "model": "fcn", "model_seed": 7}]})
    assert [expanded.runs[run].victim_seed for run in expanded.experiments["a"]] == [7]


def test_exclude_drops_what_matches_all_keys():
    expanded = expand({"experiments/b/exclude": [{"model": "deep", "model_seed": 2}]})
    assert len(expanded.experiments["b"]) == 3


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ({"batch_size": "8"}, {4}),
        ({"batch_size": 8.0}, {4}),
        ({"lr": "3e-1"}, {4, 8}),
        ({"lr": "1e-1", "batch_size": 8}, {4}),
        ({"analysis": False, "batch_size": 4}, {8}),
        ({"defense": "none", "batch_size": 4}, {8}),
        ({"distribution": "random", "batch_size": 8}, {4}),
    ],
)
def test_exclude_compares_values_not_spellings(rule, left):
    """Defaults count as values: the second block of the experiment sets what the first leaves to them."""
    full = {"lr": ["0.1", "1e-2"], "stage": "iter10", "analysis": [True], "defense": "d", "distribution": "unique"}
    first = {"dataset": "digits", "model": "fcn", "batch_size": [4, 8]}
    expanded = expand(
        {
            "defenses": {"d": {"kind": "dp", "noise_std": 0.1, "label": "d"}},
            "experiments/a": {
                "attacks": ["ilrg"],
                "axes": [first, {**first, "batch_size": 9, **full}],
                "exclude": [rule],
            },
        }
    )
    runs = [expanded.runs[run] for run in expanded.experiments["a"]]
    assert {run.batch_size for run in runs} == left | {9}


def test_exclude_sees_what_follows_from_other_options():
    block = {"dataset": "digits", "model": "fcn", "batch_size": 8}
    axes = [
        {**block, "distribution": ["random", "random2"]},
        {**block, "distribution": "random2", "num_target_cls": [3, 5]},
    ]
    expanded = expand({"experiments/a": {"attacks": ["ilrg"], "axes": axes, "exclude": [{"num_target_cls": 5}]}})
    assert {expanded.runs[run].distribution_id for run in expanded.experiments["a"]} == {"random", "random2-3"}


def test_exclude_sees_the_options_of_attacks():
    image = {"kind": "matching", "label": "x"}
    expanded = expand(
        {
            "models/lenet": {"kind": "lenet", "label": "LeNet"},
            "attacks/plain": image,
            "attacks/smooth": {**image, "options": {"tv_weight": 0.1}},
            "experiments/c": {
                "kind": "images",
                "attacks": ["plain", "smooth"],
                "axes": [
                    {"dataset": "digits", "model": "lenet", "model_seed": 1},
                    {"dataset": "digits", "model": "lenet", "model_seed": 1, "tv_weight": 0.5},
                ],
                "exclude": [{"tv_weight": "1e-1"}],
            },
        }
    )
    runs: list[Any] = [expanded.runs[run] for run in expanded.experiments["c"]]
    assert [(run.attack, run.tv_weight) for run in runs] == [("plain", 0.0), ("plain", 0.5), ("smooth", 0.5)]


def test_equal_ids_of_different_runs_are_refused(monkeypatch):
    monkeypatch.setattr("gradleak.plan.jobs.spec.digest_of", lambda identity: "0" * 8)
    with pytest.raises(InputError) as caught:
        expand(
            {"experiments/a/axes": [{"dataset": "digits", "model": "fcn", "split": ["train", "val"], "model_seed": 1}]}
        )
    assert str(caught.value) == (
        "labels/mnist-sample/fcn/random-B24-seed1-00000000: identifies two jobs that differ in split; "
        "change an option of one of them, such as its seed"
    )


def test_equal_ids_of_different_trainings_are_refused(monkeypatch):
    axes = {"dataset": "digits", "model": "fcn", "stage": "iter10", "lr": [0.1, 0.2], "model_seed": 1}
    grid_of_runs = expand({"experiments/a/axes": [axes]})
    monkeypatch.setattr("gradleak.plan.jobs.training.TrainVictim.digest", "0" * 8)
    with pytest.raises(InputError, match="identifies two jobs that differ in lr"):
        expand({"experiments/a/axes": [axes]})
    assert len(grid_of_runs.victims) == 2


def test_changing_one_parameter_renames_only_its_runs():
    before = expand()
    after = expand({"experiments/a/axes": [{"dataset": "digits", "model": "fcn", "batch_size": [4, 16]}]})
    assert set(before.experiments["b"]) == set(after.experiments["b"])
    assert len(set(before.experiments["a"]) & set(after.experiments["a"])) == 2


@pytest.mark.parametrize(
    ("select", "experiments", "tables", "figures"),
    [
        ({}, {"a", "b"}, ("t",), ("f",)),
        ({"experiments": ["a"]}, {"a"}, ("t",), ()),
        ({"tables": ["t"]}, {"a"}, ("t",), ()),
        ({"tables": [], "figures": ["f"]}, {"b"}, (), ("f",)),
        ({"experiments": ["b"], "tables": [], "figures": []}, {"b"}, (), ()),
    ],
)
def test_select_picks(select, experiments, tables, figures):
    expanded = expand({"select": select})
    assert (set(expanded.experiments), expanded.tables, expanded.figures) == (experiments, tables, figures)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "my.yaml: colour: Extra inputs are not permitted"),
        ({"experiments/a/axes": []}, "my.yaml: experiments.a.axes: List should have at least 1 item"),
        ({"experiments/a/axes": [{"model": "fcn"}]}, "my.yaml: experiments.a.axes.0: dataset is missing"),
        (
            {"experiments/a/axes": [{"dataset": "digits", "model": "vgg"}]},
            "my.yaml: experiments.a.axes.0.model: unknown model 'vgg'; known: fcn, deep",
        ),
        (
            {"experiments/a/axes": [{"dataset": "digits", "model": "fcn", "num_images": 8}]},
            "my.yaml: experiments.a.axes.0.num_images: is now called batch_size; the batch size of training, formerly"
            " batch_size, is train_batch_size",
        ),
        (
            {"experiments/a/axes": [{"dataset": "digits", "model": "fcn", "batch": 3}]},
            "my.yaml: experiments.a.axes.0.batch: unknown axis 'batch'",
        ),
        (
            {"experiments/a/axes": [{"dataset": "digits", "model": "fcn", "device": "cpu"}]},
            "my.yaml: experiments.a.axes.0.device: unknown axis 'device'",
        ),
        (
            {"experiments/a/axes": [{"dataset": "digits", "model": "fcn", "prior": [["x", "y"]]}]},
            "my.yaml: experiments.a.axes.0.prior: only defense takes a list within the list, which composes defenses",
        ),
        ({"experiments/a/attacks": ["dlg"]}, "my.yaml: experiments.a.attacks: unknown attack 'dlg'"),
        ({"tables/t/kind": "comparisn"}, "my.yaml: tables.t.kind: unknown kind 'comparisn'"),
        (
            {"tables/t/kind": "reconstruction"},
            "my.yaml: tables.t.experiments: reconstruction needs image attacks; a has",
        ),
        (
            {"experiments/a/attacks": ["gi"], "tables/t/kind": "error_analysis"},
            "my.yaml: tables.t.experiments: error_analysis needs an attack that recovers embeddings; a has none",
        ),
        (
            {"tables/t": {"kind": "agreement", "experiments": ["a"], "metrics": ["leacc"]}},
            "my.yaml: tables.t.metrics: the metrics of agreement cannot be chosen",
        ),
        ({"experiments/a/exclude": [{"modell": "x"}]}, "my.yaml: experiments.a.exclude.0: unknown axis 'modell'"),
        (
            {"experiments/a/exclude": [{"num_images": 8}]},
            "my.yaml: experiments.a.exclude.0.num_images: is now called batch_size",
        ),
        (
            {"attacks/x": {"kind": "matching", "label": "X", "options": {"num_images": 8}}},
            "my.yaml: attacks.x.options.num_images: is now called batch_size",
        ),
        (
            {"priors/p": {"label": "P", "options": {"batch_size": 8}}},
            "my.yaml: priors.p.options.batch_size: is now called train_batch_size",
        ),
        ({"models/deep/stem": "imagenet"}, "my.yaml: models.deep: model fcn: stem='imagenet' does not apply"),
        ({"models/deep/kind": "mlp"}, "my.yaml: models.deep.kind: unknown model 'mlp'"),
        ({"tables/t/experiments": ["z"]}, "my.yaml: tables.t.experiments: unknown experiment 'z'"),
        ({"select": {"figures": ["z"]}}, "my.yaml: select.figures: unknown figure 'z'; known: f"),
        (
            {"select": {"experiments": ["b"], "tables": ["t"]}},
            "my.yaml: select.tables: t shows a, which select.experiments leaves out",
        ),
        (
            {"experiments/a/axes": [{"dataset": "digits", "model": "fcn", "batch_size": 5001}]},
            "my.yaml: experiments.a.axes.0: batch_size 5001 is more than the 5000 images of mnist-sample",
        ),
        (
            {"experiments/a/exclude": [{"model": "fcn"}]},
            "my.yaml: experiments.a: no run is left after exclude",
        ),
        (
            {"defaults/split": False},
            "my.yaml: defaults: split: Input should be 'train', 'val' or 'all'",
        ),
    ],
)
def test_faults_name_file_and_key(changes, message):
    with pytest.raises(InputError) as caught:
        expand(changes)
    assert any(line.startswith(message) for line in str(caught.value).splitlines()), str(caught.value)


def test_all_faults_are_reported_together():
    with pytest.raises(InputError) as caught:
        expand({"experiments/a/attacks": ["x"], "experiments/b/attacks": ["y"], "tables/t/experiments": ["z"]})
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines[:2]] == ["experiments.a.attacks", "experiments.b.attacks"]
    assert any("tables.t.experiments" in line for line in lines)


def test_numbers_that_yaml_reads_as_strings_are_numbers():
    """YAML reads 1e-2 as a string."""
    raw = yaml.safe_load("{dataset: digits, model: fcn, stage: iter10, lr: 1e-2}")
    assert raw["lr"] == "1e-2"
    expanded = expand({"experiments/a/axes": [raw]})
    assert {getattr(expanded.runs[run], "lr", None) for run in expanded.experiments["a"]} == {0.01}


def test_faults_name_the_file_that_sets_the_key():
    sources = configuration.Sources({"base.yaml": BASE, "mine.yaml": {"tables": {"t": {"kind": 3}}}})
    assert sources.of("tables.t.kind") == "mine.yaml"
    assert sources.of("tables.t.experiments.0") == "base.yaml"
    assert sources.of("experiments.a.axes.0.model") == "base.yaml"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"attacks/a/options": {"beta": 1}},
            "attacks.a.options.beta: method ilrg: unknown option 'beta'; it has alpha",
        ),
        ({"attacks/a/options": {"alpha": 0}}, "attacks.a.options.alpha: method ilrg: alpha=0; use a number from 1e-06"),
        ({"attacks/a/options": {"alpha": True}}, "attacks.a.options.alpha: method ilrg: alpha=True; use a number"),
        (
            {"attacks/b": {"kind": "gi", "label": "B", "options": {"alpha": 1}}},
            "unknown option 'alpha'; it has no options",
        ),
        ({"defaults/alpha": 0.9}, "axes.0.alpha: is now an option of label attacks: ilrg: {kind: ilrg, options"),
        ({"experiments/a/side_knowledge": []}, "side_knowledge does not grant present_classes, which ilrg-simplified"),
        (
            {"experiments/a/side_knowledge": ["counts"]},
            "experiments.a.side_knowledge.0: Input should be 'present_classes'",
        ),
        ({"experiments/a/metrics": ["mine"]}, "experiments.a.metrics: unknown metric 'mine'; known: none"),
        ({"metrics": {"mine": {"kind": "mine"}}}, "metrics.mine.kind: unknown metric 'mine'; known: leacc"),
        (
            {"defaults/num_tries": None},
            "defaults.num_tries: Input should be a string, a number, true or false, or a list",
        ),
        ({"defaults/num_tries": [None]}, "defaults.num_tries: Input should be a string, a number, true or false, or a"),
        ({"attacks/a/options": {"alpha": [1]}}, "attacks.a.options.alpha: Input should be a string, a number, true or"),
    ],
)
def test_faults_of_options_side_knowledge_and_metrics_are_one_line(changes, fault):
    base = {
        "attacks/a": {"kind": "ilrg", "label": "A"},
        "attacks/known": {"kind": "ilrg-simplified", "label": "known"},
        "experiments/a/attacks": ["a", "known"],
    }
    with pytest.raises(InputError) as caught:
        expand({**base, **changes})
    assert all(fault in line for line in str(caught.value).splitlines())


def test_granted_side_knowledge_does_not_change_the_run_id():
    granted = expand({"experiments/a/side_knowledge": ["present_classes"]})
    assert set(granted.runs) == set(expand().runs)


def test_controls_have_no_label_policy():
    prior = {"kind": "diffusion", "label": "x"}
    told = {"prior": "tiny", "labels": "ilrg"}
    expanded = expand(
        {
            "priors/tiny": {"label": "tiny", "options": {"dataset": "mnist-sample", "steps": 2}},
            "attacks/ig": {"kind": "matching", "label": "IG", "options": {"labels": "truth"}},
            "attacks/dps": {**prior, "options": {**told, "guidance": "dps"}},
            "attacks/alone": {**prior, "options": {**told, "guidance": "none"}},
            "attacks/noise": {**prior, "options": {**told, "guidance": "dps", "control": "random-gradients"}},
            "experiments/images": {
                "kind": "images",
                "attacks": ["ig", "dps", "alone", "noise"],
                "axes": [{"dataset": "digits", "model": "fcn", "batch_size": 1}],
            },
        }
    )
    policies = expanded.label_policies(["images", "a"])
    assert set(policies.values()) == {"ilrg", "truth"}
    attacks = (expanded.runs[run] for run in policies)
    assert {run.attack for run in attacks if isinstance(run, ImageAttack)} == {"ig", "dps"}
