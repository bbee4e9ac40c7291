# What all rules share: the expanded grid and the functions that look things up in it.
import shlex
import os
import shutil
import subprocess
import sys

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from gradleak import config as configuration
from gradleak import grid as grids
from gradleak import code_digest, facts, paths, plugins, provenance
from gradleak.axes import IMAGE_ATTACKS
from gradleak.errors import InputError
from gradleak.options import VictimOptions

SOURCES = configuration.Sources.read(
    [Path(file) for file in ["config/config.yaml", *workflow.overwrite_configfiles]]
)

try:
    GRID = grids.expand(configuration.load(config, SOURCES), SOURCES)
except InputError as error:
    raise WorkflowError(f"the configuration has faults:\n{error}") from None

# Snakemake puts its interpreter into the commands of scripts as it is. Where a folder's name has a space or the like, a
# relative path does without that name.
if shlex.quote(sys.executable) != sys.executable:
    sys.executable = os.path.relpath(sys.executable)
# Jobs run under the interpreter that runs Snakemake, whether or not its environment is activated.
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
# Told to all jobs, so that git runs once per workflow and not in each of them.
os.environ.setdefault("GRADLEAK_COMMIT", provenance.stamp())
code_digest.tell_jobs()


# On a cluster these are done where Snakemake runs: they take seconds, and may need the network or a TeX.
# Memory and run time of all others grow with the attempt, for a profile that retries. On one machine they limit
# nothing, unless a call does (--resources mem_mb=16000).
localrules:
    all,
    check_data,
    collect,
    table,
    figure,
    macros,
    paper,


wildcard_constraints:
    run=r"[a-z]+/.+",
    experiment=r"[A-Za-z0-9_-]+",
    table=r"[A-Za-z0-9_-]+",
    figure=r"[A-Za-z0-9_-]+",
    dataset=r"[a-z0-9-]+",


def deliverables():
    """Everything that the default call makes; the PDF only where there is a TeX."""
    made = [paths.experiment(name) for name in GRID.experiments]
    # Nothing else needs all files of a run: named here, those that were deleted are made again.
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


def view_params(view):
    """What a table or figure script needs to know besides its input files."""
    chosen = GRID.config
    return {
        "kind": view.kind,
        "caption": view.caption,
        "draft": chosen.draft,
        "modules": modules_of(view),
        "labels": {
            "dataset": {entry.kind: entry.label for entry in chosen.datasets.values()},
            "model": {model_id(entry): entry.label for entry in chosen.models.values()},
            # Methods that restore labels have one name; image attacks are called as the catalogue calls them.
            "method": {
                name if entry.kind in IMAGE_ATTACKS else entry.kind: entry.label
                for name, entry in chosen.attacks.items()
            },
            "defense": {
                entry.canonical(): entry.label for entry in chosen.defenses.values()
            },
        },
    }


def modules_of(*entries):
    """The plug-ins of some entries of the configuration."""
    return sorted({entry.module for entry in entries if entry.module is not None})


def model_id(entry):
    return VictimOptions(**entry.options()).model_id
