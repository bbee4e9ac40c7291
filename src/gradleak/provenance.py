"""Where a result comes from: commit, packages, machine, times."""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from gradleak import __version__
from gradleak.records import SCHEMA, Row, write_rows, write_text
from gradleak.sidecars import sidecar_of

_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "diffusers", "snakemake")


class _Spec(Protocol):
    """The part of a job's spec that is recorded, see :class:`gradleak.plan.jobs.spec.Job`."""

    def kinds(self) -> Iterable[tuple[str, str]]: ...

    def identity(self) -> dict[str, Any]: ...

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


def _git(*arguments: str) -> str | None:
    here = Path(__file__).parent
    try:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def commit() -> dict[str, Any]:
    """Return the commit of this tree and whether tracked files differ from it; both None outside a checkout.

    A job takes them from ``GRADLEAK_COMMIT`` when the workflow has set it, so that git runs once per workflow.
    """
    given = os.environ.get("GRADLEAK_COMMIT")
    if given:
        sha, _, dirty = given.partition("+")
        return {"commit": sha, "dirty": bool(dirty)}
    # An installed copy may lie in a project with a repository of its own, whose commit says nothing about this code.
    is_tracked = _git("ls-files", "--error-unmatch", Path(__file__).name) is not None
    sha = _git("rev-parse", "HEAD") if is_tracked else None
    if sha is None:
        return {"commit": None, "dirty": None}
    return {"commit": sha, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}


def stamp() -> str:
    """Return :func:`commit` as one word for ``GRADLEAK_COMMIT``; empty outside a checkout."""
    state = commit()
    return f"{state['commit']}{'+dirty' if state['dirty'] else ''}" if state["commit"] else ""


def hardware(device: str = "cpu") -> dict[str, Any]:
    """Return the processor's name and the number of cores this process may use; with a GPU, its name and libraries.

    Args:
        device: where the job ran.
    """
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return {"processor": name, "cores": len(os.sched_getaffinity(0)), "host": platform.node(), **_gpu(device)}


def _gpu(device: str) -> dict[str, Any]:
    if not device.startswith("cuda"):
        return {}
    import torch

    return {
        "gpu": torch.cuda.get_device_name(device),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def packages() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    versions = {"python": platform.python_version(), "gradleak": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Clock:
    """Wall time of a job, and the code that it started with, since sources may be edited while it runs.

    Args:
        code: of the job, see :func:`gradleak.plan.code.code_of`.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        self.started = datetime.now(UTC)
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.perf_counter() - self._start


def write_results(
    metrics: Path, rows: Iterable[Row], spec: _Spec, clock: Clock, *, run: str, device: str, **more: Any
) -> None:
    """Write the metrics of a run and then its record, see :func:`gradleak.sidecars.sidecar_of`.

    The record holds the version of the columns, the number of rows and the digest of the CSV. If the program dies
    between the two files, an old record does not match the new CSV, and a missing record means an unfinished run.
    """
    written = write_rows(metrics, rows)
    results = {"schema": SCHEMA, "metrics": asdict(written)}
    write_sidecar(sidecar_of(metrics), spec, clock, run=run, device=device, **results, **more)


def write_sidecar(path: Path, spec: _Spec, clock: Clock, *, run: str, device: str, **more: Any) -> None:
    """Write a record: spec, provenance and machine. See :mod:`gradleak.sidecars`."""
    kinds: dict[str, list[str]] = {}
    for part, name in sorted(spec.kinds()):
        kinds.setdefault(part, []).append(name)
    record = {
        "run": run,
        "spec": spec.model_dump(mode="json"),
        "identity": spec.identity(),
        "code": clock.code,
        "kinds": kinds,
        **commit(),
        "packages": packages(),
        "device": device,
        "hardware": hardware(device),
        "started": clock.started.isoformat(timespec="seconds"),
        "seconds": round(clock.seconds(), 3),
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "command": sys.argv,
        **more,
    }
    write_text(path, json.dumps(record, indent=2) + "\n")
