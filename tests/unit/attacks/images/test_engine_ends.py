"""Early ends: an interrupt, or a loss below the threshold."""

from dataclasses import replace

import pytest
import torch
from tests.problems import DLG, IG, LABELS, C, Make, Sent, Spoil, problem

from gradleak.attacks.images import objectives
from gradleak.attacks.images.engine import reconstruct


@pytest.mark.parametrize("done", [0, 1, 5])
def test_an_interrupt_returns_the_best_so_far(toy: Make, spoil: Spoil, done: int):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=2, known=True)
    matching = replace(IG, boxed=False, schedule="constant")
    undisturbed = reconstruct(given, matching)

    def interrupt(call: int, sent: Sent) -> Sent:
        if call > done:
            raise KeyboardInterrupt
        return sent

    spoil(interrupt)
    found = reconstruct(given, matching)
    assert found.interrupted
    assert found.trace.shape == (done, 2, 2)
    torch.testing.assert_close(found.trace, undisturbed.trace[:done], rtol=0, atol=0, check_dtype=done > 0)
    assert list(found.snapshots) == list(range(1, done + 1))
    if done:
        seen = found.trace.amin(0)
        assert torch.equal(found.loss, seen.amin(1))
        assert torch.equal(found.chosen, seen.argmin(1))
    else:
        assert torch.isinf(found.loss).all()
        assert torch.equal(found.images, given.start[:, 0])
    assert torch.equal(found.labels, LABELS)


def test_an_interrupt_within_an_iteration_of_lbfgs(toy: Make, spoil: Spoil):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=2, known=True)
    losses = []
    objective = objectives.build("l2")

    def interrupt(call: int, sent: Sent) -> Sent:
        if call > 30:
            raise KeyboardInterrupt
        losses.append(objective(sent, tuple(g.repeat_interleave(2, dim=0) for g in given.observed)).detach())
        return sent

    spoil(interrupt)
    found = reconstruct(given, DLG)
    assert found.interrupted
    assert len(found.trace) == 1
    torch.testing.assert_close(found.loss, torch.stack(losses).amin(0).reshape(2, 2).amin(1))


def test_it_stops_once_all_problems_are_below_the_threshold(toy: Make):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=2, known=True)
    matching = replace(IG, boxed=False, schedule="constant", iterations=60, log_every=5)
    whole = reconstruct(given, matching)
    best = whole.trace.amin(2).cummin(0).values  # [iterations, P]
    threshold = float(best[22].max())
    needed = int((best < threshold).all(1).nonzero()[0]) + 1
    assert int((best < threshold).any(1).nonzero()[0]) + 1 < needed  # one problem got there before the other
    found = reconstruct(given, replace(matching, loss_thresh=threshold))
    assert (found.loss < threshold).all()
    assert len(found.trace) == needed
    torch.testing.assert_close(found.trace, whole.trace[: len(found.trace)], rtol=0, atol=0)
    assert len(whole.trace) == 60
