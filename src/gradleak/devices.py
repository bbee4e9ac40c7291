"""Where tensors live."""

import torch

from gradleak.errors import InputError


def choose_device(name: str) -> torch.device:
    """Return the device called ``auto``, ``cpu`` or ``cuda``; auto takes a GPU when there is one.

    Raises:
        InputError: cuda was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("--device cuda: this machine has no usable GPU; use --device cpu or auto")
    # TensorFloat-32 keeps 10 bits of each factor, and the attacks differentiate twice and compare gradients.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if name != "cpu" and available else "cpu")
