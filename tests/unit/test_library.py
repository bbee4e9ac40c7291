"""The library: its names, the examples of docs/library.md and the README, and attacks on a model of one's own."""

import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from tests.workflow import ROOT
from torch import Tensor, nn
from torch.nn import functional

import gradleak
from gradleak import InputError

PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.+?)^```$", PAGE + README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", sorted(set(gradleak.__all__) - {"__version__"}))
def test_every_name_exists_and_is_described(name):
    assert getattr(gradleak, name).__name__ == name
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", ["restore", "__nowhere__"])
def test_other_names_do_not_exist(name):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(gradleak, name)


def test_the_import_is_light():
    code = (
        "import sys, gradleak; print(sorted({'torch', 'numpy', 'pydantic'} & set(sys.modules)), gradleak.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"[] {gradleak.__version__}\n"


@pytest.mark.slow
def test_the_examples_of_the_documentation(capsys):
    """All of them in order, as one reads them; what they find is compared with the batch."""
    names: dict[str, Any] = {}
    for example in EXAMPLES:
        exec(example, names)
    counts = torch.bincount(names["labels"], minlength=10)
    assert names["counts"].tolist() == counts.tolist()
    truth = names["images"].flatten(1).double()
    distance = torch.cdist(names["recovered"].flatten(1), truth).amin(1) / truth.norm(dim=1).max()
    assert len(distance) == 8
    assert float(distance.max()) < 1e-4
    assert names["audit"].certified_labels == {c: n for c, n in enumerate(counts.tolist()) if n}
    assert "8 images, relative errors" in capsys.readouterr().out


class OwnModel(nn.Module):
    """Convolutions and two linear layers under names of its own, with a frozen part and outputs in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(inplace=True), nn.Flatten())
        self.hidden = nn.Linear(8 * 5 * 5, 64)
        self.out = nn.Linear(64, 10)
        self.stem.requires_grad_(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.out(functional.gelu(self.hidden(self.stem(x))))}


LABELS = torch.tensor([7, 7, 2, 0])


@pytest.fixture(scope="module")
def sent() -> tuple[OwnModel, dict[str, Tensor]]:
    torch.manual_seed(0)
    model = OwnModel()
    functional.cross_entropy(model(torch.rand(4, 1, 12, 12))["logits"], LABELS).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return model, gradients


def test_a_model_of_ones_own_is_attacked_and_left_as_it_was(sent):
    model, gradients = sent
    model.train()
    observation = gradleak.observation_of(model, gradients, input_shape=(1, 12, 12), batch_size=4)
    assert set(observation.gradients) == {"hidden.weight", "hidden.bias", "head.weight", "head.bias"}
    guesses = gradleak.restore_labels(observation)
    assert set(guesses) == {"bias-sign", "consistency", "gi", "idlg", "ilrg", "ilrg-estimate", "rlg"}
    certified = guesses["consistency"].certified
    assert certified is not None
    assert certified.tolist() == torch.bincount(LABELS, minlength=10).tolist()
    found = gradleak.invert(observation)
    features = model.stem(torch.rand(0, 1, 12, 12)).shape[1]
    assert found.inputs[found.inputs_certified].shape == (4, features)
    assert model.training


def test_methods_that_lack_something_are_left_out_unless_they_are_named(sent):
    model, gradients = sent
    weight = {"out.weight": gradients["out.weight"]}
    observation = gradleak.observation_of(model, weight, input_shape=(1, 12, 12))
    assert set(gradleak.restore_labels(observation)) == {"gi", "idlg", "rlg"}
    with pytest.raises(InputError, match=r"^label method ilrg needs the gradient of head\.bias, which was not sent$"):
        gradleak.restore_labels(observation, ["ilrg"])
    unknown_size = gradleak.observation_of(model, gradients, input_shape=(1, 12, 12))
    assert set(gradleak.restore_labels(unknown_size)) == {"bias-sign", "gi", "idlg", "rlg"}
    with pytest.raises(InputError, match=r"^label method ilrg-estimate needs the batch size \(batch_size\)$"):
        gradleak.restore_labels(unknown_size, "ilrg-estimate")
    side = gradleak.SideKnowledge(torch.bincount(LABELS, minlength=10) > 0)
    told = gradleak.observation_of(model, gradients, input_shape=(1, 12, 12), batch_size=4, side=side)
    assert "ilrg-simplified" in gradleak.restore_labels(told)
    with pytest.raises(InputError, match="unknown label method 'none'"):
        gradleak.restore_labels(told, ["none"])


def test_gradients_that_are_not_the_models_are_refused(sent):
    model, gradients = sent
    for wrong, message in (
        (
            {"fc.weight": gradients["out.weight"]},
            r"^gradient of fc\.weight: the model has no such parameter; it has stem",
        ),
        (
            {"out.bias": gradients["hidden.bias"]},
            r"^gradient of out\.bias: has shape \[64\], the parameter has \[10\]$",
        ),
        (
            {"out.bias": (1000 * gradients["out.bias"]).to(torch.int8)},
            r"^gradient of out\.bias: holds int8, not floating-point numbers; save it before it is quantised$",
        ),
        (
            {"out.bias": gradients["out.bias"].to(torch.complex64)},
            r"^gradient of out\.bias: holds complex64, not floating-point numbers; convert it to float32$",
        ),
    ):
        with pytest.raises(InputError, match=message):
            gradleak.observation_of(model, wrong, input_shape=(1, 12, 12))
    with pytest.raises(InputError, match=r"input_shape \(\): give the shape of one input"):
        gradleak.observation_of(model, gradients, input_shape=())


def test_half_precision_is_noted(sent):
    model, gradients = sent
    halved = {name: gradient.bfloat16() for name, gradient in gradients.items()}
    observation = gradleak.observation_of(model, halved, input_shape=(1, 12, 12))
    assert observation.precision == torch.bfloat16
    torch.testing.assert_close(observation.head_bias, halved["out.bias"].float(), rtol=0, atol=0)
    exact = gradleak.observation_of(model, gradients, input_shape=(1, 12, 12))
    assert exact.precision is None


def test_parameters_without_a_gradient_and_arrays_are_what_they_are(sent):
    model, gradients = sent
    told = {"input_shape": (1, 12, 12), "batch_size": 4}
    given = {name: g.numpy() for name, g in gradients.items()} | {"stem.weight": None}
    observation = gradleak.observation_of(model, given, **told)
    assert observation.gradients.keys() == gradleak.observation_of(model, gradients, **told).gradients.keys() - {
        "stem.weight"
    }
    assert bool(gradleak.invert(observation).labels_certified.all())
    audit = gradleak.audit_update(model, given, matching=False, defenses=False, **told)
    assert sum(audit.certified_labels.values()) == 4
    assert audit.remarks == ()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": "net"}, "^model: is a str; give a torch.nn.Module$"),
        ({"gradients": [1]}, "is a list; give a dictionary"),
        ({"gradients": {"out.bias": 1.0}}, r"out\.bias is a float; it must be a tensor"),
        ({"gradients": {"out.bias": torch.ones(10, device="meta")}}, r"out\.bias is on the device meta"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "x"}, "batch_size"),
        ({"input_shape": 784}, "input_shape"),
        ({"input_shape": (0,)}, "input_shape"),
    ],
)
def test_wrong_arguments_are_one_line_at_the_door(sent, wrong, message):
    model, gradients = sent
    given = {"model": model, "gradients": gradients, "input_shape": (1, 12, 12), "batch_size": 4} | wrong
    for call, name in ((gradleak.observation_of, "gradients"), (gradleak.audit_update, "update")):
        arguments = {name if key == "gradients" else key: value for key, value in given.items()}
        with pytest.raises(InputError, match=message) as raised:
            call(arguments.pop("model"), arguments.pop(name), **arguments)
        assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="make one from a client's gradients with"):
        gradleak.invert(gradients)
    with pytest.raises(InputError, match="make one from a client's gradients with"):
        gradleak.restore_labels(gradients)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_may_be_in_a_mode_without_gradients(sent, mode):
    model, gradients = sent
    with mode():
        observation = gradleak.observation_of(model, gradients, input_shape=(1, 12, 12), batch_size=4)
        assert int(gradleak.invert(observation).labels_certified.sum()) == 4
        assert gradleak.restore_labels(observation)["consistency"].certified is not None
        audit = gradleak.audit_update(model, gradients, input_shape=(1, 12, 12), matching=False, defenses=False)
    assert sum(audit.certified_labels.values()) == 4
