# Full data sets are looked at once, before any job needs them: a missing one is one message, not hundreds.


rule check_data:
    output:
        "results/data/{dataset}.json",
    log:
        "results/data/{dataset}.log",
    params:
        root=str(GRID.config.data.root),
        download="--download" if GRID.config.data.download else "--no-download",
    message:
        "Checking the data set {wildcards.dataset}"
    shell:
        "{PYTHON} workflow/scripts/check_data.py --dataset {wildcards.dataset} --data-root {params.root:q}"
        " {params.download} --output {output} > {log} 2>&1"
