"""Measurements that the workflow cannot repeat, since they need Flower: recorded beforehand, checked when read.

``bench/showcase.py`` writes ``paper/recorded/flower.json``; the tables made of it are in
:mod:`gradleak.report.tables.flower`.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, ValidationError

from gradleak.errors import InputError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Audited(_Part):
    """The audit of one update, compared with the batch that the client held.

    Attributes:
        round: of the server, from 1.
        client: number of the client, from 0.
        certified_labels: instances whose label is certified.
        certified_images: certified inputs.
        false_labels: certified instances that the batch does not hold.
        false_images: certified inputs that are none of the batch.
        seconds: wall time of the command.
        cpu_seconds: user and system time.
        peak_memory_mb: largest resident set, in MiB.
    """

    round: PositiveInt
    client: NonNegativeInt
    certified_labels: NonNegativeInt
    certified_images: NonNegativeInt
    false_labels: NonNegativeInt
    false_images: NonNegativeInt
    seconds: NonNegativeFloat
    cpu_seconds: NonNegativeFloat
    peak_memory_mb: NonNegativeFloat


class LocalDp(_Part):
    """Options of Flower's LocalDpMod; a sensitivity of 0 adds no noise.

    Attributes:
        noise: standard deviation of each entry, as the mod computes it from the others.
    """

    clipping_norm: float = Field(gt=0)
    sensitivity: NonNegativeFloat
    epsilon: float = Field(gt=0)
    delta: float = Field(gt=0, lt=1)
    noise: NonNegativeFloat


class Simulation(_Part):
    """A run of Flower's simulation engine.

    Attributes:
        model: in words.
        data: name of the data set in the catalogue.
        batch_size: of each client.
        local_dp: on the client; None for nothing.
        images_are: what exact inversion recovers of an image.
        updates: their audits.
    """

    model: str
    data: str
    batch_size: PositiveInt
    local_dp: LocalDp | None
    images_are: Literal["images", "features"]
    updates: tuple[Audited, ...] = Field(min_length=1)


class Counted(_Part):
    """What LocalDpMod made of one local training; norms are those of changes.

    Attributes:
        batches: of the training.
        counters: norm of BatchNorm's step counters.
        statistics: norm of its running statistics.
        parameters: norm of the parameters; the clipping norm is half of it.
        sent: share of the parameters' change that is sent, without noise.
        sent_without_counters: what it would be if the norm left the counters out.
        noise_on_counters: whether noise changes them.
    """

    batches: PositiveInt
    counters: NonNegativeFloat
    statistics: NonNegativeFloat
    parameters: NonNegativeFloat
    sent: NonNegativeFloat
    sent_without_counters: NonNegativeFloat
    noise_on_counters: bool


class Counters(_Part):
    """The same for one release of Flower."""

    flwr: str
    rows: tuple[Counted, ...] = Field(min_length=1)


class Showcase(_Part):
    """Flower simulations, audited, and what LocalDpMod does to step counters.

    Attributes:
        recorded: date, YYYY-MM-DD.
        command: that made this file.
        commit: of gradleak; with ``-dirty`` if tracked files differed from it.
        packages: name -> version.
        processor: name.
        cores: that the measurement could use.
        audit: command line of each audit, without files.
    """

    schema_version: Literal[1] = Field(alias="schema")
    recorded: str = Field(pattern=r"^\d{4}-\d\d-\d\d$")
    command: str
    commit: str
    packages: dict[str, str]
    processor: str
    cores: PositiveInt
    audit: str
    simulations: tuple[Simulation, ...] = Field(min_length=1)
    counters: tuple[Counters, ...] = Field(min_length=1)


def read(path: Path) -> Showcase:
    """Read the recorded measurement.

    Raises:
        InputError: the file is missing or is not such a record; one line.
    """
    remedy = "restore it, or measure again with bench/showcase.py"
    try:
        return Showcase.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {remedy}") from error
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*(str(part) for part in first["loc"]), first["msg"]])
        raise InputError(f"{path}: is not a record of Flower simulations ({reason}); {remedy}") from None
