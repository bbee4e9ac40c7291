# A table is a view of experiments, written four times: numbers (CSV), HTML, Markdown and LaTeX.
from gradleak.report.snakemake_log import packed


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
