"""Shared code of the programs that Snakemake runs by ``script:``: log, failure, and the user's strings."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradleak.errors import InputError


@contextmanager
def logged(log: str | Path, name: str) -> Iterator[logging.Logger]:
    """Log to a file; an :class:`InputError` becomes one line there and on standard error, and exit status 1.

    Args:
        log: ``snakemake.log[0]``.
        name: name of the program, for messages.

    Raises:
        SystemExit: the block raised an InputError.
    """
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger(f"gradleak.{name}")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield logger
    except InputError as error:
        logger.error("%s", error)
        print(f"{name}: error: {error}", file=sys.stderr)
        sys.exit(1)
    except BaseException:
        logger.exception("failed")
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()


def packed(value: Any) -> str:
    """Return a parameter of a rule as text that is safe in any page.

    Snakemake writes the parameters of jobs verbatim into the scripts of its report, where ``</script>`` in a caption or
    label would end the script and break the report.

    Args:
        value: dicts with string keys, lists, strings, numbers, booleans and None.
    """
    return json.dumps(value).replace("<", "\\u003c")


def unpacked(text: str) -> Any:
    """Invert :func:`packed`."""
    return json.loads(text)
