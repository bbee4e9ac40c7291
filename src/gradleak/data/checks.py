"""Checks of what a loader returns, built-in or a plug-in's, before anything relies on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from gradleak import extras, global_draws
from gradleak.data.arrays import ArrayDataset
from gradleak.data.base import ImageDataset, one_line, place_of
from gradleak.data.files import MODES, FileDataset
from gradleak.errors import InputError
from gradleak.plan import plugins
from gradleak.plan.catalogue import DatasetFacts, Facts, find, source_of


def checked(name: str, split: str, loader: Callable[[], object]) -> ImageDataset:
    """Return the data set that a loader gives, after checking it against its facts.

    Labels are checked; images are not decoded, except one of a plug-in, which may read pixels by code of its own.

    Args:
        name: canonical name.
        split: the split that was loaded.
        loader: takes no arguments.

    Raises:
        InputError: the loader fails or returns something else; one line names data set, file and what would be right.
    """
    where = f"{place_of(name)}, split {split}"
    try:
        with _guarded(name, split), extras.needed_by(f"data set {name}"):
            data = loader()
            fault = _fault(name, data)
    except InputError:
        raise
    except Exception as error:  # built-in sets depend on other packages and on files
        raise InputError(f"{name}: cannot be loaded ({type(error).__name__}: {one_line(error)})") from error
    if fault is not None:
        raise InputError(f"{where}: {fault}")
    assert isinstance(data, ImageDataset)
    if source_of("datasets", name) is not None:
        # Built-in full sets may be incomplete.
        declared = find("datasets", name).sizes.get(split)  # pyright: ignore[reportArgumentType]
        if declared not in (None, len(data)):
            raise InputError(f"{where}: has {len(data)} images; FACTS declares {declared}: change one of them")
        with _guarded(name, split):
            data.fetch(torch.tensor([0, len(data) - 1]))
    return data


@contextmanager
def _guarded(name: str, split: str) -> Iterator[None]:
    what = f"data set {name}, split {split}"
    foreign = source_of("datasets", name) is not None
    with global_draws.refused(what) if foreign else nullcontext(), plugins.guarded("datasets", name, what):
        yield


def _fault(name: str, data: object) -> str | None:
    """Return what is wrong with the result of a loader."""
    if not isinstance(data, ImageDataset):
        return f"its loader returns {type(data).__name__}; return an ImageDataset, for example an ArrayDataset"
    return _fault_of_facts(name, data) or _fault_of_labels(data) or _fault_of_storage(data)


def _fault_of_facts(name: str, data: ImageDataset) -> str | None:
    declared = find("datasets", name)
    if data.name != name:
        return f"its name is {data.name!r}; give it the name {name!r}"
    remedy = f"pass gradleak.plan.catalogue.dataset_facts({name!r})"
    if not isinstance(data.facts, DatasetFacts):
        return f"facts is {type(data.facts).__name__}; {remedy}"
    for field in [name for name in DatasetFacts.model_fields if name not in Facts.model_fields]:
        given, right = getattr(data.facts, field), getattr(declared, field)
        if given != right:
            return f"facts.{field} is {given}, declared is {right}; {remedy}"
    # Only an ImageNet folder may have a subset of the classes.
    some = name == "imagenet" and type(data.num_classes) is int and data.num_classes > 1
    if (type(data.num_classes) is not int or data.num_classes != declared.num_classes) and not some:
        return f"num_classes is {data.num_classes}; declared is {declared.num_classes}"
    return None


def _fault_of_labels(data: ImageDataset) -> str | None:
    labels: object = data.labels
    right = "labels must be one tensor [images] of int64 on the CPU"
    if not isinstance(labels, Tensor):
        return f"labels is {type(labels).__name__}; {right}"
    plain = labels.layout == torch.strided and labels.device.type == "cpu"
    if labels.dtype != torch.int64 or labels.dim() != 1 or not plain:
        return f"labels is {_described(labels)}; {right}"
    if not len(labels):
        return "has no images; a split needs at least one"
    low, high = (int(label) for label in torch.aminmax(labels))
    if low < 0 or high >= data.num_classes:
        wrong = low if low < 0 else high
        return f"label {wrong} is outside 0 to {data.num_classes - 1}, the {data.num_classes} classes"
    return None


def _fault_of_storage(data: ImageDataset) -> str | None:
    """Check the stored pixels of data sets that do not override how they are read."""
    number, size, channels = len(data.labels), data.facts.image_size, data.facts.channels
    if isinstance(data, ArrayDataset):
        array: object = data.array
        right = f"it must be a tensor [{number}, {channels}, {size}, {size}] of uint8, an image for each label"
        if not isinstance(array, Tensor):
            return f"array is {type(array).__name__}; {right}"
        if array.dtype != torch.uint8 or tuple(array.shape) != (number, channels, size, size):
            return f"array is {_described(array)}; {right}"
    if isinstance(data, FileDataset):
        if len(data.paths) != number:
            return f"has {number} labels and {len(data.paths)} paths; give each image one of both"
        if channels not in MODES:
            return f"facts.channels is {channels}; image files are read as 1 channel (grey) or 3 (RGB)"
        if data.resize < size:
            return f"resize is {data.resize}, below the {size} pixels of the crop; use at least {size}"
    return None


def _described(tensor: Tensor) -> str:
    device = "" if tensor.device.type == "cpu" else f" on {tensor.device}"
    return f"{list(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}{device}"
