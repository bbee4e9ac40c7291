"""Options of label restoration: defaults and refusals."""

import re

import pytest
from pydantic import ValidationError

from gradleak.errors import InputError
from gradleak.plan import cli
from gradleak.plan.aliases import RestoreLabelsShorthand
from gradleak.plan.jobs.labels import RestoreLabels


def test_default_spec_is_the_documented_default():
    spec = RestoreLabels()
    assert (spec.dataset, spec.model, spec.batch_size, spec.num_tries, spec.seed) == (
        "cifar100",
        "lenet5",
        24,
        50,
        12,
    )
    assert spec.methods == ("ilrg",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ("ilrg", "magic")}, "unknown label method 'magic'"),
        ({"methods": ()}, "no method given"),
        ({"methods": ("gi:alpha=2",)}, "method gi: unknown option 'alpha'; it has no options"),
        ({"methods": ("ilrg:beta=2",)}, "method ilrg: unknown option 'beta'; it has alpha"),
        ({"methods": ("ilrg:alpha=0",)}, "method ilrg: alpha=0; use a number from 1e-06 to 1000000"),
        ({"methods": ("ilrg:alpha",)}, "method ilrg: alpha=; use a number"),
        ({"methods": ("ilrg:alpha=nan",)}, "method ilrg: alpha=nan; use a number"),
    ],
)
def test_impossible_methods_are_refused_with_a_reason(options, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        RestoreLabels(**options)


def test_methods_with_equal_options_are_one():
    spec = RestoreLabels(methods=("ilrg:alpha=1.0", "ilrg", "ilrg:alpha=9e-1", "ilrg:alpha=0.90"))
    assert spec.methods == ("ilrg", "ilrg:alpha=0.9")
    assert RestoreLabels(methods=("ilrg:alpha=1",)).run_id == RestoreLabels().run_id


@pytest.mark.parametrize(
    ("argv", "methods"),
    [
        (["--alpha", "0.9"], ("ilrg:alpha=0.9",)),
        (["--alpha", "1"], ("ilrg",)),
        (["--alpha", "2", "--compare"], ("ilrg:alpha=2", "idlg", "gi", "rlg")),
        (
            ["--methods", "ilrg,ilrg-simplified", "--attack-options", "alpha=2"],
            ("ilrg:alpha=2", "ilrg-simplified:alpha=2"),
        ),
        (
            ["--methods", "ilrg,ilrg-simplified", "--attack-options", "ilrg.alpha=2"],
            ("ilrg:alpha=2", "ilrg-simplified"),
        ),
        (["--methods", "ilrg:alpha=3,gi"], ("ilrg:alpha=3", "gi")),
        (["--methods", "ilrg,ilrg:alpha=3"], ("ilrg", "ilrg:alpha=3")),
    ],
)
def test_options_on_the_command_line(argv, methods):
    spec = cli.parse(RestoreLabels, argv, shorthand=RestoreLabelsShorthand)
    assert spec.methods == methods
    assert cli.parse(RestoreLabels, spec.to_argv(), shorthand=RestoreLabelsShorthand) == spec


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--alpha", "2", "--methods", "gi"], "--alpha: none of the methods has an option 'alpha'"),
        (["--alpha", "0"], "--alpha: method ilrg: alpha=0.0; use a number from 1e-06 to 1000000"),
        (["--attack-options", "tau=2"], "--attack-options tau=2: none of the methods has an option 'tau'"),
        (["--attack-options", "gi.alpha=2"], "--attack-options gi.alpha=2: none of the methods has"),
        (["--attack-options", "alpha"], "--attack-options alpha: use NAME=X or METHOD.NAME=X"),
        (["--methods", "magic"], "--methods: unknown label method 'magic'"),
    ],
)
def test_wrong_options_on_the_command_line_are_one_line(argv, message):
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        cli.parse(RestoreLabels, argv, shorthand=RestoreLabelsShorthand)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("granted", [None, ("present_classes",), "present_classes"])
def test_methods_get_the_side_knowledge_that_they_declare(granted):
    spec = RestoreLabels.model_validate({"methods": "ilrg,ilrg-simplified:alpha=2", "side_knowledge": granted})
    assert spec.told() == {"ilrg-simplified:alpha=2": ("present_classes",)}
    assert spec.run_id == RestoreLabels(methods=spec.methods).run_id


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--methods", "ilrg-simplified", "--side-knowledge", "none"],
            "--side-knowledge does not grant present_classes",
        ),
        (["--side-knowledge", "counts"], "--side-knowledge: Input should be 'present_classes'"),
    ],
)
def test_side_knowledge_that_is_not_granted_is_one_line(argv, message):
    with pytest.raises(InputError, match=re.escape(message)):
        cli.parse(RestoreLabels, argv, shorthand=RestoreLabelsShorthand)
    assert cli.parse(RestoreLabels, ["--side-knowledge", "none"]).told() == {}
