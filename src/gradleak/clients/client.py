"""What a client computes from its batch, as a differentiable function of many batches side by side."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from gradleak.clients.local_training import LocalTraining
from gradleak.clients.observation import trainable
from gradleak.errors import InputError


class _BatchStatistics(nn.Module):
    """A BatchNorm that normalises with batch statistics and keeps none, with the parameters of the one it replaces.

    It uses elementary operations, because torch's own has a wrong second derivative in training mode under ``vmap``,
    without an error: it treats the saved statistics as constants (torch 2.15).
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


def use_batch_statistics(model: nn.Module) -> None:
    """Replace every BatchNorm in place; one that has several names is replaced once."""
    made: dict[nn.Module, _BatchStatistics] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, _BatchNorm):
            made.setdefault(module, _BatchStatistics(module))
            model.set_submodule(name, made[module])


class Client:
    """Gradients of the mean cross-entropy, or their mean over local training, for K batches side by side.

    Args:
        model: the model that the server sent, whose output are logits [n, C]; it is copied.
        training: the client's local training.
        names: parameters that it trains, named as in :func:`gradleak.clients.observation.trainable`; all by default.
            Those that do not affect the output have zero gradients (:func:`gradleak.clients.observation.sent_names`
            leaves them out).

    Attributes:
        names: parameters whose gradients it sends.
    """

    def __init__(self, model: nn.Module, training: LocalTraining, names: Sequence[str] | None = None) -> None:
        self.training = training
        copied = copy.deepcopy(model).eval()
        trained = trainable(copied)
        self.trained = list(trained) if names is None else list(names)
        self.names = self.trained
        self.parameters = tuple(trained[name].detach() for name in self.trained)
        # Autograd shall track only what is differentiated below.
        self.model = copied.requires_grad_(requires_grad=False)
        if not training.bn_eval:
            use_batch_statistics(self.model)
        self.buffers = dict(self.model.named_buffers())

    def sending(self, names: Sequence[str]) -> "Client":
        """Return the same client sending only the gradients of some parameters, in its own order."""
        if set(names) == set(self.names):
            return self
        other = copy.copy(self)
        other.names = [name for name in self.names if name in names]
        if self.training.sends_gradient:  # several steps move all parameters
            of = dict(zip(self.trained, self.parameters, strict=True))
            other.trained, other.parameters = other.names, tuple(of[name] for name in other.names)
        return other

    def loss(self, parameters: Sequence[Tensor], x: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of one batch x [n, c, h, w] with soft targets [n, C]."""
        weights = dict(zip(self.trained, parameters, strict=True)) | self.buffers
        logits = functional_call(self.model, weights, (x,))
        return -(targets * torch.log_softmax(logits, dim=1)).sum(1).mean()

    def send(self, x: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Return what one client sends for x [n, c, h, w] and targets [n, C]: one tensor per name in ``names``.

        That is the gradient, or the update read as a gradient, see
        :class:`gradleak.clients.local_training.LocalTraining`.
        """
        return self._follow(grad(self.loss), self.parameters, x, targets)

    def _send_alone(self, x: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Return the same by plain autograd, faster for a single batch: torch.func costs more per operation."""
        further = torch.is_grad_enabled()

        def derivative(parameters: Sequence[Tensor], x: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
            if not further:  # no step needs the graph of earlier steps
                parameters = tuple(p.detach().requires_grad_() for p in parameters)
            loss = self.loss(parameters, x, targets)
            zeros = True  # for parameters that do not affect the loss, as torch.func does
            return torch.autograd.grad(
                loss, tuple(parameters), create_graph=further, allow_unused=zeros, materialize_grads=zeros
            )

        with torch.enable_grad():
            parameters = tuple(p.detach().requires_grad_(further) for p in self.parameters)
            return self._follow(derivative, parameters, x, targets)

    def _follow(
        self, derivative: Callable[..., tuple[Tensor, ...]], parameters: tuple[Tensor, ...], x: Tensor, targets: Tensor
    ) -> tuple[Tensor, ...]:
        """Train, given a function that differentiates the loss with respect to the parameters.

        Every velocity omits its share of the initial weights, c_t d w_0, which the server would subtract from the
        update in the end: a single step then sends the gradient exactly, to the bit.
        """
        if not self.names:
            return ()
        training = self.training
        decay, momentum = training.weight_decay, training.momentum
        mini_batches = training.mini_batches(len(x))
        start = parameters
        velocity: tuple[Tensor, ...] | None = None
        total: tuple[Tensor, ...] | None = None
        for step, images in enumerate(mini_batches, start=1):
            # Slicing the whole batch would sum derivatives in another order and so round them differently.
            whole = images == slice(0, len(x))
            slope = derivative(parameters, *((x, targets) if whole else (x[images], targets[images])))
            if decay and step > 1:
                slope = tuple(g + decay * (p - s) for g, p, s in zip(slope, parameters, start, strict=True))
            if momentum and velocity is not None:
                slope = tuple(momentum * v + g for v, g in zip(velocity, slope, strict=True))
            velocity = slope
            total = velocity if total is None else tuple(t + v for t, v in zip(total, velocity, strict=True))
            if step < len(mini_batches):
                moved = velocity
                if decay:
                    shift = decay * training.momentum_sum(step)
                    moved = tuple(v + shift * s for v, s in zip(velocity, start, strict=True))
                parameters = tuple(p - training.lr * v for p, v in zip(parameters, moved, strict=True))
        assert total is not None
        of = dict(zip(self.trained, total, strict=True))
        sent = tuple(of[name] for name in self.names)
        return sent if len(mini_batches) == 1 else tuple(t / training.update_size(len(mini_batches)) for t in sent)

    def send_many(self, x: Tensor, targets: Tensor, *, at_once: int | None = None) -> tuple[Tensor, ...]:
        """Return what K clients send for x [K, n, c, h, w] and targets [K, n, C]: one tensor [K, ...] per name.

        Args:
            x: batches.
            targets: soft labels.
            at_once: batches that go through the model together; all if omitted.
        """
        if len(x) == 1:
            return tuple(gradient[None] for gradient in self._send_alone(x[0], targets[0]))
        return vmap(self.send, chunk_size=at_once)(x, targets)
