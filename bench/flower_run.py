"""Run Flower's simulation engine on real images and store the clients' updates, with their batches, for an audit.

PYTHONPATH=.venv/flower python bench/flower_run.py fcn --output flower/fcn
PYTHONPATH=.venv/flower python bench/flower_run.py cnn --dataset cifar100 --batch-size 24 --output flower/cnn
gradleak audit --model bench/flower_run.py:fcn --update flower/fcn/updates --output flower/fcn/audit

The batch of client K in round N is flower/fcn/batches/N-K.safetensors, which `gradleak audit --truth` reads.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gradleak.data.datasets import load
from gradleak.victims.models.build import build

os.environ["FLWR_TELEMETRY_ENABLED"] = os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

DELTA = 1e-5
"""Of LocalDpMod's noise."""


def fcn() -> nn.Module:
    """FCN-3 for MNIST, untrained."""
    return build("fcn", num_classes=10, channels=1, image_size=28, seed=0)


def cnn() -> nn.Module:
    """A network for CIFAR-100 that gradleak does not have: two convolutions, BatchNorm, three linear layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2048, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, 100),
        )


MODELS = {"fcn": (fcn, "mnist-sample"), "cnn": (cnn, "cifar100-sample")}


def deal(given: argparse.Namespace) -> None:
    """Write one batch for each client of each round; no image is in two of them."""
    images = load(given.dataset or MODELS[given.model][1], root=given.data_root)
    if given.output.exists():
        raise SystemExit(f"--output {given.output}: exists; name a new folder")
    needed = given.rounds * given.clients * given.batch_size
    if len(images) < needed:
        raise SystemExit(f"{images.name} has {len(images)} images, {needed} are needed; use fewer or another --dataset")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(given.seed))
    folder = given.output / "batches"
    folder.mkdir(parents=True)
    for position, batch in enumerate(order[:needed].split(given.batch_size)):
        number, client = divmod(position, given.clients)
        content = {"images": images.fetch(batch).contiguous(), "labels": images.labels[batch].contiguous()}
        save_file(content, folder / f"{number + 1}-{client}.safetensors")


def client_app(given: argparse.Namespace) -> Any:
    """Clients that train on their batch of the round, all of it in every step."""
    from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict  # pyright: ignore
    from flwr.clientapp import ClientApp  # pyright: ignore
    from flwr.clientapp.mod import LocalDpMod  # pyright: ignore

    mods = []
    if given.local_dp:
        clipping_norm, sensitivity, epsilon = given.local_dp
        mods = [LocalDpMod(clipping_norm, sensitivity, epsilon, delta=DELTA)]
    app = ClientApp(mods=mods)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        config, client = message.content["config"], context.node_config["partition-id"]
        batch = load_file(given.output.absolute() / "batches" / f"{config['server-round']}-{client}.safetensors")
        model = MODELS[given.model][0]().train()
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        optimizer = torch.optim.SGD(model.parameters(), config["lr"])
        for _ in range(given.local_steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch["images"]), batch["labels"]).backward()
            optimizer.step()
        metrics = MetricRecord({"num-examples": len(batch["labels"]), "client": client})
        return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)

    return app


def server_app(given: argparse.Namespace) -> Any:
    """FedAvg that stores what clients send."""
    from flwr.app import ArrayRecord, ConfigRecord, Context  # pyright: ignore
    from flwr.serverapp import Grid, ServerApp  # pyright: ignore
    from flwr.serverapp.strategy import FedAvg  # pyright: ignore

    from gradleak.capture.flower import CaptureStrategy

    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        known = {"batch_size": given.batch_size, "local_steps": given.local_steps}
        strategy = CaptureStrategy(FedAvg(fraction_evaluate=0.0), given.output / "updates", **known)
        arrays = ArrayRecord(MODELS[given.model][0]().state_dict())
        strategy.start(grid, arrays, num_rounds=given.rounds, train_config=ConfigRecord({"lr": given.lr}))

    return app


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    parser.add_argument("--dataset", help="default: packaged images")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the full data sets")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--local-steps", type=int, default=1)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0, help="of the batches")
    parser.add_argument("--local-dp", type=float, nargs=3, metavar=("CLIPPING_NORM", "SENSITIVITY", "EPSILON"))
    given = parser.parse_args()
    deal(given)
    from flwr.simulation import run_simulation  # pyright: ignore

    run_simulation(
        server_app(given),
        client_app(given),
        num_supernodes=given.clients,
        backend_config={
            "init_args": {"num_cpus": given.clients, "include_dashboard": False},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        },
    )


if __name__ == "__main__":
    main()
