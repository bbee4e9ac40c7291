# All rows of an experiment in one CSV. An experiment is a set of runs; a run may be in several.


rule collect:
    input:
        metrics=lambda wildcards: [
            paths.run_metrics(run) for run in GRID.experiments[wildcards.experiment]
        ],
        sidecars=lambda wildcards: [
            paths.RUN_SIDECAR.format(run=run)
            for run in GRID.experiments[wildcards.experiment]
        ],
    output:
        rows="results/experiments/{experiment}.csv",
        # Number of rows and digest of the file, to detect a truncated CSV.
        record="results/experiments/{experiment}.json",
    log:
        "results/experiments/{experiment}.log",
    params:
        runs=lambda wildcards: GRID.experiments[wildcards.experiment],
        draft=GRID.config.draft,
    message:
        "Collecting {wildcards.experiment}"
    script:
        "../workflow/scripts/collect.py"
