"""Records as jobs write them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from gradleak import records

ROW = records.Row(
    run="labels/x",
    kind="labels",
    method="ilrg",
    dataset="mnist",
    model="fcn",
    batch_size=8,
    model_seed=1,
    seed=12,
    trial=0,
    client=0,
    metric="leacc",
    value=0.5,
)
"""A row of a label run."""

RECORD: dict[str, Any] = {
    "run": "labels/a",
    "schema": records.SCHEMA,
    "spec": {},
    "identity": {"kind": "labels", "version": 1},
    "code": "aaaaaaaa",
    "kinds": {"attacks": ["ilrg"], "datasets": ["mnist"]},
    "commit": "0123456789abcdef",
    "dirty": False,
    "packages": {"torch": "2.12.0"},
    "device": "cpu",
    "hardware": {"processor": "a processor", "cores": 2},
    "started": "2026-01-01T00:00:00+00:00",
    "seconds": 90.0,
    "peak_memory_mb": 500.0,
    "command": [],
}


def record(**values: Any) -> dict[str, Any]:
    """Return a record with some values replaced."""
    return {**RECORD, **values}


def write_record(metrics: Path, **values: Any) -> Path:
    """Write the run.json of an existing metrics CSV."""
    content = metrics.read_bytes()
    written = {"rows": content.count(b"\n") - 1, "sha256": hashlib.sha256(content).hexdigest()}
    path = metrics.with_name("run.json")
    path.write_text(json.dumps(record(metrics=written, **values)), encoding="utf-8")
    return path
