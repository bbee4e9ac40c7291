"""What a client computes from its batch: a function that can be differentiated, for many batches side by side."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from gradleak.errors import InputError
from gradleak.models.base import Victim


@dataclass(frozen=True)
class ClientRule:
    """What clients do with their batch. Both sides know it: a client follows it, an attack simulates it.

    Attributes:
        local_steps: gradient steps before sending; 1 sends the gradient itself. With more, the client sends its weight
            update divided by the learning rate and the number of steps, which is the mean gradient along its path.
        local_lr: learning rate of these steps.
        bn_eval: BatchNorm uses running statistics; otherwise those of the batch, and none are kept.
    """

    local_steps: int = 1
    local_lr: float = 0.01
    bn_eval: bool = True


class _BatchStatistics(nn.Module):
    """A BatchNorm that normalises with its batch and keeps nothing, with the parameters of the one it replaces.

    Of elementary operations: torch's own has a wrong second derivative in training mode under ``vmap``, without an
    error, since the statistics that it saved count as constants there (torch 2.15).
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [n, channels, ...]."""
        if x.numel() == x.shape[1]:
            raise InputError(
                f"BatchNorm has no batch statistics for {tuple(x.shape)}, one value per channel: "
                "use more images, larger ones, or running statistics"
            )
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [-1, *[1] * (x.dim() - 2)]
        centred = x - x.mean(axes, keepdim=True)
        normalised = centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + self.eps)
        if self.weight is None:
            return normalised
        return normalised * self.weight.reshape(shape) + self.bias.reshape(shape)


class Client:
    """Gradients of the mean cross-entropy, for K batches side by side.

    Args:
        model: the model that the server sent; it is copied.
        rule: what the client does.
    """

    def __init__(self, model: Victim, rule: ClientRule) -> None:
        self.rule = rule
        self.model: nn.Module = copy.deepcopy(model).eval()
        if not rule.bn_eval:
            for name, module in list(self.model.named_modules()):
                if isinstance(module, _BatchNorm):
                    self.model.set_submodule(name, _BatchStatistics(module))
        self.names = [name for name, _ in self.model.named_parameters()]
        self.parameters = tuple(parameter.detach() for parameter in self.model.parameters())
        self.buffers = dict(self.model.named_buffers())

    def loss(self, parameters: Sequence[Tensor], x: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of one batch x [n, c, h, w] with soft targets [n, C]."""
        weights = dict(zip(self.names, parameters, strict=True)) | self.buffers
        logits = functional_call(self.model, weights, (x,))
        return -(targets * torch.log_softmax(logits, dim=1)).sum(1).mean()

    def send(self, x: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """What one client sends for x [n, c, h, w] and targets [n, C]: one tensor per parameter."""
        return self._follow(grad(self.loss), self.parameters, x, targets)

    def _send_alone(self, x: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """The same by plain autograd, which is faster for a single batch: torch.func costs more per operation."""
        further = torch.is_grad_enabled()

        def derivative(parameters: Sequence[Tensor], x: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
            return torch.autograd.grad(self.loss(parameters, x, targets), tuple(parameters), create_graph=further)

        with torch.enable_grad():
            return self._follow(derivative, tuple(p.detach().requires_grad_() for p in self.parameters), x, targets)

    def _follow(
        self, derivative: Callable[..., tuple[Tensor, ...]], parameters: tuple[Tensor, ...], x: Tensor, targets: Tensor
    ) -> tuple[Tensor, ...]:
        """Do what the rule says, with one way or another to differentiate the loss by the parameters."""
        total = None
        for step in range(self.rule.local_steps):
            gradients = derivative(parameters, x, targets)
            total = gradients if total is None else tuple(t + g for t, g in zip(total, gradients, strict=True))
            if step + 1 < self.rule.local_steps:
                parameters = tuple(p - self.rule.local_lr * g for p, g in zip(parameters, gradients, strict=True))
        assert total is not None
        return total if self.rule.local_steps == 1 else tuple(t / self.rule.local_steps for t in total)

    def send_many(self, x: Tensor, targets: Tensor, *, at_once: int | None = None) -> tuple[Tensor, ...]:
        """What K clients send for x [K, n, c, h, w] and targets [K, n, C]: tensors [K, ...], one per parameter.

        Args:
            x: batches.
            targets: soft labels.
            at_once: batches that go through the model together; all if omitted.
        """
        if len(x) == 1:
            return tuple(gradient[None] for gradient in self._send_alone(x[0], targets[0]))
        return vmap(self.send, chunk_size=at_once)(x, targets)
