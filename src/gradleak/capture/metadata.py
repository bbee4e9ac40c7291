"""What the files of a capture say of themselves, beside their tensors."""

import os
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, NonNegativeFloat, NonNegativeInt, PositiveInt, ValidationError

from gradleak.errors import InputError

Kind = Literal["weights", "gradient", "delta"]
"""What a client sent: its weights after training, a gradient, or weights after training minus weights before."""


class Facts(BaseModel):
    """What an audit can use, if it is known; anything else in JSON is accepted too.

    Attributes:
        num_examples: number of examples that the client trained on, 0 if it had none.
        batch_size: number of examples in one batch.
        local_steps: number of optimiser steps.
        lr: learning rate of these steps.
        training: whether the client's model was in training mode.
    """

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue]  # pyright: ignore[reportIncompatibleVariableOverride]

    num_examples: NonNegativeInt | None = None
    batch_size: NonNegativeInt | None = None
    local_steps: PositiveInt | None = None
    lr: NonNegativeFloat | None = None
    training: bool | None = None


class Tensors(BaseModel):
    """Metadata of every file: safetensors sorts tensors, so their order is recorded."""

    model_config = ConfigDict(extra="forbid", strict=True)
    order: list[str]


class Client(Tensors):
    """Metadata of what a client sent."""

    client: str
    kind: Kind
    before: str | None
    facts: Facts


def check_facts(facts: Mapping[str, Any] | None, whose: str) -> Facts:
    """Return facts as they are stored.

    Raises:
        InputError: one has a wrong type or value, or is not JSON; one line, which starts with ``whose``.
    """
    try:
        return Facts.model_validate({name: _plain(value) for name, value in (facts or {}).items()})
    except ValidationError as error:
        raise InputError(f"{whose}: {reason(error)}") from None


def _plain(value: Any) -> Any:
    """Return a number of NumPy or torch, such as a count of examples, as Python's."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def reason(error: Exception) -> str:
    """Return what is wrong, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join([*(str(part) for part in first["loc"]), first["msg"]])
    text = (os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)) or type(
        error
    ).__name__
    return " ".join(text.split())[:160]
