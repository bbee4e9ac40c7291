"""A GPU is held by one job and released when it ends; the tests need no GPU."""

import subprocess
import sys
import time

import pytest
import torch

from gradleak import devices
from gradleak.devices import choose_device, claim
from gradleak.errors import InputError

HOLD = "import sys, time; from pathlib import Path; from gradleak.devices import claim\n"
HOLD += "place, lock = claim(['a', 'b'], Path(sys.argv[1])); print(place, flush=True); time.sleep(300)"


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


def test_the_fallback_to_the_cpu_prints_a_note(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    assert "device: cpu (no usable GPU)" in capsys.readouterr().err
    assert choose_device("cpu") == torch.device("cpu")
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match="no usable GPU; use --device cpu or auto"):
        choose_device("cuda")
