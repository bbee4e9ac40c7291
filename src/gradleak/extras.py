"""What the extra ``workflow`` installs, and one line for whatever needs it where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from gradleak.errors import InputError

WORKFLOW = {
    "diffusers": "diffusers",
    "filelock": "filelock",
    "foolbox": "foolbox",
    "matplotlib": "matplotlib",
    "mlxtend": "mlxtend",
    "pandas": "pandas",
    "pygments": "pygments",
    "snakemake": "snakemake",
    "torchvision": "torchvision",
    "yaml": "pyyaml",
}
"""Module -> package of the extra ``workflow``; the core of gradleak imports none of them."""


def missing(package: str, what: str = "") -> InputError:
    """Return the error of something that needs a package of the extra.

    Args:
        package: its name.
        what: what needs it, at the start of the message; empty for a whole program.
    """
    need = f"{what} needs" if what else "needs"
    return InputError(f"{need} the package {package}, which is not installed: pip install 'gradleak[workflow]'")


@contextmanager
def needed_by(what: str = "") -> Iterator[None]:
    """Turn a failed import of a package of the extra into one line; other failed imports keep their traceback.

    Args:
        what: see :func:`missing`.

    Raises:
        InputError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = WORKFLOW.get((error.name or "").partition(".")[0])
        if package is None:
            raise
        raise missing(package, what) from error
