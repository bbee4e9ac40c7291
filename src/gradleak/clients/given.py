"""Tensors and models as callers of the library have them, checked at its door."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gradleak.errors import InputError

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Given = Tensor | np.ndarray | None
"""What a client sent of one parameter; None if nothing."""


def given_tensors(given: Mapping[str, Any], what: str) -> dict[str, Tensor]:
    """Return what a client sent as plain tensors without a graph.

    ``{name: p.grad for name, p in model.named_parameters()}`` holds None for parameters that are frozen or do not
    affect the loss: these were not sent.

    Args:
        given: name -> tensor, dense or sparse; NumPy array; or None.
        what: what it is, for messages.

    Raises:
        InputError: anything else; one line names the first entry.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"{what}: is a {type(given).__name__}; give a dictionary of parameter name -> tensor")
    tensors = {}
    for name, value in given.items():
        if value is None:
            continue
        tensor = from_numpy(value) if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" else value
        if not isinstance(tensor, Tensor):
            raise InputError(f"{what}: {name} is a {type(value).__name__}; it must be a tensor")
        if tensor.is_meta:
            raise InputError(f"{what}: {name} is on the device meta, which holds no values")
        if tensor.is_floating_point() and tensor.dtype not in _FLOATS:
            raise InputError(f"{what}: {name} is of {str(tensor.dtype).removeprefix('torch.')}; convert it to float32")
        tensor = tensor.detach()
        tensors[str(name)] = tensor if tensor.layout == torch.strided else tensor.to_dense()
    return tensors


def from_numpy(array: np.ndarray) -> Tensor:
    """Return an array as a tensor; long doubles become doubles, and foreign byte orders the machine's.

    Raises:
        TypeError: it holds no numbers that torch has.
    """
    kind = np.dtype(np.float64) if array.dtype.type is np.longdouble else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=kind))


def checked_model(model: Any, where: str = "model") -> nn.Module:
    """Return the model.

    Args:
        model: from the caller.
        where: what it is, for messages.

    Raises:
        InputError: it is none, its layers cannot be followed, or its parameters have no values.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"{where}: is a {type(model).__name__}; give a torch.nn.Module")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise InputError(
            f"{where}: is a TorchScript program, whose layers cannot be followed; give the original module"
        )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise InputError(f"{where}: {name} has no shape yet; pass one input through the model first")
        if tensor.is_meta:
            raise InputError(f"{where}: {name} is on the device meta, which holds no values; build it on the CPU")
    return model


def checked_shape(shape: Any) -> tuple[int, ...]:
    """Return the shape of one input.

    Raises:
        InputError: it is none.
    """
    try:
        sizes = tuple(int(size) for size in shape)
    except (TypeError, ValueError):
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise InputError(f"input_shape {shape!r}: give the shape of one input, such as (3, 32, 32) or (784,)")
    return sizes


def checked_batch_size(size: Any) -> int | None:
    """Return the batch size.

    Raises:
        InputError: it is none.
    """
    if size is None:
        return None
    if isinstance(size, bool | str) or int(size) != size or size < 1:
        raise InputError(f"batch_size {size!r}: give a whole number from 1, or None if it is not known")
    return int(size)
