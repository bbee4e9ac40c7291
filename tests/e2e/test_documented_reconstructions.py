"""Every reconstruction command of docs/commands.md: parsed as written, and run at tiny sizes."""

import csv
import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.tiny_data import accept_any_cifar100, write_cifar100, write_tiny_imagenet
from torchvision.models import ResNet18_Weights, resnet18

from gradleak.plan import cli
from gradleak.plan.aliases import FederatedShorthand, ReconstructShorthand
from gradleak.plan.jobs.diffusion import DiffusionReconstruct, TrainPrior
from gradleak.plan.jobs.images import Reconstruct

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python workflow/scripts/reconstruct.py (.+)$", PAGE, re.MULTILINE)

IG: dict[str, Any] = {
    "attack": "ig",
    "cost_fn": "sim",
    "rec_optimizer": "adam",
    "lr_schedule": "step",
    "num_clients": 1,
    "signed": True,
    "boxed": True,
    "tv_weight": 8e-3,
    "iterations": 240_000,
    "dataset": "cifar100",
    "model": "resnet18",
    "batch_size": 16,
    "distribution": "random2",
    "num_target_cls": 10,
    "seed": 8888,
}
AGGREGATED: dict[str, Any] = {"reconstruct_mode": "aggregated"}

EXPECTED: list[dict[str, Any]] = [
    IG,
    {**IG, "labels": "ilrg"},
    {"num_clients": 3, "batch_size": 1, "iterations": 200, "log_every": 20, "restarts": 3},
    {"num_clients": 2, "batch_size": 2, "client_indices": ("1", "5", "42", "100")},
    {"reconstruct_mode": "both"},
    {
        **AGGREGATED,
        "tv_weight": 1e-3,
        "normalize_gradients": True,
        "init_scale": 0.05,
        "iterations": 400,
        "restarts": 5,
    },
    {**AGGREGATED, "apply_agg_step": True, "agg_lr": 0.05},
    {**AGGREGATED, "device": "cpu", "iterations": 300, "restarts": 2},
    {
        **AGGREGATED,
        "dataset": "tiny-imagenet",
        "image_size": 64,
        "model": "resnet18",
        "stem": "imagenet",
        "pretrained": True,
        "num_clients": 1,
        "iterations": 1500,
        "restarts": 4,
        "init_scale": 0.01,
        "tv_weight": 1e-2,
    },
]


def spec_of(command: str) -> Reconstruct:
    return cli.parse(Reconstruct, command.split(), shorthand=ReconstructShorthand)


def test_commands_are_the_documented_runs():
    assert [spec_of(command).identity() for command in COMMANDS] == [Reconstruct(**v).identity() for v in EXPECTED]


def test_the_table_names_every_option():
    table = PAGE.partition("| option of `reconstruct.py`")[2]
    labels = PAGE.partition("## Options")[2].partition("| option of `reconstruct.py`")[0]
    named = {name.replace("-", "_") for name in re.findall(r"--(\w[\w-]*)", table + labels)}
    named = {name.removeprefix("no_") for name in named}
    assert {*Reconstruct.model_fields, *ReconstructShorthand.model_fields} - {"save_image"} <= named


def test_diffusion_commands_are_the_documented_runs():
    commands = re.findall(r"^python workflow/scripts/diffusion_reconstruct.py (.+)$", PAGE, re.MULTILINE)
    found = [cli.parse(DiffusionReconstruct, command.split(), shorthand=FederatedShorthand) for command in commands]
    training, kept_off = re.findall(r"^python workflow/scripts/train_prior.py (.+)$", PAGE, re.MULTILINE)
    assert cli.parse(TrainPrior, kept_off.split()).avoid == ("random-B1-clients1-tries1-seed12-train",)
    prior = cli.parse(TrainPrior, training.split())
    expected: list[dict[str, Any]] = [
        {"num_clients": 1, "batch_size": 1, "diffusion_steps": 50, "log_every": 20},
        {"num_clients": 1, "batch_size": 1, "dataset": "mnist", "guidance": "dps", "prior": str(prior.folder)},
    ]
    assert [spec.identity() for spec in found] == [DiffusionReconstruct(**values).identity() for values in expected]
    assert str(found[0].save_dir) == "outputs/diffusion_dlg"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory):
    """A folder with tiny data, and random weights in place of torchvision's."""
    data, hub = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("hub")
    write_cifar100(data, train=[n % 20 for n in range(120)], val=[*range(8)])
    write_tiny_imagenet(data)
    weights = hub / "hub" / "checkpoints" / Path(ResNet18_Weights.DEFAULT.url).name
    weights.parent.mkdir(parents=True)
    torch.save(resnet18().state_dict(), weights)
    with pytest.MonkeyPatch.context() as patch:
        accept_any_cifar100(patch)
        patch.setenv("TORCH_HOME", str(hub))
        yield data


def shrunk(command: str) -> list[str]:
    """Return a command with few iterations and images."""
    argv = command.split()
    sizes = {"--num_images": 2, "--num_target_cls": 2, "--restarts": 2, "--iterations": 3, "--max_iterations": 3}
    for option, size in sizes.items():
        if option in argv:
            argv[argv.index(option) + 1] = str(size)
    if not {"--iterations", "--max_iterations"} & set(argv):
        argv += ["--iterations", "3"]
    if "--data-root" in argv:
        place = argv.index("--data-root")
        del argv[place : place + 2]
    return argv


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_runs(command: str, places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    found = importlib.util.spec_from_file_location("reconstruct", ROOT / "workflow" / "scripts" / "reconstruct.py")
    assert found is not None
    assert found.loader is not None
    program = importlib.util.module_from_spec(found)
    found.loader.exec_module(program)
    argv = [part for part in shrunk(command) if part not in ("--exp_name", "Experiment3")]
    program.main([*argv, "--data-root", str(places), "--save-dir", str(tmp_path), "--no-progress"])
    (folder,) = tmp_path.glob("run_*")
    spec = spec_of(" ".join(argv))
    rows = list(csv.DictReader((folder / "metrics.csv").read_text(encoding="utf-8").splitlines()))
    aggregated = [row for row in rows if row["aggregated"] != "0"]
    alone = [row for row in rows if row["client"] != "-1" and row["metric"] == "psnr"]
    assert bool(aggregated) == (spec.reconstruct_mode != "per-client")
    assert len(alone) == (spec.num_clients * spec.batch_size if spec.reconstruct_mode != "aggregated" else 0)
    whole = {row["batch_size"] for row in aggregated}
    assert whole <= {str(spec.num_clients * spec.batch_size)}
    assert {"psnr", "ssim", "mse", "feature_cosine", "label_accuracy", "matching_loss"} <= {
        row["metric"] for row in rows
    }
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["spec"]["attack"] == spec.attack
    with Image.open(folder / "contact.png") as picture:
        assert picture.size[0] > 0
    assert list((folder / "images").glob("*_reconstructed.png"))
    assert "psnr" in capsys.readouterr().out
    shutil.rmtree(folder)
