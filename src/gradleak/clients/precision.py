"""The type in which clients send their gradients."""

from dataclasses import replace

import torch
from torch import Tensor

from gradleak.clients.observation import Observation

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""Types by their names in options."""


def rounded(observation: Observation, precision: str) -> Observation:
    """Return what arrives of gradients that are sent as another type, read back into the type of the model.

    So all attacks work on it as they are; ``precision`` of the result tells them what was sent. Rounding is to the
    nearest, ties to even, without a loss scale: in float16, entries below 2^-25 become 0 and those above 65,504
    infinite.

    Args:
        observation: what the client would send in its own type; it is left as it is.
        precision: one of :data:`DTYPES`; the type of the model, or a finer one, changes nothing.
    """
    dtype = DTYPES[precision]
    if all(torch.promote_types(dtype, gradient.dtype) == dtype for gradient in observation.gradients.values()):
        return observation
    sent = {name: gradient.to(dtype).to(gradient.dtype) for name, gradient in observation.gradients.items()}
    return replace(observation, gradients=sent, precision=dtype)


def half_spacing(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return half the distance between neighbours of a type at each value: the most that rounding moves it by.

    Args:
        values: any shape, float64.
        dtype: the type, whose spacing has a floor where numbers become subnormal.
    """
    facts = torch.finfo(dtype)
    exponent = torch.frexp(values.abs().clamp(min=facts.tiny)).exponent - 1
    return torch.ldexp(values.new_tensor(facts.eps / 2), exponent)
