# One job per run: observe the client's gradients, attack them, write the metrics.


def run_data(wildcards):
    """The check of the data set that the run needs; packaged samples need none."""
    name = GRID.runs[wildcards.run].dataset
    return [] if name.endswith("-sample") else ancient(f"results/data/{name}.json")


def run_options(wildcards):
    """The run's spec as command-line options, without those that only say where things are."""
    return shlex.join(GRID.runs[wildcards.run].to_argv(identity_only=True))


rule restore_labels:
    input:
        run_data,
        lambda wildcards: victim_checkpoint(wildcards.run),
    output:
        metrics=paths.RUN_METRICS,
        sidecar=paths.RUN_SIDECAR,
    log:
        "results/runs/{run}/log.txt",
    benchmark:
        "results/runs/{run}/benchmark.tsv"
    wildcard_constraints:
        run=r"labels/.+",
    threads: 1
    resources:
        mem_mb=3000,
    params:
        options=run_options,
    message:
        "Restoring labels: {wildcards.run}"
    shell:
        "{PYTHON} workflow/scripts/restore_labels.py {params.options} --data-root {DATA_ROOT}"
        " --no-progress --output {output.metrics} > {log} 2>&1"
