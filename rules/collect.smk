# All rows of an experiment in one CSV. An experiment is a set of runs; a run may be in several.


rule collect:
    input:
        lambda wildcards: [
            paths.run_metrics(run) for run in GRID.experiments[wildcards.experiment]
        ],
    output:
        "results/experiments/{experiment}.csv",
    log:
        "results/experiments/{experiment}.log",
    message:
        "Collecting {wildcards.experiment}"
    script:
        "../workflow/scripts/collect.py"
