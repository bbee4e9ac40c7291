# Full data sets are checked once, before any job needs them, so that a missing one gives one message, not hundreds.


def data_splits(dataset):
    """Return the splits of a data set that runs and trainings use."""
    used = {run.split for run in GRID.runs.values() if run.dataset == dataset}
    trained = any(
        run.victim() is not None for run in GRID.runs.values() if run.dataset == dataset
    )
    priors = [prior for prior in GRID.priors.values() if prior.dataset == dataset]
    used |= {prior.split for prior in priors}
    trained |= any(prior.avoid for prior in priors)
    return sorted(used | ({"train", "val"} if trained else set()))


def data_plugin(dataset):
    """Return the option for the plug-in of a data set, if it has one."""
    modules = plugins.used([("datasets", dataset)])
    return f"--modules {shlex.join(modules)}" if modules else ""


rule check_data:
    output:
        "results/data/{dataset}.json",
    log:
        "results/data/{dataset}.log",
    params:
        root=str(GRID.config.data.root),
        splits=lambda wildcards: ",".join(data_splits(wildcards.dataset)),
        plugin=lambda wildcards: data_plugin(wildcards.dataset),
        # An edited plug-in is loaded again.
        code=lambda wildcards: plugins.digests(
            plugins.used([("datasets", wildcards.dataset)])
        ),
        download="--download" if GRID.config.data.download else "--no-download",
    message:
        "Checking the data set {wildcards.dataset}"
    shell:
        "{PYTHON} workflow/scripts/check_data.py --dataset {wildcards.dataset} --data-root {params.root:q}"
        " --splits {params.splits} {params.download} {params.plugin} --output {output} > {log} 2>&1"
