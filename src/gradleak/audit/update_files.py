"""Files of tensors as users have them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gradleak.clients.given import from_numpy, given_tensors
from gradleak.errors import DAMAGED_ARCHIVE, InputError
from gradleak.victims import checkpoints

Kind = Literal["gradient", "delta"]
"""A gradient, or weights after a training minus those before."""


@dataclass(frozen=True)
class Update:
    """What a client sent.

    Attributes:
        tensors: by the names in the file.
        source: where they come from, for messages.
        kind: what they are, if that is known.
        ordered: whether they stand in the order of the client's model; safetensors sorts them.
        remarks: what to say of it, a sentence each.
    """

    tensors: Mapping[str, Tensor] = field(repr=False)
    source: str
    kind: Kind | None = None
    ordered: bool = True
    remarks: tuple[str, ...] = ()


def read_update(path: Path) -> Update:
    """Read a gradient or a weight change.

    Raises:
        InputError: see :func:`read_tensors`.
    """
    return Update(read_tensors(path), str(path), ordered=path.suffix != ".safetensors")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name, on the CPU.

    Args:
        path: ``.safetensors``, ``.npz``, or any other name for what ``torch.save`` wrote: a dictionary, a list or tuple
            in the order of the model, or one tensor; also as the only such entry of a dictionary. No code in it is run.

    Raises:
        InputError: no such file, or not a file of tensors; one line.
    """
    if path.suffix == ".npy":
        raise InputError(f"{path}: is a single array; save all of them by name with numpy.savez")
    if path.suffix != ".npz":
        content = checkpoints.content_of(path)
        try:
            return checkpoints.unwrapped(content, path)
        except InputError:
            found = _tensors_in(content)
            if found is None:
                raise
            return found
    if not path.is_file():
        raise InputError(f"{path}: no such file; name a .npz, a .safetensors file or a saved dictionary of tensors")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: from_numpy(array) for name, array in arrays.items()}
    except DAMAGED_ARCHIVE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise InputError(f"{path}: is not a readable file of numeric arrays ({reason}); save it again") from error


def _tensors_in(content: object) -> dict[str, Tensor] | None:
    """Return the tensors of a container by name or position; None if it is unclear which they are."""
    if isinstance(content, Tensor):
        return {"0": content}
    entries: dict[Any, Any] = {}
    if isinstance(content, Mapping):
        entries = dict(content)
    elif isinstance(content, list | tuple):
        entries = dict(enumerate(content))
    sent = {str(name): value for name, value in entries.items() if value is not None}
    if sent and all(isinstance(value, Tensor) for value in sent.values()):
        return sent
    if not isinstance(content, Mapping) or any(isinstance(value, Tensor) for value in sent.values()):
        return None
    inner = [found for value in sent.values() if (found := _tensors_in(value)) is not None]
    return inner[0] if len(inner) == 1 else None


def difference(before: Path, after: Path) -> Update:
    """Return the weight change between two files of weights.

    Only names in both have one; integer counters have none.

    Raises:
        InputError: see :func:`read_tensors`; or the files have no name in common, or a tensor changes its shape.
    """
    old, new = read_tensors(before), read_tensors(after)
    if not old.keys() & new.keys():
        new = checkpoints.without_prefixes(new, old)
        old = old if old.keys() & new.keys() else checkpoints.without_prefixes(old, new)
    return change(old, new, str(after), str(before))


def change(old: Mapping[str, Tensor], new: Mapping[str, Tensor], source: str, start: str) -> Update:
    """Return new weights minus old ones, of all floating-point tensors that both have; counters have no change.

    Raises:
        InputError: they have no name in common, a tensor changes its shape, or one side of it holds integers.
    """
    old, new = given_tensors(old, start), given_tensors(new, source)
    both = [
        name
        for name in new
        if name in old
        and (old[name].is_floating_point() or new[name].is_floating_point())
        and not name.endswith(checkpoints.COUNTER)  # of floating point where a server has averaged it
    ]
    if not both:
        raise InputError(f"{source}: has no weights with a name of {start}, so there is no change of weights")
    changed = {}
    for name in both:
        if new[name].shape != old[name].shape:
            raise InputError(
                f"{source}: {name} has shape {list(new[name].shape)}, in {start} it has {list(old[name].shape)}"
            )
        checkpoints.check_floating(old[name], f"{start}: {name}")
        checkpoints.check_floating(new[name], f"{source}: {name}")
        wide = torch.promote_types(new[name].dtype, torch.float32)
        changed[name] = new[name].to(wide) - old[name].to(wide)
    return Update(changed, source, "delta")
