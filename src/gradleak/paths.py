"""Where results are. Everything below ``results/`` is generated; nothing else is."""

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
