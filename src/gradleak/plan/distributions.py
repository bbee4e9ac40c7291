"""What each label distribution requires of the batch size and the number of classes.

The plan checks this before any data are loaded, :mod:`gradleak.data.batches` again once it knows which classes have
images. :func:`gradleak.data.batches.select` defines the distributions.
"""

from gradleak.errors import InputError

DISTRIBUTIONS = (
    "random",
    "extreme",
    "balanced",
    "unique",
    "random2",
    "custom_imbalanced",
    "custom_balanced",
    "sim",
)

CUSTOM = ("custom_imbalanced", "custom_balanced")
"""Distributions over three fixed classes."""

CUSTOM_CLASSES = (0, 18, 92)
"""The classes of the two custom distributions, fixed in the released iLRG code."""


def check_batch(
    distribution: str,
    batch_size: int,
    num_classes: int,
    *,
    num_uniform_cls: int,
    num_target_cls: int,
    num_present: int | None = None,
) -> None:
    """Refuse a batch that no data could provide.

    Args:
        distribution: a name of :data:`DISTRIBUTIONS`.
        batch_size: B, at least 1.
        num_classes: C of the data set.
        num_uniform_cls: number of classes of balanced.
        num_target_cls: number of classes of random2 and sim.
        num_present: number of classes that have images, C if not known yet.

    Raises:
        InputError: B or a number of classes does not fit the distribution; the message says what would.
    """
    present = num_classes if num_present is None else num_present
    fault: str | None = None
    match distribution:
        case "balanced":
            fault = _outside("num_uniform_cls", num_uniform_cls, present, num_classes)
            fault = fault or _uneven(batch_size, num_uniform_cls, f"num_uniform_cls {num_uniform_cls}")
        case "unique":
            fault = _outside("batch_size", batch_size, present, num_classes)
        case "random2" | "sim":
            fault = _outside("num_target_cls", num_target_cls, present, num_classes)
            if num_target_cls > batch_size:
                fault = (
                    f"num_target_cls {num_target_cls} is more than batch_size {batch_size}; use at most {batch_size}"
                )
        case "custom_imbalanced":
            fault = _without_custom_classes(num_classes)
            if batch_size < 3:
                fault = f"batch_size {batch_size} cannot hold 1, B - 2 and 1 images; use at least 3"
        case "custom_balanced":
            fault = _uneven(batch_size, 3, "3") or _without_custom_classes(num_classes)
    if fault is not None:
        raise InputError(f"distribution {distribution}: {fault}")


def _outside(option: str, value: int, present: int, num_classes: int) -> str | None:
    """Return a message if a number of classes is not in 1 .. ``present``."""
    if value < 1:
        return f"{option} is {value}; use at least 1"
    if value > present:
        which = "of the data set" if present == num_classes else "that have images"
        return f"{option} {value} is more than the {present} classes {which}; use at most {present}"
    return None


def _uneven(batch_size: int, parts: int, name: str) -> str | None:
    """Return a message for a batch that cannot be split evenly, with the nearest sizes that can."""
    if batch_size % parts == 0:
        return None
    lower = batch_size // parts * parts
    nearest = f"{lower} or {lower + parts}" if lower else f"{parts}"
    return f"batch_size {batch_size} is not a multiple of {name}; use {nearest}"


def _without_custom_classes(num_classes: int) -> str | None:
    if max(CUSTOM_CLASSES) < num_classes:
        return None
    return (
        f"it is made of classes 0, 18 and 92 and the data set has {num_classes} classes; "
        f"use a data set with at least {max(CUSTOM_CLASSES) + 1}"
    )
