"""Starts that do not fit into a GPU's memory together go through the model in smaller groups."""

import weakref

import pytest
import torch
from tests.problems import problem as make
from torch import Tensor

from gradleak.attacks.images import objectives
from gradleak.attacks.images.engine import Matching, reconstruct
from gradleak.attacks.images.problem import Loss, Problem
from gradleak.clients.client import Client
from gradleak.errors import InputError


@pytest.fixture
def problem(toy) -> Problem:
    """One image, eight starts."""
    given, _ = make(toy(num_classes=4), torch.tensor([[1]]), restarts=8, known=False)
    return given


@pytest.fixture
def memory(monkeypatch):
    """Return ``memory(n)``: from now on at most n starts fit; the numbers that were tried are in the result."""
    original = Client.send_many

    def install(room: int) -> list[int]:
        tried: list[int] = []

        def send_many(self: Client, x: Tensor, targets: Tensor, *, at_once: int | None = None) -> tuple[Tensor, ...]:
            tried.append(len(x))
            if len(x) > room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return original(self, x, targets, at_once=at_once)

        monkeypatch.setattr(Client, "send_many", send_many)
        return tried

    return install


MATCHING = Matching(objective="sim", optimizer="adam", lr=0.1, iterations=3, tv_weight=1e-3)


def test_it_goes_on_with_a_quarter_of_the_starts_and_says_so_once(problem, memory, capsys):
    want = reconstruct(problem, MATCHING)
    tried = memory(3)
    got = reconstruct(problem, MATCHING)
    assert tried[:5] == [8, 2, 2, 2, 2]
    assert set(tried[1:]) == {2}
    said = capsys.readouterr().err
    assert said == "note: the memory of the GPU does not suffice for 8 starts at a time: from now on 2\n"
    assert torch.allclose(got.images, want.images)
    assert torch.allclose(got.trace, want.trace)


def test_a_second_time_is_an_error_of_one_line(problem, memory):
    memory(1)
    with pytest.raises(InputError, match=r"does not suffice for 2 starts; give a smaller --at-once$"):
        reconstruct(problem, MATCHING)


def test_what_the_user_gave_is_reduced_too(problem, memory, capsys):
    tried = memory(1)
    reconstruct(problem, Matching(**{**vars(MATCHING), "at_once": 4}))
    assert tried[:2] == [4, 1]
    assert "for 4 starts at a time: from now on 1" in capsys.readouterr().err


def test_one_start_that_does_not_fit_is_an_error(problem, memory):
    memory(0)
    with pytest.raises(InputError, match="does not suffice for one start; give smaller batches"):
        reconstruct(problem, Matching(**{**vars(MATCHING), "at_once": 1}))


@pytest.mark.parametrize("at_once", [1, 3, 8, 100])
def test_groups_change_no_value(problem, at_once):
    x, logits = problem.start.flatten(0, 1), problem.label_start.flatten(0, 1)
    one, parts = (Loss(problem, objectives.build("sim"), tv_weight=0.1, at_once=n) for n in (None, at_once))
    for got, want in zip(parts.derivatives(x, logits), one.derivatives(x, logits), strict=True):
        assert got is not None
        assert want is not None
        assert torch.allclose(got, want, rtol=1e-9, atol=1e-12)
    for got, want in zip(parts(x, logits), one(x, logits), strict=True):
        assert torch.allclose(got, want, rtol=1e-9, atol=1e-12)
        assert not got.requires_grad


def test_a_group_frees_its_graph_before_the_next_begins(problem, monkeypatch):
    original = Client.send_many
    roots: list[weakref.ref[Tensor]] = []
    left: list[int] = []

    def send_many(self: Client, x: Tensor, targets: Tensor, *, at_once: int | None = None) -> tuple[Tensor, ...]:
        left.append(sum(root() is not None for root in roots))
        roots.append(weakref.ref(x))  # a graph holds its variables
        return original(self, x, targets, at_once=at_once)

    monkeypatch.setattr(Client, "send_many", send_many)
    x, logits = problem.start.flatten(0, 1), problem.label_start.flatten(0, 1)
    Loss(problem, objectives.build("sim"), at_once=2).derivatives(x, logits)
    assert left == [0, 0, 0, 0]
