"""Gather the metrics of an experiment's runs into one CSV, in the order of the runs."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from gradleak.gather import gather
from gradleak.records import whole_file
from gradleak.script_jobs import logged

snakemake: Snakemake = globals()["snakemake"]  # put there by Snakemake

with logged(snakemake.log[0], "collect") as log:
    frame = gather(
        snakemake.params["runs"],
        map(Path, snakemake.input["metrics"]),
        map(Path, snakemake.input["sidecars"]),
        draft=snakemake.params["draft"],
    )
    with whole_file(Path(snakemake.output[0])) as temporary:
        frame.assign(experiment=snakemake.wildcards["experiment"]).to_csv(temporary, index=False, lineterminator="\n")
    log.info("%d rows of %d runs", len(frame), len(snakemake.params["runs"]))
