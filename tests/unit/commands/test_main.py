"""The command ``gradleak``, and that the programs of workflow/scripts are the same."""

import importlib
import subprocess
import sys
import tomllib

import pytest
from tests.workflow import ROOT

from gradleak import __version__
from gradleak.commands.main import SUBCOMMANDS, main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["/bin/gradleak", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_console_entry_is_this_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["gradleak"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


def test_help_lists_one_line_each_without_torch():
    code = (
        "import sys; sys.argv[1:] = ['--help']; from gradleak.commands.main import main; main(); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'pandas')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("  ")]
    assert [name for name, _ in lines] == list(SUBCOMMANDS)
    assert dict(lines) == SUBCOMMANDS


def test_the_version(monkeypatch, capsys):
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"gradleak {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "gradleak: error: name a subcommand: audit, "),
        (["restore"], "gradleak: error: unknown subcommand 'restore'; known: audit, restore-labels, "),
        (["--frob"], "gradleak: error: unknown subcommand '--frob'; known: "),
        (["restore_labels", "--frob"], "gradleak restore-labels: error: unrecognized arguments: --frob (see --help)"),
        (["reconstruct", "--num_clients", "0"], "gradleak reconstruct: error: --num_clients"),
        (["plan", "--cores", "0"], "gradleak plan: error: argument --cores: invalid number of cores value: '0'"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, monkeypatch, capsys):
    assert call(monkeypatch, *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_a_plan_needs_a_checkout(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "plan") == 2
    expected = "gradleak plan: error: config/config.yaml: no such file here; run this in a checkout of gradleak\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("name", sorted(set(SUBCOMMANDS) - {"audit"}))
def test_a_script_is_the_subcommand_under_its_own_name(name, monkeypatch, capsys):
    assert call(monkeypatch, name, "--help") == 0
    of_command = capsys.readouterr().out
    script = ROOT / "workflow" / "scripts" / f"{name.replace('-', '_')}.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {script.name} [")
    assert of_command.startswith(f"usage: gradleak {name} [")
    # The usage is wrapped by the length of the name.
    assert done.stdout.replace(script.name, f"gradleak {name}").split() == of_command.split()
