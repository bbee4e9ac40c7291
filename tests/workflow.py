"""Run the real Snakefile on a small configuration in a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
LINKED = ("Snakefile", "rules", "workflow", "config", "paper", "profiles", "src")

SMALL: dict[str, Any] = {
    "defaults": {"num_tries": 2, "model_seed": [1, 2]},
    "experiments": {
        "comparison": {
            "axes": [
                {"dataset": "mnist-sample", "model": "fcn3", "batch_size": 8},
                {"dataset": "cifar100-sample", "model": "lenet5", "batch_size": 4},
            ]
        },
        "batch_size_and_depth": {
            "axes": [{"dataset": "mnist-sample", "model": "fcn3", "batch_size": [8, 16]}],
        },
    },
    # User text must break neither page nor spreadsheet.
    "datasets": {"mnist-sample": {"kind": "mnist-sample", "label": "=MNIST </script><b>(5k)"}},
    "tables": {"comparison": {"caption": "Attacks </script><script>compared"}},
    "figures": {"accuracy_over_batch": {"caption": "Over B </script><!-- <script>"}},
    "select": {"tables": ["comparison", "batch_size_and_depth"], "figures": ["accuracy_over_batch"]},
}
RUNS = 6
"""4 runs of comparison, and 2 of batch size 16; those of batch size 8 are shared."""


class Workflow:
    """A folder that looks like a fresh checkout, and Snakemake calls in it.

    Attributes:
        folder: the working directory; everything except ``results`` is linked to the real tree.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in LINKED:
            (folder / name).symlink_to(ROOT / name)

    def configure(self, values: dict[str, Any]) -> Path:
        """Write a config file to be merged over config.yaml."""
        path = self.folder / "test.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    def snakemake(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Call Snakemake with ``test.yaml``; output of both streams is in ``stdout``."""
        return subprocess.run(self.command(*arguments), **self.popen_options(), timeout=timeout, check=False)

    def command(self, *arguments: str) -> list[str]:
        """Return the command of :meth:`snakemake`."""
        return [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "test.yaml", *arguments]

    def popen_options(self) -> dict[str, Any]:
        """Return the options to start :meth:`command` with."""
        return {
            "cwd": self.folder,
            "env": {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            "text": True,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }

    def planned(self, *arguments: str) -> dict[str, int]:
        """Return the number of jobs per rule that a dry run plans."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stdout
        return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE)}

    def files(self, pattern: str) -> set[str]:
        """Return the generated files that match, relative to the folder."""
        return {str(path.relative_to(self.folder)) for path in (self.folder / "results").glob(pattern)}
