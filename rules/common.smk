# Shared by all rules: the expanded grid and functions to look things up in it.
import gc
import shlex
import os
import shutil
import subprocess
import sys

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from gradleak.plan import config as configuration
from gradleak.plan import grid as grids
from gradleak import code_digest, provenance, records
from gradleak.plan import catalogue, entry_labels, paths, plugins
from gradleak.plan.code import code_of, stamped
from gradleak.plan.config_sources import Sources
from gradleak.errors import InputError

# The graph of a large grid lives until the end: garbage collection would take a tenth of the time to plan.
gc.set_threshold(100_000, 20, 50)

CONFIG_FILES = ["config/config.yaml", *workflow.overwrite_configfiles]

try:
    SOURCES = Sources.read([Path(file) for file in CONFIG_FILES])
    GRID = grids.expand(configuration.load(config, SOURCES), SOURCES)
except InputError as error:
    raise WorkflowError(f"the configuration has faults:\n{error}") from None

# Snakemake puts the path of its interpreter unquoted into commands of scripts. If that contains a space or the like, they call
# a wrapper at a path without.
if shlex.quote(sys.executable) != sys.executable:
    wrapper = Path(".snakemake/python")
    call = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'
    if not wrapper.is_file() or wrapper.read_text(encoding="utf-8") != call:
        records.write_text(wrapper, call)
    wrapper.chmod(0o755)
    sys.executable = str(wrapper)
# Jobs use the interpreter that runs Snakemake, whether or not its environment is activated.
PYTHON = shlex.quote(sys.executable)
DATA_ROOT = shlex.quote(str(GRID.config.data.root))
LPIPS = (
    f"--lpips {shlex.quote(str(GRID.config.data.lpips))}"
    if GRID.config.data.lpips
    else ""
)
HAS_TEX = all(
    shutil.which(program) for program in ("latexmk", "pdflatex", "kpsewhich")
) and not subprocess.call(
    ["kpsewhich", "lmodern.sty", "microtype.sty", "booktabs.sty", "natbib.sty"],
    stdout=subprocess.DEVNULL,
)
# Passed to all jobs, so that git runs once per workflow and not once per job.
os.environ.setdefault("GRADLEAK_COMMIT", provenance.stamp())
code_digest.tell_jobs(
    stamped([*GRID.runs.values(), *GRID.victims.values(), *GRID.priors.values()])
)


# On a cluster these run on the host of Snakemake: they take seconds, and may need the network or TeX.
# Memory and run time of all others grow with the attempt, for profiles with retries. On a single machine they have no effect
# unless a call sets limits (--resources mem_mb=16000).
localrules:
    all,
    check_data,
    collect,
    table,
    figure,
    macros,
    recorded,
    paper,


wildcard_constraints:
    run=r"[a-z]+/.+",
    experiment=paths.NAME,
    table=paths.NAME,
    figure=paths.NAME,
    dataset=r"[a-z0-9-]+",


def deliverables():
    """Return everything that the default call makes; the PDF only if TeX is installed."""
    made = [paths.experiment(name) for name in GRID.experiments]
    # Nothing else depends on all files of a run: listed here, deleted ones are made again.
    made += [
        pattern.format(run=name)
        for name, run in GRID.runs.items()
        for pattern in paths.RUN_FILES[run.KIND]
    ]
    made += [
        paths.table(name, suffix)
        for name in GRID.tables
        for suffix in paths.TABLE_SUFFIXES
    ]
    made += [
        paths.figure(name, suffix)
        for name in GRID.figures
        for suffix in paths.FIGURE_SUFFIXES
    ]
    if HAS_TEX:
        made.append(paths.PAPER)
    else:
        logger.warning(
            "latexmk or a TeX package is missing (see `make tex`): tables and figures are made, the PDF is not"
        )
    return made


def named_by(experiments):
    """Return the entries of the catalogue that each experiment uses, by their ids."""
    return [GRID.named.get(name, {}) for name in experiments]


def labels_for(experiments):
    """Return the labels of a view of some experiments."""
    runs = (run for name in experiments for run in GRID.experiments.get(name, ()))
    compositions = {GRID.runs[run].defenses for run in runs}
    return entry_labels.labels_of(
        GRID.config, named_by(experiments), sorted(compositions)
    )


def warn_of_labels():
    """Warn if a view uses several entries with equal options, which it shows under one label."""
    for part in ("tables", "figures"):
        for name in getattr(GRID, part):
            view = getattr(GRID.config, part)[name]
            for line in entry_labels.two_labels(
                GRID.config, named_by(view.experiments)
            ):
                logger.warning(f"{part}.{name}: {line}")


def view_params(view):
    """Return the parameters of a table or figure script."""
    return {
        "kind": view.kind,
        "caption": view.caption,
        "draft": GRID.config.draft,
        "modules": shown_modules(view),
        "labels": labels_for(view.experiments),
    }


def shown_modules(*views):
    """Return the plug-ins of views and of the metrics in their experiments."""
    experiments = {name for view in views for name in view.experiments}
    metrics = {
        metric
        for name in experiments
        for metric in GRID.config.experiments[name].metrics
    }
    entries = [*views, *(GRID.config.metrics[name] for name in metrics)]
    return sorted({entry.module for entry in entries if entry.module is not None})


if workflow.is_main_process:
    warn_of_labels()
