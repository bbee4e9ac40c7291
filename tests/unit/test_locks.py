"""Locks that are installed beside the environment's."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pins(name: str) -> set[str]:
    return set(re.findall(r"^[\w.-]+==[^\\\n]+", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))


def test_the_slurm_lock_adds_the_plugin_and_changes_nothing():
    """It is installed on top of the environment."""
    added = {pin.split("==")[0] for pin in pins("requirements-slurm.lock") - pins("requirements.lock")}
    assert added == {"snakemake-executor-plugin-slurm", "snakemake-executor-plugin-slurm-jobstep"}


def test_flower_is_tested_at_its_lower_bound_and_at_a_newer_release():
    flower, oldest = (
        next(pin.split("==")[1].strip() for pin in pins(f"requirements-{name}.lock") if pin.startswith("flwr=="))
        for name in ("flower", "flower-oldest")
    )
    bound = re.search(r"flwr\[simulation\]>=([\d.]+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert bound is not None
    assert oldest == f"{bound[1]}.0"
    assert [int(part) for part in oldest.split(".")] < [int(part) for part in flower.split(".")]
