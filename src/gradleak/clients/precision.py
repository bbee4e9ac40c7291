"""The type in which clients send their gradients."""

from dataclasses import replace

import torch

from gradleak.clients.observation import Observation

_COARSER = {"float16": torch.float16, "bfloat16": torch.bfloat16}
"""Types to which gradients are rounded, by their names in options."""


def rounded(observation: Observation, precision: str) -> Observation:
    """Return what arrives of gradients that are sent as another type, read back into the type of the model.

    So all attacks work on it as they are; ``precision`` of the result tells them what was sent. Rounding is to the
    nearest, ties to even, without a loss scale: in float16, entries below 2^-25 become 0 and those above 65,504
    infinite.

    Args:
        observation: what the client would send in its own type; it is left as it is.
        precision: float16 or bfloat16; float32, the type of all models, changes nothing.
    """
    if precision not in _COARSER:
        return observation
    dtype = _COARSER[precision]
    sent = {name: gradient.to(dtype).to(gradient.dtype) for name, gradient in observation.gradients.items()}
    return replace(observation, gradients=sent, precision=dtype)
