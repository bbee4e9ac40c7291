"""Write the tables and numbers of measurements that were recorded beforehand."""

from pathlib import Path
from typing import Any

from gradleak.records import write_text
from gradleak.report import recorded
from gradleak.report.snakemake_log import logged
from gradleak.report.tables import flower

snakemake: Any = globals()["snakemake"]  # set by Snakemake

with logged(snakemake.log[0], "build_recorded") as log:
    showcase = recorded.read(Path(snakemake.input.flower))
    templates = {"table": Path(snakemake.input.table), "macros": Path(snakemake.input.macros)}
    texts = flower.files(showcase, **templates)
    for path in map(Path, snakemake.output):
        write_text(path, texts[path.name])
    log.info("recorded on %s", showcase.recorded)
