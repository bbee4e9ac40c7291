"""The one long CSV schema of all runs, and atomic writing of files."""

import csv
import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from gradleak import interrupts
from gradleak.errors import InputError

SCHEMA = 3
"""Version of the columns, recorded in run.json. Raise it with every change, and say what changed."""

CHANGED = "the type in which gradients are sent has its own"
"""What changed between :data:`SCHEMA` and the version before."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is attacked: the columns that distinguish the cells of tables.

    A column has the value of the job's option of the same name (:meth:`gradleak.plan.jobs.attack.AttackRun.setting`);
    jobs without that option, and published figures that do not state it, have the default.

    Attributes:
        dataset: data set name.
        model: architecture.
        model_options: its options that differ from the defaults, as a JSON object with a fixed order.
        stage_unit: unit of the training stage, ``epoch`` or ``iter``; empty if untrained.
        stage_number: number of these; 0 if untrained.
        checkpoint: eight hex digits of the SHA-256 of weights that the user gave, else empty.
        batch_size: B; for an aggregate, the images of all its clients.
        aggregated: number of clients whose mean is attacked as one batch; 0 if a client is attacked alone.
        distribution: how the classes of a batch are drawn.
        distribution_classes: its number of classes, if it has one; else 0.
        defense: e.g. ``clip-4+dp-0.01``, or ``none``.
        defense_scope: the gradients that it acts on: ``head`` (the last layer's) or ``all``; empty without a defense.
        precision: type in which gradients are sent.
    """

    dataset: str
    model: str
    model_options: str = "{}"
    stage_unit: str = ""
    stage_number: int = 0
    checkpoint: str = ""
    batch_size: int
    aggregated: int = 0
    distribution: str = "random"
    distribution_classes: int = 0
    defense: str = "none"
    defense_scope: str = ""
    precision: str = "float32"


@dataclass(frozen=True, kw_only=True)
class Row(Setting):
    """One measured value. A new metric adds rows, not columns.

    Attributes:
        run: run id.
        kind: kind of the job, e.g. ``labels``.
        method: the attack; or, for values that belong to no attack, :data:`JOB`, :data:`VICTIM`, ``floor-blank`` or
            ``floor-uniform``.
        model_seed: seed of the victim's weights; initialisations are a separate axis.
        seed: seed of the batches.
        trial: number of the batch, or of the round of clients, from 0; -1 for values of the whole run.
        client: number of the client within the round, from 0; -1 for an aggregate and for values of the whole run.
        image: number of the image within the batch, from 0; -1 for values of the whole batch.
        iteration: iteration of a snapshot; -1 for the result.
        status: ``ok``, or why the value does not count: ``diverged``, or ``not applicable`` (value NaN) where the
            attack needs a gradient that the client does not send.
        metric: name of the metric.
        value: its value.
    """

    run: str
    kind: str
    method: str
    model_seed: int
    seed: int
    trial: int
    client: int = -1
    image: int = -1
    iteration: int = -1
    status: str = "ok"
    metric: str
    value: float


OK, NOT_APPLICABLE = "ok", "not applicable"
"""Statuses of rows: a value that counts; and a try that was not possible, because the defense withholds or the victim
lacks a gradient that the method needs. Any other status means that the try gave no value."""

JOB = "job"
"""Method of a run's own values: time and memory."""

VICTIM = "victim"
"""Method of a trained victim's accuracy and loss on the validation images."""

CELL = tuple(field.name for field in fields(Setting))
"""Columns of a setting."""

_FIRST = ("run", "kind", "method")
COLUMNS = (*_FIRST, *(field.name for field in fields(Row) if field.name not in _FIRST))
"""Columns of a metrics CSV, in order."""


def is_attack(method: str) -> bool:
    """Whether a method is an attack."""
    return method not in (JOB, VICTIM) and not method.startswith("floor-")


WRITTEN: list[Path] = []
"""The files that this process has written, in order, for the message of an interrupted program."""


@contextmanager
def whole_file(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it into place on success.

    On failure the temporary file is removed, with the folders that were created for it.

    Args:
        path: the file.
        private: only its owner can read it.

    Raises:
        InputError: the file cannot be written; one line says why.
    """
    check_place(path, str(path))
    made = [folder for folder in path.parents if not folder.exists()]
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not named after the file, whose name may have the maximal length.
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        # On disk before the rename: after a power cut there is either the old file or the complete new one.
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if not private:  # mkstemp creates files that only their owner can read
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
        with interrupts.held():  # a signal in between would end in "nothing was written"
            temporary.replace(path)
            WRITTEN.append(path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # missing, or another process has put something into it
                folder.rmdir()
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
        raise


@contextmanager
def filled(*folders: Path) -> Iterator[None]:
    """Note the files that code outside this package, such as a download, adds to folders; also if it is interrupted."""

    def entries() -> set[Path]:
        return {path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()}

    before = entries()
    try:
        yield
    finally:
        WRITTEN.extend(sorted(entries() - before))


def check_output(path: Path) -> None:
    """Check that a metrics CSV can be written before the work starts; creates nothing.

    Raises:
        InputError: the name does not end in .csv, it is a folder, or its folder cannot be created or written to.
    """
    if path.suffix != ".csv":
        raise InputError(f"--output {path}: must end in .csv (its record has the same name with .json)")
    check_place(path, f"--output {path}")


def check_place(path: Path, label: str) -> None:
    """Check that a file can be written before the work starts; creates nothing.

    Args:
        path: the file.
        label: its name in messages.

    Raises:
        InputError: it is a folder, or its folder cannot be created or written to.
    """
    try:
        if path.is_dir():
            raise InputError(f"{label}: is a folder; name a file in it")
        there = next(folder for folder in path.absolute().parents if folder.exists() or folder.is_symlink())
    except OSError as error:
        raise InputError(f"{label}: cannot be written: {error.strerror}") from error
    if not there.is_dir():
        what = "is a broken link" if there.is_symlink() else "is a file"
        raise InputError(f"{label}: cannot create its folder: {there} {what}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{label}: cannot be written: no permission in {there}")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Written:
    """The size and digest of a CSV when it was written, to detect a file that was cut or edited since.

    Attributes:
        rows: number of rows below the header.
        sha256: of the file's bytes, 64 hex digits.
    """

    rows: int
    sha256: str

    @classmethod
    def of(cls, content: bytes, rows: int) -> Self:
        """Compute both from the bytes of a file."""
        return cls(rows, hashlib.sha256(content).hexdigest())


def write_rows(path: Path, rows: Iterable[Row]) -> Written:
    """Write rows as CSV, atomically."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    lines = [asdict(row) for row in rows]
    writer.writerows(lines)
    content = text.getvalue().encode()
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
    return Written.of(content, len(lines))
