"""The server sees what a defense returns, and only gradients of the given parameters are accepted."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.plugin_state import bring, forgotten

from gradleak.clients.defenses.base import apply
from gradleak.clients.observation import Observation, observe_full, observe_head
from gradleak.errors import InputError


@pytest.fixture
def returning() -> Iterator[Any]:
    """Return a function that sets the behaviour of the defense ``mine-1``."""
    with forgotten():
        made: list[Any] = []
        seen: list[dict[str, torch.Tensor]] = []
        one = {"strength": "size", "high": 9}
        bring("defenses", "mine", lambda size: lambda gradients, context: made[0](gradients), **one)
        bring("defenses", "watch", lambda size: lambda sent, context: seen.append(dict(sent)) or sent, **one)

        def install(function: Any) -> list[dict[str, torch.Tensor]]:
            made[:] = [function]
            return seen

        yield install


def full_observation(context) -> Observation:
    images, labels = (torch.cat(parts) for parts in zip(*context.chunks(), strict=True))
    return observe_full(context.model, images, labels)


def without(*names: str) -> Any:
    return lambda gradients: {name: g for name, g in gradients.items() if name not in names}


@pytest.mark.parametrize("scope", ["head", "all"])
@pytest.mark.parametrize("hidden", [["head.bias"], ["head.weight"], ["head.weight", "head.bias"]])
def test_a_withheld_gradient_is_not_sent(make_context, returning, scope, hidden):
    context = make_context()
    returning(without(*hidden))
    full = full_observation(context)
    sent = apply(full, ["mine-1"], scope=scope, context=context)
    assert list(sent.gradients) == [name for name in full.gradients if name not in hidden]
    assert all(gradient.equal(full.gradients[name]) for name, gradient in sent.gradients.items())
    head = observe_head(context.model, context.chunks())[0]
    assert set(apply(head, ["mine-1"], scope="head", context=context).gradients) == set(head.gradients) - set(hidden)


def test_a_composition_passes_on_the_remaining_gradients(make_context, returning):
    context = make_context()
    seen = returning(without("head.bias"))
    full = full_observation(context)
    sent = apply(full, ["watch-1", "mine-1", "watch-1", "dp-1"], scope="head", context=context)
    assert [set(each) for each in seen] == [{"head.weight", "head.bias"}, {"head.weight"}]
    assert "head.bias" not in sent.gradients
    assert set(full.gradients) - set(sent.gradients) == {"head.bias"}


@pytest.mark.parametrize("name", ["dp-0.1", "clip-0.1", "sparse-20", "perturb-20"])
@pytest.mark.parametrize("hidden", [["head.weight"], ["head.weight", "head.bias"]])
def test_built_in_defenses_accept_withheld_gradients(make_context, returning, name, hidden):
    context = make_context()
    returning(without(*hidden))
    head = observe_head(context.model, context.chunks())[0]
    sent = apply(head, ["mine-1", name], scope="head", context=context)
    assert set(sent.gradients) == set(head.gradients) - set(hidden)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda g: None, "returned None; return a dict of gradients by parameter name"),
        (lambda g: list(g.values()), "returned a list; return a dict"),
        (lambda g: {**g, "head.bias": None}, "head.bias is None; return a tensor, or leave the name out to withhold"),
        (lambda g: {**g, "head.bias": [0.0]}, "head.bias is a list; return a tensor"),
        (lambda g: {**g, "head.bias": g["head.bias"][1:]}, r"head.bias has shape \[3\]; keep that .*, \[4\]"),
        (lambda g: {**g, "head.weight": g["head.weight"].T}, r"head.weight has shape \[12, 4\]; keep .*, \[4, 12\]"),
        (lambda g: {**g, "head.bias": g["head.bias"].double()}, "head.bias has dtype torch.float64; keep .*float32"),
        (lambda g: {**g, "head.bias": g["head.bias"].sign().int()}, "head.bias has dtype torch.int32"),
        (lambda g: {**g, "head.weight": g["head.weight"].to_sparse()}, "head.weight has layout torch.sparse_coo"),
        (lambda g: {**g, "head.bias": g["head.bias"].to("meta")}, "head.bias has device meta; keep .*, cpu"),
        (lambda g: {**g, "head.biass": g["head.bias"]}, "unknown parameter 'head.biass'; it was given head.weight, "),
        (lambda g: {**g, 0: g["head.bias"]}, "unknown parameter 0; it was given head.weight, head.bias"),
    ],
)
def test_invalid_gradients_are_one_line(make_context, returning, function, message):
    context = make_context()
    returning(function)
    head = observe_head(context.model, context.chunks())[0]
    with pytest.raises(InputError, match=f"^defense mine-1: .*{message}") as raised:
        apply(head, ["mine-1", "dp-1"], scope="head", context=context)
    assert "\n" not in str(raised.value)


def test_a_name_outside_the_scope_is_unknown(make_context, returning):
    context = make_context()
    full = full_observation(context)
    first = next(iter(full.gradients))
    returning(lambda gradients: {**gradients, first: full.gradients[first]})
    with pytest.raises(InputError, match="unknown parameter"):
        apply(full, ["mine-1"], scope="head", context=context)


def test_graphs_and_order_are_not_passed_on(make_context, returning):
    context = make_context()
    returning(lambda gradients: {n: g.clone().requires_grad_() for n, g in reversed(list(gradients.items()))})
    head = observe_head(context.model, context.chunks())[0]
    sent = apply(head, ["mine-1"], scope="head", context=context).gradients
    assert list(sent) == ["head.weight", "head.bias"]
    assert not any(gradient.requires_grad for gradient in sent.values())


def test_nan_gradients_are_sent_unchanged(make_context, returning):
    context = make_context()
    returning(lambda gradients: {**gradients, "head.bias": gradients["head.bias"] * torch.nan})
    head = observe_head(context.model, context.chunks())[0]
    assert not apply(head, ["mine-1"], scope="head", context=context).is_finite()
