from dataclasses import replace

import pytest
import torch

from gradleak.attacks.labels.base import build
from gradleak.clients.observation import SideKnowledge
from gradleak.errors import InputError
from gradleak.plan.catalogue import names


def with_weight_gradient(observation, gradient: list[list[float]], batch_size: int | None):
    gradients = {**observation.gradients, "head.weight": torch.tensor(gradient)}
    return replace(observation, gradients=gradients, batch_size=batch_size)


GRADIENT = [[0.3, -0.1], [-0.3, 0.1], [-0.5, 0.45], [0.0, 0.0]]
"""Row sums 0.2, -0.2, -0.05, 0; row minima -0.1, -0.3, -0.5, 0."""


@pytest.mark.parametrize(
    ("name", "batch_size", "expected"),
    [
        ("idlg", 5, [False, True, True, False]),
        ("idlg", None, [False, True, True, False]),
        ("idlg", 1, [False, True, False, False]),
        ("gi", 5, [True, True, True, False]),
        ("gi", None, [True, True, True, False]),
        ("gi", 1, [False, False, True, False]),
    ],
)
def test_rules_by_hand(batch, name: str, batch_size: int | None, expected: list[bool]):
    observation, _ = batch([0, 1], 4, 2)
    guess = build(name)(with_weight_gradient(observation, GRADIENT, batch_size))
    assert guess.presence.tolist() == expected
    assert guess.counts is None
    assert guess.assignable_counts is None
    assert guess.embeddings is None


@pytest.mark.parametrize(
    ("bias", "expected"),
    [([0.2, -0.1, -0.1, 0.0], [False, True, True, False]), ([1.0, -1.0, -1e-9, 0.0], [False, True, False, False])],
)
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_bias_signs_by_hand(batch, bias: list[float], expected: list[bool], scale: float):
    observation, _ = batch([0, 1], 4, 2)
    gradients = {"head.bias": torch.tensor(bias) * scale}
    guess = build("bias-sign")(replace(observation, gradients=gradients, batch_size=None))
    assert guess.presence.tolist() == expected
    assert guess.counts is None


@pytest.mark.parametrize("name", ["idlg", "gi", "rlg", "ilrg", "bias-sign"])
@pytest.mark.parametrize("labels", [[4], [0, 0, 7], [1, 2, 3, 3, 3, 8]])
def test_present_classes_of_an_easy_batch(batch, name: str, labels: list[int]):
    observation, truth = batch(labels, 30, 60, scale=0.1)
    assert build(name)(observation).presence.equal(truth.counts > 0)


@pytest.mark.parametrize("name", names("attacks"))
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_are_refused(batch, name: str, value: float):
    observation, truth = batch([0, 1], 3, 4)
    observation = replace(observation, side=SideKnowledge(truth.counts > 0))
    part = "head.bias" if name.startswith(("bias", "ilrg")) else "head.weight"
    broken = observation.gradients[part].clone()
    broken.view(-1)[0] = value
    with pytest.raises(InputError, match=f"{part} has 1 NaN or infinite"):
        build(name)(replace(observation, gradients={**observation.gradients, part: broken}))
    with pytest.raises(InputError, match="which the observation does not have"):
        build(name)(replace(observation, gradients={}))


@pytest.mark.parametrize("name", names("attacks"))
def test_a_method_does_not_change_its_observation(batch, name: str):
    observation, truth = batch([0, 1, 1], 5, 6)
    observation = replace(observation, side=SideKnowledge(truth.counts > 0))
    before = {key: value.clone() for key, value in observation.gradients.items()}
    guess = build(name)(observation)
    guess.presence[:] = True
    assert observation.side.present_classes is not None
    assert observation.side.present_classes.sum() == 2
    for key, value in before.items():
        assert value.equal(observation.gradients[key])


def test_an_unknown_name_is_one_line():
    with pytest.raises(InputError, match="unknown label method 'ilgr'; known: bias-sign, consistency, gi, idlg"):
        build("ilgr")
