"""The command: its files, its exit statuses, and one line for bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.unit.audit.conftest import SIZE, B, batch, certified, gradient, network
from torch.nn.functional import cross_entropy

from gradleak.capture import layout
from gradleak.commands.audit import main
from gradleak.errors import InputError
from gradleak.plan import cli

MODEL = f"""
from torch import nn

def build():
    return nn.Sequential(
        nn.Linear({SIZE}, 40), nn.Identity(), nn.ReLU(), nn.Identity(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 20)
    )

def wrong():
    return 3

def ends():
    raise SystemExit(0)

def fails():
    raise ValueError("no\\nsuch file")
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my.py").write_text(MODEL)
    model, (x, y) = network(), batch()
    update = gradient(model, x, y)
    torch.save(model.state_dict(), "before.pt")
    save_file(update, "update.safetensors")
    torch.save(update, "update.pt")
    arrays: dict[str, Any] = {name: g.numpy() for name, g in update.items()}
    np.savez("update.npz", **arrays)
    save_file({"images": x, "labels": y}, "truth.safetensors")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    cross_entropy(model(x), y).backward()
    optimizer.step()
    torch.save({"state_dict": model.state_dict()}, "after.pt")
    return certified(y)


ARGV = [
    "--model=my.py:build",
    f"--input-shape={SIZE}",
    "--no-matching",
    "--no-defenses",
    "--no-pdf",
    "--no-progress",
]


def run(*given: str, status: int = 1) -> dict:
    argv = [*ARGV, *given]
    if status:
        with pytest.raises(SystemExit) as raised:
            main(argv)
        assert raised.value.code == status
    else:
        main(argv)
    return json.loads(Path("audit/audit.json").read_text())


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "npz"])
def test_every_kind_of_file_is_read(files, suffix):
    record = run("--checkpoint=before.pt", f"--update=update.{suffix}", "--truth=truth.safetensors")
    assert record["certified_labels"] == {str(c): n for c, n in files.items()}
    assert record["metrics"]["falsely_certified_images"] == 0


def test_weights_before_and_after_are_subtracted(files):
    record = run("--before=before.pt", "--after=after.pt", "--lr=0.1")
    assert record["kind"] == "delta"
    assert record["certified_labels"] == {str(c): n for c, n in files.items()}
    assert record["scale"] == 1.0


def test_a_status_of_0_says_that_nothing_was_found_at_the_level_asked_for(files, capsys):
    network_update = torch.load("update.pt")
    rounded = {name: g.sign() * g.abs().mean() for name, g in network_update.items()}  # estimates are left
    torch.save(rounded, "rounded.pt")
    told = ("--checkpoint=before.pt", "--update=rounded.pt", "--update-is=gradient")
    record = run(*told, status=0)
    assert record["found"] == "estimated"
    run(*told, "--fail-on=estimated", status=1)
    torch.save({name: torch.zeros_like(g) for name, g in rounded.items()}, "rounded.pt")
    assert run(*told, "--fail-on=estimated", status=0)["found"] == "no data"
    assert "No data" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--update=update.pt"], "differs between two calls"),
        (["--update=none.pt", "--checkpoint=before.pt"], "none.pt: no such file"),
        (["--update=update.pt", "--checkpoint=none.pt"], "none.pt: no such file"),
        (["--update=my.py", "--checkpoint=before.pt"], "my.py"),
        (["--model=my.py:nothing", "--update=update.pt"], "my.py has no function nothing"),
        (["--model=my.py", "--update=update.pt"], "such as my.py:build"),
        (["--model=your.py:build", "--update=update.pt"], "your.py: no such file"),
        (["--model=my.py:wrong", "--update=update.pt"], "returns a int; return a torch.nn.Module"),
        (["--model=my.py:fails", "--update=update.pt"], "the call fails: ValueError: no such file"),
        (["--model=my.py:ends", "--update=update.pt"], "the call fails: SystemExit: 0"),
        (["--before=before.pt"], "give both"),
        (["--update=update.pt", "--device=cuda"], "--device: audits run on the CPU"),
        (["--update=update.pt", "--checkpoint=before.pt", "--input-shape="], "--input-shape is missing"),
        ([], "give either --update, or --before and --after"),
        (["--update=update.pt", "--checkpoint=before.pt", "--input-shape=7"], r"its pass of images \[2, 7\] fails"),
        (["--update=update.pt", "--checkpoint=before.pt", "--loss=hinge"], "--loss: use cross-entropy"),
        (["--update=update.pt", "--input-shape=3x32"], "^--input-shape: Input should be a valid integer"),
        (["--update=update.pt", "--weight-decay=1e-4"], "^--weight-decay can only be undone with --lr$"),
        (["--update=update.pt", "--checkpoint=before.pt", "--truth=before.pt"], "has no entry labels"),
        (["--update=update.pt", "--checkpoint=before.pt", "--output=my.py"], "my.py is a file"),
    ],
)
def test_bad_input_is_one_line(files, given, message):
    with pytest.raises(InputError, match=message) as raised:
        main([*ARGV, *given])
    assert "\n" not in str(raised.value)
    assert not Path("audit").exists()


def test_a_captured_folder_is_audited_client_by_client(files):
    before, after = torch.load("before.pt"), torch.load("after.pt")["state_dict"]
    folder = Path("updates")
    layout.start(folder)
    facts = {"lr": 0.1, "local_steps": 1, "batch_size": B}
    layout.write(folder, 1, "a", after, kind="weights", before=before, facts=facts)
    layout.write(folder, 1, "c", after, kind="weights", before=before, facts={"num_examples": B, "training": False})
    layout.write(folder, 1, "b", torch.load("update.pt"), kind="gradient", before=before)
    with pytest.raises(SystemExit):
        main(
            [
                "--model=my.py:build",
                "--update=updates",
                f"--input-shape={SIZE}",
                "--no-matching",
                "--no-defenses",
                "--no-pdf",
            ]
        )
    for client in ("a", "b", "c"):
        record = json.loads(Path(f"audit/round-0001/client-{client}/audit.json").read_text())
        assert record["certified_labels"] == {str(c): n for c, n in files.items()}


def test_facts_of_a_capture_that_cannot_be_are_named(files):
    layout.start(Path("updates"))
    layout.write(Path("updates"), 1, "a", torch.load("update.pt"), kind="delta", facts={"momentum": 2})
    with pytest.raises(InputError, match=r"updates/round-0001/client-a\.safetensors: momentum: .*less than 1"):
        main(["--model=my.py:build", "--checkpoint=before.pt", "--update=updates", f"--input-shape={SIZE}"])


def captured(*given: str, status: int, **clients: tuple[dict, dict]) -> None:
    """Store updates in round 1, each with its facts, from the weights in before.pt, and audit them."""
    layout.start(Path("updates"))
    for client, (update, facts) in clients.items():
        layout.write(Path("updates"), 1, client, update, kind="delta", before=torch.load("before.pt"), facts=facts)
    argv = ["--model=my.py:build", "--update=updates", f"--input-shape={SIZE}", "--no-matching", "--no-defenses"]
    with pytest.raises(SystemExit) as raised:
        cli.run(main, [*argv, "--no-pdf", "--no-progress", *given])
    assert raised.value.code == status


@pytest.fixture
def delta(files):
    return {name: -0.1 * g for name, g in torch.load("update.pt").items()}


def test_one_update_that_cannot_be_read_does_not_end_the_audit_of_the_others(files, delta, capsys):
    bad = delta | {"0.bias": torch.full_like(delta["0.bias"], torch.nan)}
    known = {"lr": 0.1, "batch_size": B, "local_steps": 1}
    layout.start(Path("updates"))
    layout.write(Path("updates"), 1, "a", delta, kind="delta")
    Path("updates/round-0001/client-a.safetensors").write_bytes(b"cut off")
    captured(status=1, b=(bad, known), c=(delta, known | {"optimizer": "lamb"}), d=(delta, known))
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("not audited: ")]
    assert len(errors) == 3
    assert "client-a.safetensors: is damaged" in errors[0]
    assert "0.bias has" in errors[1]
    assert "lamb" in errors[2]
    assert [path.parent.name for path in Path("audit").rglob("audit.json")] == ["client-d"]


def test_status_0_says_that_every_update_was_audited(files, delta, capsys):
    nothing = {name: torch.zeros_like(g) for name, g in delta.items()}
    bad = delta | {"0.bias": torch.full_like(delta["0.bias"], torch.nan)}
    captured(status=2, a=(bad, {}), b=(nothing, {}))
    assert "1 of 2 updates could not be audited, as said above, and nothing was found" in capsys.readouterr().err


def test_an_empty_batch_is_no_error_and_no_batch_size(files, delta):
    nothing = {name: torch.zeros_like(g) for name, g in delta.items()}
    empty = {"num_examples": 0, "batch_size": 0, "lr": 0.0}
    captured(status=1, a=(nothing, empty), b=(delta, empty), c=(delta, empty | {"local_steps": 1}))
    records = [json.loads(Path(f"audit/round-0001/client-{client}/audit.json").read_text()) for client in "abc"]
    assert records[0]["found"] == "no data"
    for record in records:
        assert "The capture says no examples." in record["remarks"]
    for record in records[1:]:  # facts that what was sent contradicts
        assert record["certified_labels"] == {str(c): n for c, n in files.items()}


def test_reports_stay_in_their_folder_whatever_clients_are_called(files, delta):
    captured(status=1, **{"..": (delta, {}), "../../out": (delta, {}), "site/1": (delta, {})})
    assert sorted(path.parent.name for path in Path().rglob("audit.json")) == [
        "client-..",
        "client-..%2F..%2Fout",
        "client-site%2F1",
    ]


def test_a_report_replaces_the_one_before(files):
    Path("audit").mkdir()
    Path("audit/audit.pdf").write_text("of an earlier audit, with pictures")
    run("--checkpoint=before.pt", "--update=update.pt", "--no-pictures")
    assert not Path("audit/audit.pdf").exists()


def test_help_does_not_import_torch():
    code = "import sys; from gradleak.commands.audit import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert "--update-is" in done.stdout
    assert done.stdout.endswith("False\n")


@pytest.mark.slow
def test_ctrl_c_writes_what_there_is(files):
    command = [sys.executable, "-c", "from gradleak.commands.main import main; main()", "audit"]
    command += ["--model=my.py:build", "--checkpoint=before.pt"]
    command += ["--update=update.pt", f"--input-shape={SIZE}", "--no-defenses", "--no-pdf", "--minutes=3"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("gradient matching"):
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    record = json.loads(Path("audit/audit.json").read_text())
    assert record["interrupted"]
    assert record["certified_labels"] == {str(c): n for c, n in files.items()}
    assert "interrupted; written so far: audit" in errors
