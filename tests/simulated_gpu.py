"""A GPU that needs none: tensors that compute on the CPU but refuse to meet tensors that were not moved to it.

Code that leaves a tensor on the CPU works on a machine without a GPU and fails on one with it. Here it fails on both.
The device is called ``meta``, the only one besides the CPU that torch accepts everywhere without its hardware.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from gradleak import devices

GPU = torch.device("meta")

_MOVES = ("aten::copy_", "aten::_to_copy", "aten::to.", "aten::index.", "aten::index_put", "aten::_index_put")
"""Operations that may take tensors of both: copies, and indices of a tensor on a GPU."""

HEAVY = ("convolution", "conv2d", "addmm", "aten::mm", "bmm", "linear", "svd", "cholesky", "_linalg", "batch_norm")
"""Parts of the names of operations that belong on a GPU."""


class OnGPU(Tensor):
    """A tensor on the simulated GPU."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnGPU":
        return Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=torch.device("cpu"),
            requires_grad=False,
            dispatch_device=True,
        )

    def __init__(self, inner: Tensor) -> None:
        self.content = inner

    def __repr__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"OnGPU({self.content})"

    def tolist(self) -> Any:
        return self.content.tolist()

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None, **_: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return torch.tensor(data, dtype=dtype or self.dtype, device=GPU)

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_indices(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_indices(index), value)

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor on a GPU to numpy")

    __array__ = numpy  # pyright: ignore[reportAssignmentType]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def _indices(index: Any) -> Any:
    """Return an index whose lists are tensors: torch would make them where this tensor seems to be, without values."""
    if isinstance(index, tuple):
        return tuple(map(_indices, index))
    return torch.tensor(index, dtype=None if index else torch.int64) if isinstance(index, list) else index


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an operation as a GPU does: where its tensors are, all of them."""
    if func is torch.ops.prim.device.default:
        return GPU
    flat = tree_flatten((args, kwargs))[0]
    tensors = [each for each in flat if isinstance(each, Tensor)]
    asked = [each for each in flat if isinstance(each, torch.device)]
    there = [each for each in tensors if isinstance(each, OnGPU)]
    here = [each for each in tensors if not isinstance(each, OnGPU) and each.dim()]
    name = func.name()
    assert not any(each.device == GPU for each in here), f"{name}: a tensor without values"
    if there and here and not name.startswith(_MOVES):
        raise RuntimeError(f"{name}: tensors on two devices, on the CPU {[list(each.shape) for each in here]}")
    if asked:
        result_there = asked[0] == GPU
    elif name.startswith(("aten::to.other", "aten::copy_")):
        result_there = isinstance(args[1 if "other" in name else 0], OnGPU)
    else:
        result_there = bool(there)
    if tensors and not there and any(part in name for part in HEAVY):
        SEEN.add((name, tensors[0].dtype))
    inner_args, inner_kwargs = tree_map(_on_cpu, (args, kwargs))
    out = func(*inner_args, **inner_kwargs)
    known = {id(each.content): each for each in there}  # an operation in place returns its argument

    def placed(value: Any) -> Any:
        if not isinstance(value, Tensor) or not result_there:
            return value
        return known[id(value)] if id(value) in known else OnGPU(value)

    return tree_map(placed, out)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, OnGPU):
        return value.content
    return torch.device("cpu") if isinstance(value, torch.device) else value


SEEN: set[tuple[str, torch.dtype]] = set()
"""Heavy operations that took place on the CPU, and their types."""


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


@contextmanager
def simulated_gpu() -> Iterator[set[tuple[str, torch.dtype]]]:
    """Let all programs choose the simulated GPU; yield :data:`SEEN`, which grows as they run."""

    def choose(name: str, *, share: bool = False) -> torch.device:
        return GPU

    autocast: Callable[..., Any] = torch.autocast
    tensor: Callable[..., Tensor] = torch.tensor

    def tensor_on(data: Any, *, device: torch.device | str | None = None, **options: Any) -> Tensor:
        made = tensor(data, **options)
        return made if device is None else made.to(device)

    original = devices.choose_device
    using = [module for module in list(sys.modules.values()) if getattr(module, "choose_device", None) is original]
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    SEEN.clear()
    try:
        with pytest.MonkeyPatch.context() as patch, _Mode():
            for module in using:
                patch.setattr(module, "choose_device", choose)
            patch.setattr(torch, "autocast", lambda kind, *more, **options: autocast("cpu", *more, **options))
            patch.setattr(torch, "tensor", tensor_on)  # makes tensors without any operation that a mode sees
            yield SEEN
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
