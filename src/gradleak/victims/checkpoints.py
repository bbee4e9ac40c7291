"""Weights on disk: written as safetensors, read from safetensors or a plain PyTorch state dict."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gradleak.errors import InputError
from gradleak.records import whole_file

_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
_PREFIXES = ("module.", "_module.", "_orig_mod.", "model.")
"""Prefixes of DataParallel, Opacus, ``torch.compile`` and Lightning."""
COUNTER = "num_batches_tracked"
"""How the name of BatchNorm's counter ends."""

_REMEDY = "save it again"


def save(model: nn.Module, path: Path) -> None:
    """Write the parameters and buffers of a model as safetensors, atomically.

    Args:
        model: on any device; tensors keep shapes and types and are written contiguously.
        path: the file; its folder is created.
    """
    # clone: safetensors refuses tensors that share memory, as tied weights do
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    with whole_file(path) as temporary:
        try:
            save_file(tensors, temporary)
        except SafetensorError as error:  # such as a full disk
            raise InputError(f"{path}: cannot be written: {' '.join(str(error).split())}") from error


def load(model: nn.Module, path: Path, *, remedy: str = _REMEDY) -> None:
    """Read weights into a model, in place and on its device; on an error the model does not change.

    Keys and shapes must be those of ``model.state_dict()``. The dictionary may be wrapped, also twice, as
    ``state_dict``, ``model_state_dict``, ``model`` or ``module``; its keys may carry the prefixes of DataParallel,
    Opacus, ``torch.compile`` and Lightning, several in a row; and BatchNorm's ``num_batches_tracked`` may be missing.

    Args:
        model: receives the weights.
        path: ``*.safetensors``, or any other name for a state dict of ``torch.save``, which is read without running
            code from the pickle.
        remedy: what to do about a damaged file, for messages.

    Raises:
        InputError: no such file, a folder, not a file of weights, a pickle with more than tensors, a missing or
            unexpected key, a wrong shape, or integers in place of weights; one line names the first fault.
    """
    assign(model, unwrapped(content_of(path, remedy=remedy), path), path)


def assign(model: nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    """Copy tensors into a model, in place and on its device; on an error the model does not change.

    Args:
        model: receives the weights.
        tensors: tensors named as in ``model.state_dict()``, with or without the prefixes that :func:`load` accepts;
            ``num_batches_tracked`` may be missing.
        source: the file that they come from, for messages.

    Raises:
        InputError: a missing or unexpected key, a wrong shape, or integers in place of weights; one line names the
            first fault.
    """
    wanted: dict[str, Tensor] = model.state_dict()
    tensors = without_prefixes(tensors, wanted)
    missing = [name for name in wanted if name not in tensors and not name.endswith(COUNTER)]
    unexpected = [name for name in tensors if name not in wanted]
    kind = type(model).__name__
    hint = "the checkpoint is of another architecture or of other model options"
    for what, names in (("has no", missing), ("has an unexpected", unexpected)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(f"{source}: {what} {names[0]}{more}, for the model {kind}; {hint}")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            shape, right = list(tensor.shape), list(wanted[name].shape)
            raise InputError(
                f"{source}: {name} has shape {shape}, the model {kind} needs {right}; {hint}, or of another data set"
            )
        if tensor.layout != torch.strided or tensor.is_meta:
            what = "no values" if tensor.is_meta else f"layout {str(tensor.layout).removeprefix('torch.')}"
            raise InputError(f"{source}: {name} has {what}; save plain tensors, for example tensor.to_dense()")
        if wanted[name].is_floating_point():
            check_floating(tensor, f"{source}: {name}")
    model.load_state_dict({**wanted, **tensors})


def check_floating(tensor: Tensor, what: str) -> None:
    """Check that a tensor can be weights or a gradient: integers are quantised ones, and their scale is not known.

    Args:
        tensor: of any type.
        what: what it is, for messages.

    Raises:
        InputError: it does not hold floating-point numbers.
    """
    if tensor.is_floating_point():
        return
    remedy = "convert it to float32" if tensor.is_complex() else "save it before it is quantised"
    raise InputError(f"{what} holds {str(tensor.dtype).removeprefix('torch.')}, not floating-point numbers; {remedy}")


def without_prefixes(tensors: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Strip prefixes until a key is one of the model, which may itself have a part of that name.

    Keys that lack a prefix which others have are not weights of the model but step counters or the criterion of a
    training.
    """
    while tensors and not wanted.keys() & tensors.keys():
        counts = {prefix: sum(name.startswith(prefix) for name in tensors) for prefix in _PREFIXES}
        prefix = max(counts, key=lambda prefix: counts[prefix])
        if not counts[prefix]:
            break
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return tensors


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name, without wrappers, on the CPU.

    Raises:
        InputError: no such file, a folder, not a file of weights, or a pickle with more than tensors.
    """
    return unwrapped(content_of(path), path)


def content_of(path: Path, *, remedy: str = _REMEDY) -> Any:
    """Return what a file holds, on the CPU: of safetensors a dictionary of tensors, else whatever was saved.

    Args:
        path: the file.
        remedy: what to do about a damaged file, for messages.

    Raises:
        InputError: no such file, a folder, not a file of weights, or a pickle with more than tensors.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name the file, for example {path / 'model.safetensors'}")
    if not path.is_file():
        raise InputError(f"{path}: no such file; name a .safetensors file or a saved state dict")
    if not path.stat().st_size:
        raise InputError(f"{path}: is not a readable file of weights (it is empty); {remedy}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # torch's warnings about old formats and TorchScript
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: not read, since it is damaged or holds more than tensors and could run code; "
            "save model.state_dict() instead of the model, or use safetensors"
        ) from None
    # A damaged file fails in the zip reader, the unpickler or the tensor code, with an error of any type
    except Exception as error:
        if "TorchScript" in str(error):
            raise InputError(f"{path}: is a TorchScript program; save model.state_dict() instead") from error
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise InputError(f"{path}: is not a readable file of weights ({reason}); {remedy}") from error


def unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a state dict by name, without wrappers.

    Raises:
        InputError: it is none.
    """
    seen: set[int] = set()  # a dictionary may contain itself
    inner: Any = content
    while inner is not None and id(inner) not in seen:
        content = inner
        seen.add(id(content))
        inner = None
        if isinstance(content, Mapping):
            inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds {type(content).__name__}, not a state dict; save model.state_dict()")
    if not content:
        raise InputError(f"{path}: holds an empty dictionary; save model.state_dict()")
    content = {name: value for name, value in content.items() if value is not None}  # as gradients of frozen parameters
    other = next((name for name, value in content.items() if not isinstance(value, Tensor)), None)
    if other is not None:
        raise InputError(f"{path}: {other!r} is not a tensor; save model.state_dict() alone or as 'state_dict'")
    return {str(name): value for name, value in content.items()}
