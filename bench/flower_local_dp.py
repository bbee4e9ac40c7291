"""Measure what Flower's LocalDpMod does with BatchNorm's step counters.

A client trains a ResNet-18 for some batches, in training mode, behind LocalDpMod. The clipping norm is half the norm of
the change of the parameters, so clipping that looks at parameters alone leaves half of the change. The first columns
are norms of changes; the next are what share of the parameters' change is sent (without noise), and what it would be
if the norm left out the counters; the last is whether noise changes counters.

PYTHONPATH=.venv/flower python bench/flower_local_dp.py
"""

import argparse
import importlib
import importlib.util
from typing import Any

import flwr  # pyright: ignore[reportMissingImports]
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict  # pyright: ignore
from flwr.clientapp.mod import LocalDpMod  # pyright: ignore
from torch import Tensor, nn

from gradleak.report.recorded import Counted, Counters
from gradleak.victims.models.build import build

BATCH_SIZE = 8


def norm(tensors: list[Tensor]) -> float:
    """Return the L2 norm of all entries together."""
    return float(
        torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(tensor.double()) for tensor in tensors]))
    )


def trained(model: nn.Module, steps: int, lr: float) -> None:
    """Train in place on random images."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        images = torch.rand(BATCH_SIZE, 3, 32, 32, generator=generator)
        labels = torch.randint(100, (BATCH_SIZE,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


def through_mod(
    before: dict[str, Tensor], after: dict[str, Tensor], clipping_norm: float, noise: float
) -> dict[str, Tensor]:
    """Return what leaves the client."""
    if importlib.util.find_spec("flwr.supercore.task_identity") is not None:  # newer releases ask the process
        task: Any = importlib.import_module("flwr.supercore.task_identity").TaskIdentity
        task.task_id = task.run_id = task.node_id = 1
    content = {"arrays": ArrayRecord(before), "config": ConfigRecord()}
    message = Message(RecordDict(content), dst_node_id=1, message_type="train")
    message.metadata._message_id = "1"  # a reply needs one
    metrics = MetricRecord({"num-examples": BATCH_SIZE})
    reply = Message(RecordDict({"arrays": ArrayRecord(after), "metrics": metrics}), reply_to=message)
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
    mod = LocalDpMod(clipping_norm=clipping_norm, sensitivity=noise, epsilon=1.0, delta=1e-5)
    return mod(message, context, lambda *_: reply).content["arrays"].to_torch_state_dict()


def measured(steps: int, lr: float) -> Counted:
    """Return what the mod makes of one training."""
    model = build("resnet18", num_classes=100, channels=3, image_size=32, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained(model, steps, lr)
    after = dict(model.state_dict())
    parameters = [name for name, _ in model.named_parameters()]
    counters = [name for name in before if name.endswith("num_batches_tracked")]
    statistics = [name for name in before if name not in parameters and name not in counters]

    changed = {name: after[name].double() - before[name].double() for name in before}
    of = [norm([changed[name] for name in names]) for names in (counters, statistics, parameters)]
    clipped = through_mod(before, after, of[2] / 2, noise=0.0)
    noisy = through_mod(before, after, of[2] / 2, noise=1.0)
    return Counted(
        batches=steps,
        counters=of[0],
        statistics=of[1],
        parameters=of[2],
        sent=norm([clipped[name].double() - before[name].double() for name in parameters]) / of[2],
        sent_without_counters=of[2] / 2 / norm([changed[name] for name in (*statistics, *parameters)]),
        noise_on_counters=any(not torch.equal(noisy[name], after[name]) for name in counters),
    )


def main() -> None:
    """Print one row for each number of batches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--json", action="store_true", help="print JSON, for bench/showcase.py")
    given = parser.parse_args()
    rows = tuple(measured(steps, given.lr) for steps in given.steps)
    if given.json:
        print(Counters(flwr=flwr.__version__, rows=rows).model_dump_json())
        return
    print(f"flwr {flwr.__version__}")
    print("batches | counters | running statistics | parameters | sent | without counters | noise on counters")
    for row in rows:
        norms = " | ".join(f"{value:.3f}" for value in (row.counters, row.statistics, row.parameters))
        noised = "yes" if row.noise_on_counters else "no"
        print(f"{row.batches} | {norms} | {row.sent:.5f} | {row.sent_without_counters:.5f} | {noised}")


if __name__ == "__main__":
    main()
