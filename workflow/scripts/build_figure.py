"""Draw one figure of the paper as PDF and PNG."""

from pathlib import Path
from typing import Any

from gradleak.plan import plugins
from gradleak.report import published
from gradleak.report.figures.base import build, save
from gradleak.report.snakemake_log import logged, unpacked
from gradleak.report.summary import read_experiments
from gradleak.report.tables.base import Labels

snakemake: Any = globals()["snakemake"]  # set by Snakemake
view, name = unpacked(snakemake.params["view"]), snakemake.wildcards["figure"]

with logged(snakemake.log[0], "build_figure") as log:
    plugins.enter(view["modules"])
    figure = build(
        view["kind"],
        read_experiments(Path(path) for path in snakemake.input.experiments),
        published.load(Path(snakemake.input.published)),
        Labels(**view["labels"]),
        images=dict(zip(unpacked(snakemake.params["runs"]), map(Path, snakemake.input["images"]), strict=True)),
        draft=view["draft"],
        name=name,
    )
    save(figure, Path(snakemake.output.pdf), Path(snakemake.output.png))
    log.info("figure %s drawn", name)
