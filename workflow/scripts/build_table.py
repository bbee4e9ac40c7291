"""Write one table of the paper as CSV, Markdown, HTML and LaTeX."""

from pathlib import Path
from typing import Any

from gradleak.plan import plugins
from gradleak.records import write_text
from gradleak.report import gpu, published, published_images
from gradleak.report.snakemake_log import logged, unpacked
from gradleak.report.summary import read_experiments
from gradleak.report.tables.base import Labels, build
from gradleak.report.tables.render import to_csv, to_html, to_latex, to_markdown

snakemake: Any = globals()["snakemake"]  # set by Snakemake
view, name = unpacked(snakemake.params["view"]), snakemake.wildcards["table"]

with logged(snakemake.log[0], "build_table") as log:
    plugins.enter(view["modules"])
    table = build(
        view["kind"],
        read_experiments(Path(path) for path in snakemake.input.experiments),
        published.load(Path(snakemake.input.published)),
        Labels(**view["labels"]),
        rerun=published.load_rerun(Path(snakemake.input.rerun)),
        images=published_images.load(Path(snakemake.input.images)),
        policies=unpacked(snakemake.params["policies"]),
        metrics=unpacked(snakemake.params["metrics"]),
        gpu=gpu.load(Path(snakemake.input.gpu[0])) if snakemake.input.gpu else None,
        draft=view["draft"],
        caption=view["caption"],
        name=name,
    )
    write_text(Path(snakemake.output.csv), to_csv(table))
    write_text(Path(snakemake.output.markdown), to_markdown(table))
    write_text(Path(snakemake.output.html), to_html(table, name, Path(snakemake.input.page)))
    write_text(Path(snakemake.output.latex), to_latex(table, name, Path(snakemake.input.template)))
    log.info("table %s: %d lines", name, len(table.lines))
