# A figure is a view of experiments, as PDF for the paper and as PNG for the report.


rule figure:
    input:
        experiments=lambda wildcards: [
            paths.experiment(name)
            for name in GRID.config.figures[wildcards.figure].experiments
        ],
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
        view=lambda wildcards: view_params(GRID.config.figures[wildcards.figure]),
    message:
        "Drawing figure {wildcards.figure}"
    script:
        "../workflow/scripts/build_figure.py"
