"""Every command of docs/commands.md: parsed as written, and run at tiny sizes."""

import csv
import importlib.util
import json
import re
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.tiny_data import accept_any_cifar100, write_cifar100, write_imagenet, write_mnist

from gradleak.plan import cli
from gradleak.plan.aliases import RestoreLabelsShorthand, TrainVictimShorthand
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.training import TrainVictim

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def documented(program: str) -> list[str]:
    """Return the options of a program's commands, in the order of the page."""
    return re.findall(rf"^python workflow/scripts/{re.escape(program)} (.+)$", PAGE, re.MULTILINE)


RESTORATIONS, TRAININGS = documented("restore_labels.py"), documented("train_model.py")


def restoration(command: str) -> RestoreLabels:
    return cli.parse(RestoreLabels, command.split(), shorthand=RestoreLabelsShorthand)


def training(command: str) -> TrainVictim:
    return cli.parse(TrainVictim, command.split(), shorthand=TrainVictimShorthand)


# What the documented commands mean, written without any shorthand.

STAGES = ("untrained", "epoch100")
COMPARED: dict[str, Any] = {"num_tries": 50, "batch_size": 24, "methods": ("ilrg", "idlg", "gi", "rlg")}
MNIST: dict[str, Any] = {"dataset": "mnist", "model": "fcn"}
CIFAR100_VGG16: dict[str, Any] = {"dataset": "cifar100", "model": "vgg16", "num_tries": 20}

EXPECTED: dict[str, list[dict[str, Any]]] = {
    "Experiment1": [
        {**MNIST, **COMPARED},
        {"dataset": "cifar100", "model": "lenet5", **COMPARED},
        {"dataset": "cifar100", "model": "lenet5", "activation": "silu", **COMPARED},
        {"dataset": "imagenet", "model": "resnet50", **COMPARED},
    ],
    "Experiment2": [
        *({**MNIST, "batch_size": B} for B in (4, 8, 16)),
        *({**MNIST, "batch_size": 64, "n_hidden": n} for n in (0, 1, 2)),
        *({"dataset": "cifar100", "model": f"vgg{n}", "batch_size": 1024} for n in (11, 13, 16, 19)),
        *({"dataset": "imagenet", "model": f"resnet{n}", "batch_size": 2048} for n in (18, 34, 50, 101, 152)),
    ],
    "extreme_distribution": [
        {**CIFAR100_VGG16, "distribution": "custom_imbalanced", "batch_size": B, "stage": stage}
        for stage in STAGES
        for B in (24, 72, 216, 648)
    ],
    "train_stage": [
        *({**MNIST, "num_tries": 20, "batch_size": 8, "stage": stage}
          for stage in ("untrained", *(f"iter{n}" for n in range(100, 1001, 100)))),
        *({**CIFAR100_VGG16, "batch_size": 64, "stage": stage}
          for stage in ("untrained", *(f"epoch{n}" for n in range(10, 101, 10)))),
    ],
    "analysis": [
        {**CIFAR100_VGG16, "batch_size": 64, "analysis": True, "stage": stage} for stage in (*STAGES, "epoch40")
    ],
    "defense": [
        {"dataset": "cifar100", "model": "resnet18", "num_tries": 20, "batch_size": 24, "stage": stage, "defenses": d}
        for family in (((), ("dp-0.0001",), ("dp-0.001",), ("dp-0.01",)),
                       (("sparse-10",), ("sparse-20",), ("sparse-40",), ("sparse-80",)))
        for stage in STAGES
        for d in family
    ],
}  # fmt: skip


@pytest.mark.parametrize("exp_name", EXPECTED)
def test_commands_are_the_documented_runs(exp_name: str):
    found = [spec for spec in map(restoration, RESTORATIONS) if spec.exp_name == exp_name]
    assert found == [RestoreLabels(**values, exp_name=exp_name) for values in EXPECTED[exp_name]]


def test_no_other_command_is_documented():
    assert {restoration(command).exp_name for command in RESTORATIONS} == set(EXPECTED)


@pytest.mark.parametrize("command", TRAININGS)
def test_a_documented_training_makes_the_victim_of_documented_attacks(command: str):
    victims = [spec.victim() for spec in map(restoration, RESTORATIONS)]
    assert training(command).weights in {victim.weights for victim in victims if victim is not None}


def test_the_table_names_every_option():
    table = PAGE.partition("## Options")[2].partition("| option of `reconstruct.py`")[0]
    named = {name.replace("-", "_") for name in re.findall(r"--(\w[\w-]*)", table)}
    # A switch that is on by default is named by the option that turns it off.
    named = {name.removeprefix("no_") for name in named}
    assert named == {*RestoreLabels.model_fields, *RestoreLabelsShorthand.model_fields}


# Runs. Only sizes and paths differ from the documented commands.


def shrunk(command: str) -> str:
    """Return a command with few tries, images and steps."""
    argv = command.split()
    # custom_imbalanced needs three images; at 224 pixels the released stem makes a ResNet slow.
    images = "5" if "custom_imbalanced" in argv else "1" if "ImageNet" in argv else "4"
    for option, size in (("--num_tries", "1"), ("--num_images", images), ("--epochs", "1"), ("--iters", "2")):
        if option in argv:
            argv[argv.index(option) + 1] = size
    if "--epochs" in argv or "--iters" in argv:
        argv += ["--train_batch_size", "16"]
    return " ".join(argv)


def once(commands: list[str]) -> list[str]:
    """Return the shrunk commands without duplicates."""
    return list(dict.fromkeys(map(shrunk, commands)))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory):
    """Return options that name tiny data and a folder of victims, so that each victim is trained once."""
    data, victims = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("victims")
    # Two training steps; custom_imbalanced needs 1, 3 and 1 images of its classes.
    write_mnist(data, train=[n % 10 for n in range(32)], val=[*range(10)])
    write_cifar100(data, train=[0, 18, 18, 18, 92, *range(27)], val=[*range(8)])
    write_imagenet(data / "imagenet", "train")
    with pytest.MonkeyPatch.context() as patch:
        accept_any_cifar100(patch)
        yield ["--data-path", str(data), "--checkpoint_dir", str(victims), "--no-progress"]


def script(name: str) -> ModuleType:
    """Return a program as a module: a separate process would import torch for each command."""
    found = importlib.util.spec_from_file_location(name, ROOT / "workflow" / "scripts" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


RESTORE, TRAIN = script("restore_labels"), script("train_model")


def argument(command: str, option: str) -> str | None:
    """Return the value that a command gives to an option, None if it does not name it."""
    argv = command.split()
    return argv[argv.index(option) + 1] if option in argv else None


@pytest.mark.parametrize("command", once(RESTORATIONS), ids=str)
def test_documented_attacks_run(command: str, places: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "metrics.csv"
    RESTORE.main([*command.split(), *places, "--output", str(output)])
    with output.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        values[row["method"]][row["metric"]] = float(row["value"])

    methods = ["ilrg", "idlg", "gi", "rlg"] if "--compare" in command else ["ilrg"]
    assert [name for name in values if not name.startswith("floor-")] == [
        *methods, *(["victim"] if "--trained_model" in command else []), "job"
    ]  # fmt: skip
    assert {"leacc", "lnacc", "irec", "probability_cosine"} <= set(values["ilrg"])
    for method in methods:
        found = [row for row in rows if (row["method"], row["metric"]) == (method, "leacc")]
        assert [(row["trial"], row["status"]) for row in found] == [("0", "ok")]
        assert all(0 <= values[method].get(metric, 0) <= 1 for metric in ("leacc", "lnacc", "irec"))

    analysis = {
        "approx1_mse",
        "approx4_mre",
        "embedding_mse",
        "out_mse",
        "probabilities_mse",
        "soteria_embedding_cosine",
    }
    assert analysis & set(values["ilrg"]) == (analysis if "--analysis" in command else set())
    restored = {f"restored_class_{c}" for c in (0, 18, 92)}
    assert restored & set(values["ilrg"]) == (restored if "custom_imbalanced" in command else set())

    unit, number = "", "0"
    if "--trained_model" in command:
        unit, number = ("iter", "2") if "--iter_train" in command else ("epoch", "1")
        assert set(values["victim"]) == {"accuracy", "loss"}
        assert 0 <= values["victim"]["accuracy"] <= 1
    defense = "none"
    if kind := argument(command, "--defense_method"):
        strength = argument(command, "--noise_std") or argument(command, "--sparse_ratio") or ""
        defense = f"{kind}-{float(strength):g}"
    constant = {
        "stage_unit": unit,
        "stage_number": number,
        "defense": defense,
        "batch_size": argument(command, "--num_images"),
        "distribution": argument(command, "--distribution") or "random",
    }
    assert {name: {row[name] for row in rows} for name in constant} == {name: {v} for name, v in constant.items()}

    record = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert {record["run"]} == {row["run"] for row in rows}
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == methods


@pytest.mark.parametrize("command", once(TRAININGS), ids=str)
def test_documented_trainings_run(command: str, places: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A documented attack then finds the victim and does not train it."""
    elsewhere = [*places, "--checkpoint_dir", str(tmp_path / "victims")]
    TRAIN.main([*command.split(), *elsewhere])
    assert [path.parent.name for path in tmp_path.rglob("model.safetensors")] == [training(command).folder.name]
    stage = "iter2" if "--iter_train" in command else "epoch1"
    assert re.match(rf"{stage} +accuracy \d\.\d+  loss \d+\.\d+", capsys.readouterr().out)
    RESTORE.main([*command.split(), "--trained_model", "--num_tries", "1", "--num_images", "4", *elsewhere,
                  "--output", str(tmp_path / "metrics.csv")])  # fmt: skip
    assert "training the victim" not in capsys.readouterr().err
