"""The user's model: built, given its weights, and copied for attacks."""

import copy
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gradleak.capture import bare_model
from gradleak.clients.given import checked_model
from gradleak.errors import InputError
from gradleak.victims import checkpoints

_VARIANCE = "running_var"

Factory = Callable[[], nn.Module]


def factory(where: str) -> Factory:
    """Return what builds the model of the user's code, and has built it once.

    Args:
        where: ``file.py:function`` or ``package.module:function``; the function takes nothing.

    Raises:
        InputError: the code cannot be run or returns no module; one line.
    """
    function = _function(where)
    _call(where, function)
    return lambda: _call(where, function)


def with_weights(make: Factory, tensors: Mapping[str, Tensor], source: str) -> nn.Module:
    """Return the model with the weights that the server sent.

    Args:
        make: see :func:`factory`.
        tensors: the weights; buffers may be missing.
        source: where they come from, for messages.

    Raises:
        InputError: they do not fit.
    """
    model = make()
    checkpoints.assign(model, _complete(dict(tensors), model), Path(source))
    return model


def with_own_weights(make: Factory, where: str) -> nn.Module:
    """Return the model with the weights that the user's code gives it.

    Raises:
        InputError: these differ from call to call.
    """
    model, again = make(), make().state_dict()
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
    except (Exception, SystemExit) as error:  # of the user's code
        raise InputError(f"--model {where}: {place} fails: {_reason(error)}") from error
    if not callable(getattr(module, name, None)):
        raise InputError(f"--model {where}: {place} has no function {name}")
    return getattr(module, name)


def _call(where: str, function: Any) -> nn.Module:
    try:
        model = function()
    except (Exception, SystemExit) as error:  # of the user's code
        raise InputError(f"--model {where}: the call fails: {_reason(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"--model {where}: returns a {type(model).__name__}; return a torch.nn.Module")
    return bare_model(checked_model(model, f"--model {where}"))


def copied(model: nn.Module, *, running_statistics: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a copy for attacks: on the CPU, in eval mode, in single precision at least, no activation in place.

    Attacks differentiate twice, which an activation that overwrites its input forbids. The given model is not changed.

    Args:
        model: the user's.
        running_statistics: whether the client used those of BatchNorm. If it did not, impossible ones, as noise on them
            gives, are replaced: nothing depends on them then.

    Returns:
        The copy, and what was replaced, a sentence each.

    Raises:
        InputError: it cannot be copied, or a weight is NaN or infinite, or a needed variance is negative; the line
            names it.
    """
    model = bare_model(model)
    try:
        own = copy.deepcopy(model).cpu().eval()
    except Exception as error:
        raise InputError(f"model {type(model).__name__}: cannot be copied: {_reason(error)}") from error
    for module in own.modules():
        if getattr(module, "inplace", False) is True:
            vars(module)["inplace"] = False
    if any(parameter.dtype in (torch.float16, torch.bfloat16) for parameter in own.parameters()):
        own = own.float()
    replaced = [] if running_statistics else _statistics_replaced(own)
    for name, tensor in own.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"model {type(model).__name__}: {name} has NaN or infinite entries")
        if name.endswith(_VARIANCE) and bool((tensor < 0).any()):
            raise InputError(f"model {type(model).__name__}: {name} has negative entries; a variance has none")
    return own, tuple(replaced)


def _statistics_replaced(model: nn.Module) -> list[str]:
    """Replace impossible running statistics of BatchNorm by those of a new layer, and say so."""
    replaced = []
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm) or module.running_mean is None or module.running_var is None:
            continue
        possible = torch.isfinite(module.running_mean).all() and torch.isfinite(module.running_var).all()
        if not bool(possible) or bool((module.running_var < 0).any()):
            module.reset_running_stats()
            replaced.append(
                f"{name}: its running statistics cannot be, such as a negative variance; they are not used, since the "
                "client's BatchNorm is taken to use those of its batch."
            )
    return replaced


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
