"""The engine takes the steps of plain PyTorch loops."""

from dataclasses import replace

import pytest
import torch
from scipy import ndimage
from tests.problems import DLG, HIGH, IG, LABELS, LOW, C, Make, problem, without
from torch import Tensor
from torch.nn import functional

from gradleak.attacks.images.engine import Matching, reconstruct
from gradleak.victims.models.base import Victim


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
    """For every start of every problem, by snapshots after each iteration."""
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
