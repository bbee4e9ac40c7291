import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from gradleak.clients.defenses.base import apply, build
from gradleak.clients.observation import HEAD, Observation, observe_full, observe_head
from gradleak.errors import InputError


def observe(context, scope: str) -> Observation:
    if scope == "head":
        return observe_head(context.model, context.chunks())[0]
    images, labels = (torch.cat(parts) for parts in zip(*context.chunks(), strict=True))
    return observe_full(context.model, images, labels)


def norm(gradients) -> float:
    return sum(g.double().square().sum().item() for g in gradients.values()) ** 0.5


def test_the_package_imports_no_torch():
    code = "import gradleak.clients.defenses, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["dp", "dp-0", "dp--1", "sparse-101", "noise-1", "clip-x", ""])
def test_bad_names_are_refused(name: str):
    with pytest.raises(InputError, match="defense"):
        build(name)


@pytest.mark.parametrize("scope", ["head", "all"])
@pytest.mark.parametrize("order", [("dp-0.5", "sparse-40"), ("sparse-40", "dp-0.5"), ("clip-0.1", "dp-0.5"),
                                   ("dp-0.5", "clip-0.1"), ("perturb-40", "sparse-20", "clip-0.2")])  # fmt: skip
def test_defenses_compose_in_order(make_context, scope, order: tuple[str, ...]):
    context = make_context()
    observation = observe(context, scope)
    before = {name: gradient.clone() for name, gradient in observation.gradients.items()}
    defended = apply(observation, order, scope=scope, context=context)
    expected, fresh = observation.gradients, make_context()
    for name in order:
        expected = build(name)(expected, fresh)
    assert list(defended.gradients) == list(observation.gradients)
    for name, gradient in defended.gradients.items():
        assert gradient.equal(expected[name])
        assert gradient.dtype == before[name].dtype
        assert observation.gradients[name].equal(before[name])
    reverse = apply(observation, order[::-1], scope=scope, context=make_context())
    assert not reverse.head_weight.equal(defended.head_weight)
    assert (defended.model, defended.batch_size, defended.side) == (
        observation.model, observation.batch_size, observation.side
    )  # fmt: skip


def test_order_shows_in_the_result(make_context):
    context = make_context()
    observation = observe(context, "head")
    sparse_last = apply(observation, ["dp-0.5", "sparse-50"], scope="head", context=make_context())
    noise_last = apply(observation, ["sparse-50", "dp-0.5"], scope="head", context=make_context())
    assert (sparse_last.head_weight == 0).double().mean() == 0.5
    assert not (noise_last.head_weight == 0).any()
    clip_last = apply(observation, ["dp-0.5", "clip-0.1"], scope="head", context=make_context())
    assert norm(clip_last.gradients) == pytest.approx(0.1)


def test_head_scope_neither_sees_nor_changes_other_gradients(make_context):
    context = make_context()
    full = observe(context, "all")
    head = Observation({name: full.gradients[name] for name in HEAD}, full.model, full.batch_size)
    bound = norm(head.gradients)
    assert bound < 0.99 * norm(full.gradients)
    chain = ["dp-0.01", f"clip-{bound / 2:g}", "sparse-10", "perturb-20"]
    from_full, from_head = (apply(o, chain, scope="head", context=make_context()) for o in (full, head))
    for name, gradient in from_full.gradients.items():
        if name in HEAD:
            assert gradient.equal(from_head.gradients[name])
            assert not gradient.equal(full.gradients[name])
        else:
            assert gradient is full.gradients[name]
    everything = apply(full, [f"clip-{bound / 2:g}"], scope="all", context=context)
    assert norm(everything.gradients) == pytest.approx(bound / 2, rel=1e-5)
    assert norm({name: everything.gradients[name] for name in HEAD}) < 0.499 * bound


def test_without_defenses_the_observation_itself_is_returned(make_context):
    context = make_context()
    observation = observe(context, "head")
    assert apply(observation, [], scope="head", context=context) is observation


def test_missing_gradients_are_refused(make_context):
    context = make_context()
    observation = observe(context, "head")
    with pytest.raises(InputError, match="scope all"):
        apply(observation, ["clip-4"], scope="all", context=context)
    bare = replace(observation, gradients={"head.weight": observation.head_weight})
    with pytest.raises(InputError, match=r"head\.bias"):
        apply(bare, ["clip-4"], scope="head", context=context)
