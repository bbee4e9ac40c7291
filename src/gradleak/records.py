"""The one long CSV schema of all runs, and files that are written whole or not at all."""

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

from gradleak.errors import InputError

SCHEMA = 2
"""Version of the columns, which run.json carries. Raise it with every change of them, and say what changed."""

CHANGED = "model options, stage, aggregates, scope of a defense, client, image and iteration have their own"
"""What sets :data:`SCHEMA` apart from the version before it."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is attacked: the columns that tell one cell of a table from another.

    Jobs give a column its value by the option of the same name (:meth:`gradleak.plan.jobs.attack.AttackRun.setting`);
    a job without that option has the default, and so have published figures that do not state it.

    Attributes:
        dataset: data set name.
        model: architecture.
        model_options: its options that are not the defaults, as a JSON object in which they have one order.
        stage_unit: what the victim's training counts, ``epoch`` or ``iter``; empty if untrained.
        stage_number: how many of them; 0 if untrained.
        checkpoint: eight hex digits of the weights' SHA-256 if the user gave them, else empty.
        batch_size: B; of an aggregate, the images of all its clients.
        aggregated: clients whose mean is attacked as one batch; 0 where a client is attacked by itself.
        distribution: how the classes of a batch are drawn.
        distribution_classes: its number of classes, if it has one; else 0.
        defense: what the client does to the gradient, e.g. ``clip-4+dp-0.01``, ``none`` if nothing.
        defense_scope: to which gradients: ``head``, the last layer's, or ``all``; empty without a defense.
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


@dataclass(frozen=True, kw_only=True)
class Row(Setting):
    """One measured value. A new metric adds rows, not columns.

    Attributes:
        run: run id.
        kind: kind of the job, e.g. ``labels``.
        method: attack, or for figures that no attack made one of :data:`JOB`, :data:`VICTIM`, ``floor-blank``,
            ``floor-uniform``.
        model_seed: seed of the victim's weights; initialisations are an axis of their own.
        seed: seed of the batches.
        trial: number of the batch, or of the round of clients, from 0; -1 for figures of the whole run.
        client: number of the client within the round, from 0; -1 for an aggregate and for figures of the whole run.
        image: number of the image within the batch, from 0; -1 for figures of the whole batch.
        iteration: of the attack, for figures of a snapshot; -1 for its result.
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
"""Statuses of rows: a value that counts; and a try that could not be made, because the defense withheld or the victim
lacks what the method needs. Any other status is that of a try that was made and gave no value."""

JOB = "job"
"""Method of the run's own figures: time and memory."""

VICTIM = "victim"
"""Method of the trained victim's accuracy and loss on the validation images."""

CELL = tuple(field.name for field in fields(Setting))
"""Columns that name a setting."""

_FIRST = ("run", "kind", "method")
COLUMNS = (*_FIRST, *(field.name for field in fields(Row) if field.name not in _FIRST))
"""Columns of a metrics CSV, in their order."""


def is_attack(method: str) -> bool:
    """Whether the rows of a method are an attack's."""
    return method not in (JOB, VICTIM) and not method.startswith("floor-")


WRITTEN: list[Path] = []
"""The files that this process has written, in order: what an interrupted program can say of them."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it into place on success.

    On any failure the temporary file goes away, and the folders that were made for it.

    Raises:
        InputError: the file cannot be written; one line says why.
    """
    check_place(path, str(path))
    made = [folder for folder in path.parents if not folder.exists()]
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not named after the file: its name may be as long as a name can be.
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        # On the disk before it has its name: after a power cut there is the old file or the whole new one.
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        temporary.replace(path)
        WRITTEN.append(path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # not there, or another process has put something into it
                folder.rmdir()
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
        raise


def check_output(path: Path) -> None:
    """Look at the place of a metrics CSV before the work that fills it; nothing is made.

    Raises:
        InputError: it is no CSV name, is a folder, or its folder cannot be made or written.
    """
    if path.suffix != ".csv":
        raise InputError(f"--output {path}: must end in .csv (its record has the same name with .json)")
    check_place(path, f"--output {path}")


def check_place(path: Path, said: str) -> None:
    """Look at the place of a file before the work that fills it; nothing is made.

    Args:
        path: the file.
        said: how messages call it.

    Raises:
        InputError: it is a folder, or its folder cannot be made or written.
    """
    try:
        if path.is_dir():
            raise InputError(f"{said}: is a folder; name a file in it")
        there = next(folder for folder in path.absolute().parents if folder.exists() or folder.is_symlink())
    except OSError as error:
        raise InputError(f"{said}: cannot be written: {error.strerror}") from error
    if not there.is_dir():
        what = "leads nowhere" if there.is_symlink() else "is a file"
        raise InputError(f"{said}: cannot make its folder: {there} {what}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{said}: cannot be written: no permission in {there}")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Written:
    """What a CSV was when it was written: a file that was cut or edited since is not it.

    Attributes:
        rows: number of rows below the header.
        sha256: of the file's bytes, 64 hex digits.
    """

    rows: int
    sha256: str

    @classmethod
    def of(cls, content: bytes, rows: int) -> Self:
        """Return that of a file's bytes."""
        return cls(rows, hashlib.sha256(content).hexdigest())


def write_rows(path: Path, rows: Iterable[Row]) -> Written:
    """Write rows as CSV, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    lines = [asdict(row) for row in rows]
    writer.writerows(lines)
    content = text.getvalue().encode()
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
    return Written.of(content, len(lines))
