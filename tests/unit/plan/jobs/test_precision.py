"""The type in which gradients are sent, and a sigmoid, on their way through command lines and results."""

from typing import Any

from gradleak.plan import cli
from gradleak.plan.aliases import ReconstructShorthand
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels


def test_a_type_is_another_run_and_another_setting():
    usual, half = RestoreLabels(), RestoreLabels(precision="float16")
    assert half.digest != usual.digest
    assert "-float16-" in half.run_id
    assert (usual.setting().precision, half.setting().precision) == ("float32", "float16")


def test_an_fcn_with_a_sigmoid_keeps_it_on_the_command_line():
    choices: list[dict[str, Any]] = [{"model": "fcn", "activation": "sigmoid"}, {"model": "fcn"}, {"model": "lenet"}]
    for options in choices:
        spec = Reconstruct(**options, num_clients=1)
        assert cli.parse(Reconstruct, spec.to_argv(), shorthand=ReconstructShorthand) == spec
