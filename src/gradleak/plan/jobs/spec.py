"""One frozen type per kind of job: config entry, command line, sidecar and documentation at once.

A field with ``identity=False`` says where or how a job runs, never what it computes; it is left out of the run id.
The id hashes only what differs from the defaults, so a new option does not rename the runs that do not use it.
Raise a kind's ``VERSION`` when its code changes what an equal spec computes.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field

from gradleak.errors import InputError
from gradleak.plan.catalogue import Kind
from gradleak.plan.typed import Typed


def split_commas(value: object) -> Any:
    """``"a,b"`` -> ``("a", "b")``; anything but a string is returned unchanged."""
    return tuple(part for part in value.split(",") if part) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(split_commas)]
"""Several names: a comma-separated string on the command line, a list in YAML."""


def runtime(default: Any, description: str, **kwargs: Any) -> Any:
    """Declare a field that cannot change a result and is therefore not part of the run id."""
    return Field(default, description=description, json_schema_extra={"identity": False}, **kwargs)


def digest_of(identity: dict[str, Any]) -> str:
    """Return eight hex digits that name an identity."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class Spec(Typed):
    """Options; a job has those of several specs."""

    # Infinite options have no meaningful results.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, allow_inf_nan=False)

    @classmethod
    def is_identity(cls, name: str) -> bool:
        """Whether the field can change a result."""
        extra = cls.model_fields[name].json_schema_extra
        return not (isinstance(extra, dict) and extra.get("identity") is False)

    def kinds(self) -> list[Kind]:
        """Return part and name of the kinds of the catalogue that the job uses."""
        return []

    def to_argv(self, *, identity_only: bool = False) -> list[str]:
        """Return the command-line options that rebuild this spec, without those at their defaults.

        Args:
            identity_only: leave out fields that only say where and how the job runs.
        """
        argv: list[str] = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if not field.is_required() and value == field.default:
                continue
            if identity_only and not self.is_identity(name):
                continue
            flag = "--" + name.replace("_", "-")
            if isinstance(value, bool):
                argv.append(flag if value else f"--no-{flag[2:]}")
            else:
                text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
                argv += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
        return argv


class Job(Spec, ABC):
    """Base of all jobs.

    Attributes:
        KIND: name of the kind of job.
        VERSION: of what the kind computes.
    """

    KIND: ClassVar[str]
    VERSION: ClassVar[int] = 1

    @classmethod
    @cache
    def _identity_defaults(cls) -> dict[str, Any]:
        """Return the identity's fields with their defaults; cached for grids of thousands of runs."""
        return {name: field.default for name, field in cls.model_fields.items() if cls.is_identity(name)}

    def identity(self) -> dict[str, Any]:
        """Return what the run id hashes: the kind, its version and every value that is not the default."""
        values = self.model_dump(mode="json")
        changed = {
            name: values[name]
            for name, default in self._identity_defaults().items()
            # The default of a required field equals no value.
            if getattr(self, name) != default
        }
        return {"kind": self.KIND, "version": self.VERSION, **changed}

    @property
    def digest(self) -> str:
        """Eight hex digits that name this job."""
        return digest_of(self.identity())

    @property
    @abstractmethod
    def run_id(self) -> str:
        """Readable path that ends in the digest: one folder per identity."""


S = TypeVar("S", bound=Job)


def by_id(specs: Iterable[tuple[str, S]]) -> dict[str, S]:
    """Return run id -> spec, equal specs once.

    Args:
        specs: pairs of run id and spec; ids are passed in because computing them for large grids takes time.

    Raises:
        InputError: specs of different identity whose digests are equal, which would overwrite each other's results.
    """
    unique: dict[str, S] = {}
    for run_id, spec in specs:
        known = unique.setdefault(run_id, spec)
        if known != spec and known.identity() != spec.identity():
            options = type(spec).model_fields
            changed = sorted(name for name in options if getattr(known, name, None) != getattr(spec, name))
            raise InputError(
                f"{run_id}: identifies two jobs that differ in {', '.join(changed)}; "
                "change an option of one of them, such as its seed"
            )
    return unique
