"""Starts side by side: which one is kept, and that they do not affect each other."""

from dataclasses import replace

import pytest
import torch
from tests.problems import DLG, IG, LABELS, C, Make, Spoil, onehot, only, problem, without

from gradleak.attacks.images.engine import Matching, reconstruct
from gradleak.attacks.images.problem import Found


def assert_same(one: Found, other: Found) -> None:
    for name in ("images", "labels", "loss", "chosen", "trace", "diverged"):
        a, b = getattr(one, name), getattr(other, name)
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9, equal_nan=True, msg=name)
    assert list(one.snapshots) == list(other.snapshots)
    for at, shown in one.snapshots.items():
        torch.testing.assert_close(shown, other.snapshots[at], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("matching", [replace(IG, boxed=False), replace(DLG, iterations=2)], ids=["ig", "dlg"])
def test_the_start_with_the_smallest_loss_is_chosen(toy: Make, matching: Matching):
    """For each problem separately; its images and labels equal those of a single problem."""
    given, _ = problem(toy(num_classes=C), LABELS, restarts=4, known=False)
    found = reconstruct(given, matching)
    alone = [reconstruct(without(given, starts=[restart]), matching) for restart in range(4)]
    losses = torch.stack([single.loss for single in alone])
    assert torch.equal(found.chosen, losses.argmin(0))
    torch.testing.assert_close(found.loss, losses.amin(0), rtol=1e-5, atol=1e-9)
    for number, chosen in enumerate(found.chosen.tolist()):
        torch.testing.assert_close(found.images[number], alone[chosen].images[number], rtol=1e-4, atol=1e-4)
        assert torch.equal(found.labels[number], alone[chosen].labels[number])
        last = found.snapshots[matching.iterations][number]
        expected = alone[chosen].snapshots[matching.iterations][number]
        torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-4)


def test_a_smaller_loss_beats_a_closer_image(toy: Make):
    """The observed gradient does not belong to the images that a faulty engine might compare with."""
    given, truth = problem(toy(num_classes=C), LABELS, restarts=2, known=True)
    other = truth.flip(0).flip(3)
    generator = torch.Generator().manual_seed(5)
    near = truth + 0.05 * torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    observed = given.client.send_many(other, onehot(LABELS))
    deceived = replace(given, observed=observed, start=torch.stack([near, other], dim=1))
    found = reconstruct(deceived, replace(IG, iterations=1, lr=1e-6))
    assert found.chosen.tolist() == [1, 1]


@pytest.mark.parametrize("matching", [replace(IG, log_every=8), replace(DLG, iterations=1)], ids=["ig", "dlg"])
def test_results_do_not_depend_on_other_problems_in_the_batch(toy: Make, matching: Matching):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=3, known=False)
    found = reconstruct(given, matching)
    for at_once in (1, 4, 100):
        assert_same(reconstruct(given, replace(matching, at_once=at_once)), found)
    for number in range(2):
        alone = reconstruct(only(given, number), matching)
        torch.testing.assert_close(alone.trace[:, 0], found.trace[:, number], rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(alone.images[0], found.images[number], rtol=1e-6, atol=1e-7)
        assert int(alone.chosen[0]) == int(found.chosen[number])


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("matching", [IG, replace(DLG, iterations=1)], ids=["ig", "dlg"])
def test_a_start_without_finite_loss_is_dropped(toy: Make, matching: Matching, bad: float, known: bool):
    """It is reported, and the others do not change."""
    given, _ = problem(toy(num_classes=C), LABELS, restarts=3, known=known)
    start = given.start.clone()
    start[0, 1, 0, 0, 2, 2] = bad
    matching = replace(matching, boxed=False)
    found = reconstruct(replace(given, start=start), matching)
    assert found.diverged.tolist() == [[False, True, False], [False, False, False]]
    assert torch.isfinite(found.loss).all()
    assert torch.isfinite(found.images).all()
    assert int(found.chosen[0]) != 1
    assert torch.isnan(found.trace[:, 0, 1]).all()
    assert torch.isfinite(found.trace[:, [0, 0, 1, 1, 1], [0, 2, 0, 1, 2]]).all()
    fewer = reconstruct(without(given, starts=[0, 2]), matching)
    torch.testing.assert_close(found.images[0], fewer.images[0], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found.trace[:, :, [0, 2]], fewer.trace, rtol=1e-6, atol=1e-9)
    whole = reconstruct(given, matching)
    torch.testing.assert_close(found.images[1], whole.images[1], rtol=1e-6, atol=1e-7)
    assert int(found.chosen[1]) == int(whole.chosen[1])


def test_no_start_has_a_finite_loss(toy: Make):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=2, known=False)
    for matching in (IG, DLG):
        found = reconstruct(replace(given, start=torch.full_like(given.start, torch.nan)), matching)
        assert found.diverged.all()
        assert torch.isinf(found.loss).all()


def test_a_diverged_start_keeps_its_best_iterate(toy: Make, spoil: Spoil):
    """It does not resume, although its images and later losses are finite."""
    given, _ = problem(toy(num_classes=C), LABELS[:1], restarts=1, known=True)
    matching = replace(IG, boxed=False)
    undisturbed = reconstruct(given, matching)
    assert float(undisturbed.loss[0]) < float(undisturbed.trace[:5].min())
    spoil(lambda call, sent: tuple(g * torch.nan for g in sent) if call == 6 else sent)
    found = reconstruct(given, matching)
    assert found.diverged.all()
    assert torch.isfinite(found.trace[:5]).all()
    assert torch.isnan(found.trace[5:]).all()
    assert float(found.loss[0]) == float(found.trace[:5].min())
