"""The engine against plain PyTorch loops, and what it promises of starts, labels, boxes and interruptions."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from gradleak.images import objectives
from gradleak.images.client import Client, ClientRule
from gradleak.images.engine import Matching, reconstruct
from gradleak.images.problem import Found, Problem
from gradleak.models.base import Victim
from gradleak.models.build import build

C = 4
Make = Callable[..., Victim]
LOW, HIGH = torch.tensor([-1.5, -2.0]).reshape(2, 1, 1), torch.tensor([1.0, 2.0]).reshape(2, 1, 1)


def onehot(y: Tensor) -> Tensor:
    return functional.one_hot(y, C).double()


def problem(
    model: Victim, y: Tensor, *, restarts: int, known: bool, size: int = 4, seed: int = 0
) -> tuple[Problem, Tensor]:
    """P batches of n images in the box, and R random starts of each; also the images that the server must not see.

    Every start has a stream of its own, so that a problem with fewer starts has the first ones.
    """
    P, n = y.shape
    generator = torch.Generator().manual_seed(seed)
    truth = LOW + (HIGH - LOW) * torch.rand(P, n, 2, size, size, generator=generator, dtype=torch.float64)
    streams = [torch.Generator().manual_seed(1000 * seed + restart) for restart in range(1, restarts + 1)]
    x = torch.stack([torch.randn(P, n, 2, size, size, generator=g, dtype=torch.float64) for g in streams], dim=1)
    logits = torch.stack([torch.randn(P, n, C, generator=g, dtype=torch.float64) for g in streams], dim=1)
    client = Client(model, ClientRule())
    observed = client.send_many(truth, onehot(y))
    return Problem(client, observed, x, onehot(y) if known else None, logits, LOW, HIGH), truth


def without(given: Problem, *, starts: list[int]) -> Problem:
    return replace(given, start=given.start[:, starts], label_start=given.label_start[:, starts])


def only(given: Problem, number: int) -> Problem:
    """One of P problems."""
    rows = slice(number, number + 1)
    targets = None if given.targets is None else given.targets[rows]
    observed = tuple(g[rows] for g in given.observed)
    return replace(
        given, observed=observed, start=given.start[rows], label_start=given.label_start[rows], targets=targets
    )


def loss_of(given: Problem, matching: Matching, images: Tensor) -> Tensor:
    """Matching loss [P] of images, with the known labels."""
    assert given.targets is not None
    objective = objectives.build(matching.objective, indices=matching.indices, weights=matching.weights)
    return objective(given.client.send_many(images, given.targets), given.observed)


def assert_same(one: Found, other: Found) -> None:
    for name in ("images", "labels", "loss", "chosen", "trace", "diverged"):
        a, b = getattr(one, name), getattr(other, name)
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9, equal_nan=True, msg=name)
    assert list(one.snapshots) == list(other.snapshots)
    for at, shown in one.snapshots.items():
        torch.testing.assert_close(shown, other.snapshots[at], rtol=1e-7, atol=1e-9)


LABELS = torch.tensor([[2, 0], [1, 1]])
IG = Matching(
    objective="sim",
    optimizer="adam",
    lr=0.1,
    schedule="step",
    iterations=16,
    signed=True,
    boxed=True,
    tv_weight=1e-2,
    log_every=1,
)
DLG = Matching(iterations=4, log_every=1)


# --- against plain loops ---


def plain(
    model: Victim, observed: list[Tensor], start: Tensor, y: Tensor | None, logits: Tensor, matching: Matching
) -> list[Tensor]:
    """The loop of Geiping et al. for one start, with torch's own parts; images by iteration."""
    x, free = start.clone().requires_grad_(), logits.clone().requires_grad_()
    variables = [x, free] if y is None else [x]
    optimizer = {
        "adam": lambda: torch.optim.Adam(variables, lr=matching.lr),
        "adamw": lambda: torch.optim.AdamW(variables, lr=matching.lr),
        "sgd": lambda: torch.optim.SGD(variables, lr=matching.lr, momentum=0.9, nesterov=True),
    }[matching.optimizer]()
    marks = [round(matching.iterations * share) for share in (3 / 8, 5 / 8, 7 / 8)]
    gamma = 0.1 if matching.schedule == "step" else 1.0
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=marks, gamma=gamma)
    seen = []
    for iteration in range(1, matching.iterations + 1):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), torch.softmax(free, dim=1) if y is None else y)
        dummy = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        if matching.objective == "sim":
            a, b = torch.cat([g.flatten() for g in dummy]), torch.cat([g.flatten() for g in observed])
            value = 1 - (a @ b) / (a.norm() * b.norm())
        else:
            value = sum(((p - q) ** 2).sum() for p, q in zip(dummy, observed, strict=True))
        across = (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().mean()
        down = (x[:, :, 1:, :] - x[:, :, :-1, :]).abs().mean()
        value = value + matching.tv_weight * (across + down) + matching.l2_weight * (x**2).mean() / 2
        value.backward()
        assert x.grad is not None
        if matching.signed:
            x.grad.sign_()
        optimizer.step()
        scheduler.step()
        with torch.no_grad():
            if matching.boxed:
                x.copy_(torch.max(torch.min(x, HIGH), LOW))
            if matching.median and iteration % matching.median == 0 and iteration < matching.iterations:
                x.copy_(torch.from_numpy(ndimage.median_filter(x.numpy(), size=(1, 1, 3, 3), mode="mirror")))
        seen.append(x.detach().clone())
    return seen


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "matching",
    [
        IG,
        replace(IG, schedule="constant", signed=False, boxed=False, l2_weight=0.3),
        replace(IG, optimizer="adamw", objective="l2", median=4),
        replace(IG, optimizer="sgd", objective="l2", lr=0.02, signed=False, tv_weight=0.0),
    ],
    ids=["ig", "unsigned", "adamw-median", "sgd"],
)
def test_first_order_steps_are_those_of_a_plain_loop(toy: Make, matching: Matching, known: bool):
    """Every start of every problem; the snapshots show it after each iteration."""
    model = toy(num_classes=C)
    given, _ = problem(model, LABELS, restarts=2, known=known)
    for restart in range(2):
        found = reconstruct(without(given, starts=[restart]), matching)
        assert list(found.snapshots) == list(range(1, matching.iterations + 1))
        for number in range(2):
            observed = [g[number] for g in given.observed]
            start, logits = given.start[number, restart], given.label_start[number, restart]
            seen = plain(model, observed, start, LABELS[number] if known else None, logits, matching)
            for iteration, expected in enumerate(seen, start=1):
                shown = found.snapshots[iteration][number]
                torch.testing.assert_close(shown, expected, rtol=1e-7, atol=1e-7, msg=f"iteration {iteration}")


@pytest.mark.parametrize("l2_weight", [0.0, 0.1])
def test_dlg_steps_are_those_of_a_plain_loop(toy: Make, l2_weight: float):
    """torch's L-BFGS over images and label logits of one start, as in the code of Zhu, Liu, Han, and a prior."""
    model = toy(num_classes=C)
    given, _ = problem(model, LABELS, restarts=2, known=False)
    matching = replace(DLG, l2_weight=l2_weight)
    together = [reconstruct(without(given, starts=[restart]), matching) for restart in range(2)]
    for number, restart in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x = given.start[number, restart].clone().requires_grad_()
        logits = given.label_start[number, restart].clone().requires_grad_()
        solver = torch.optim.LBFGS([x, logits])  # lr=1, max_iter=20, history_size=100

        def closure(solver=solver, x=x, logits=logits, number=number) -> Tensor:
            solver.zero_grad()
            loss = functional.cross_entropy(model(x), torch.softmax(logits, dim=-1))
            dummy = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
            value = torch.stack([(p - g[number]).square().sum() for p, g in zip(dummy, given.observed, strict=True)])
            whole = value.sum() + l2_weight * x.square().mean() / 2
            whole.backward()
            return whole

        for iteration in range(1, DLG.iterations + 1):
            solver.step(closure)
            shown = together[restart].snapshots[iteration][number]
            torch.testing.assert_close(shown, x.detach(), rtol=1e-5, atol=1e-5, msg=f"iteration {iteration}")


# --- attacks work ---


def lenet(size: int) -> Victim:
    return build("lenet", num_classes=C, channels=2, image_size=size, seed=0, activation="sigmoid")


def psnr(found: Tensor, truth: Tensor) -> Tensor:
    """In dB with peak 1 on images in [0, 1], one per image."""
    error = ((found - truth) / (HIGH - LOW)).flatten(2).square().mean(2)
    return -10 * error.log10()


def test_dlg_recovers_images_and_labels():
    """Four images, each alone in its batch, from random starts, in float32; labels are optimised along."""
    y = torch.tensor([[0], [1], [2], [3]])
    given, truth = problem(lenet(8).double(), y, restarts=4, known=False, size=8)
    client = Client(lenet(8), ClientRule())
    given = replace(
        given,
        client=client,
        observed=client.send_many(truth.float(), onehot(y).float()),
        start=given.start.float(),
        label_start=given.label_start.float(),
    )
    found = reconstruct(given, Matching(iterations=10))
    assert found.images.dtype == found.loss.dtype == torch.float32
    assert torch.equal(found.labels, y)
    assert (psnr(found.images, truth) > 25).all()
    assert (found.loss < 1e-4).all()
    assert (found.loss < 1e-3 * found.trace[0].amin(1)).all()
    assert (psnr(given.start[:, 0], truth) < 15).all()  # a random image is nowhere near


def test_ig_reduces_the_loss_within_the_box():
    y = torch.tensor([[2, 0]])
    given, truth = problem(lenet(8).double(), y, restarts=2, known=True, size=8)
    found = reconstruct(given, replace(IG, iterations=100, tv_weight=1e-4, log_every=10))
    assert (found.loss < 0.1 * found.trace[0].amin(1)).all()
    assert (psnr(found.images, truth) > psnr(given.start[:, 0].clamp(LOW, HIGH), truth) + 3).all()
    for images in (found.images, *found.snapshots.values()):
        assert (images >= LOW).all()
        assert (images <= HIGH).all()


# --- what is returned ---


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


def test_nothing_given_is_changed_and_runs_repeat(toy: Make):
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


def test_snapshots_keep_what_they_showed(toy: Make):
    """A run that goes on longer shows the same early images, and they differ from iteration to iteration."""
    given, _ = problem(toy(num_classes=C), LABELS, restarts=1, known=True)
    matching = replace(IG, schedule="constant")
    long, short = reconstruct(given, matching), reconstruct(given, replace(matching, iterations=3))
    for at, shown in short.snapshots.items():
        torch.testing.assert_close(long.snapshots[at], shown, rtol=0, atol=0)
    assert not torch.equal(long.snapshots[1], long.snapshots[3])


@pytest.mark.parametrize("matching", [IG, replace(DLG, iterations=2)], ids=["ig", "dlg"])
def test_known_labels_are_returned_as_they_are(toy: Make, matching: Matching):
    """Also wrong ones, in their order, whatever the gradient says."""
    given, _ = problem(toy(num_classes=C), LABELS, restarts=2, known=True)
    wrong = torch.tensor([[3, 1], [0, 3]])
    found = reconstruct(replace(given, targets=onehot(wrong)), matching)
    assert torch.equal(found.labels, wrong)


@pytest.mark.parametrize("matching", [IG, replace(IG, signed=False, lr=0.5), DLG], ids=["ig", "wild", "dlg"])
def test_the_loss_is_that_of_the_images(toy: Make, matching: Matching):
    """And the smallest of all that were seen, not the last one."""
    given, _ = problem(toy(num_classes=C), LABELS, restarts=3, known=True)
    found = reconstruct(given, matching)
    torch.testing.assert_close(loss_of(given, matching, found.images), found.loss, rtol=1e-8, atol=1e-12)
    if not matching.boxed:
        assert (found.loss <= found.trace.amin((0, 2))).all()


@pytest.mark.parametrize("matching", [replace(IG, lr=1e-3), replace(DLG, lr=0.1)], ids=["ig", "dlg"])
def test_the_last_step_counts(toy: Make, matching: Matching):
    """Small steps, so that the loss falls to the end."""
    given, _ = problem(toy(num_classes=C), LABELS, restarts=1, known=True)
    found = reconstruct(given, replace(matching, iterations=3, boxed=False))
    assert (found.trace.diff(dim=0) < 0).all()
    assert (found.loss < found.trace[-1, :, 0]).all()
    torch.testing.assert_close(found.images, found.snapshots[3], rtol=0, atol=0)


@pytest.mark.parametrize("matching", [replace(IG, boxed=False), replace(DLG, iterations=2)], ids=["ig", "dlg"])
def test_the_start_with_the_smallest_loss_is_chosen(toy: Make, matching: Matching):
    """Of each problem by itself; its images and labels are those it finds alone."""
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
    """The observed gradient belongs to other images than those that a careless engine might compare with."""
    given, truth = problem(toy(num_classes=C), LABELS, restarts=2, known=True)
    other = truth.flip(0).flip(3)
    generator = torch.Generator().manual_seed(5)
    near = truth + 0.05 * torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    observed = given.client.send_many(other, onehot(LABELS))
    deceived = replace(given, observed=observed, start=torch.stack([near, other], dim=1))
    found = reconstruct(deceived, replace(IG, iterations=1, lr=1e-6))
    assert found.chosen.tolist() == [1, 1]


# --- the box ---


@pytest.mark.parametrize("matching", [IG, replace(DLG, boxed=True)], ids=["ig", "lbfgs"])
def test_boxed_images_are_in_the_box_even_if_a_better_one_was_outside(toy: Make, matching: Matching):
    """Starts at the true images, which are out of the box that the attack is told: loss 0 there, but no image."""
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


# --- starts side by side ---


@pytest.mark.parametrize("matching", [replace(IG, log_every=8), replace(DLG, iterations=1)], ids=["ig", "dlg"])
def test_results_do_not_depend_on_what_runs_together(toy: Make, matching: Matching):
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
def test_a_start_without_a_loss_is_dropped(toy: Make, matching: Matching, bad: float, known: bool):
    """It is reported, and the others are as without it."""
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


def test_no_start_with_a_loss(toy: Make):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=2, known=False)
    for matching in (IG, DLG):
        found = reconstruct(replace(given, start=torch.full_like(given.start, torch.nan)), matching)
        assert found.diverged.all()
        assert torch.isinf(found.loss).all()


Spoil = Callable[[int, tuple[Tensor, ...]], tuple[Tensor, ...]]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Spoil], None]:
    """Return ``spoil(function)``: what clients send in call 1, 2, ... goes through a function of the call's number."""

    def install(function: Spoil) -> None:
        calls = 0
        original = Client.send_many

        def send_many(self: Client, x: Tensor, targets: Tensor, *, at_once: int | None = None) -> tuple[Tensor, ...]:
            nonlocal calls
            calls += 1
            return function(calls, original(self, x, targets, at_once=at_once))

        monkeypatch.setattr(Client, "send_many", send_many)

    return install


def test_a_start_that_diverges_keeps_the_best_that_it_had(toy: Make, spoil: Callable[[Spoil], None]):
    """It is not taken up again, although its images and later losses are finite."""
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


# --- ends ---


@pytest.mark.parametrize("done", [0, 1, 5])
def test_an_interrupt_returns_the_best_so_far(toy: Make, spoil: Callable[[Spoil], None], done: int):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=2, known=True)
    matching = replace(IG, boxed=False, schedule="constant")
    undisturbed = reconstruct(given, matching)

    def interrupt(call: int, sent: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
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


def test_an_interrupt_within_an_iteration_of_lbfgs(toy: Make, spoil: Callable[[Spoil], None]):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=2, known=True)
    losses = []
    objective = objectives.build("l2")

    def interrupt(call: int, sent: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if call > 30:
            raise KeyboardInterrupt
        losses.append(objective(sent, tuple(g.repeat_interleave(2, dim=0) for g in given.observed)).detach())
        return sent

    spoil(interrupt)
    found = reconstruct(given, DLG)
    assert found.interrupted
    assert len(found.trace) == 1
    torch.testing.assert_close(found.loss, torch.stack(losses).amin(0).reshape(2, 2).amin(1))


def test_it_stops_below_the_threshold_once_all_problems_are_there(toy: Make):
    given, _ = problem(toy(num_classes=C), LABELS, restarts=2, known=True)
    matching = replace(IG, boxed=False, schedule="constant", iterations=60, log_every=5)
    whole = reconstruct(given, matching)
    best = whole.trace.amin(2).cummin(0).values  # [iterations, P]
    threshold = float(best[22].max())
    needed = int((best < threshold).all(1).nonzero()[0]) + 1
    assert int((best < threshold).any(1).nonzero()[0]) + 1 < needed  # one problem was there before the other
    found = reconstruct(given, replace(matching, loss_thresh=threshold))
    assert (found.loss < threshold).all()
    assert len(found.trace) == needed
    torch.testing.assert_close(found.trace, whole.trace[: len(found.trace)], rtol=0, atol=0)
    assert len(whole.trace) == 60
