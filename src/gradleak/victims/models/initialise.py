"""The weight initialisation that the convolutional families share."""

from torch import nn


def kaiming_fan_out(model: nn.Module) -> None:
    """Initialise in place as the released iLRG code does (Ma et al. 2023).

    Convolution weights are Kaiming-normal in fan_out mode (He et al. 2015), BatchNorm weights 1 and biases 0.
    Linear layers and convolution biases keep the PyTorch defaults.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
