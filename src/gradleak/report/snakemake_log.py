"""What the programs share that Snakemake runs by ``script:``: their log, how they fail, and texts of the user."""

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
    """Log to a file; an :class:`InputError` is one line in it and on standard error, and exit status 1.

    Args:
        log: ``snakemake.log[0]``.
        name: the program, for messages.

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
    """Return a parameter of a rule as text that may stand in any page.

    Snakemake writes the parameters of jobs into the scripts of its report as they are, where ``</script>`` in a caption
    or a label would end the script, and with it the report.

    Args:
        value: dicts with text keys, lists, texts, numbers, booleans and None.
    """
    return json.dumps(value).replace("<", "\\u003c")


def unpacked(text: str) -> Any:
    """Return what :func:`packed` was given."""
    return json.loads(text)
