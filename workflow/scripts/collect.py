"""Gather the metrics of an experiment's runs into one CSV, in the order of the runs."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from gradleak.report.collect import gather
from gradleak.report.frames import write_experiment
from gradleak.report.snakemake_log import logged

snakemake: Snakemake = globals()["snakemake"]  # set by Snakemake

with logged(snakemake.log[0], "collect") as log:
    frame = gather(
        snakemake.params["runs"],
        map(Path, snakemake.input["metrics"]),
        map(Path, snakemake.input["sidecars"]),
        draft=snakemake.params["draft"],
    )
    write_experiment(Path(snakemake.output["rows"]), frame.assign(experiment=snakemake.wildcards["experiment"]))
    log.info("%d rows of %d runs", len(frame), len(snakemake.params["runs"]))
