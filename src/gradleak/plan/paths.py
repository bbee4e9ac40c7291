"""Paths of results. Everything below ``results/`` is generated; nothing else is."""

import re
from pathlib import PurePath

NAME = r"[A-Za-z0-9_][A-Za-z0-9_-]*"
"""Valid names of experiments, tables, figures and image attacks, which become parts of paths."""

LONGEST_NAME = 200
"""Characters of such a name; the rest of :data:`LONGEST_PART` is left for suffixes of files and temporary files."""

LONGEST_PART = 255
"""Bytes of the name of a file or folder on the usual file systems."""

RUN_METRICS = "results/runs/{run}/metrics.csv"
RUN_SIDECAR = "results/runs/{run}/run.json"
RUN_IMAGES = "results/runs/{run}/images.npz"
RUN_CONTACT = "results/runs/{run}/contact.png"
RUN_TRACE = "results/runs/{run}/trace.csv"
_OF_LABELS = (RUN_METRICS, RUN_SIDECAR)
_OF_IMAGES = (*_OF_LABELS, RUN_IMAGES, RUN_CONTACT, RUN_TRACE)
RUN_FILES = {"labels": _OF_LABELS, "images": _OF_IMAGES, "diffusion": _OF_IMAGES}
"""Kind of a run -> its results."""

PAPER = "results/paper/main.pdf"
MACROS = "results/paper/macros.tex"
TABLE_SUFFIXES = ("csv", "html", "md", "tex")
FIGURE_SUFFIXES = ("pdf", "png")


def check_name(name: str) -> str:
    """Return a name if it can be part of a path.

    Raises:
        ValueError: it cannot be part of a path.
    """
    if not re.fullmatch(NAME, name) or len(name) > LONGEST_NAME:
        shown = repr(name) if len(name) <= LONGEST_NAME else f"of {len(name)} characters"
        raise ValueError(
            f"name {shown} cannot be part of a path; use 1 to {LONGEST_NAME} letters, digits, _ and -, and no - first"
        )
    return name


def check_run_id(run_id: str) -> None:
    """Refuse an id that is too long for a path.

    Raises:
        ValueError: a part of it is longer than the name of a folder can be.
    """
    if len(run_id.encode()) <= LONGEST_PART:
        return
    longest = max(PurePath(run_id).parts, key=lambda part: len(part.encode()))
    if len(longest.encode()) > LONGEST_PART:
        raise ValueError(
            f"{longest[:40]}... would be a folder's name of {len(longest.encode())} bytes, more than {LONGEST_PART}; "
            "compose fewer defenses or shorten the name of the attack"
        )


def run_metrics(run: str) -> str:
    """Return the long metrics CSV of a run."""
    return RUN_METRICS.format(run=run)


def experiment(name: str) -> str:
    """Return the CSV that holds all rows of an experiment."""
    return f"results/experiments/{name}.csv"


def table(name: str, suffix: str) -> str:
    """Return a table in one of TABLE_SUFFIXES."""
    return f"results/tables/{name}.{suffix}"


def figure(name: str, suffix: str) -> str:
    """Return a figure in one of FIGURE_SUFFIXES."""
    return f"results/figures/{name}.{suffix}"
