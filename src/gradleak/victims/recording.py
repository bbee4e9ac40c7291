"""Recording of the torch functions that a pass of a model calls, and passes that leave the model unchanged.

A pass is recorded at the level of torch functions, which every layer uses, module or not: ``nn.ReLU``,
``functional.relu`` and ``x.relu_()`` look alike there, and a forward method may branch on the values of its tensors.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from gradleak.errors import InputError


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a torch function.

    Attributes:
        index: its position in the pass, from 0.
        function: a function of torch or of ``torch.nn.functional``, or a method of a tensor.
        args: positional arguments.
        kwargs: keyword arguments.
        output: what it returned.
        before: id of an argument tensor -> its version before the call. A version counts in-place changes, of all views
            of the same memory.
        after: id of a returned tensor -> its version after the call.
        module: name of the innermost module that made the call; "" for the model itself.
    """

    index: int
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: object
    before: Mapping[int, int]
    after: Mapping[int, int]
    module: str

    @property
    def source(self) -> Tensor | None:
        """The first argument, if it is a tensor."""
        first = self.args[0] if self.args else self.kwargs.get("input")
        return first if isinstance(first, Tensor) else None

    @property
    def further(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """All arguments but the first, positional and by keyword."""
        return self.args[1:], {key: value for key, value in self.kwargs.items() if self.args or key != "input"}

    def argument(self, position: int, *names: str, default: object = None) -> object:
        """Return an argument by its position or by any of its names."""
        if len(self.args) > position:
            return self.args[position]
        return next((self.kwargs[name] for name in names if name in self.kwargs), default)

    @property
    def in_place(self) -> bool:
        """Whether it changed and returned its first argument."""
        source = self.source
        return source is not None and self.output is source and self.after[id(source)] != self.before[id(source)]

    @property
    def does_nothing(self) -> bool:
        """Whether it returned its first argument unchanged, as ``contiguous()`` or ``float()`` may."""
        source = self.source
        return source is not None and self.output is source and not self.in_place

    def __str__(self) -> str:
        """Name the function and where it is called."""
        name = getattr(self.function, "__name__", str(self.function))
        if name == "__get__":  # a property of tensors, such as x.T
            name = getattr(getattr(self.function, "__self__", None), "__name__", name)
        return f"{name} at {self.module}" if self.module else f"{name} in forward()"


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.modules: list[str] = []

    def entering(self, name: str) -> Callable[..., None]:
        return lambda *_: self.modules.append(name)

    def leaving(self, *_: object) -> None:
        self.modules.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        before = _versions((args, kwargs))
        output = func(*args, **kwargs)
        after = _versions(output)
        if after or before:
            module = self.modules[-1] if self.modules else ""
            self.calls.append(Call(len(self.calls), func, args, kwargs, output, before, after, module))
        return output


def _versions(tree: object) -> dict[int, int]:
    return {id(leaf): leaf._version for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)}


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Run a block in eval mode, then restore the model's mode and buffers and the state of torch's generators."""
    modes = {module: module.training for module in model.modules()}
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in modes
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    cuda = {tensor.device for tensor in (*model.parameters(), *model.buffers()) if tensor.is_cuda}
    with torch.random.fork_rng(devices=sorted(device.index for device in cuda)):
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            with torch.no_grad():
                for module, name, buffer, value in buffers:
                    if not torch.equal(buffer, value):
                        buffer.copy_(value)
                    module._buffers[name] = buffer


def record(model: nn.Module, images: Tensor) -> tuple[list[Call], object]:
    """Return the calls of a pass in eval mode, without gradients, and the model's output.

    Args:
        model: any; it is not changed.
        images: input of the model, on its device; the calls hold this very tensor.

    Raises:
        InputError: the pass fails.
    """
    recorder = _Recorder()
    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(recorder.entering(name), prepend=True))
        handles.append(module.register_forward_hook(recorder.leaving))
    try:
        with undisturbed(model), torch.no_grad(), recorder:
            output = model(images)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        at = f", in {recorder.modules[-1]}" if recorder.modules and recorder.modules[-1] else ""
        raise InputError(
            f"model {type(model).__name__}: its pass of images {list(images.shape)} fails{at}: "
            f"{type(error).__name__}: {reason}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return recorder.calls, output


class _AllRead(BaseException):
    """Ends a pass as soon as nothing more is needed; not an Exception, so that models do not catch it."""


class _Reader(TorchFunctionMode):
    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()
        self.weights = weights
        self.inputs: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            for position, wanted in enumerate(self.weights):
                if wanted is weight:
                    self.inputs[position] = args[0] if args else kwargs["input"]
            if len(self.inputs) == len(self.weights):
                raise _AllRead
        if func is Tensor.view and not any(isinstance(value, torch.dtype) for value in (*args, *kwargs.values())):
            func = Tensor.reshape  # the output of convolutions on channels-last images cannot be viewed
        return func(*args, **kwargs)


def linear_inputs(model: nn.Module, weights: Sequence[str], images: Tensor) -> tuple[Tensor, ...]:
    """Return the inputs of linear layers in a pass in eval mode, in the type of each layer, also behind autocast.

    The pass ends at the last of them.

    Args:
        model: any; it is not changed.
        weights: names of the layers' weights.
        images: input of the model.

    Raises:
        InputError: the pass does not reach one of the layers.
    """
    owners = [(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in weights]
    reader = _Reader([getattr(owner, name) for owner, name in owners])
    with undisturbed(model):
        try:
            with reader:
                model(images)
        except _AllRead:
            return tuple(reader.inputs[n].to(weight.dtype) for n, weight in enumerate(reader.weights))
    missing = next(name for position, name in enumerate(weights) if position not in reader.inputs)
    raise InputError(
        f"model {type(model).__name__}: its pass of these images does not reach the linear layer of {missing}, "
        "unlike that of the example"
    )
