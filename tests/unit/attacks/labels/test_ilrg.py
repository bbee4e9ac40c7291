from dataclasses import replace

import numpy as np
import pytest
import torch

from gradleak.attacks.labels import ilrg as module
from gradleak.attacks.labels.base import build
from gradleak.attacks.labels.ilrg import recover_embeddings, solve_counts
from gradleak.clients.observation import Observation, SideKnowledge
from gradleak.errors import InputError
from gradleak.victims.head import head_of


def literal_embedding(row: list[float], bias: float) -> np.ndarray:
    """The published recipe for one class: mantissas divided, exponents subtracted, 10 decades at most."""

    def split(x: float) -> tuple[float, int]:
        mantissa, exponent = f"{x:.16e}".split("e")
        return float(mantissa), int(exponent)

    bias_mantissa, bias_exponent = (1.0, -64) if bias == 0 else split(bias)
    result = []
    for entry in row:
        mantissa, exponent = split(entry)
        result.append(mantissa / bias_mantissa * 10.0 ** min(10, max(-10, exponent - bias_exponent)))
    return np.array(result)


def literal_counts(P: list[np.ndarray], db: list[float], B: int, classes: list[int]) -> np.ndarray:
    """The published system, equation by equation, then its rounding."""
    coefficients, values = [[1.0] * len(classes)], [float(B)]
    for i in classes:
        coefficients.append([P[j][i] - (1.0 if i == j else 0.0) for j in classes])
        values.append(B * db[i])
    real = np.linalg.pinv(np.array(coefficients)) @ np.array(values)
    counts = [round(max(k, 0.0)) for k in real]
    return np.array([k if k <= B else 0 for k in counts])


def literal_ilrg(observation: Observation, classes: list[int], *, alpha: float = 1.0) -> list[int]:
    head, B = head_of(observation.model), observation.batch_size
    assert B is not None
    assert head.bias is not None
    W, b = head.weight.detach().double().numpy(), head.bias.detach().double().numpy()
    dW, db = observation.head_weight.tolist(), observation.head_bias.tolist()
    P = []
    for c in range(len(b)):
        z = alpha * (W @ literal_embedding(dW[c], db[c]) + b)
        e = np.exp(z - z.max())
        P.append(e / e.sum())
    counts = np.zeros(len(b), dtype=int)
    counts[classes] = literal_counts(P, db, B, classes)
    return counts.tolist()


def labels(B: int, C: int, seed: int) -> list[int]:
    """B labels, skewed so that counts differ."""
    return np.minimum(np.random.default_rng(seed).geometric(4 / C, B) - 1, C - 1).tolist()


@pytest.mark.parametrize("name", ["ilrg", "ilrg-estimate"])
def test_hand_counts(batch, name: str):
    observation, truth = batch([0, 0, 0, 2, 5, 5], 6, 20, scale=0.2, spread=0.0)
    guess = build(name)(observation)
    assert guess.counts is not None
    assert guess.assignable_counts is not None
    assert guess.counts.tolist() == truth.counts.tolist() == [3, 0, 1, 0, 0, 2]
    assert guess.presence.tolist() == [True, False, True, False, False, True]
    assert guess.assignable_counts.tolist() == [3, 0, 1, 0, 0, 2]
    assert guess.restricted_to is None


def test_recovered_embeddings_and_probabilities(batch):
    observation, truth = batch([0, 0, 2], 4, 8, spread=0.0)
    guess = build("ilrg")(observation)
    present = truth.counts > 0
    assert guess.embeddings is not None
    assert guess.probabilities is not None
    # Row c of dL/dW mixes in the other classes of the batch with weight p, hence the tolerance.
    one, truth_of_one = batch([3], 4, 8)
    guess_of_one = build("ilrg")(one)
    assert guess_of_one.embeddings is not None
    torch.testing.assert_close(guess_of_one.embeddings[3], truth_of_one.embeddings[3], rtol=1e-5, atol=1e-6)
    assert guess.embeddings.dtype == guess.probabilities.dtype == torch.float64
    assert guess.embeddings.shape == (4, 8)
    torch.testing.assert_close(guess.probabilities.sum(1), torch.ones(4).double())
    assert (guess.probabilities[present] - truth.probabilities[present]).abs().max() < 0.15


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [0.05, 3.0, 30.0, 300.0])
def test_counts_equal_those_of_the_literal_method(batch, scale: float, seed: int):
    C, B = 30, 40
    observation, truth = batch(labels(B, C, seed), C, 24, scale=scale, spread=0.5, seed=seed)
    guess = build("ilrg")(observation)
    assert guess.counts is not None
    assert guess.counts.tolist() == literal_ilrg(observation, list(range(C)))
    if scale < 1:
        assert guess.counts.tolist() == truth.counts.tolist()


@pytest.mark.parametrize("scale", [0.3, 30.0])
def test_alpha_scales_the_logits(batch, scale: float):
    observation, _ = batch(labels(40, 20, 1), 20, 24, scale=scale, spread=0.5)
    guess = build("ilrg:alpha=0.4")(observation)
    assert guess.counts is not None
    assert guess.counts.tolist() == literal_ilrg(observation, list(range(20)), alpha=0.4)
    assert guess.probabilities is not None
    plain = build("ilrg")(observation).probabilities
    assert plain is not None
    assert not torch.allclose(guess.probabilities, plain)


@pytest.mark.parametrize("scale", [0.3, 30.0])
def test_simplified(batch, scale: float):
    C, B = 20, 30
    observation, truth = batch(labels(B, C, 3), C, 24, scale=scale, spread=0.5)
    known = truth.counts > 0
    guess = build("ilrg-simplified")(replace(observation, side=SideKnowledge(known)))
    classes = torch.nonzero(known)[:, 0].tolist()
    assert guess.counts is not None
    assert guess.assignable_counts is not None
    assert guess.restricted_to is not None
    assert guess.counts.tolist() == literal_ilrg(observation, classes)
    assert guess.presence.equal(known)
    assert guess.restricted_to.equal(known)
    assert not guess.assignable_counts[~known].any()
    assert guess.assignable_counts.sum() == B
    if scale < 1:
        assert guess.counts.equal(truth.counts)


def test_estimate_is_the_system_with_uniform_probabilities(batch):
    C, B = 12, 20
    observation, _ = batch(labels(B, C, 5), C, 16, scale=2.0)
    uniform = [np.full(C, 1 / C)] * C
    expected = literal_counts(uniform, observation.head_bias.tolist(), B, list(range(C)))
    guess = build("ilrg-estimate")(observation)
    assert guess.counts is not None
    assert guess.counts.tolist() == expected.tolist()
    assert guess.embeddings is None


@pytest.mark.parametrize("seed", range(5))
def test_solution_of_a_regular_system_is_the_least_squares_solution(seed: int):
    generator = np.random.default_rng(seed)
    C, B = 17, 50
    P = generator.dirichlet(np.ones(C) * 0.3, size=C)
    db = generator.normal(size=C) * 0.1  # does not sum to 0, as for defended or rounded gradients
    stacked = np.vstack([np.ones((1, C)), P.T - np.eye(C)])
    expected = np.linalg.lstsq(stacked, B * np.append(1.0, db), rcond=None)[0]
    np.testing.assert_allclose(solve_counts(P, db, B), expected, rtol=1e-8, atol=1e-8)


def test_noise_is_spread_over_all_equations():
    """As in the paper: without noise any of the last C equations may be dropped; with noise the result would change."""
    generator = np.random.default_rng(0)
    C, B = 6, 40
    P, counts = generator.dirichlet(np.ones(C), size=C), np.array([20.0, 5, 0, 3, 12, 0])
    exact = (P.T @ counts - counts) / B
    for noise in (np.zeros(C), 0.05 * generator.normal(size=C)):
        db = exact + noise
        found = solve_counts(P, db, B)
        square = np.vstack([np.ones((1, C)), (P.T - np.eye(C))[1:]])
        dropped = np.linalg.solve(square, B * np.append(1.0, db[1:]))
        np.testing.assert_allclose((P.T @ found - found) / B - db, -db.mean(), atol=1e-12)
        assert np.allclose(found, dropped) == (not noise.any())


@pytest.mark.parametrize("kind", ["identity", "two closed groups", "nearly two groups"])
def test_singular_systems_use_the_pseudo_inverse(kind: str, monkeypatch: pytest.MonkeyPatch):
    generator = np.random.default_rng(0)
    C, B = 10, 30
    if kind == "identity":
        P = np.eye(C)
    else:
        P = np.zeros((C, C))
        P[:5, :5], P[5:, 5:] = generator.dirichlet(np.ones(5), 5), generator.dirichlet(np.ones(5), 5)
        if kind == "nearly two groups":
            P[0, 9] += 1e-13
            P[0, 0] -= 1e-13
    db = generator.normal(size=C) * 0.01
    db -= db.mean()
    calls = []
    stacked = module.solve_counts_stacked
    monkeypatch.setattr(module, "solve_counts_stacked", lambda *args: calls.append(1) or stacked(*args))
    solution = solve_counts(P, db, B)
    assert calls
    coefficients = np.vstack([np.ones((1, C)), P.T - np.eye(C)])
    expected = np.linalg.pinv(coefficients) @ (B * np.append(1.0, db))
    np.testing.assert_allclose(solution, expected, rtol=1e-9, atol=1e-9)


def test_regular_systems_do_not_need_the_pseudo_inverse(batch, monkeypatch: pytest.MonkeyPatch):
    def fail(*_):
        raise AssertionError("pseudo-inverse used")

    monkeypatch.setattr(module, "solve_counts_stacked", fail)
    observation, _ = batch([0, 1, 1, 3], 8, 12)
    build("ilrg")(observation)


@pytest.mark.parametrize("bias", [0.0, -0.0, 1e-30, -1e-30, 3e-13, -1e-38, 0.5])
def test_embeddings_of_zero_and_tiny_bias_gradients(bias: float):
    weight = torch.tensor([[0.0, 1.5e-3, -9.9e-3, 2e-8, 7.0, 1e-38]])
    bias_gradient = torch.tensor([bias])
    recovered = recover_embeddings(weight, bias_gradient)
    assert torch.isfinite(recovered).all()
    expected = literal_embedding(weight[0].tolist(), bias_gradient[0].item())
    np.testing.assert_allclose(recovered[0].numpy(), expected, rtol=1e-12, atol=1e-8)


@pytest.mark.parametrize("rows", [[1], [0, 4], list(range(10))])
@pytest.mark.parametrize("value", [0.0, 1e-20])
def test_counts_with_zero_and_tiny_bias_gradients(batch, rows: list[int], value: float):
    observation, _ = batch([0, 0, 3, 6], 10, 12)
    db = observation.head_bias.clone()
    db[rows] = value
    observation = replace(observation, gradients={"head.weight": observation.head_weight, "head.bias": db})
    guess = build("ilrg")(observation)
    assert guess.counts is not None
    assert guess.assignable_counts is not None
    assert guess.counts.tolist() == literal_ilrg(observation, list(range(10)))
    assert guess.assignable_counts.sum() == 4


@pytest.mark.parametrize("name", ["ilrg", "ilrg-simplified", "ilrg-estimate"])
def test_unknown_batch_size_is_refused(batch, name: str):
    observation, truth = batch([0, 1], 3, 4)
    side = SideKnowledge(truth.counts > 0)
    with pytest.raises(InputError, match="batch size"):
        build(name)(replace(observation, batch_size=None, side=side))


@pytest.mark.parametrize(
    "known", [None, torch.tensor([True]), torch.tensor([1, 0, 0]), torch.zeros(3, dtype=torch.bool)]
)
def test_simplified_needs_the_present_classes(batch, known: torch.Tensor | None):
    observation, _ = batch([0, 1], 3, 4)
    with pytest.raises(InputError, match="present_classes"):
        build("ilrg-simplified")(replace(observation, side=SideKnowledge(known)))
