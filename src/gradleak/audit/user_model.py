"""The user's model: built, given its weights, and copied for attacks."""

import copy
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gradleak.audit.update_files import read_tensors
from gradleak.errors import InputError
from gradleak.victims import checkpoints

_WRAPPED = ("module", "_module", "_orig_mod")
"""Where DataParallel, Opacus and ``torch.compile`` keep the model."""


def build(where: str, weights: Path | None, tensors: Mapping[str, Tensor] | None = None, source: str = "") -> nn.Module:
    """Build a model from the user's code, with the weights that the server sent.

    Args:
        where: ``file.py:function`` or ``package.module:function``; the function takes nothing.
        weights: a file; None if ``tensors`` are given or the function gives the model its weights.
        tensors: the weights themselves.
        source: where these come from, for messages.

    Raises:
        InputError: the code cannot be run or returns no module, the weights do not fit, or without a file the function
            returns other weights on each call; one line.
    """
    function = _function(where)
    model = _call(where, function)
    if tensors is not None:
        checkpoints.assign(model, _complete(dict(tensors), model), Path(source))
        return model
    if weights is not None:
        checkpoints.assign(model, _complete(read_tensors(weights), model), weights)
        return model
    again = _call(where, function).state_dict()
    for name, tensor in model.state_dict().items():
        if not torch.equal(tensor, again[name]):
            raise InputError(
                f"--model {where}: {name} differs between two calls, so these are not the weights that the client got; "
                "give them with --checkpoint, or --before and --after"
            )
    return model


def _complete(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return weights with the model's own buffers where they have none: not every framework sends these."""
    own = dict(model.named_buffers(remove_duplicate=False))
    known = checkpoints.without_prefixes(tensors, model.state_dict())
    return {**{name: buffer for name, buffer in own.items() if name in model.state_dict()}, **known}


def _function(where: str) -> Any:
    place, colon, name = where.rpartition(":")
    if not colon or not place or not name:
        raise InputError(f"--model {where}: name a file and a function in it, such as my.py:build")
    try:
        if place.endswith(".py"):
            path = Path(place)
            if not path.is_file():
                raise InputError(f"--model {where}: {path}: no such file")
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.path.insert(0, str(path.resolve().parent))  # for what it imports from beside it
            sys.modules.setdefault(path.stem, module)  # where pickle and dataclasses look
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, "")
            module = importlib.import_module(place)
    except InputError:
        raise
    except Exception as error:  # of the user's code
        raise InputError(f"--model {where}: {place} fails: {_reason(error)}") from error
    if not callable(getattr(module, name, None)):
        raise InputError(f"--model {where}: {place} has no function {name}")
    return getattr(module, name)


def _call(where: str, function: Any) -> nn.Module:
    try:
        model = function()
    except Exception as error:  # of the user's code
        raise InputError(f"--model {where}: the call fails: {_reason(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"--model {where}: returns a {type(model).__name__}; return a torch.nn.Module")
    return unwrapped(model)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside DataParallel, Opacus and ``torch.compile``."""
    while True:
        inner = [part for name in _WRAPPED if isinstance(part := getattr(model, name, None), nn.Module)]
        others = [name for name, _ in model.named_parameters() if not name.startswith(tuple(f"{n}." for n in _WRAPPED))]
        if not inner or others:
            return model
        model = inner[0]


def copied(model: nn.Module) -> nn.Module:
    """Return a copy for attacks: on the CPU, in eval mode, in single precision at least, no activation in place.

    Attacks differentiate twice, which an activation that overwrites its input forbids. The given model is not changed.

    Raises:
        InputError: it cannot be copied, or a weight is NaN or infinite, which is named.
    """
    model = unwrapped(model)
    try:
        own = copy.deepcopy(model).cpu().eval()
    except Exception as error:
        raise InputError(f"model {type(model).__name__}: cannot be copied: {_reason(error)}") from error
    for module in own.modules():
        if getattr(module, "inplace", False) is True:
            vars(module)["inplace"] = False
    if any(parameter.dtype in (torch.float16, torch.bfloat16) for parameter in own.parameters()):
        own = own.float()
    for name, tensor in own.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"model {type(model).__name__}: {name} has NaN or infinite entries")
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise InputError(f"model {type(model).__name__}: {name} has negative entries; a variance has none")
    return own


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
