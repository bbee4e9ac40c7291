"""Plug-in code fails in one line, changes nothing that others use, and returns valid results."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.plugin_state import forgotten

from gradleak.attacks.labels.guess import LabelGuess
from gradleak.errors import InputError
from gradleak.plan import plugins
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.runs import images
from gradleak.runs.labels import restore

ATTACK = """
import torch
from gradleak.attacks.labels.base import LabelGuess
FACTS = {{"attacks": {{"mine": {{"needs": ["head.weight"]}}}}}}

def mine(observation):
    C = observation.model.head.out_features
    counts = torch.zeros(C, dtype=torch.int64)
    counts[0] = observation.batch_size
    {body}
    return LabelGuess(counts > 0, counts, counts)
"""

DEFENSE = """
import torch
FACTS = {{"defenses": {{"mine": {{"strength": "strength", "high": 9.0}}}}}}

def mine(strength):
    def defend(gradients, context):
        {body}
        return gradients
    return defend
"""

OBJECTIVE = """
import torch
FACTS = {{"objectives": {{"mine": {{}}}}}}

def mine(dummy, target):
    {body}
    return (dummy - target).square().sum(1)
"""

METRIC = """
import torch
FACTS = {{"metrics": {{"mine": {{"of": "labels", "low": 0, "high": 1}}}}}}

def mine(guess, truth):
    {body}
    return 0.5
"""

MODEL = """
import torch
FACTS = {{"models": {{"mine": {{"object": "Mine"}}}}}}

class Mine(torch.nn.Module):
    def __init__(self, *, num_classes, channels, image_size):
        super().__init__()
        self.out = torch.nn.Linear(channels * image_size**2, num_classes)

    def forward(self, x):
        {body}
        return self.out(x.flatten(1))
"""

DATASET = """
import torch
from gradleak.data.arrays import ArrayDataset
from gradleak.plan.catalogue import dataset_facts
FACTS = {{"datasets": {{"mine-sample": {{
    "num_classes": 10, "channels": 1, "image_size": 28, "mean": [0.3], "std": [0.3], "sizes": {{"train": 20}}
}}}}}}

def mine_sample(split, root, download):
    {body}
    facts = dataset_facts("mine-sample")
    pixels = torch.zeros(20, 1, 28, 28, dtype=torch.uint8)
    return ArrayDataset("mine-sample", facts, 10, torch.arange(20) % 10, pixels)
"""

Load = Callable[[str, str], str]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Write a plug-in with a body and load it."""

    def make(text: str, body: str) -> str:
        path = tmp_path / "mine.py"
        path.write_text(text.format(body=body))
        plugins.load([str(path)])
        return str(path)

    with forgotten():
        yield make


def labels(path: str, **options: Any) -> Any:
    usual = {"dataset": "mnist-sample", "model": "fcn", "batch_size": 4, "num_tries": 1, "progress": False}
    return restore(RestoreLabels(**{**usual, "modules": (path,), **options}))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('x')", r"attack mine: .*mine\.py:\d+: KeyError: 'x'"),
        ("raise SystemExit(0)", r"attack mine: .*mine\.py:\d+: SystemExit: 0"),
        ("return None", "attack mine: returns NoneType; return a LabelGuess"),
        ("counts[0] = -1", "attack mine: counts has -1; counts are 0 or more"),
        ("return LabelGuess(counts > 0, counts * 2, counts * 2)", "assignable_counts sum to 8; .* the batch size, 4"),
        ("counts = counts[:7]", r"attack mine: presence is \[7\] of bool; it must be a tensor \[10\] of bool"),
        ("counts = counts.float()", r"attack mine: counts is \[10\] of float32; it must be a tensor \[10\] of int64"),
        ("return LabelGuess(counts > 0, certified=counts[1:])", r"mine: certified is \[9\] of int64; .* tensor \[10\]"),
        ("return LabelGuess(counts > 0, certified=1)", r"attack mine: certified is int; it must be a tensor \[10\]"),
        ("return LabelGuess(counts > 0, certified=counts - 9)", "attack mine: certified has -9; counts are 0 or more"),
        ("return LabelGuess(counts, counts)", r"attack mine: presence is \[10\] of int64; .* of bool"),
        (
            "observation.model.head.weight.data.zero_()",
            "attack mine: changes head.weight of the shared model; work on a copy",
        ),
    ],
)
def test_an_attack_that_fails_or_returns_an_invalid_guess_is_one_line(load, body, message):
    path = load(ATTACK, body)
    with pytest.raises(InputError, match=message) as caught:
        labels(path, methods=("mine",))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(LabelGuess)])
def test_every_part_of_a_guess_is_checked(load, field):
    path = load(ATTACK, f"return LabelGuess(**{{'presence': counts > 0, '{field}': 'x'}})")
    with pytest.raises(InputError, match=f"attack mine: {field} is str; it must be a tensor"):
        labels(path, methods=("mine",))


def test_an_attack_cannot_change_what_the_next_one_sees(load):
    path = load(ATTACK, "observation.gradients['head.weight'].zero_()")
    found = {}
    for methods in (("ilrg",), ("mine", "ilrg")):
        rows = labels(path, methods=methods).rows
        found[methods] = [row.value for row in rows if (row.method, row.metric) == ("ilrg", "lnacc")]
    assert found["ilrg",] == found["mine", "ilrg"] == [1.0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('x')", r"defense mine-2: .*mine\.py:\d+: KeyError: 'x'"),
        ("context.model.head.weight.data.zero_()", "defense mine-2: changes head.weight of the shared model"),
        ("gradients = {k: torch.randn_like(g) for k, g in gradients.items()}", "mine-2: draws from a global generator"),
    ],
)
@pytest.mark.parametrize("program", ["labels", "images"])
def test_a_defense_that_fails_or_has_side_effects_is_one_line(load, program, body, message):
    path = load(DEFENSE, body)
    options: Any = {"dataset": "mnist-sample", "num_clients": 1, "iterations": 1, "progress": False}
    run = {
        "labels": lambda: labels(path, methods=("ilrg",), defenses=("mine-2",)),
        "images": lambda: images.run(Reconstruct(**options, modules=(path,), defenses=("mine-2",))),
    }
    with pytest.raises(InputError, match=message):
        run[program]()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('x')", r"objective mine: .*mine\.py:\d+: KeyError: 'x'"),
        ("dummy = dummy.detach()", "objective mine: cannot be differentiated by its first argument"),
        ("return torch.zeros(len(dummy))", "objective mine: cannot be differentiated by its first argument"),
        ("target.zero_()", "objective mine: changes its second argument, the observed gradient; work on a copy"),
        ("target = target + torch.rand(1)", "objective mine: draws from a global generator"),
    ],
)
def test_an_objective_that_fails_or_has_side_effects_is_one_line(load, body, message):
    path = load(OBJECTIVE, body)
    options: Any = {"dataset": "mnist-sample", "num_clients": 1, "iterations": 1, "progress": False}
    with pytest.raises(InputError, match=message):
        images.run(Reconstruct(**options, modules=(path,), cost_fn="mine"))


@pytest.mark.parametrize(
    "draw",
    [
        "torch.rand(1)",
        "torch.manual_seed(0)",
        "__import__('numpy').random.rand()",
        "__import__('random').random()",
    ],
)
@pytest.mark.parametrize(
    ("text", "options", "what"),
    [
        (ATTACK, {"methods": ("mine",)}, "attack mine"),
        (DEFENSE, {"methods": ("ilrg",), "defenses": ("mine-2",)}, "defense mine-2"),
        (METRIC, {"methods": ("ilrg",), "metrics": ("mine",)}, "metric mine"),
        (DATASET, {"methods": ("ilrg",), "dataset": "mine-sample"}, "data set mine-sample, split train"),
    ],
)
def test_global_generators_are_refused_since_equal_runs_would_differ(load, text, options, what, draw):
    path = load(text, draw)
    with pytest.raises(InputError, match=f"{what}: draws from a global generator or seeds it"):
        labels(path, **options)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x = x + torch.randn_like(x)", "model mine: its logits of equal images differ in eval mode"),
        ("x = x * float('nan')", "model mine: its features of images from -1 to 1 are not finite"),
    ],
)
def test_a_model_whose_output_is_random_or_no_number_is_refused(load, body, message):
    path = load(MODEL, body)
    with pytest.raises(InputError, match=message):
        labels(path, methods=("ilrg",), model="mine")


def test_a_model_whose_weights_are_no_numbers_is_refused(load):
    layer = "self.out = torch.nn.Linear(channels * image_size**2, num_classes)"
    path = load(MODEL.replace(layer, f"{layer}\n        torch.nn.init.constant_(self.out.bias, torch.nan)"), "pass")
    with pytest.raises(InputError, match="model mine: its logits of images from -1 to 1 are not finite"):
        labels(path, methods=("ilrg",), model="mine")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (ATTACK, {"methods": ("mine", "ilrg")}),
        (METRIC, {"methods": ("ilrg",), "metrics": ("mine",)}),
        (DATASET, {"methods": ("ilrg",), "dataset": "mine-sample"}),
    ],
)
def test_the_working_folder_stays_that_of_the_job(load, text, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = load(text, "__import__('os').chdir('/')")
    labels(path, **options)
    assert Path.cwd() == tmp_path


def test_built_in_code_keeps_its_traceback():
    with pytest.raises(KeyError), plugins.guarded("attacks", "ilrg", "attack ilrg"):
        raise KeyError("x")
