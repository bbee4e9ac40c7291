"""Models that keep numbers and booleans apart, although pydantic accepts one for the other.

YAML reads ``yes``, ``no``, ``on`` and ``off`` as booleans, so ``batch_size: yes`` would otherwise be a batch of one.
Numbers may be strings, as on command lines, and as YAML reads ``1e-2``.
"""

from functools import cache
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticKnownError("float_type")
    return value


Real = Annotated[float, BeforeValidator(_no_boolean)]
Whole = Annotated[int, BeforeValidator(_no_boolean)]
"""A number inside a container; fields of a :class:`Typed` do not need this type."""


class Typed(BaseModel):
    """A model that keeps numbers and booleans apart."""

    @field_validator("*", mode="before")
    @classmethod
    def _told_apart(cls, value: Any, info: ValidationInfo) -> Any:
        return _checked(cls, str(info.field_name), value)


def read_value(model: type[Typed], name: str, value: Any) -> Any:
    """Return a value as a field of a model reads it, e.g. ``"1e-2"`` as 0.01, without running its validators.

    Raises:
        pydantic.ValidationError: the value is of another type or outside the field's range.
    """
    return _adapter(model, name).validate_python(value)


@cache
def _adapter(model: type[Typed], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    told_apart = BeforeValidator(lambda value: _checked(model, name, value))
    annotation: Any = Annotated[field.annotation, *field.metadata, told_apart]  # pyright: ignore[reportInvalidTypeForm]
    return TypeAdapter(annotation)


def _checked(model: type[BaseModel], name: str, value: Any) -> Any:
    kinds = _kinds(model, name)
    if isinstance(value, bool):
        if bool not in kinds and kinds & {int, float}:
            raise PydanticKnownError("int_type" if int in kinds else "float_type")
    elif value is not None and bool in kinds and kinds <= {bool, type(None)}:
        raise PydanticKnownError("bool_type")
    return value


@cache
def _kinds(model: type[BaseModel], name: str) -> frozenset[Any]:
    """Return the members of a union annotation, or the annotation itself."""
    annotation = model.model_fields[name].annotation
    return frozenset(get_args(annotation) or (annotation,))
