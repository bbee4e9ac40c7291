"""Random batches of random networks, with everything that could make a certificate false."""

import random
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradleak.attacks.exact.inversion import Inversion, invert
from gradleak.attacks.exact.network import Layer, Network
from gradleak.metrics.images import distances

ACTIVATIONS = [nn.ReLU(), nn.SiLU(), nn.GELU(), nn.Sigmoid(), nn.Tanh(), nn.LeakyReLU(0.1)]

KINDS = (
    "plain",
    "duplicates",
    "one class",
    "nearly alike",
    "dead units",
    "trained",
    "too few told",
    "too many told",
    "unknown size",
    "half precision",
    "noise",
    "no gradient",
    "any low rank",
    "layers of different batches",
)

Parameters = list[tuple[Tensor, Tensor]]


@dataclass
class Problem:
    """A gradient, and what is in it.

    Attributes:
        kind: one of :data:`KINDS`.
        network: that the client has.
        gradients: [out, in + 1] of each layer.
        precision: in which they were sent.
        told: the batch size that the attack is told.
        inputs: [n, in] of every batch that has a part in the gradient; none if nothing has.
        labels: [n].
    """

    kind: str
    network: Network
    gradients: list[Tensor]
    precision: torch.dtype
    told: int | None
    inputs: Tensor
    labels: Tensor

    def invert(self) -> Inversion:
        """Attack it."""
        gradients = [gradient.double() for gradient in self.gradients]
        return invert(self.network, gradients, precision=self.precision, batch_size=self.told)

    def true_errors(self, inversion: Inversion) -> tuple[Tensor, Tensor]:
        """Relative distance [k] of each input to the nearest of the batch, and that one's label [k].

        Where it may be a mixture of m, with the nearest mean, of any weights, of the m nearest: noise cannot tell
        them apart.
        """
        if not len(self.inputs):
            return torch.full_like(inversion.error, torch.inf), torch.full_like(inversion.labels, -1)
        apart = distances(inversion.inputs, self.inputs) / self.inputs.norm(dim=1)
        nearest = apart.min(1)
        error = nearest.values.clone()
        for n, times in enumerate(inversion.mixture.tolist()):
            close = apart[n].topk(min(times, len(self.inputs)), largest=False).indices
            first, *others = self.inputs[close]
            away, to = (torch.stack(others) - first).T if others else first[:, None] * 0, inversion.inputs[n] - first
            weights = torch.linalg.lstsq(away, to, driver="gelsd").solution
            error[n] = torch.minimum(error[n], (to - away @ weights).norm() / first.norm())
        return error, self.labels[nearest.indices]


def gradients_of(
    parameters: Parameters, activation: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype
) -> list[Tensor]:
    """Gradients [out, in + 1] of the mean cross-entropy, by autograd in ``dtype``."""
    flat = [p.to(dtype).clone().requires_grad_() for pair in parameters for p in pair]
    found = torch.autograd.grad(_loss(flat, activation, x.to(dtype), y), flat)
    return [torch.cat([dW, db[:, None]], 1) for dW, db in zip(found[::2], found[1::2], strict=True)]


def _loss(flat: list[Tensor], activation: nn.Module, h: Tensor, y: Tensor) -> Tensor:
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    for W, b in pairs[:-1]:
        h = activation(h @ W.T + b)
    W, b = pairs[-1]
    return cross_entropy(h @ W.T + b, y)


def network_of(parameters: Parameters, activation: nn.Module, dtype: torch.dtype) -> Network:
    """The network as the attack knows it, of a client that computes in ``dtype``."""
    functions = [activation] * (len(parameters) - 1) + [None]
    layers = (Layer(W.double(), b.double(), f) for (W, b), f in zip(parameters, functions, strict=True))
    return Network(tuple(layers), dtype)


def draw(seed: int) -> Problem:
    """Draw a problem; every kind comes up, in networks of one to three hidden layers."""
    choose, generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    kind = KINDS[seed % len(KINDS)]
    activation = choose.choice(ACTIVATIONS)
    depth, C = choose.choice([1, 2, 2, 2, 3]), choose.choice([2, 5, 10, 20])
    width, size = choose.choice([16, 24, 40]), choose.choice([10, 30, 80])
    B = max(1, choose.choice([width // 3, width // 2, width // 4, 3, 2, 1, width // 2 + 2]))
    sizes = [size] + [width] * depth + [C]
    scale = choose.choice([1, 1, 1, 2, 4])
    parameters: Parameters = [
        (
            scale * (2 * torch.rand(o, i, generator=generator) - 1) / i**0.5,
            scale * (2 * torch.rand(o, generator=generator) - 1) / i**0.5,
        )
        for i, o in pairwise(sizes)
    ]
    if kind == "dead units":
        parameters[0][1][: width // 3] -= 10
    x = normal(B, size)
    if choose.random() < 0.6:  # images of a few classes are alike
        x = normal(3, size)[torch.randint(3, (B,), generator=generator)] + 0.5 * x
        if choose.random() < 0.5:
            x = x.clamp(min=0)
    y = torch.randint(C, (B,), generator=generator)
    if kind == "one class":
        y[:] = 0
    if kind == "duplicates":
        times = choose.randint(1, max(1, B // 2))
        x[:times], y[:times] = x[-1], y[-1]
    if kind == "nearly alike" and B > 1:
        x[0] = x[1] + 1e-3 * normal(size)
    if kind == "trained":
        parameters = _trained(parameters, activation, torch.cat([x, normal(50, size)]), y, C, choose, generator)
    dtype = torch.float64 if choose.random() < 0.3 else torch.float32
    gradients = gradients_of(parameters, activation, x, y, dtype)
    inputs, labels, precision = x.double(), y, dtype
    told: int | None = {"too few told": max(1, B - 1), "too many told": B + choose.choice([1, B])}.get(kind, B)
    match kind:
        case "unknown size":
            told = None
        case "half precision":
            precision = choose.choice([torch.float16, torch.bfloat16])
            if choose.random() < 0.3:  # entries small enough to end among the subnormal ones of float16, or at 0
                gradients, told = [1e-3 * gradient for gradient in gradients], None
            gradients = [gradient.to(precision) for gradient in gradients]
        case "noise":
            sd = choose.choice([1e-6, 1e-5, 1e-4, 1e-3])
            gradients = [gradient + sd * normal(*gradient.shape).to(dtype) for gradient in gradients]
        case "no gradient":
            gradients = [1e-3 * normal(*gradient.shape).to(dtype) for gradient in gradients]
            inputs, labels = inputs[:0], labels[:0]
        case "any low rank":
            gradients = [1e-3 * (normal(len(g), B) @ normal(B, g.shape[1])).to(dtype) for g in gradients]
            inputs, labels = inputs[:0], labels[:0]
        case "layers of different batches":
            other = normal(B, size)
            gradients[0] = gradients_of(parameters, activation, other, y, dtype)[0]
            inputs, labels = torch.cat([inputs, other.double()]), torch.cat([y, y])
    return Problem(kind, network_of(parameters, activation, dtype), gradients, precision, told, inputs, labels)


def _trained(
    parameters: Parameters,
    activation: nn.Module,
    x: Tensor,
    y: Tensor,
    C: int,
    choose: random.Random,
    generator: torch.Generator,
) -> Parameters:
    y = torch.cat([y, torch.randint(C, (len(x) - len(y),), generator=generator)])
    flat = [p.clone().requires_grad_() for pair in parameters for p in pair]
    optimizer = torch.optim.Adam(flat, lr=0.01)
    for _ in range(choose.choice([20, 100, 400])):
        optimizer.zero_grad()
        _loss(flat, activation, x, y).backward()
        optimizer.step()
    done = [p.detach() for p in flat]
    return list(zip(done[::2], done[1::2], strict=True))


def trained_relu(
    B: int, *, sizes: tuple[int, ...] = (60, 80, 80, 10), steps: int = 60, shift: float = 1.5, seed: int = 0
) -> tuple[Parameters, Tensor, Tensor]:
    """Parameters of a ReLU network trained on clusters, and inputs [B, in] and labels [B] that it was trained on.

    It is sure of most of them, and few of its units are active: the fewer, the larger ``shift``.
    """
    generator = torch.Generator().manual_seed(seed)
    flat = [
        ((2 * torch.rand(shape, generator=generator) - 1) / i**0.5)
        for i, o in pairwise(sizes)
        for shape in ((o, i), (o,))
    ]
    y = torch.randint(sizes[-1], (300,), generator=generator)
    centers = 0.6 * torch.randn(sizes[-1], sizes[0], generator=generator)
    x = centers[y] + torch.randn(300, sizes[0], generator=generator)
    flat[1] = flat[1] - shift * (x @ flat[0].T).std()
    flat = [p.requires_grad_() for p in flat]
    optimizer = torch.optim.Adam(flat, lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(300, (32,), generator=generator)
        optimizer.zero_grad()
        _loss(flat, nn.ReLU(), x[rows], y[rows]).backward()
        optimizer.step()
    done = [p.detach() for p in flat]
    return list(zip(done[::2], done[1::2], strict=True)), x[:B], y[:B]


def errors_of(parameters: Parameters, activation: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    """dLoss/da of every layer, [n, out], for the cross-entropy of each input alone, as a client of x's type has it."""
    h, outputs = x, []
    for W, b in parameters:
        outputs.append((h @ W.T + b).requires_grad_())
        h = activation(outputs[-1])
    return [delta.double() for delta in torch.autograd.grad(cross_entropy(outputs[-1], y, reduction="sum"), outputs)]
