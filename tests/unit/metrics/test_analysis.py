import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gradleak.attacks.labels.base import LabelGuess, build
from gradleak.clients.observation import observe_head
from gradleak.metrics import analysis
from gradleak.metrics.analysis import analyse, class_gradients
from gradleak.metrics.labels import label_metrics
from gradleak.victims.models.build import build as build_model

NAMES = ("approx1", "approx2", "approx3", "approx4", "scale", "approx_out", "approx_probabilities", "embedding",
         "out", "probabilities")  # fmt: skip


def experiment(labels: list[int], *, C: int = 6, seed: int = 0):
    """A LeNet-5 in float64 and a batch: model, images, labels, observation, truth and iLRG's guess."""
    model = build_model("lenet5", num_classes=C, channels=1, image_size=16, seed=seed, activation="silu").double()
    images = 2 * torch.rand(len(labels), 1, 16, 16, generator=torch.Generator().manual_seed(seed)).double()
    y = torch.tensor(labels)
    observation, truth = observe_head(model, zip(images.split(3), y.split(3), strict=True))
    return model, images, y, observation, truth, build("ilrg")(observation)


def autograd_rows(model, images: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return row i of the gradients of the loss over the images of class i, one backward pass per class."""
    weight, bias = torch.zeros_like(model.head.weight), torch.zeros_like(model.head.bias)
    for i in y.unique().tolist():
        loss = functional.cross_entropy(model(images[y == i]), y[y == i])
        dW, db = torch.autograd.grad(loss, (model.head.weight, model.head.bias))
        weight[i], bias[i] = dW[i], db[i]
    return weight.detach(), bias.detach()


def mse(left: list[float], right: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(left, right, strict=True)) / len(left)


def mre(left: list[float], right: list[float]) -> float:
    """Return the mean relative error; terms that divide by 0 count as 0 in the mean."""
    return sum(abs(a - b) / abs(b) if b else 0.0 for a, b in zip(left, right, strict=True)) / len(left)


def softmax(z: list[float]) -> list[float]:
    powers = [math.exp(x - max(z)) for x in z]
    return [power / sum(powers) for power in powers]


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def literal(model, images: Tensor, y: Tensor, observation, guess: LabelGuess) -> dict[str, float]:
    """Compute everything class by class and number by number, from autograd and a forward pass per class."""
    W, b = model.head.weight.tolist(), model.head.bias.tolist()
    own_dW, own_db = (g.tolist() for g in autograd_rows(model, images, y))
    dW, db = observation.head_weight.tolist(), observation.head_bias.tolist()
    assert guess.embeddings is not None
    assert guess.probabilities is not None

    def logits(e: list[float]) -> list[float]:
        return [sum(w * x for w, x in zip(row, e, strict=True)) + bias for row, bias in zip(W, b, strict=True)]

    classes = y.unique().tolist()
    total: dict[str, float] = {}
    for i in classes:
        with torch.no_grad():
            e = model.features(images[y == i])
            z = model.head(e)
            E, Z, P = e.mean(0).tolist(), z.mean(0).tolist(), torch.softmax(z, 1).mean(0).tolist()
        share = int((y == i).sum()) / len(y)
        recovered = guess.embeddings[i].tolist()
        pairs = {
            "approx1": ([own_db[i] * x for x in E], own_dW[i]),
            "approx2": ([share * x for x in own_dW[i]], dW[i]),
            "approx3": ([share * own_db[i]], [db[i]]),
            "approx4": (softmax(logits(E)), P),
            "scale": ([x / db[i] for x in dW[i]], [x / own_db[i] for x in own_dW[i]]),
            "approx_out": (logits(E), Z),
            "approx_probabilities": (softmax(Z), P),
            "embedding": (recovered, E),
            "out": (logits(recovered), Z),
            "probabilities": (guess.probabilities[i].tolist(), P),
        }
        found = {f"{name}_mse": mse(*pair) for name, pair in pairs.items()}
        found["embedding_mse"] = min(10.0, found["embedding_mse"])
        found |= {f"{name}_mre": mre(*pair) for name, pair in pairs.items()}
        found |= {
            "embedding_cosine": cosine(recovered, E),
            "output_cosine": cosine(logits(recovered), Z),
            "probability_cosine": cosine(guess.probabilities[i].tolist(), P),
            "soteria_embedding_mse": mse(dW[i], E),
            "soteria_embedding_cosine": cosine(dW[i], E),
        }
        for name, value in found.items():
            total[name] = total.get(name, 0.0) + value / len(classes)
    return total


@pytest.mark.parametrize("labels", [[0, 0, 0, 2, 4, 4, 2, 5], [1, 1], [3], [0, 1, 2, 3, 4, 5, 5]])
def test_analysis_equals_the_literal_loop(labels: list[int]):
    model, images, y, observation, truth, guess = experiment(labels)
    values = analyse(observation, guess, truth, model.head)
    expected = literal(model, images, y, observation, guess)
    assert set(values) == set(expected)
    assert set(values) >= {f"{name}_{kind}" for name in NAMES for kind in ("mse", "mre")}
    assert values == pytest.approx(expected, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_closed_form_class_gradients_are_those_of_autograd(seed: int):
    model, images, y, observation, truth, guess = experiment([0, 0, 5, 1, 1, 1, 5], seed=seed)
    closed, autograd = class_gradients(truth), autograd_rows(model, images, y)
    for left, right in zip(closed, autograd, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-14)
        assert left.dtype == torch.float64
    given = analyse(observation, guess, truth, model.head, autograd)
    assert given == pytest.approx(analyse(observation, guess, truth, model.head), rel=1e-7, abs=1e-12)
    doubled = (2 * autograd[0], 2 * autograd[1])
    assert analyse(observation, guess, truth, model.head, doubled)["approx2_mse"] > given["approx2_mse"]


def test_approximations_are_exact_for_one_image():
    model, _, _, observation, truth, guess = experiment([3])
    values = analyse(observation, guess, truth, model.head)
    errors = {name: value for name, value in values.items() if not name.endswith("cosine") and "soteria" not in name}
    assert len(errors) == 2 * len(NAMES)
    assert errors == pytest.approx(dict.fromkeys(errors, 0.0), abs=1e-9)
    assert [values[name] for name in ("embedding_cosine", "output_cosine", "probability_cosine")] == pytest.approx(
        [1] * 3
    )
    assert values["soteria_embedding_cosine"] == pytest.approx(-1)


def test_images_of_one_class_leave_the_class_gradient_exact():
    model, _, _, observation, truth, guess = experiment([2, 2, 2])
    values = analyse(observation, guess, truth, model.head)
    assert values["approx2_mse"] == pytest.approx(0, abs=1e-25)
    assert values["approx3_mse"] == pytest.approx(0, abs=1e-25)
    assert values["approx_out_mse"] == pytest.approx(0, abs=1e-25)
    assert values["approx1_mse"] > 1e-20
    assert values["approx4_mse"] > 1e-20


def test_the_analysis_uses_the_defended_gradient():
    model, _, _, observation, truth, guess = experiment([0, 0, 2, 4])
    noisy = replace(observation, gradients={name: 3 * g for name, g in observation.gradients.items()})
    plain, values = (analyse(o, guess, truth, model.head) for o in (observation, noisy))
    changed = {name for name in plain if values[name] != pytest.approx(plain[name], rel=1e-9)}
    assert changed == {"approx2_mse", "approx2_mre", "approx3_mse", "approx3_mre", "soteria_embedding_mse"}


def test_embedding_error_is_capped_per_class():
    model, _, _, observation, truth, guess = experiment([0, 1])
    assert guess.embeddings is not None
    embeddings = truth.embeddings.clone()
    embeddings[0] += 100
    embeddings[1] += 1
    values = analyse(observation, replace(guess, embeddings=embeddings), truth, model.head)
    assert values["embedding_mse"] == pytest.approx((analysis.EMBEDDING_MSE_CAP + 1) / 2)
    assert values["out_mse"] > 10


def test_relative_errors_by_zero_count_as_zero():
    left, right = torch.tensor([[1.0, 0.0, 3.0, 5.0]]), torch.tensor([[0.0, 0.0, 2.0, 5.0]])
    assert analysis._mean_relative_error(left, right) == pytest.approx(0.5 / 4)


def test_guesses_without_recovered_quantities_have_fewer_metrics():
    model, _, _, observation, truth, guess = experiment([0, 0, 2, 4])
    full = analyse(observation, guess, truth, model.head)
    bare = analyse(observation, LabelGuess(guess.presence), truth, model.head)
    assert bare == {name: full[name] for name in bare}
    dropped = {f"{n}_{k}" for n in ("embedding", "out", "probabilities") for k in ("mse", "mre")}
    assert set(full) - set(bare) == dropped | {"embedding_cosine", "output_cosine", "probability_cosine"}
    metrics = label_metrics(guess, truth, head=model.head)
    assert {name: full[name] for name in metrics if name in full} == {n: metrics[n] for n in metrics if n in full}


def test_the_truth_must_hold_what_the_analysis_needs():
    model, _, _, observation, truth, guess = experiment([0, 1])
    with pytest.raises(ValueError, match="own_residual_embeddings"):
        analyse(observation, guess, replace(truth, own_residual_embeddings=None), model.head)
