import pytest
import torch

from gradleak.clients.defenses.base import build


def test_noise_has_the_given_statistics(make_context):
    gradients = {"a": torch.full((300, 200), 5.0), "b": torch.zeros(40_000)}
    noisy = build("dp-0.01")(gradients, make_context())
    noise = torch.cat([(noisy[name] - gradients[name]).flatten() for name in gradients]).double() / 0.01
    assert noise.mean().item() == pytest.approx(0, abs=5 / 100_000**0.5)
    assert noise.std().item() == pytest.approx(1, abs=5 / 200_000**0.5)
    within = [(noise.abs() < k).double().mean().item() for k in (1, 2, 3)]
    assert within == pytest.approx([0.6827, 0.9545, 0.9973], abs=0.006)
    pairs = torch.stack([noise[:50_000], noise[50_000:]])
    assert abs(torch.corrcoef(pairs)[0, 1].item()) < 0.02


def test_noise_is_a_function_of_the_seed_alone(make_context):
    gradients = {"a": torch.ones(3, 4), "b": torch.ones(3)}
    torch.manual_seed(0)
    first = build("dp-0.1")(gradients, make_context(seed=1))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    again = build("dp-0.1")(gradients, make_context(seed=1))
    other = build("dp-0.1")(gradients, make_context(seed=2))
    assert torch.get_rng_state().equal(state)
    for name in gradients:
        assert first[name].equal(again[name])
        assert not first[name].equal(other[name])
        assert gradients[name].eq(1).all()


def test_noise_scales_with_the_strength_and_differs_between_draws(make_context):
    context = make_context(seed=1)
    zero = {"a": torch.zeros(50, dtype=torch.float64)}
    small, large = (build(name)(zero, make_context(seed=1))["a"] for name in ("dp-0.001", "dp-0.1"))
    torch.testing.assert_close(100 * small, large)
    assert small.dtype == torch.float64
    once, twice = (build("dp-0.1")(zero, context)["a"] for _ in range(2))
    assert not once.equal(twice)
