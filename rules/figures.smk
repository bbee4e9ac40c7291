# A figure is a view of experiments, as PDF for the paper and as PNG for the report.


def shown_runs(figure):
    """Return the runs whose images a figure shows; none for figures of metrics only."""
    view = GRID.config.figures[figure]
    if not catalogue.find("figures", view.kind).shows_images:
        return []
    runs = (run for name in view.experiments for run in GRID.experiments[name])
    return list(dict.fromkeys(runs))


rule figure:
    input:
        experiments=lambda wildcards: [
            paths.experiment(name)
            for name in GRID.config.figures[wildcards.figure].experiments
        ],
        images=lambda wildcards: [
            paths.RUN_IMAGES.format(run=run) for run in shown_runs(wildcards.figure)
        ],
        modules=lambda wildcards: shown_modules(GRID.config.figures[wildcards.figure]),
        published="paper/published/ilrg.csv",
    output:
        pdf="results/figures/{figure}.pdf",
        png=report(
            "results/figures/{figure}.png",
            category="Figures",
            caption="../workflow/report/figure.rst",
            labels={"figure": "{figure}"},
        ),
    log:
        "results/figures/{figure}.log",
    params:
        view=lambda wildcards: packed(
            view_params(GRID.config.figures[wildcards.figure])
        ),
        runs=lambda wildcards: packed(shown_runs(wildcards.figure)),
    message:
        "Drawing figure {wildcards.figure}"
    script:
        "../workflow/scripts/build_figure.py"
