"""Ctrl-C and SIGTERM: one line, a status, and a correct report of what was written."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gradleak import interrupts

INTERRUPTED = """
import signal, sys, time
from pathlib import Path
from gradleak import records
from gradleak.plan import cli

def main(argv):
    {work}
    signal.raise_signal({signal})
    time.sleep(10)

sys.argv[0] = "program.py"
cli.run(main)
"""


def interrupted(work: str, number: signal.Signals, folder: Path) -> subprocess.CompletedProcess[str]:
    code = INTERRUPTED.format(work=work, signal=int(number))
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("pass", "interrupted; nothing was written"),
        ("records.write_text(Path('a/b.txt'), '')", "interrupted; written so far: a"),
        (
            "records.write_text(Path('a/b/c.txt'), ''); records.write_text(Path('a/d.txt'), '')",
            "interrupted; written so far: a",
        ),
        ("records.write_text(Path('b.txt'), ''); Path('b.txt').unlink()", "interrupted; nothing was written"),
    ],
)
def test_an_interrupted_program_reports_what_it_wrote(tmp_path, number, status, work, said):
    done = interrupted(work, number, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", f"program.py: {said}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_partially_written_file_is_removed(tmp_path, number):
    work = f"""
    with records.whole_file(Path("a/b.txt")) as temporary:
        temporary.write_text("half")
        signal.raise_signal({int(number)})
"""
    done = interrupted(work, number, tmp_path)
    assert done.stderr == "program.py: interrupted; nothing was written\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_file_that_was_just_written_is_reported(tmp_path, number):
    work = f"""
    replace = Path.replace

    def interrupted(*paths):
        replace(*paths)
        signal.raise_signal({int(number)})

    Path.replace = interrupted
    records.write_text(Path("a/b.txt"), "")
"""
    done = interrupted(work, number, tmp_path)
    assert done.stderr == "program.py: interrupted; written so far: a\n"
    assert (tmp_path / "a" / "b.txt").is_file()


def test_a_closed_pipe_is_no_error():
    code = "import sys; from gradleak.plan import cli; cli.run(lambda argv: print('x' * 100_000))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.stderr == ""


def test_a_held_signal_is_not_lost_if_the_block_fails():
    def write() -> None:
        with interrupts.held():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("disk full")

    with pytest.raises(KeyboardInterrupt):
        write()
