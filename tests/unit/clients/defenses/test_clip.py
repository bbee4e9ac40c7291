import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradleak.clients.defenses.clip import clip_norm


def joint_norm(gradients: dict[str, torch.Tensor]) -> float:
    return sum(x * x for g in gradients.values() for x in g.flatten().tolist()) ** 0.5


def test_by_hand(context):
    gradients = {"a": torch.tensor([[3.0, 0.0]]), "b": torch.tensor([4.0])}
    clipped = clip_norm(1.0)(gradients, context)
    torch.testing.assert_close(clipped["a"], torch.tensor([[0.6, 0.0]]))
    torch.testing.assert_close(clipped["b"], torch.tensor([0.8]))
    assert gradients["b"].item() == 4.0


@pytest.mark.parametrize("bound", [5.0, 5.0001, 1e6])
def test_gradients_within_the_bound_are_unchanged(context, bound: float):
    gradients = {"a": torch.tensor([3.0, -0.0]), "b": torch.tensor([4.0])}
    clipped = clip_norm(bound)(gradients, context)
    for name, gradient in gradients.items():
        assert clipped[name].view(torch.int32).equal(gradient.view(torch.int32))


numbers = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=8)


@given(numbers, numbers, st.floats(1e-3, 1e3))
def test_the_joint_norm_is_at_most_the_bound_and_the_direction_stays(
    context, a: list[float], b: list[float], bound: float
):
    gradients = {"a": torch.tensor(a, dtype=torch.float64), "b": torch.tensor(b, dtype=torch.float64)}
    clipped = clip_norm(bound)(gradients, context)
    norm = joint_norm(gradients)
    assert joint_norm(clipped) == pytest.approx(min(norm, bound), rel=1e-9)
    for name in gradients:
        torch.testing.assert_close(clipped[name], gradients[name] * min(1.0, bound / norm if norm else 1.0))
