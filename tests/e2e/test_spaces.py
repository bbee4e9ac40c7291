"""A checkout in a folder whose name has a space, and `make` before the environment exists."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.workflow import ROOT, Workflow


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "a folder"
    made.mkdir()
    return made


def make(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Call make as a user does: without the variables that `make test` passes to nested calls."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60
    )


TOOL = """#!/bin/sh
printf '%s\\n' "VIRTUAL_ENV=$VIRTUAL_ENV" "PYTHONPATH=$PYTHONPATH" "$@" >> "$(dirname "$0")/said"
"""


def test_make_env_quotes_the_folder(folder):
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "requirements-slurm.lock"):
        shutil.copy(ROOT / name, folder)
    tools = folder / ".venv" / "bin"
    tools.mkdir(parents=True)
    (folder / "tests" / "slurm").mkdir(parents=True)
    (folder / "tests" / "slurm" / "install.sh").write_text("")
    for name in ("python", "uv", "pytest"):
        (tools / name).write_text(TOOL)
        (tools / name).chmod(0o755)
    done = make("test-slurm", folder=folder)
    assert done.returncode == 0, done.stderr
    said = (tools / "said").read_text().splitlines()
    assert said.count(f"VIRTUAL_ENV={folder}/.venv") == 2  # the lock file's packages, and this one
    assert f"PYTHONPATH={folder}/.venv/slurm" in said
    assert (folder / ".venv" / ".ready").is_file()


@pytest.mark.parametrize("goal", ["paper", "plan", "report"])
@pytest.mark.parametrize(("config", "message"), [("typo.yaml", "no such file"), ("pyproject.toml", "is no .yaml file")])
def test_make_checks_the_configuration_before_making_the_environment(folder, goal, config, message):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    done = make(goal, f"CONFIG={config}", folder=folder)
    assert done.returncode == 2
    assert done.stderr.endswith(f"*** CONFIG={config}: {message}.  Stop.\n")
    assert done.stdout == ""
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize("place", [".", "elsewhere"])
def test_rules_run_with_an_interpreter_in_such_a_folder(folder, tmp_path, place):
    (tmp_path / "elsewhere").mkdir()
    workflow = Workflow(folder if place == "." else tmp_path / place)
    axes = [{"dataset": "mnist-sample", "model": "fcn3", "batch_size": 8, "num_tries": 1, "model_seed": 1}]
    workflow.configure(
        {"experiments": {"comparison": {"axes": axes}}, "select": {"experiments": ["comparison"], "figures": []}}
    )
    (folder / ".venv").symlink_to(sys.prefix)
    command = [
        str(folder / ".venv" / "bin" / "python"),
        *workflow.command("--keep-going", "results/experiments/comparison.csv")[1:],
    ]
    options = workflow.popen_options()
    # The shells that Snakemake starts must not find another Python by accident.
    options["env"] = {**options["env"], "PATH": os.defpath}
    done = subprocess.run(command, **options, check=False, timeout=300)
    assert done.returncode == 0, done.stdout
    assert workflow.files("experiments/*.csv") == {"results/experiments/comparison.csv"}
