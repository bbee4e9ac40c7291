"""Write the tables and numbers of measurements that were recorded beforehand."""

from pathlib import Path
from typing import Any

from gradleak.records import write_text
from gradleak.report import recorded, tex
from gradleak.report.snakemake_log import logged
from gradleak.report.tables import flower
from gradleak.report.tables.render import to_latex

snakemake: Any = globals()["snakemake"]  # set by Snakemake

with logged(snakemake.log[0], "build_recorded") as log:
    showcase = recorded.read(Path(snakemake.input.flower))
    template = Path(snakemake.input.table)
    write_text(Path(snakemake.output.audits), to_latex(flower.audits(showcase), flower.AUDITS, template))
    write_text(Path(snakemake.output.counters), to_latex(flower.counters(showcase), flower.COUNTERS, template))
    write_text(Path(snakemake.output.macros), tex.macros(flower.values(showcase), Path(snakemake.input.macros)))
    log.info("recorded on %s", showcase.recorded)
