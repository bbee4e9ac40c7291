"""A GPU is held by one job and released when it ends; the tests need no GPU."""

import os
import subprocess
import sys
import time
from typing import Any

import pytest
import torch
import torch.utils.deterministic

from gradleak import devices
from gradleak.devices import choose_device, claim
from gradleak.errors import InputError

HOLD = "import sys, time; from pathlib import Path; from gradleak.devices import claim\n"
HOLD += "place, lock = claim(['a', 'b'], Path(sys.argv[1])); print(place, flush=True); time.sleep(300)"


@pytest.fixture(autouse=True)
def flags():
    """Restore torch's flags of precision and determinism, and return their present values."""

    def now() -> tuple[Any, ...]:
        backends = torch.backends
        return (
            backends.cuda.matmul.allow_tf32,
            backends.cudnn.allow_tf32,
            backends.cudnn.benchmark,
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )

    deterministic: Any = torch.utils.deterministic  # its attributes are those of an object in place of the module
    before, fill = now(), deterministic.fill_uninitialized_memory
    yield now
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[:3]
    torch.use_deterministic_algorithms(before[3], warn_only=before[4])
    deterministic.fill_uninitialized_memory = fill


@pytest.fixture
def hold(tmp_path):
    """Return a function that starts a job with a GPU and returns the process and the GPU."""
    processes = []

    def start() -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_jobs_get_separate_gpus_and_a_kill_frees_one(hold, tmp_path):
    (first, a), (_, b) = hold(), hold()
    assert {a, b} == {0, 1}
    first.kill()
    first.wait()
    place, lock = claim(["a", "b"], tmp_path)
    assert place == a
    lock.release()


def test_a_job_waits_until_one_is_free(hold, tmp_path, monkeypatch, capsys):
    (first, a), _ = hold(), hold()
    waited = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        first.kill()
        first.wait()

    monkeypatch.setattr(time, "sleep", wait)
    place, lock = claim(["a", "b"], tmp_path)
    assert place == a
    assert waited
    assert "all 2 GPUs are held by other jobs; waiting" in capsys.readouterr().err
    lock.release()


def test_a_process_has_one_gpu_and_small_jobs_share(monkeypatch, tmp_path):
    properties = type("Properties", (), {"uuid": "x"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: properties)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(devices, "_held", [])
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("auto", share=True) == torch.device("cuda", 0)
    devices._held.pop()[1].release()


def test_small_jobs_of_a_process_that_holds_a_gpu_run_on_it(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    identified = type("Properties", (), {"uuid": property(lambda self: str(id(self)))})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: identified())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(devices, "_held", [])
    monkeypatch.setattr("os.getpid", lambda: 2)
    assert choose_device("cuda", share=True) == torch.device("cuda", 2)
    held = choose_device("cuda")
    assert choose_device("cuda", share=True) == held == torch.device("cuda", 0)
    devices._held.pop()[1].release()


def test_the_fallback_to_the_cpu_prints_a_note(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    assert "device: cpu (no usable GPU)" in capsys.readouterr().err
    assert choose_device("cpu") == torch.device("cpu")
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match="no usable GPU; use --device cpu or auto"):
        choose_device("cuda")


@pytest.mark.parametrize("share", [True, False])
def test_a_gpu_computes_in_full_precision_and_deterministically(monkeypatch, tmp_path, flags, share):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: type("Properties", (), {"uuid": "x"}))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(devices, "_held", [])
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    choose_device("cuda", share=share)
    assert flags() == (False, False, False, True, True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"  # without it, matrix products are not deterministic
    for _, lock in devices._held:
        lock.release()


def test_a_cpu_keeps_its_flags(flags):
    before = flags()
    choose_device("cpu")
    assert flags() == before
