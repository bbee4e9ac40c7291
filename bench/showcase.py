"""Run Flower simulations on MNIST and CIFAR-100, audit every update, and record what was found for the paper.

Each simulation is bench/flower_run.py, each audit a `gradleak audit` of its own with its time and memory. The
counters of LocalDpMod are measured by bench/flower_local_dp.py, with every release that --flower names.

python bench/showcase.py --data-root data --work DIR --output paper/recorded/flower.json

`make test-flower` installs Flower. Neither DIR nor the environment may have a space in its path: Ray would hang.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from flower_run import DELTA
from gradleak import provenance
from gradleak.capture import layout
from gradleak.records import write_text
from gradleak.report.recorded import Audited, LocalDp, Showcase, Simulation

HERE = Path(__file__).parent
SHIPPED = "paper/recorded/flower.json"
LR, STEPS = 0.1, 1
LOCAL_DP = (None, (0.1, 0.0, 10.0), (1.0, 1.0, 10.0))
"""Nothing; clipping norm, sensitivity and epsilon of clipping alone, and with noise."""


@dataclass(frozen=True)
class Model:
    """A model of bench/flower_run.py with its data."""

    name: str
    words: str
    data: str
    batch_size: int


MODELS = (Model("fcn", "FCN-3", "mnist", 32), Model("cnn", "CNN with BatchNorm", "cifar100", 24))


def simulated(model: Model, local_dp: tuple[float, float, float] | None, given: argparse.Namespace) -> Path:
    """Run a simulation and return its folder."""
    folder = given.work / f"{model.name}-{'nothing' if local_dp is None else '-'.join(map(str, local_dp))}"
    command = [sys.executable, str(HERE / "flower_run.py"), model.name, "--output", str(folder)]
    command += ["--dataset", model.data, "--data-root", str(given.data_root), "--batch-size", str(model.batch_size)]
    command += ["--local-steps", str(STEPS), "--lr", str(LR)]
    if local_dp is not None:
        command += ["--local-dp", *map(str, local_dp)]
    subprocess.run(command, check=True, env=environment(given.flower[0]))
    return folder


def environment(flower: Path) -> dict[str, str]:
    """Return the environment with a release of Flower."""
    paths = [str(flower.resolve()), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def options(batch_size: int | str) -> list[str]:
    """Return the options of an audit, without its files."""
    told = ["--lr", str(LR), "--local-steps", str(STEPS), "--batch-size", str(batch_size)]
    return [*told, "--no-matching", "--no-defenses", "--no-pdf", "--no-progress"]


def audited(model: Model, folder: Path, client: Path) -> tuple[Audited, str]:
    """Audit one update and compare it with the client's batch; return also what is recovered of an image."""
    sent = layout.read(client, {})
    number = int(sent.facts["metrics"]["client"])
    truth = folder / "batches" / f"{sent.round}-{number}.safetensors"
    before, after = folder / f"before-{client.stem}.pt", folder / f"after-{client.stem}.pt"
    torch.save(sent.before, before)
    torch.save(sent.sent, after)
    output = folder / f"audit-{sent.round}-{number}"
    files = ["--before", str(before), "--after", str(after), "--truth", str(truth), "--output", str(output)]
    command = ["audit", "--model", f"{HERE / 'flower_run.py'}:{model.name}", *files, *options(model.batch_size)]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", "from gradleak.commands.main import main; main()", *command])
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit(f"the audit of {client} failed")
    found: dict[str, Any] = json.loads((output / "audit.json").read_text(encoding="utf-8"))
    images = found["certified_images"]
    if images and "falsely_certified_images" not in found["metrics"]:
        raise SystemExit(
            f"the certified inputs of {client} are mixtures of images, which nothing compares with the batch"
        )
    result = Audited(
        round=sent.round,
        client=number,
        certified_labels=sum(found["certified_labels"].values()),
        certified_images=len(images),
        false_labels=false_labels(found["certified_labels"], load_file(truth)["labels"].tolist()),
        false_images=int(found["metrics"]["falsely_certified_images"]) if images else 0,
        seconds=round(seconds, 1),
        cpu_seconds=round(used.ru_utime + used.ru_stime, 1),
        peak_memory_mb=round(used.ru_maxrss / 1024),
    )
    return result, found["images_are"]


def false_labels(certified: dict[str, int], labels: list[int]) -> int:
    """Return the certified instances that a batch does not hold."""
    return sum(max(0, times - labels.count(int(label))) for label, times in certified.items())


def simulation(model: Model, local_dp: tuple[float, float, float] | None, given: argparse.Namespace) -> Simulation:
    """Run a simulation and audit its updates."""
    folder = simulated(model, local_dp, given)
    results = [audited(model, folder, path) for path in layout.clients(folder / "updates")]
    dp = None
    if local_dp is not None:
        clipping_norm, sensitivity, epsilon = local_dp
        noise = sensitivity * math.sqrt(2 * math.log(1.25 / DELTA)) / epsilon
        dp = LocalDp(clipping_norm=clipping_norm, sensitivity=sensitivity, epsilon=epsilon, delta=DELTA, noise=noise)
    return Simulation(
        model=model.words,
        data=model.data,
        batch_size=model.batch_size,
        local_dp=dp,
        images_are="images" if results[0][1] == "images" else "features",
        updates=tuple(sorted((result for result, _ in results), key=lambda each: (each.round, each.client))),
    )


def counters(flower: Path) -> dict[str, Any]:
    """Measure LocalDpMod's counters with a release of Flower."""
    command = [sys.executable, str(HERE / "flower_local_dp.py"), "--json"]
    done = subprocess.run(command, check=True, env=environment(flower), stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def versions(flower: Path) -> dict[str, str]:
    """Return the versions of what the measurement depends on."""
    of_flower = {each.metadata["Name"]: each.version for each in distributions(path=[str(flower)])}
    own = {
        name: number for name, number in provenance.packages().items() if name in ("python", "torch", "numpy", "scipy")
    }
    return {**own, **{name: of_flower[name] for name in ("flwr", "ray")}}


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the full data sets")
    parser.add_argument(
        "--work", type=Path, required=True, help="a new folder for updates and audits, which are private"
    )
    parser.add_argument("--output", type=Path, required=True, help="the JSON file")
    parser.add_argument(
        "--flower",
        type=Path,
        nargs="+",
        default=[Path(".venv/flower"), Path(".venv/flower-oldest")],
        help="folders with a release of Flower each; the first runs the simulations",
    )
    given = parser.parse_args()
    given.work.mkdir(mode=0o700)
    commit, machine = provenance.commit(), provenance.hardware()
    simulations = [simulation(model, local_dp, given) for model in MODELS for local_dp in LOCAL_DP]
    record = {
        "schema": 1,
        "recorded": datetime.now(UTC).date().isoformat(),
        "command": f"python bench/showcase.py --data-root data --work DIR --output {SHIPPED}",
        "commit": f"{(commit['commit'] or 'unknown')[:12]}{'-dirty' if commit['dirty'] else ''}",
        "packages": versions(given.flower[0]),
        "processor": machine["processor"],
        "cores": machine["cores"],
        "audit": f"gradleak audit --before W0 --after W1 --truth BATCH {' '.join(options('B'))}",
        "simulations": [each.model_dump() for each in simulations],
        "counters": [counters(flower) for flower in given.flower],
    }
    text = json.dumps(record, indent=1) + "\n"
    Showcase.model_validate_json(text)
    write_text(given.output, text)


if __name__ == "__main__":
    main()
