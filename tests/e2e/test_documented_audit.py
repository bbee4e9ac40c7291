"""The example of docs/audit.md does what the page says."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from tests.workflow import ROOT


@pytest.mark.slow
def test_the_example_runs_as_documented(tmp_path):
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(code, encoding="utf-8")
    (commands,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    first, command = commands.strip().splitlines()
    python = shlex.quote(sys.executable)
    program = f"{python} -c 'from gradleak.commands.main import main; main()'"

    def run(line: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(ROOT / "src"), str(tmp_path)])
        return subprocess.run(
            line,
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": path},
        )

    made = run(first.replace("python", python, 1))
    assert made.returncode == 0, made.stderr
    done = run(command.replace("gradleak", program, 1))
    assert done.returncode == 1, done.stderr
    printed = re.search(r"prints one line, such as `(.*?)`", text)
    assert printed is not None
    assert done.stdout.strip() == printed[1]
    assert {"audit.html", "audit.md", "audit.json"} <= {path.name for path in (tmp_path / "report").iterdir()}
    checked = run(command.replace("gradleak", program, 1) + " --truth truth.pt --no-matching --no-defenses")
    assert checked.returncode == 1, checked.stderr
    record = json.loads((tmp_path / "report" / "audit.json").read_text())
    assert record["metrics"]["falsely_certified_labels"] == 0
    assert record["metrics"]["falsely_certified_images"] == 0
