"""The programs that reconstruct images, after the attack."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from gradleak.errors import InputError
from gradleak.plan.jobs.images import Reconstruct
from gradleak.report import run_table
from gradleak.runs import image_output as output
from gradleak.runs.image_job import execute
from gradleak.runs.images import Result, run


def test_an_interrupted_run_keeps_its_results_but_fails(tmp_path, capsys):
    output = tmp_path / "metrics.csv"
    spec = Reconstruct(dataset="mnist-sample", num_clients=1, iterations=1, output=output, progress=False)

    def interrupted(spec: Reconstruct) -> Result:
        return replace(run(spec), interrupted=True)

    with pytest.raises(SystemExit) as raised:
        execute(spec, interrupted)
    assert raised.value.code == 130
    assert "interrupted: these are the best reconstructions so far" in capsys.readouterr().err
    assert output.is_file()
    assert (tmp_path / "contact.png").is_file()
    assert json.loads((tmp_path / "run.json").read_text())["interrupted"]
    with pytest.raises(InputError, match="was interrupted"):
        run_table.read_run(tmp_path)


@pytest.fixture
def finished(tmp_path, monkeypatch) -> tuple[Reconstruct, Result]:
    """A run and its result, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    spec = Reconstruct(dataset="mnist-sample", num_clients=1, iterations=1, progress=False)
    return spec, run(spec)


def test_runs_of_the_same_second_have_separate_folders(finished, capsys):
    spec, result = finished
    for _ in range(3):
        execute(spec, lambda spec: result)
    folders = sorted(spec.save_dir.iterdir())
    assert len(folders) == 3
    assert all((folder / name).is_file() for folder in folders for name in ("metrics.csv", "run.json", "contact.png"))
    said = [line.removeprefix("results: ") for line in capsys.readouterr().err.splitlines()]
    assert sorted(said) == [str(folder) for folder in folders]


def refused(spec: Reconstruct) -> Result:
    raise InputError("no such data")


def interrupted_at_once(spec: Reconstruct) -> Result:
    made = run(spec)
    return replace(
        made, interrupted=True, reconstructions=[replace(x, trace=x.trace[:0]) for x in made.reconstructions]
    )


@pytest.mark.parametrize(("attack", "error"), [(refused, InputError), (interrupted_at_once, KeyboardInterrupt)])
@pytest.mark.parametrize("output", [None, Path("a/b/metrics.csv")])
def test_a_run_without_results_creates_no_folder(finished, attack, error, output):
    spec, _ = finished
    with pytest.raises(error):
        execute(spec.model_copy(update={"output": output}), attack)
    assert list(Path().iterdir()) == []


def test_a_signal_waits_until_all_files_are_written(finished, monkeypatch):
    spec, result = finished
    write = output.write_traces

    def signalled(*arguments):
        signal.raise_signal(signal.SIGINT)
        write(*arguments)

    monkeypatch.setattr(output, "write_traces", signalled)
    with pytest.raises(KeyboardInterrupt):
        execute(spec, lambda spec: result)
    (folder,) = spec.save_dir.iterdir()
    assert (folder / "metrics.csv").is_file()


@pytest.mark.parametrize("where", ["save_dir", "output"])
def test_an_unwritable_output_is_refused_before_the_attack(finished, where):
    spec, _ = finished
    Path("file").write_text("")
    place = {"save_dir": Path("file/runs"), "output": Path("file/metrics.csv")}[where]
    with pytest.raises(
        InputError, match=rf"^--{where.replace('_', '-')} {place}: cannot create its folder: " rf".*file is a"
    ):
        execute(spec.model_copy(update={where: place}), lambda spec: pytest.fail("it ran"))


def test_a_run_that_cannot_be_written_leaves_no_folder(finished, monkeypatch):
    spec, result = finished

    def full(*_):
        raise InputError("no space left on device")

    monkeypatch.setattr(output, "write_contact_sheet", full)
    with pytest.raises(InputError, match="no space left"):
        execute(spec, lambda spec: result)
    assert not list(spec.save_dir.iterdir())
