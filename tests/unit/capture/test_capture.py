"""A training loop with three more lines, and models as users have them."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradleak.capture import Capture, layout
from gradleak.errors import InputError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def train(model: nn.Module, steps: int = 2, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(steps):
        x = torch.rand(5, 3, generator=generator, dtype=next(model.parameters()).dtype)
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()


def copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def read(folder: Path) -> list[layout.Captured]:
    return list(layout.rounds(folder))


def equal(first: dict[str, Tensor] | None, second: dict[str, Tensor]) -> bool:
    return first is not None and list(first) == list(second) and all(torch.equal(first[k], second[k]) for k in second)


def places(folder: Path) -> list[tuple[int, str]]:
    return [(captured.round, captured.client) for captured in read(folder)]


def test_an_update_is_the_weights_before_and_after(tmp_path):
    model = network()
    before = copy(model)
    capture = Capture(tmp_path / "updates")
    with capture.update(model, client="a", lr=0.1) as facts:
        train(model)
        facts["num_examples"] = 10
    (captured,) = read(tmp_path / "updates")
    assert (captured.round, captured.client, captured.kind) == (1, "a", "weights")
    assert captured.facts == {"lr": 0.1, "num_examples": 10, "training": True}
    assert equal(captured.before, before)
    assert equal(captured.sent, copy(model))
    assert int(captured.sent["1.num_batches_tracked"]) == 2
    assert captured.sent["1.num_batches_tracked"].shape == ()


def test_a_gradient_has_the_weights_that_it_was_taken_at(tmp_path):
    model = network().eval()
    model(torch.ones(5, 3)).sum().backward()
    gradients = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    Capture(tmp_path / "updates").gradient(model, 7, batch_size=5)
    (captured,) = read(tmp_path / "updates")
    assert (captured.client, captured.kind) == ("7", "gradient")
    assert captured.facts == {"batch_size": 5, "training": False}
    assert equal(captured.sent, gradients)
    assert equal(captured.before, copy(model))


def test_capturing_does_not_change_the_training(tmp_path):
    def run(capture: Capture | None) -> tuple[dict[str, Tensor], Tensor]:
        model = network()
        for client in range(3):
            if capture is None:
                train(model, seed=client)
            else:
                with capture.update(model, client):
                    train(model, seed=client)
                capture.gradient(model, client)
        assert model.training
        return copy(model), torch.rand(3)

    plain, captured = run(None), run(Capture(tmp_path / "updates"))
    assert equal(*(result[0] for result in (plain, captured)))
    assert torch.equal(plain[1], captured[1])


def test_rounds_of_clients_that_start_from_the_same_weights(tmp_path):
    capture, model = Capture(tmp_path / "updates"), network()
    for chosen in ("ab", "bc", "d"):
        start = copy(model)
        for client in chosen:
            model.load_state_dict(start)
            with capture.update(model, client):
                train(model, seed=ord(client))
    # Round 3 has none of the clients of round 2, but other weights.
    assert places(tmp_path / "updates") == [(1, "a"), (1, "b"), (2, "b"), (2, "c"), (3, "d")]


def test_one_client_alone_sends_a_round_each_time(tmp_path):
    capture, model = Capture(tmp_path / "updates"), network()
    for _ in range(3):
        with capture.update(model):
            pass  # the weights stay the same
    assert places(tmp_path / "updates") == [(1, "1"), (2, "1"), (3, "1")]


def test_the_round_can_be_given(tmp_path):
    capture, model = Capture(tmp_path / "updates"), network()
    capture_round = [(5, "a"), (5, "b"), (7, "a")]
    for number, client in capture_round:
        with capture.update(model, client, round=number):
            train(model)
    assert places(tmp_path / "updates") == capture_round
    with (
        pytest.raises(InputError, match="this client has sent in round 5 already"),
        capture.update(model, "a", round=5),
    ):
        raise AssertionError("refused before the training")


def test_a_second_capture_continues_after_the_last_round(tmp_path):
    model = network()
    for _ in range(2):
        capture = Capture(tmp_path / "updates")
        for client in "ab":
            with capture.update(model, client):
                pass
    assert places(tmp_path / "updates") == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]


def test_a_training_that_fails_stores_nothing_and_can_be_repeated(tmp_path):
    capture, model = Capture(tmp_path / "updates"), network()
    with pytest.raises(KeyboardInterrupt), capture.update(model, "a"):
        raise KeyboardInterrupt
    assert read(tmp_path / "updates") == []
    with capture.update(model, "a"):
        pass
    assert places(tmp_path / "updates") == [(1, "a")]


def test_frozen_and_unused_parameters_have_no_gradient(tmp_path):
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "frozen": nn.Linear(2, 2), "unused": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    nn.Sequential(model["frozen"], model["used"])(torch.ones(1, 2)).sum().backward()
    Capture(tmp_path / "updates").gradient(model)
    (captured,) = read(tmp_path / "updates")
    assert list(captured.sent) == ["used.weight", "used.bias"]
    assert list(captured.before or {}) == list(model.state_dict())


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 3)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


def test_tied_weights_have_one_gradient_and_both_names_in_the_state(tmp_path):
    model = Tied()
    model(torch.ones(2, 3)).sum().backward()
    assert model.first.weight.grad is not None
    Capture(tmp_path / "updates").gradient(model)
    (captured,) = read(tmp_path / "updates")
    assert list(captured.sent) == ["first.weight", "first.bias", "last.bias"]
    assert torch.equal(captured.sent["first.weight"], model.first.weight.grad)
    assert equal(captured.before, copy(model))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_stay(tmp_path, dtype):
    model = nn.Linear(3, 2).to(dtype)
    capture = Capture(tmp_path / "updates")
    with capture.update(model):
        train(model)
    capture.gradient(model)
    assert {value.dtype for captured in read(tmp_path / "updates") for value in captured.sent.values()} == {dtype}
    assert equal(read(tmp_path / "updates")[0].sent, copy(model))


def test_channels_last_and_sparse_gradients(tmp_path):
    model = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    capture = Capture(tmp_path / "updates")
    with capture.update(model):
        assert not model.weight.is_contiguous()
    assert equal(read(tmp_path / "updates")[0].sent, copy(model))
    words = nn.Embedding(5, 2, sparse=True)
    words(torch.tensor([1, 1])).sum().backward()
    capture.gradient(words)
    assert read(tmp_path / "updates")[1].sent["weight"].tolist() == [[0, 0], [2, 2], [0, 0], [0, 0], [0, 0]]


class GradSampleModule(nn.Module):
    """As Opacus wraps a model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._module = model


class Compiled(nn.Module):
    """Its part is compiled, which adds a level to the part's names."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.compile(nn.Linear(3, 2))


class Own(nn.Module):
    """A part of a model may be called as DataParallel calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(3, 2)


@pytest.mark.parametrize(
    ("wrap", "names"),
    [
        (nn.DataParallel, ["weight", "bias"]),
        (torch.compile, ["weight", "bias"]),
        (GradSampleModule, ["weight", "bias"]),
        (lambda model: torch.compile(nn.DataParallel(GradSampleModule(model))), ["weight", "bias"]),
        (lambda _: Compiled(), ["head.weight", "head.bias"]),
        (lambda _: Own(), ["module.weight", "module.bias"]),
        (lambda _: nn.DataParallel(Own()), ["module.weight", "module.bias"]),
    ],
)
def test_names_are_those_of_the_model_inside_wrappers(tmp_path, wrap, names: Iterable[str]):
    model = wrap(nn.Linear(3, 2))
    for value in model.parameters():
        value.grad = torch.ones_like(value)
    capture = Capture(tmp_path / "updates")
    with capture.update(model, "a"):
        pass
    capture.gradient(model, "b")
    update, gradient = read(tmp_path / "updates")
    assert list(update.sent) == list(update.before or {}) == list(gradient.sent) == names
    assert (update.round, gradient.round) == (1, 1)


def test_the_state_of_a_model_may_hold_more_than_tensors(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"version": 1}

        def set_extra_state(self, state: dict[str, int]) -> None:
            pass

    with Capture(tmp_path / "updates").update(Extra(3, 2)):
        pass
    assert list(read(tmp_path / "updates")[0].sent) == ["weight", "bias"]


@pytest.mark.parametrize(
    ("model", "facts", "line"),
    [
        (nn.Linear(2, 2), {"lr": "fast"}, "lr: Input should be a valid number"),
        (nn.Linear(2, 2), {"client": ""}, "must have 1 to 100 printable characters"),
        (nn.Linear(2, 2), {"round": 0}, "round 0: must be a whole number from 1"),
        (nn.Linear(2, 2, device="meta"), {}, "weight: has no values yet; capture after the model is initialised"),
        (nn.LazyLinear(2), {}, "weight: has no values yet"),
    ],
)
def test_bad_arguments_are_refused_before_the_training(tmp_path, model, facts, line):
    with pytest.raises(InputError, match=re.escape(line)), Capture(tmp_path / "updates").update(model, **facts):
        raise AssertionError("trained")


def test_a_model_without_gradients(tmp_path):
    with pytest.raises(InputError, match=re.escape("call capture.gradient after loss.backward()")):
        Capture(tmp_path / "updates").gradient(network())


def test_facts_can_be_numbers_of_numpy_and_torch(tmp_path):
    capture = Capture(tmp_path / "updates")
    with capture.update(nn.Linear(2, 2), lr=torch.tensor(0.5), num_examples=np.int64(3)):
        pass
    (update,) = layout.rounds(str(tmp_path / "updates"))
    assert (update.facts["lr"], update.facts["num_examples"]) == (0.5, 3)
    with pytest.raises(InputError, match=r"^model: is a str; give a torch\.nn\.Module$"):
        capture.gradient("net")  # pyright: ignore[reportArgumentType]
