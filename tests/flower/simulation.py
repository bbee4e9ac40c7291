"""A run of Flower's simulation engine in which every client keeps its weights before and after training.

python tests/flower/simulation.py FOLDER
"""

import sys
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict  # pyright: ignore
from flwr.clientapp import ClientApp  # pyright: ignore
from flwr.serverapp import Grid, ServerApp  # pyright: ignore
from flwr.serverapp.strategy import FedAvg  # pyright: ignore
from flwr.simulation import run_simulation  # pyright: ignore
from torch import Tensor, nn

from gradleak.capture.flower import CaptureMod, CaptureStrategy

ROUNDS, CLIENTS, EXAMPLES = 2, 2, 5


class Network(nn.Module):
    """Step counters without axes, tied weights, and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(3, 4).requires_grad_(False)
        self.norm = nn.BatchNorm1d(4)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(self.norm(self.frozen(x)))))


def client_app(folder: Path) -> ClientApp:
    app = ClientApp(mods=[CaptureMod(folder / "mod")])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        model = Network()
        model.load_state_dict(message.content["arrays"].to_torch_state_dict(keep_input=False))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        optimizer = torch.optim.SGD(model.parameters(), message.content["config"]["lr"])
        generator = torch.Generator().manual_seed(client)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.rand(EXAMPLES, 3, generator=generator)).square().sum().backward()
            optimizer.step()
        number = message.content["config"]["server-round"]
        torch.save((before, model.state_dict()), folder / f"truth-{number}-{client}.pt")
        metrics = MetricRecord({"num-examples": EXAMPLES, "loss": float("nan"), "client": client})
        return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)

    return app


def server_app(folder: Path) -> ServerApp:
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        torch.manual_seed(0)
        arrays = ArrayRecord(Network().state_dict())
        strategy = CaptureStrategy(FedAvg(fraction_evaluate=0.0), folder / "strategy", local_steps=3)
        strategy.start(grid, arrays, num_rounds=ROUNDS, train_config=ConfigRecord({"lr": 0.1}))

    return app


if __name__ == "__main__":
    run_simulation(
        server_app(Path(sys.argv[1])),
        client_app(Path(sys.argv[1])),
        num_supernodes=CLIENTS,
        backend_config={
            "init_args": {"num_cpus": CLIENTS, "include_dashboard": False},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        },
    )
