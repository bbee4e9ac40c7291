# One job per run: observe the clients' gradients, attack them, write the metrics (and, of images, what was made of them).


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
        # Jobs are run again when the code that they reach changes.
        code=code_digest.code_digest("labels"),
    message:
        "Restoring labels: {wildcards.run}"
    shell:
        "{PYTHON} workflow/scripts/restore_labels.py {params.options} --data-root {DATA_ROOT}"
        " --no-progress --output {output.metrics} > {log} 2>&1"


def prior_of(wildcards):
    """The diffusion prior that the run needs, if the workflow trains it."""
    folder = Path(getattr(GRID.runs[wildcards.run], "prior", ""))
    made = {str(prior.folder) for prior in GRID.priors.values()}
    return f"{folder}/prior.json" if str(folder) in made else []


def image_program(wildcards):
    """The program that a run of images calls."""
    kind = GRID.runs[wildcards.run].KIND
    return {"images": "reconstruct.py", "diffusion": "diffusion_reconstruct.py"}[kind]


# Where there are GPUs, a profile gives it one: --set-resources reconstruct_images:gpu=1
rule reconstruct_images:
    input:
        run_data,
        lambda wildcards: victim_checkpoint(wildcards.run),
        prior_of,
    output:
        metrics=paths.RUN_METRICS,
        sidecar=paths.RUN_SIDECAR,
        contact=report(
            "results/runs/{run}/contact.png",
            category="Reconstructions",
            caption="../workflow/report/contact.rst",
            labels={"run": "{run}"},
        ),
        trace="results/runs/{run}/trace.csv",
        images=paths.RUN_IMAGES,
    log:
        "results/runs/{run}/log.txt",
    benchmark:
        "results/runs/{run}/benchmark.tsv"
    wildcard_constraints:
        run=r"(images|diffusion)/.+",
    threads: 1
    resources:
        mem_mb=4000,
    params:
        options=run_options,
        program=image_program,
        code=lambda wildcards: code_digest.code_digest(GRID.runs[wildcards.run].KIND),
    message:
        "Reconstructing images: {wildcards.run}"
    shell:
        "{PYTHON} workflow/scripts/{params.program} {params.options} --data-root {DATA_ROOT} {LPIPS}"
        " --no-progress --output {output.metrics} > {log} 2>&1"
