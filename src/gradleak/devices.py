"""Devices, and how a job chooses one of several GPUs."""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.utils.deterministic

from gradleak.errors import InputError

if TYPE_CHECKING:
    from filelock import FileLock

_POLL = 1.0
_held: "list[tuple[int, FileLock]]" = []
"""The GPU of this process, held until it ends."""


def choose_device(name: str, *, share: bool = False) -> torch.device:
    """Return the device called ``auto``, ``cpu`` or ``cuda``; auto takes a GPU when there is one.

    If there are several GPUs, a job takes one that no other job holds and keeps it until it ends, however it ends.
    Without a GPU, ``auto`` prints a line on standard error.

    Args:
        name: the option ``--device``.
        share: for jobs so small that many fit on one GPU: they lock none and are spread over all. In a process that
            holds a GPU they run on that one.

    Raises:
        InputError: cuda was requested but there is no GPU.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("--device cuda: this machine has no usable GPU; use --device cpu or auto")
    if name == "cpu" or not available:
        if name == "auto":
            print("device: cpu (no usable GPU)", file=sys.stderr)
        return torch.device("cpu")
    make_exact()
    if share and not _held:
        return torch.device("cuda", os.getpid() % torch.cuda.device_count())
    if not _held:
        # A GPU is locked by its own id: a cluster gives each job a CUDA_VISIBLE_DEVICES that begins at 0.
        ids = [str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())]
        _held.append(claim(ids, Path(tempfile.gettempdir()) / f"gradleak-gpus-{os.getuid()}"))
    return torch.device("cuda", _held[0][0])


def make_exact() -> None:
    """Let a GPU compute in full precision, and the same job always the same numbers.

    TensorFloat-32 keeps 10 bits of each factor, and the attacks differentiate twice and compare gradients. An operation
    that has no deterministic form prints torch's warning.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling it costs time, and nothing reads such memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


def claim(ids: Sequence[str], folder: Path) -> "tuple[int, FileLock]":
    """Lock the first GPU that no other process holds; wait for one if all are held.

    The system releases the lock when the process ends, even if it is killed.

    Args:
        ids: one identifier per GPU of this machine.
        folder: where lock files are kept.

    Returns:
        The index into ``ids``, and the lock, which holds as long as it is referenced.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    noted = False
    while True:
        for place, each in enumerate(ids):
            lock = FileLock(folder / f"{each}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return place, lock
        if not noted:
            print(f"device: all {len(ids)} GPUs are held by other jobs; waiting", file=sys.stderr)
            noted = True
        time.sleep(_POLL)
