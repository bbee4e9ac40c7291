"""Weights on disk: what can be read, and one line for everything else."""

import re
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gradleak.errors import InputError
from gradleak.victims import checkpoints
from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build


def victim(seed: int, model: str = "lenet5", **options) -> Victim:
    return build(model, num_classes=10, channels=1, image_size=28, seed=seed, **options)


def equal(a: Victim, b: Victim) -> bool:
    found, wanted = a.state_dict(), b.state_dict()
    return all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_saved_weights_are_loaded(tmp_path):
    source, model = victim(1, batchnorm=True).to(memory_format=torch.channels_last), victim(2, batchnorm=True)
    checkpoints.save(source, tmp_path / "deep" / "model.safetensors")
    checkpoints.load(model, tmp_path / "deep" / "model.safetensors")
    assert equal(model, source)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize(
    "wrappers", [(), ("state_dict",), ("model_state_dict",), ("model",), ("model", "state_dict"), ("module",)]
)
@pytest.mark.parametrize("prefix", ["", "module.", "_module.", "_orig_mod.", "model.", "model._orig_mod.module."])
def test_state_dicts_in_common_wrappings(tmp_path, wrappers, prefix):
    source, model = victim(1), victim(2)
    content = {prefix + name: value for name, value in source.state_dict().items()}
    for wrapper in reversed(wrappers):
        content = {wrapper: content, "epoch": 3}
    torch.save(content, tmp_path / "model.pth")
    checkpoints.load(model, tmp_path / "model.pth")
    assert equal(model, source)


def test_prefixes_in_safetensors(tmp_path):
    source, model = victim(1), victim(2)
    save_file({f"_orig_mod.{name}": value for name, value in source.state_dict().items()}, tmp_path / "a.safetensors")
    checkpoints.load(model, tmp_path / "a.safetensors")
    assert equal(model, source)


def test_a_module_named_like_a_prefix_keeps_its_name(tmp_path):
    layers = [torch.nn.Linear(2, 2) for _ in range(2)]
    source, model = (torch.nn.ModuleDict({"model": layer}) for layer in layers)
    for prefix in ("", "model."):
        torch.save({prefix + name: value for name, value in source.state_dict().items()}, tmp_path / "model.pt")
        torch.nn.init.zeros_(layers[1].weight)
        checkpoints.load(model, tmp_path / "model.pt")
        assert torch.equal(layers[1].weight, layers[0].weight)


def test_weights_of_lower_precision_are_accepted(tmp_path):
    source, model = victim(1), victim(2)
    torch.save(source.half().state_dict(), tmp_path / "model.pt")
    checkpoints.load(model, tmp_path / "model.pt")
    assert model.head.weight.dtype == torch.float32
    assert torch.equal(model.head.weight.half(), source.head.weight)


def scripted(path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(torch.nn.Linear(2, 2)).save(path)


def integers(path: Path) -> None:
    torch.save({name: value.mul(100).to(torch.int8) for name, value in victim(1).state_dict().items()}, path)


def test_the_counter_of_batchnorm_may_be_missing(tmp_path):
    source, model = victim(1, batchnorm=True), victim(2, batchnorm=True)
    content = {name: value for name, value in source.state_dict().items() if "num_batches" not in name}
    save_file(content, tmp_path / "model.safetensors")
    checkpoints.load(model, tmp_path / "model.safetensors")
    assert equal(model, source)


class Pickled:
    """Anything but a tensor."""


def missing_key(path: Path) -> None:
    content = victim(1).state_dict()
    del content["head.bias"]
    torch.save(content, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder; name the file"),
        (lambda path: path.write_bytes(b""), "is not a readable file of weights (it is empty); save it again"),
        (lambda path: path.write_bytes(b"hello there, this is text"), "is not a readable file"),
        (lambda path: torch.save(Pickled(), path), "could run code"),
        (lambda path: torch.save(victim(1), path), "save model.state_dict()"),
        (lambda path: torch.save([1, 2], path), "holds list, not a state dict"),
        (lambda path: torch.save({"a": 1}, path), "'a' is not a tensor"),
        (lambda path: torch.save(7, path), "holds int, not a state dict; save model.state_dict()"),
        (lambda path: torch.save({"model": {}}, path), "holds an empty dictionary; save model.state_dict()"),
        (scripted, "is a TorchScript program; save model.state_dict() instead"),
        (integers, "holds int8, not floating-point numbers; save it before it is quantised"),
        (missing_key, "has no head.bias, for the model LeNet5"),
        (lambda path: torch.save(victim(1, batchnorm=True).state_dict(), path), "has "),
        (lambda path: torch.save({**victim(1).state_dict(), "x": torch.ones(1)}, path), "has an unexpected x, for"),
        (
            lambda path: torch.save({**victim(1).state_dict(), "head.bias": torch.ones(7)}, path),
            "head.bias has shape [7], the model LeNet5 needs [10]",
        ),
    ],
)
def test_faults_are_one_line_and_do_not_change_the_model(tmp_path, write, message):
    path = tmp_path / "model.pt"
    write(path)
    model, before = victim(2), victim(2)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        checkpoints.load(model, path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert equal(model, before)


def test_damaged_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(InputError, match="is not a readable file of weights"):
        checkpoints.load(victim(1), path)


@pytest.mark.parametrize("more", ["n_averaged", "criterion.weight"])
def test_keys_beside_those_of_the_model_do_not_hide_a_prefix(tmp_path, more):
    """As in files of averaged models and Lightning."""
    source, model = victim(1), victim(2)
    content = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save({**content, more: torch.ones(())}, tmp_path / "model.pt")
    checkpoints.load(model, tmp_path / "model.pt")
    assert equal(model, source)


def test_a_dictionary_that_contains_itself_is_one_line(tmp_path):
    content: dict[str, object] = {"epoch": 3}
    content["model"] = content
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"is not a tensor; save model\.state_dict"):
        checkpoints.read(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [(torch.Tensor.to_sparse, "has layout sparse_coo; save plain tensors"), (lambda w: w.to("meta"), "has no values")],
)
def test_tensors_of_other_kinds_are_one_line(tmp_path, change, message):
    model = victim(1)
    content = model.state_dict()
    content["head.weight"] = change(content["head.weight"])
    with pytest.raises(InputError, match=f"head.weight {message}"):
        checkpoints.assign(model, content, tmp_path)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise checkpoints.SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(InputError, match=r"cannot be written: .*No space left"):
        checkpoints.save(victim(1), tmp_path / "a" / "model.safetensors")
    assert list(tmp_path.iterdir()) == []
