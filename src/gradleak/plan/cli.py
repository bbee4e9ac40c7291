"""Command lines made from specs: every field is an option; hyphens and underscores are interchangeable."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from gradleak import extras, interrupts, records
from gradleak.errors import InputError
from gradleak.plan import plugins
from gradleak.plan.aliases import PlacesShorthand
from gradleak.plan.jobs.spec import split_commas
from gradleak.plan.spelling import Spelling, as_keys

S = TypeVar("S", bound=BaseModel)

_METAVARS = {int: "N", float: "X", Path: "PATH"}

_spelling = Spelling(())
"""Spelling of the command line that this process parsed, so that later messages name options as the user did."""

_program: str | None = None
"""Name of the program that this process runs."""


class Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, named after the program that runs.

    Args:
        description: shown by ``--help``.
    """

    def __init__(self, description: str | None = None) -> None:
        super().__init__(prog=_program, description=description, allow_abbrev=False)

    def error(self, message: str) -> Any:
        """Raise an InputError."""
        raise InputError(f"{message} (see --help)")


def describe(error: ValidationError, flag: str = "--") -> str:
    """Return all faults that pydantic found in one line, each with its field and the given value.

    Args:
        error: what pydantic raised.
        flag: ``--`` to write fields as options, as they were typed; empty to write them as keys of the configuration.
            A check writes options in the middle of its message as ``--name``, which is read as either.
    """
    spelling = _spelling if flag else None
    faults = []
    for fault in error.errors():
        text = fault["msg"].removeprefix("Value error, ")
        text = text if spelling else as_keys(text)
        if not fault["loc"]:
            faults.append(spelling.statement(text) if spelling else text)
            continue
        name, *inner = map(str, fault["loc"])
        text = text.removeprefix(f"{name}: ").removeprefix(f"{name} ")  # reported once
        text = spelling.flags(text) if spelling else text
        if spelling:
            inner = [part for part in inner if not part.isdecimal()]  # the option is typed as a whole
        where = ".".join([spelling.flag(name) if spelling else name, *inner])
        if fault["type"] == "missing":
            faults.append(f"{where} is missing")
        else:
            value = fault["input"]
            value = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
            given = "" if isinstance(value, dict) else f" (given: {value!r})"
            faults.append(f"{where}: {text}{given}")
    return "; ".join(faults)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """``int | None`` -> ``(int,)``."""
    if get_origin(annotation) in (UnionType, Union):
        return tuple(kind for kind in get_args(annotation) if kind is not type(None))
    return (annotation,)


def _metavar(field: FieldInfo) -> str:
    (kind, *_) = _kinds(field.annotation)
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(str, get_args(kind))) + "}"
    return _METAVARS.get(kind, "VALUE")


def _default(field: FieldInfo) -> str | None:
    """Return the default of a field as ``--help`` shows it; None if its description states it."""
    if field.is_required():
        return "required"
    if "default" in (field.description or ""):
        return None
    value = field.default
    shown = {True: "on", False: "off"}[value] if isinstance(value, bool) else _text(value)
    return f"default: {shown}"


def _text(value: Any) -> str:
    if value is None or value == ():
        return "none"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _add(
    parser: argparse._ActionsContainer, model: type[BaseModel], instead: Mapping[str, str], *, synonyms: bool = False
) -> None:
    """Add the fields of a model as options.

    Args:
        parser: the parser to add them to.
        model: the model with the fields.
        instead: replacements for the defaults that ``--help`` shows for some fields.
        synonyms: whether the fields are shorthands; those without a default of their own stand for other options.
    """
    for name, field in model.model_fields.items():
        flag = "--" + name.replace("_", "-")
        shown = f"default: {instead[name]}" if name in instead else _default(field)
        silent = shown is None or (synonyms and field.default is None)
        text = (field.description or "") + ("" if silent else f" ({shown})")
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text.strip().replace("%", "%%")}
        if bool in _kinds(field.annotation):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **options)
        else:
            parser.add_argument(flag, metavar=_metavar(field).replace("%", "%%"), **options)


def _hyphens(argument: str) -> str:
    """``--batch_size=24`` -> ``--batch-size=24``; values do not change."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value


def parse(
    spec: type[S],
    argv: Sequence[str],
    *,
    shorthand: type[PlacesShorthand] | None = None,
    description: str | None = None,
) -> S:
    """Parse a command line into a spec.

    Args:
        spec: its fields become the options.
        argv: arguments without the program's name.
        shorthand: documented spellings; its fields become options too.
        description: shown by ``--help``.

    Raises:
        InputError: an unknown option, a plug-in that cannot be read, or values that the spec refuses; one line lists
            all of them as they were typed.
    """
    global _spelling
    _spelling = Spelling(argv, spec.model_fields, shorthand.SYNONYMS if shorthand else None)
    parser = Parser(description)
    _add(parser, spec, shorthand.DEFAULTS if shorthand else {})
    if shorthand is not None:
        _add(parser.add_argument_group("documented shorthands"), shorthand, {}, synonyms=True)
    try:
        options = vars(parser.parse_args([_hyphens(argument) for argument in argv]))
        plugins.enter(split_commas(options.get("modules", ())))  # other options may name their kinds
        if shorthand is not None:
            short = {name: options.pop(name) for name in list(options) if name in shorthand.model_fields}
            options = shorthand(**short).expand(options)
        return spec(**options)
    except ValidationError as error:
        raise InputError(describe(error)) from error
    except ValueError as error:
        raise InputError(_spelling.flags(str(error))) from error


def run(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None, *, name: str | None = None) -> None:
    """Run a program: InputError gives one line and status 2, Ctrl-C and SIGTERM one line and status 130 or 143.

    Args:
        main: takes the arguments.
        argv: the arguments; those of this process by default.
        name: of the program, in its help and messages; that of its file by default.
    """
    global _program
    interrupts.catch()
    name = _program = name or sys.argv[0].rsplit("/", 1)[-1]
    try:
        with extras.needed_by():
            _check_folder()
            main(sys.argv[1:] if argv is None else argv)
        print(end="", flush=True)  # unlike a method of sys.stdout, which is None where the caller has closed the file
    except InputError as error:
        print(f"{name}: error: {as_typed(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{name}: {_interrupted()}", file=sys.stderr)
        sys.exit(interrupts.status())
    except BrokenPipeError:
        # The reader closed the pipe. Python flushes once more at exit: send that to /dev/null.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(
            f"{name}: error: no space left on the device for the summary; the results are complete",
            file=sys.stderr,
        )
        sys.exit(2)


def _check_folder() -> None:
    """Refuse a working folder that was deleted: relative paths lead nowhere, and some libraries do not load."""
    try:
        Path.cwd()
    except OSError as error:
        raise InputError("the current folder no longer exists; change to one that does") from error


def as_typed(error: InputError) -> str:
    """Return the message of an error, with options named as they were typed."""
    return _spelling.flags(str(error))


def _interrupted() -> str:
    """Describe what an interrupted program has written, by the folders of files that still exist."""
    folders = dict.fromkeys(path.parent for path in records.WRITTEN if path.exists())
    outer = [str(folder) for folder in folders if not set(folder.parents) & folders.keys()]
    return f"interrupted; written so far: {', '.join(outer)}" if outer else "interrupted; nothing was written"
