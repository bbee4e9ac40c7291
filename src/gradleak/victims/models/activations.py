"""Activation functions by their names in options."""

from collections.abc import Callable

from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,  # exact, by the error function
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,  # slope 0.01
}
""":data:`gradleak.plan.model_options.ACTIVATIONS` says which models accept which."""
