"""Local training of a client before it sends: one description for all attacks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LocalTraining:
    r"""SGD on a client's own images. Both sides know it: a client follows it, an attack simulates it.

    By default the client takes one step on all its images. Step t = 1..T, on mini-batch t, is a step of
    ``torch.optim.SGD`` (no dampening, no Nesterov momentum), all from the weights w_0 that the server sent:

        v_t = m v_{t-1} + grad L_t(w_{t-1}) + d w_{t-1},    v_0 = 0,    w_t = w_{t-1} - lr v_t.

    It sends its update w_0 - w_T = lr (v_1 + ... + v_T). The server knows lr, m, d and T, and reads it as a gradient.
    With c_t = 1 + m + ... + m^{t-1}, an update of constant gradients g is lr A g, A = c_1 + ... + c_T, and weight
    decay adds d w_0 to each of them. So what observations hold is

        (w_0 - w_T) / (lr A) - d w_0,

    the mean of grad L_t + d (w_{t-1} - w_0) along the path, gradient t with weight c_{T-t+1} / A. These weights sum to
    1: without momentum each is 1 / T. For T = 1 it is the gradient itself, whatever lr, m and d are. A defense acts on
    this mean, so that its strength means the same for every local training.

    Mini-batches are consecutive images, in the same order in every epoch; the last one may be smaller. The mean is
    over steps, so the images of a smaller last mini-batch weigh more than the others. A client of an experiment puts
    its images into an order of its own first (:func:`gradleak.clients.round_inputs.in_own_order`), which the server
    does not know. A server that simulates it splits its guess in order too: since the images of a guess may be in any
    order, the true ones in the client's order still match exactly. Given labels are in that order. Restored labels have
    no order, so with them some images may be assigned to the wrong mini-batch.

    Attributes:
        epochs: passes over the images.
        steps: steps in place of whole epochs; after the last mini-batch they continue with the first.
        batch_size: images of a mini-batch; all if None.
        lr: learning rate.
        momentum: m.
        weight_decay: d.
        bn_eval: BatchNorm uses running statistics; otherwise those of the mini-batch, and none are kept.
    """

    epochs: int = 1
    steps: int | None = None
    batch_size: int | None = None
    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    bn_eval: bool = True

    @property
    def sends_gradient(self) -> bool:
        """Whether the client takes a single step on all its images."""
        return self.batch_size is None and (self.epochs if self.steps is None else self.steps) == 1

    def mini_batches(self, number: int) -> list[slice]:
        """Return the images of every step.

        Args:
            number: images of the client.
        """
        size = self.batch_size or number
        epoch = [slice(first, first + size) for first in range(0, number, size)]
        steps = self.epochs * len(epoch) if self.steps is None else self.steps
        return [epoch[step % len(epoch)] for step in range(steps)]

    def momentum_sum(self, steps: int) -> float:
        """Return c_t, the size of the t-th velocity under constant gradients of size 1; c_0 is 0."""
        return math.fsum(self.momentum**power for power in range(steps))

    def update_size(self, steps: int) -> float:
        """Return A: the size of an update of T steps under constant gradients of size 1, divided by the rate."""
        return math.fsum(self.momentum_sum(step) for step in range(1, steps + 1))

    def mean_gradient(self, update: Sequence[Tensor], sent: Sequence[Tensor], number: int) -> tuple[Tensor, ...]:
        """Read an update as a gradient.

        Args:
            update: w_0 - w_T, a tensor per parameter.
            sent: w_0, likewise.
            number: images of the client.

        Returns:
            (w_0 - w_T) / (lr A) - d w_0, likewise.
        """
        scale = self.lr * self.update_size(len(self.mini_batches(number)))
        return tuple(moved / scale - self.weight_decay * start for moved, start in zip(update, sent, strict=True))
