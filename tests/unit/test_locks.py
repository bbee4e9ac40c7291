"""The lock of the Slurm plugin is installed on top of the environment's: both must pin the same versions."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pins(name: str) -> set[str]:
    return set(re.findall(r"^[\w.-]+==[^\\\n]+", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))


def test_the_slurm_lock_adds_the_plugin_and_changes_nothing():
    added = {pin.split("==")[0] for pin in pins("requirements-slurm.lock") - pins("requirements.lock")}
    assert added == {"snakemake-executor-plugin-slurm", "snakemake-executor-plugin-slurm-jobstep"}
