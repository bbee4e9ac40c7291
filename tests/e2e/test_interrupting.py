"""Programs that are interrupted in the middle of their work."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.workflow import ROOT


def stopped(number: signal.Signals, folder: Path, program: str, *options: str) -> tuple[int, str]:
    """Send a signal to a program once its progress bar has moved; return its status and its later output."""
    command = [sys.executable, str(ROOT / "workflow" / "scripts" / program), "--device", "cpu", *options]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        seen = b""
        while not re.search(rb"\b[1-9]\d*/\d+ \[", seen):
            byte = process.stderr.read(1)
            assert byte, seen
            seen += byte
        process.send_signal(number)
        said = process.stderr.read().decode()
        return process.wait(), said.rpartition("\r")[2].partition("\n")[2]


@pytest.mark.parametrize(
    ("number", "status", "output"), [(signal.SIGINT, 130, "x/y/metrics.csv"), (signal.SIGTERM, 143, None)]
)
def test_an_image_attack_writes_the_best_so_far(tmp_path, number, status, output):
    options = ["--dataset", "mnist-sample", "--num-clients", "1", "--iterations", "1000000", "--log-every", "1000000"]
    place = ["--output", output] if output else []
    ended, said = stopped(number, tmp_path, "reconstruct.py", *options, *place)
    (metrics,) = tmp_path.rglob("metrics.csv")
    folder = metrics.parent.relative_to(tmp_path)
    assert (ended, said) == (
        status,
        f"interrupted: these are the best reconstructions so far\nresults: {folder}\n",
    )
    assert json.loads((metrics.with_name("run.json")).read_text())["interrupted"]
    assert metrics.with_name("contact.png").is_file()
    assert list(tmp_path.rglob("*.part")) == []


TRAINING = ["--dataset", "mnist-sample", "--model", "fcn", "--stage"]


@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("train_model.py", [*TRAINING, "epoch100000"]),
        ("train_prior.py", ["--dataset", "mnist-sample", "--steps", "100000"]),
        ("restore_labels.py", ["--dataset", "mnist-sample", "--model", "fcn", "--num-tries", "1000000"]),
        ("restore_labels.py", [*TRAINING, "epoch100000"]),
    ],
)
def test_other_programs_stop_with_one_line(tmp_path, program, options):
    ended, said = stopped(signal.SIGTERM, tmp_path, program, *options)
    # A training keeps the state from which it resumes, if it got as far as the first one.
    states = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("state-*.pt")}
    written = f"written so far: {states.pop()}" if states else "nothing was written"
    assert (ended, said) == (143, f"{program}: interrupted; {written}\n")
    assert [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith("state-")] == []
