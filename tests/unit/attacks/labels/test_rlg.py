from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from gradleak.attacks.labels import rlg as module
from gradleak.attacks.labels.base import build
from gradleak.attacks.labels.rlg import class_directions, positive_spanning_set, separable


def one_sided(Q: np.ndarray, c: int) -> bool:
    """Whether some r has r·q_c >= |q_c| and r·q_j <= 0 for all others, as a linear program."""
    norm = np.linalg.norm(Q[:, c])
    if norm < 1e-10:
        return False
    rows = np.vstack([-Q[:, c] / norm, np.delete(Q, c, axis=1).T])
    bounds = np.append(-1.0, np.zeros(Q.shape[1] - 1))
    answer = linprog(np.zeros(len(Q)), A_ub=rows, b_ub=bounds, bounds=(None, None), method="highs")
    assert answer.status in (0, 2)
    return answer.status == 0


def oracle(Q: np.ndarray) -> list[bool]:
    return [one_sided(Q, c) for c in range(Q.shape[1])]


@pytest.mark.parametrize(("B", "C", "d"), [(3, 10, 20), (8, 40, 30), (20, 40, 60), (60, 40, 30), (80, 12, 30)])
@pytest.mark.parametrize("seed", range(2))
def test_classes_equal_those_of_the_linear_program(batch, B: int, C: int, d: int, seed: int):
    labels = np.random.default_rng(seed).integers(0, C, B).tolist()
    observation, truth = batch(labels, C, d, spread=1.0, seed=seed)
    presence = build("rlg")(observation).presence
    assert presence.tolist() == oracle(class_directions(observation.head_weight, B))
    if min(C, d) > B:
        assert presence.equal(truth.counts > 0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("k", "C"), [(1, 6), (2, 9), (6, 9), (9, 12), (12, 60)])
def test_random_directions(k: int, C: int, seed: int):
    generator = np.random.default_rng(seed)
    Q = generator.normal(size=(k, C))
    if seed % 2:  # columns that sum to 0, as those of a gradient do
        Q -= Q.mean(axis=1, keepdims=True)
    assert separable(Q).tolist() == oracle(Q)


def test_one_sided_rows_by_hand():
    Q = np.array([[2.0, -1.0, -1.0, 0.0, 0.0], [0.0, 1.0, -1.0, 1.0, 0.0]])
    # 0 is separable by r = (1, 0) and 2 by r = (0, -1), but q_1 = q_2 + 2 q_3 and q_3 = q_1 + q_0 / 2.
    assert separable(Q).tolist() == oracle(Q) == [True, False, True, False, False]


def test_duplicates_are_not_separable_and_zero_columns_are_absent():
    generator = np.random.default_rng(0)
    Q = generator.normal(size=(6, 10))
    Q[:, 3] = 2.5 * Q[:, 7]
    Q[:, 5] = 0
    found = separable(Q)
    assert not found[[3, 5, 7]].any()
    assert found.tolist() == oracle(Q)
    assert not separable(np.zeros((3, 4))).any()


def test_a_single_column_is_separable():
    assert separable(np.array([[1.0, 0.0]])).tolist() == [True, False]


def test_columns_of_rounding_noise_are_ignored():
    # Without the noise each of the first two classes is separable; the noise columns span the whole plane.
    Q = np.array([[1.0, 0.0, 1e-9, -1e-9, -1e-9], [0.0, 1.0, -1e-9, 1e-9, -1e-9]])
    assert separable(Q)[:2].all()


def test_order_of_the_classes_does_not_matter(batch):
    observation, _ = batch(list(range(10)) * 3, 20, 30, spread=1.0)
    gradient = observation.head_weight
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    permuted = replace(observation, gradients={"head.weight": gradient[order]})
    assert build("rlg")(permuted).presence.equal(build("rlg")(observation).presence[order])


def test_full_rank_makes_every_class_separable(batch):
    observation, truth = batch([0, 1, 2] * 20, 5, 40, spread=1.0)
    assert (truth.counts > 0).sum() == 3
    assert len(class_directions(observation.head_weight, 60)) == 4
    assert build("rlg")(observation).presence.all()


def test_directions_span_the_gradient(batch):
    observation, _ = batch([0, 0, 4, 6], 9, 12, spread=1.0)
    gradient = observation.head_weight
    for tensor in (gradient, gradient.double()):
        Q = class_directions(tensor, 4)
        assert Q.shape == (4, 9)
        np.testing.assert_allclose(Q @ Q.T, np.eye(4), atol=1e-9)
    expected = np.linalg.svd(gradient.double().numpy().T)[2][:4]
    Q = class_directions(gradient, 4)
    np.testing.assert_allclose(Q.T @ Q, expected.T @ expected, atol=1e-6)


def test_the_number_of_directions_is_that_of_images_or_the_rank(batch):
    # Two different images, each three times: rank 2 in a batch of 6.
    observation, _ = batch([0, 4] * 3, 9, 12, spread=0.0)
    assert len(class_directions(observation.head_weight, 6)) == 2
    assert len(class_directions(observation.head_weight, None)) == 2
    assert len(class_directions(observation.head_weight, 1)) == 1
    assert len(class_directions(torch.zeros(9, 12), 6)) == 0
    zero = replace(observation, gradients={"head.weight": torch.zeros(9, 12)})
    assert not build("rlg")(zero).presence.any()


def test_spanning_set_spans():
    generator = np.random.default_rng(1)
    Q = generator.normal(size=(4, 40))
    chosen = positive_spanning_set(Q)
    assert chosen is not None
    assert chosen.sum() <= 8
    few = Q[:, chosen]
    for target in generator.normal(size=(20, 4)):
        answer = linprog(np.zeros(few.shape[1]), A_eq=few, b_eq=target, method="highs")
        assert answer.status == 0


def test_a_cycling_active_set_falls_back_to_a_linear_program(monkeypatch: pytest.MonkeyPatch):
    Q = np.random.default_rng(2).normal(size=(5, 12))
    expected = oracle(Q)
    assert 0 < sum(expected) < 12

    def cycle(*_):
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr(module.scipy.optimize, "nnls", cycle)
    assert separable(Q).tolist() == expected


@pytest.mark.parametrize("status", [1, 3, 4])
def test_an_unsolved_program_counts_as_absent_and_prints_a_note(monkeypatch: pytest.MonkeyPatch, capsys, status: int):
    Q = np.random.default_rng(2).normal(size=(5, 12))

    def cycle(*_):
        raise RuntimeError("Maximum number of iterations reached.")

    def unsolved(*_, **__):
        return SimpleNamespace(status=status, fun=None, message="no answer")

    monkeypatch.setattr(module.scipy.optimize, "nnls", cycle)
    monkeypatch.setattr(module.scipy.optimize, "linprog", unsolved)
    gram = (Q / np.linalg.norm(Q, axis=0)).T @ (Q / np.linalg.norm(Q, axis=0)) - 2 * np.eye(12)
    assert separable(Q).tolist() == (gram.max(axis=0) <= 0).tolist()  # classes that need no solver
    line = "note: rlg: neither solver could decide whether a class is separable; such a class counts as absent\n"
    assert capsys.readouterr().err == line


def test_undecided_on_few_columns_means_asking_all_columns(monkeypatch: pytest.MonkeyPatch):
    """If the columns of the shortcut leave it undecided, all columns are used."""
    Q = np.random.default_rng(2).normal(size=(5, 12))
    expected = oracle(Q)
    whole = module.scipy.optimize.nnls

    def of_all(rows, right):
        if rows.shape[1] < Q.shape[1] - 1:
            raise RuntimeError("Maximum number of iterations reached.")
        return whole(rows, right)

    monkeypatch.setattr(module.scipy.optimize, "nnls", of_all)
    monkeypatch.setattr(module.scipy.optimize, "linprog", lambda *_, **__: SimpleNamespace(status=4, fun=None))
    monkeypatch.setattr(module, "positive_spanning_set", lambda Q: np.arange(Q.shape[1]) < 6)
    assert separable(Q).tolist() == expected
    assert any(expected)
