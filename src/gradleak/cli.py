"""Command lines made from specs: every field is an option, hyphens and underscores are the same."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gradleak.errors import InputError
from gradleak.shorthand import PlacesShorthand

S = TypeVar("S", bound=BaseModel)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> Any:
        raise InputError(f"{message} (see --help)")


def describe(error: ValidationError, flag: str = "--") -> str:
    """Return all faults that pydantic found, in one line, each with its option and the value given.

    Args:
        error: what pydantic raised.
        flag: ``--`` to write fields as options, empty to write them as keys of the configuration.
    """
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        where = flag + (where.replace("_", "-") if flag else where) if where else ""
        text = fault["msg"].removeprefix("Value error, ")
        given = "" if isinstance(fault["input"], dict) else f" (given: {fault['input']!r})"
        faults.append(f"{where}: {text}{given}" if where else text)
    return "; ".join(faults)


def _is_bool(annotation: Any) -> bool:
    return annotation is bool or (get_origin(annotation) in (UnionType,) and bool in get_args(annotation))


def _add(parser: argparse._ActionsContainer, model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        flag = "--" + name.replace("_", "-")
        default = field.default
        shown = "" if default in (None, False, True) else f" (default: {_text(default)})"
        help_text = (field.description or "").replace("%", "%%") + shown.replace("%", "%%")
        if _is_bool(field.annotation):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=help_text)
        else:
            parser.add_argument(flag, default=argparse.SUPPRESS, help=help_text, metavar="VALUE")


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _hyphens(argument: str) -> str:
    """``--num_images=24`` -> ``--num-images=24``; values are left as they are."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value


def parse(
    spec: type[S],
    argv: Sequence[str],
    *,
    shorthand: type[PlacesShorthand] | None = None,
    prog: str | None = None,
    description: str | None = None,
) -> S:
    """Parse a command line into a spec.

    Args:
        spec: its fields become the options.
        argv: arguments without the program's name.
        shorthand: documented spellings; its fields become options too.
        prog: the program's name in messages.
        description: shown by ``--help``.

    Raises:
        InputError: an unknown option, or values that the spec refuses; one line names all of them.
    """
    parser = _Parser(prog=prog, description=description, allow_abbrev=False)
    _add(parser, spec)
    if shorthand is not None:
        _add(parser.add_argument_group("documented shorthands"), shorthand)
    options = vars(parser.parse_args([_hyphens(argument) for argument in argv]))
    try:
        if shorthand is not None:
            short = {name: options.pop(name) for name in list(options) if name in shorthand.model_fields}
            options = shorthand(**short).expand(options)
        return spec(**options)
    except ValidationError as error:
        raise InputError(describe(error)) from error
    except ValueError as error:
        raise InputError(str(error)) from error


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Run a program: an InputError is one line and status 2, Ctrl-C is one line and status 130."""
    # Snakemake and Slurm end jobs with SIGTERM: unwind as for Ctrl-C, so that temporary files go away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    name = sys.argv[0].rsplit("/", 1)[-1]
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{name}: interrupted, nothing was written", file=sys.stderr)
        sys.exit(130)
