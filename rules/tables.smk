# A table is a view of experiments, written four times: numbers (CSV), HTML, Markdown and LaTeX.
from gradleak.report.snakemake_log import packed

# Only if someone has measured on a GPU (bench/gpu.sh); the agreement table alone shows it.
MEASURED_ON_GPU = Path("paper/published/gpu.json")


def measured_on_gpu(wildcards):
    """Return the figures of a GPU, if there are any and the table shows them."""
    shown = GRID.config.tables[wildcards.table].kind == "agreement"
    return [str(MEASURED_ON_GPU)] if shown and MEASURED_ON_GPU.is_file() else []


rule table:
    input:
        experiments=lambda wildcards: [
            paths.experiment(name)
            for name in GRID.config.tables[wildcards.table].experiments
        ],
        modules=lambda wildcards: shown_modules(GRID.config.tables[wildcards.table]),
        published="paper/published/ilrg.csv",
        images="paper/published/images.csv",
        rerun="paper/published/rerun.csv",
        gpu=measured_on_gpu,
        template="paper/templates/table.tex.j2",
        page="workflow/report/table.html.j2",
    output:
        csv=report(
            "results/tables/{table}.csv",
            category="Tables",
            caption="../workflow/report/table.rst",
            labels={"table": "{table}", "format": "numbers (CSV)"},
        ),
        html=report(
            "results/tables/{table}.html",
            category="Tables",
            caption="../workflow/report/table.rst",
            labels={"table": "{table}", "format": "to read"},
        ),
        markdown="results/tables/{table}.md",
        latex="results/tables/{table}.tex",
    log:
        "results/tables/{table}.log",
    params:
        view=lambda wildcards: packed(view_params(GRID.config.tables[wildcards.table])),
        metrics=lambda wildcards: packed(
            GRID.config.tables[wildcards.table].metrics or []
        ),
        policies=lambda wildcards: packed(
            GRID.label_policies(GRID.config.tables[wildcards.table].experiments)
        ),
    message:
        "Building table {wildcards.table}"
    script:
        "../workflow/scripts/build_table.py"
