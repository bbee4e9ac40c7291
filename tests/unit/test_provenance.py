"""Where a result comes from."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.workflow import ROOT

COMMIT = "import json; from gradleak.provenance import commit; print(json.dumps(commit()))"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit_of(package: Path) -> dict[str, object]:
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    environment.pop("GRADLEAK_COMMIT", None)
    command = [sys.executable, "-c", COMMIT]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def test_an_installed_copy_does_not_take_the_commit_of_the_project_around_it(tmp_path):
    package = tmp_path / ".venv" / "gradleak"
    shutil.copytree(ROOT / "src" / "gradleak", package, ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "theirs")
    assert commit_of(package) == {"commit": None, "dirty": None}
    git(tmp_path, "add", ".venv")
    git(tmp_path, "commit", "--quiet", "--message", "ours")
    assert commit_of(package) == {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
