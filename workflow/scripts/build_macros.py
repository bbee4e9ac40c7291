"""Write the numbers that the paper's prose quotes."""

from pathlib import Path
from typing import Any

from gradleak.plan import plugins
from gradleak.records import write_text
from gradleak.report import numbers as quoted
from gradleak.report import published, published_images, tex
from gradleak.report.collect import check_one_code
from gradleak.report.frames import read_experiment
from gradleak.report.snakemake_log import logged
from gradleak.report.tables.base import Labels
from gradleak.sidecars import read_sidecar

snakemake: Any = globals()["snakemake"]  # set by Snakemake
params = snakemake.params

with logged(snakemake.log[0], "build_macros") as log:
    plugins.enter(snakemake.input["modules"])
    records = {path: read_sidecar(path) for path in map(Path, snakemake.input.sidecars)}
    if not params["draft"]:
        # Tables and text compare experiments, each of which has only been checked on its own so far.
        check_one_code(records)
    values = quoted.gather(
        {Path(path).stem: read_experiment(Path(path)) for path in snakemake.input.experiments},
        published.load(Path(snakemake.input.published)),
        published.load_rerun(Path(snakemake.input.rerun)),
        records.values(),
        tables=params["tables"],
        figures=params["figures"],
        labels=Labels(**params["labels"]),
        images=published_images.load(Path(snakemake.input.images)),
        policies=params["policies"],
    )
    if params["draft"]:
        values["draft"] = "yes"  # makes the text show ?? for a missing number
    write_text(Path(snakemake.output[0]), tex.macros(values, Path(snakemake.input.template)))
    log.info("%d numbers", len(values))
