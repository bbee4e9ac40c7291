"""Updates in whatever container and type people save them, and models that cannot be read."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.audit.conftest import SIZE, batch, certified, gradient, network
from torch import Tensor, nn

from gradleak.audit import audit_update
from gradleak.audit.update_files import difference, read_update
from gradleak.errors import InputError

Gradients = dict[str, Tensor]


def audited(model: nn.Module, path: Any) -> dict[int, int]:
    from gradleak.audit.options import Told
    from gradleak.audit.run import audit

    told = Told(input_shape=(SIZE,), matching=False, defenses=False, minutes=0.5)
    return audit(model, read_update(path), told, None).certified_labels


def flat(update: Gradients) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in update.values()])


@pytest.mark.parametrize(
    "container",
    [
        lambda update: list(update.values()),
        lambda update: (None, *update.values()),
        lambda update: {"gradients": update, "loss": 0.3, "round": None},
        lambda update: {"payload": {"grads": list(update.values())}},
        lambda update: {"state_dict": OrderedDict(update), "optimizer": {"state": {0: {"momentum": torch.ones(1)}}}},
        flat,
        lambda update: {"parameters": flat(update)},
    ],
)
def test_what_torch_saves_is_read(tmp_path, container: Callable[[Gradients], Any]):
    model, (x, y) = network(), batch()
    torch.save(container(gradient(model, x, y)), tmp_path / "update.pt")
    assert audited(model, tmp_path / "update.pt") == certified(y)


@pytest.mark.parametrize("kind", [">f4", "<f8", np.longdouble])
def test_arrays_of_other_byte_orders_and_sizes_are_read(tmp_path, kind):
    model, (x, y) = network(), batch()
    arrays: Any = {name: tensor.numpy().astype(kind) for name, tensor in gradient(model, x, y).items()}
    np.savez(tmp_path / "update.npz", **arrays)
    assert audited(model, tmp_path / "update.npz") == certified(y)
    result = audit_update(model, arrays, input_shape=(SIZE,), matching=False, defenses=False)
    assert result.certified_labels == certified(y)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2), 3], r"holds list, not a state dict"),
        ({"a": {"x": torch.ones(2)}, "b": {"y": torch.ones(2)}}, r"'a' is not a tensor"),
        ({"a": torch.ones(2), "b": {"y": torch.ones(2)}}, r"'b' is not a tensor"),
        ([], "holds list, not a state dict"),
        (torch.ones(7), "its shapes do not tell which is which"),
    ],
)
def test_what_is_unclear_is_one_line(tmp_path, content, message):
    torch.save(content, tmp_path / "update.pt")
    with pytest.raises(InputError, match=message):
        audited(network(), tmp_path / "update.pt")


def test_names_may_be_numbers(attack):
    model, (x, y) = network(), batch()
    assert attack(model, dict(enumerate(gradient(model, x, y).values()))).certified_labels == certified(y)


def test_a_single_array_is_one_line(tmp_path):
    np.save(tmp_path / "update.npy", np.ones(3))
    with pytest.raises(InputError, match=r"update.npy: is a single array; save all of them by name"):
        read_update(tmp_path / "update.npy")


def test_a_damaged_file_of_arrays_is_one_line(tmp_path):
    np.savez_compressed(tmp_path / "update.npz", a=np.random.default_rng(0).standard_normal(200))
    whole, messages = (tmp_path / "update.npz").read_bytes(), []
    for at in range(30, len(whole) - 150, 9):
        (tmp_path / "update.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            read_update(tmp_path / "update.npz")
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all("update.npz: is not a readable file of numeric arrays" in message for message in messages)


@pytest.mark.parametrize("change", [lambda g: g.double() * 1e-100, lambda g: g.double() * 1e100, lambda g: g * 1e-42])
def test_sizes_beyond_single_precision_are_one_line(attack, change):
    model, (x, y) = network(), batch()
    with pytest.raises(InputError, match=r"the update: its largest entry is .*e[+-].*multiply it by a constant"):
        attack(model, {name: change(g) for name, g in gradient(model, x, y).items()})


def test_types_without_arithmetic_are_one_line(attack):
    model, (x, y) = network(), batch()
    update = {name: g.to(torch.float8_e4m3fn) for name, g in gradient(model, x, y).items()}
    with pytest.raises(InputError, match=r"update: 0.weight is of float8_e4m3fn; convert it to float32"):
        attack(model, update)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_integers_in_place_of_one_parameter_are_one_line(attack, prefix):
    """Left out like a counter, they would count as withheld."""
    model, (x, y) = network(), batch()
    update = {prefix + name: g for name, g in gradient(model, x, y).items()}
    update[f"{prefix}0.weight"] = update[f"{prefix}0.weight"].mul(1e4).to(torch.int8)
    with pytest.raises(InputError, match=r"update: 0\.weight holds int8, not floating-point numbers; save it before"):
        attack(model, update)


@pytest.mark.parametrize(
    ("type_", "message"),
    [
        (torch.int8, "0.weight holds int8, not floating-point numbers; save it before it is quantised"),
        (torch.float8_e4m3fn, "0.weight is of float8_e4m3fn; convert it to float32"),
    ],
)
@pytest.mark.parametrize("which", ["before.pt", "after.pt"])
def test_quantised_weights_have_no_change(tmp_path, which, type_, message):
    state = network().state_dict()
    for name in ("before.pt", "after.pt"):
        tensors = {**state, "0.weight": state["0.weight"].to(type_)} if name == which else state
        torch.save(tensors, tmp_path / name)
    with pytest.raises(InputError, match=f"{which}: {message}"):
        difference(tmp_path / "before.pt", tmp_path / "after.pt")


@pytest.mark.parametrize("frozen", [slice(None), slice(2)])
def test_what_the_model_has_frozen_but_the_client_trained_is_attacked(attack, frozen):
    """A model that is built for inference says nothing about the client's training."""
    model, (x, y) = network(), batch()
    update = gradient(model, x, y)
    for parameter in list(model.parameters())[frozen]:
        parameter.requires_grad_(False)
    result = attack(model, update)
    assert result.certified_labels == certified(y)
    assert any(remark.startswith("Frozen in the model, but changed by the update") for remark in result.remarks)
    assert not next(model.parameters()).requires_grad  # the user's model is left as it was


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(5)), r"0.weight has no shape yet; pass one input through the model first"),
        (lambda: torch.jit.script(nn.Linear(3, 4)), "is a TorchScript program"),
        (lambda: nn.ModuleList([torch.jit.script(nn.Linear(3, 4))]), "is a TorchScript program"),
        (lambda: nn.Linear(3, 4, device="meta"), "weight is on the device meta, which holds no values; build it on"),
    ],
)
def test_models_that_cannot_be_followed_are_one_line(attack, build, message):
    with pytest.raises(InputError, match=f"^model: {message}"):
        attack(build(), {"weight": torch.ones(4, 3)})
