"""Which label speaks: column spaces alone cannot tell apart labels whose errors point the same way."""

import torch
from tests.unit.attacks.exact.problems import Parameters, gradients_of, network_of
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gradleak.attacks.exact import fitting_labels
from gradleak.attacks.exact.evidence import examine, telling_columns
from gradleak.attacks.exact.fitting_labels import label_shares
from gradleak.attacks.exact.inversion import invert
from gradleak.attacks.exact.network import Network
from gradleak.attacks.exact.spans import decomposed


def batch(C, *, B=8, sizes=(40, 64, 64)):
    generator = torch.Generator().manual_seed(0)
    parameters: Parameters = [
        (torch.randn(o, i, generator=generator) * (2 / i) ** 0.5, 0.1 * torch.randn(o, generator=generator))
        for i, o in zip(sizes, (*sizes[1:], C), strict=True)
    ]
    x = torch.randn(B, sizes[0], generator=generator)
    return parameters, x, torch.randint(C, (B,), generator=generator)


def a_sure_batch(C=10):
    """The network is sure of image 0, label 3, and takes class 7 for the only other that it may be."""
    parameters, x, y = batch(C)
    h = x
    for W, b in parameters[:-1]:
        h = torch.relu(h @ W.T + b)
    alone = h[0] - torch.linalg.lstsq(h[1:].T, h[0]).solution @ h[1:]  # moves no other image's logits
    W, b = parameters[-1]
    goal = torch.full((C,), -20.0)
    goal[3], goal[7] = 9.0, -1.0
    parameters[-1] = (W + torch.outer(goal - W @ h[0] - b, alone / (alone @ h[0])), b)
    y[0] = 3
    return parameters, x, y


def inverted(parameters, x, y):
    network = network_of(parameters, nn.ReLU(), torch.float32)
    gradients = [each.double() for each in gradients_of(parameters, nn.ReLU(), x, y, torch.float32)]
    return network, gradients, invert(network, gradients, precision=torch.float32, batch_size=len(x))


def test_an_image_that_the_network_is_sure_of_is_told_by_the_sign_of_its_pairing():
    parameters, x, y = a_sure_batch()
    network, gradients, inversion = inverted(parameters, x, y)
    spans = decomposed(gradients, precision=torch.float32, batch_size=len(x))
    lefts = [span.left if i in telling_columns(spans) else None for i, span in enumerate(spans)]
    labels, shares, _ = label_shares(network, lefts, network.forward(x[:1].double()))
    assert set(labels[0][shares[0].argsort()[:2]].tolist()) == {3, 7}
    assert float(shares[0, 7]) < 20 * float(shares[0, 3])  # too close to tell by the column spaces alone
    assert float(examine(network, spans, x[:1].double()).margin) == torch.inf
    error = torch.cdist(inversion.inputs, x[:1].double())[:, 0] / x[0].norm()
    nearest = int(error.argmin())
    assert float(error[nearest]) < 1e-2
    assert int(inversion.labels[nearest]) == 3
    assert bool(inversion.labels_certified[nearest])


def test_two_classes_differ_in_the_sign_of_the_pairing_alone():
    parameters, x, y = batch(2)
    _, _, inversion = inverted(parameters, x, y)
    nearest = torch.cdist(inversion.inputs, x.double()).argmin(1)
    assert len(inversion.labels) == len(x)
    assert bool((inversion.labels == y[nearest]).all())
    assert bool(inversion.labels_certified.all())


def test_a_shortlist_changes_neither_label_nor_what_is_certified(monkeypatch):
    parameters, x, y = batch(300)
    *_, short = inverted(parameters, x, y)
    monkeypatch.setattr(fitting_labels, "_MANY", 300)
    *_, full = inverted(parameters, x, y)
    assert bool((short.labels == full.labels).all())
    assert len(short.labels) == len(y)
    assert bool(short.labels_certified.all())
    assert bool(full.labels_certified.all())


def test_the_bound_of_the_labels_that_were_not_looked_at_holds(monkeypatch):
    parameters, x, y = batch(300)
    network = network_of(parameters, nn.ReLU(), torch.float32)
    gradients = [each.double() for each in gradients_of(parameters, nn.ReLU(), x, y, torch.float32)]
    spans = decomposed(gradients, precision=torch.float32, batch_size=len(x))
    lefts, passed = [None, None, spans[-1].left], network.forward(x.double())
    labels, shares, bound = label_shares(network, lefts, passed)
    monkeypatch.setattr(fitting_labels, "_MANY", 300)
    _, every, none = label_shares(network, lefts, passed)
    others = torch.ones_like(every, dtype=torch.bool).scatter(1, labels, False)
    assert labels.shape[1] < 300
    torch.testing.assert_close(shares, every.gather(1, labels))
    assert bool((every.masked_fill(~others, torch.inf).amin(1) >= bound * (1 - 1e-6)).all())
    assert bool(none.isinf().all())


class Largest(TorchDispatchMode):
    """Keeps the size of the largest tensor that an operation returns."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


def test_what_is_computed_grows_with_the_classes_and_not_with_their_square():
    C = 4_000
    parameters, x, y = batch(C, B=6)
    with Largest() as largest:
        _, _, inversion = inverted(parameters, x, y)
    assert int(inversion.labels_certified.sum()) >= 5
    assert largest.numbers < C**2 / 2


def test_head_alone_with_many_classes():
    parameters, x, y = batch(2_000, B=5)
    network = network_of(parameters, nn.ReLU(), torch.float32)
    gradients = [each.double() for each in gradients_of(parameters, nn.ReLU(), x, y, torch.float32)]
    head = Network(network.layers[-1:], network.computed_in)
    inversion = invert(head, gradients[-1:], precision=torch.float32, batch_size=5)
    assert sorted(inversion.labels.tolist()) == sorted(y.tolist())


def test_a_negated_gradient_gives_no_label_by_its_sign():
    """Of an image that the network is sure of, the second class would fit it, at a scale of its own."""
    parameters, x, y = a_sure_batch()
    network = network_of(parameters, nn.ReLU(), torch.float32)
    gradients = [-each.double() for each in gradients_of(parameters, nn.ReLU(), x, y, torch.float32)]
    for told in (len(x), None):
        inversion = invert(network, gradients, precision=torch.float32, batch_size=told)
        nearest = torch.cdist(inversion.inputs, x.double()).argmin(1)
        assert not bool((inversion.labels_certified & (inversion.labels != y[nearest])).any())


def test_the_shares_of_labels_in_closed_form():
    """Also of one whose error is tiny, where the closed form would cancel."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 40, generator=generator).double()
    logits[torch.arange(6), torch.arange(6)] += torch.tensor([0.0, 5, 12, 20, 25, 30]).double()
    p = torch.softmax(logits, dim=1)
    left = torch.linalg.qr(torch.randn(40, 13, generator=generator).double())[0]
    delta = torch.diag_embed(p.new_full((6, 40), -1.0)) + p[:, None]
    for n in range(6):  # exactly, where p - 1 would lose digits
        others = p[n].clone()
        others[p[n].argmax()] = 0
        delta[n, p[n].argmax()] = others
        delta[n, p[n].argmax(), p[n].argmax()] = -others.sum()
    outer = (delta - delta @ left @ left.T).norm(dim=2) / delta.norm(dim=2)
    torch.testing.assert_close(fitting_labels._shares_outside_head(p, left), outer, rtol=0, atol=1e-7)
