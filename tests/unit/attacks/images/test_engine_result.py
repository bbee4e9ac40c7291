"""What the engine returns: shapes, labels, losses, snapshots, images in their box."""

from dataclasses import replace

import pytest
import torch
from tests.problems import DLG, HIGH, IG, LABELS, LOW, C, Make, loss_of, onehot, problem

from gradleak.attacks.images.engine import Matching, reconstruct


@pytest.mark.parametrize("matching", [replace(IG, log_every=10), replace(DLG, log_every=2)], ids=["ig", "dlg"])
@pytest.mark.parametrize("known", [True, False])
def test_shapes(toy: Make, matching: Matching, known: bool):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=3, known=known)
    found = reconstruct(given, matching)
    every = matching.log_every
    assert found.images.shape == (2, 2, 2, 4, 4)
    assert found.labels.shape == (2, 2)
    assert found.labels.dtype == found.chosen.dtype == torch.int64
    assert found.loss.shape == found.chosen.shape == (2,)
    assert found.trace.shape == (matching.iterations, 2, 3)
    assert found.diverged.shape == (2, 3)
    assert found.diverged.dtype == torch.bool
    assert not found.diverged.any()
    assert not found.interrupted
    assert list(found.snapshots) == [1, *range(every, matching.iterations + 1, every)]
    assert all(shown.shape == found.images.shape for shown in found.snapshots.values())
    assert not any(part.requires_grad for part in (found.images, found.loss, found.trace, *found.snapshots.values()))


def test_inputs_are_unchanged_and_runs_repeat(toy: Make):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=2, known=False)
    before = [part.clone() for part in (given.start, given.label_start, *given.observed)]
    torch.manual_seed(1)
    found = reconstruct(given, replace(DLG, iterations=2))
    after = [given.start, given.label_start, *given.observed]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    torch.manual_seed(2)
    again = reconstruct(given, replace(DLG, iterations=2))
    assert torch.equal(found.images, again.images)
    assert torch.equal(found.trace, again.trace)


def test_snapshots_do_not_change_later(toy: Make):
    """A longer run has the same early images, and they differ between iterations."""
    given, _ = problem(toy(num_classes=C), LABELS, restarts=1, known=True)
    matching = replace(IG, schedule="constant")
    long, short = reconstruct(given, matching), reconstruct(given, replace(matching, iterations=3))
    for at, shown in short.snapshots.items():
        torch.testing.assert_close(long.snapshots[at], shown, rtol=0, atol=0)
    assert not torch.equal(long.snapshots[1], long.snapshots[3])


@pytest.mark.parametrize("matching", [IG, replace(DLG, iterations=2)], ids=["ig", "dlg"])
def test_known_labels_are_returned_unchanged(toy: Make, matching: Matching):
    """Even wrong ones, in order, whatever the gradient."""
    given, _ = problem(toy(num_classes=C), LABELS, restarts=2, known=True)
    wrong = torch.tensor([[3, 1], [0, 3]])
    found = reconstruct(replace(given, targets=onehot(wrong)), matching)
    assert torch.equal(found.labels, wrong)


@pytest.mark.parametrize("matching", [IG, replace(IG, signed=False, lr=0.5), DLG], ids=["ig", "wild", "dlg"])
def test_the_loss_is_that_of_the_images(toy: Make, matching: Matching):
    """And the smallest of all iterations, not the last one."""
    given, _ = problem(toy(num_classes=C), LABELS, restarts=3, known=True)
    found = reconstruct(given, matching)
    torch.testing.assert_close(loss_of(given, matching, found.images), found.loss, rtol=1e-8, atol=1e-12)
    if not matching.boxed:
        assert (found.loss <= found.trace.amin((0, 2))).all()


@pytest.mark.parametrize("matching", [replace(IG, lr=1e-3), replace(DLG, lr=0.1)], ids=["ig", "dlg"])
def test_the_last_step_is_evaluated(toy: Make, matching: Matching):
    """Small steps, so that the loss falls until the end."""
    given, _ = problem(toy(num_classes=C), LABELS, restarts=1, known=True)
    found = reconstruct(given, replace(matching, iterations=3, boxed=False))
    assert (found.trace.diff(dim=0) < 0).all()
    assert (found.loss < found.trace[-1, :, 0]).all()
    torch.testing.assert_close(found.images, found.snapshots[3], rtol=0, atol=0)


@pytest.mark.parametrize("matching", [IG, replace(DLG, boxed=True)], ids=["ig", "lbfgs"])
def test_boxed_images_are_in_the_box_even_if_a_better_one_was_outside(toy: Make, matching: Matching):
    """Starts at the true images, which lie outside the given box: loss 0, but not valid images."""
    given, truth = problem(toy(num_classes=C), LABELS, restarts=1, known=True)
    low, high = 0.5 * LOW, 0.5 * HIGH
    assert ((truth < low) | (truth > high)).any()
    found = reconstruct(replace(given, start=truth[:, None], low=low, high=high), matching)
    assert (found.images >= low).all()
    assert (found.images <= high).all()
    assert torch.isfinite(found.loss).all()
    torch.testing.assert_close(loss_of(given, matching, found.images), found.loss, rtol=1e-8, atol=1e-12)


def test_unboxed_images_may_leave_the_range(toy: Make):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=1, known=True)
    found = reconstruct(given, replace(IG, boxed=False))
    assert ((found.images < LOW) | (found.images > HIGH)).any()
