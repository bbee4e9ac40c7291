"""The functions between layers, by the names that options have for them."""

from collections.abc import Callable

from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,  # exact, by the error function
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,  # slope 0.01
}
"""Which of them a model takes is in :data:`gradleak.plan.model_options.ACTIVATIONS`."""
