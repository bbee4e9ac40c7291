"""TEMPORARY stand-in for the branch layers."""

from dataclasses import dataclass
import torch
from torch import nn


@dataclass(frozen=True)
class Dense:
    weight: str
    bias: str | None
    activation: object


@dataclass(frozen=True)
class Chain:
    layers: tuple
    reads_input: bool
    model: object

    def body(self, images):
        model = self.model
        names = {m: n for n, m in model.named_modules()}
        store = {}
        first = self.layers[0].weight.rsplit(".", 1)[0]
        hook = model.get_submodule(first).register_forward_hook(lambda m, i, o: store.update(h=i[0].detach()))
        with torch.no_grad():
            model(images)
        hook.remove()
        return store["h"]


def linear_chain(model, example):
    order = []
    hooks = [
        m.register_forward_hook(lambda m, i, o: order.append(m)) for m in model.modules() if not list(m.children())
    ]
    with torch.no_grad():
        model(example)
    for h in hooks:
        h.remove()
    names = {m: n for n, m in model.named_modules()}
    layers = []
    act = None
    i = len(order) - 1
    reads = False
    pending = None
    while i >= 0:
        m = order[i]
        if isinstance(m, nn.Linear):
            layers.insert(0, Dense(names[m] + ".weight", names[m] + ".bias", pending))
            pending = None
        elif isinstance(m, (nn.ReLU, nn.SiLU, nn.GELU, nn.Sigmoid, nn.LeakyReLU)) and layers:
            pending = m
        elif isinstance(m, (nn.Flatten, nn.Dropout, nn.Identity)):
            pass
        else:
            break
        i -= 1
    else:
        reads = True
    return Chain(tuple(layers), reads, model)
