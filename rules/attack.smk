# One job per run: observe the clients' gradients, attack them, write the metrics (and reconstructed images).
from gradleak.plan.lpips_files import weights_digest

PRIOR_FOLDERS = {prior.folder for prior in GRID.priors.values()}


def run_needs(wildcards):
    """Return the check of the run's data set (samples need none), its trained victim and its trained prior.

    One function for all of them, since calls of input functions take a good part of the time to plan a large grid.
    """
    run = GRID.runs[wildcards.run]
    needs = []
    if not catalogue.is_sample(run.dataset):
        needs.append(ancient(f"results/data/{run.dataset}.json"))
    if wildcards.run in GRID.victims:
        victim = f"{CHECKPOINTS}/{GRID.victims[wildcards.run].run_id}"
        needs += [f"{victim}/model.safetensors", f"{victim}/train.json"]
    folder = Path(getattr(run, "prior", ""))
    if folder in PRIOR_FOLDERS:
        needs.append(f"{folder}/prior.json")
    return needs


PROGRAMS = {
    "labels": "restore_labels.py",
    "images": "reconstruct.py",
    "diffusion": "diffusion_reconstruct.py",
}


# Function calls take a good part of the time to plan a large grid, so there are few of them.
def run_call(wildcards):
    """Return the program of a run and its spec as options, without those that only set locations."""
    run = GRID.runs[wildcards.run]
    return f"{PROGRAMS[run.KIND]} {shlex.join(run.to_argv(identity_only=True))}"


def run_code(wildcards):
    """Return the digest of the code of a run's program and kinds, and that of its LPIPS weights."""
    run = GRID.runs[wildcards.run]
    weights = weights_digest(getattr(run, "lpips_weights", None))
    return code_of(run) if weights is None else f"{code_of(run)} {weights}"


rule restore_labels:
    input:
        run_needs,
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
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        call=run_call,
        # Jobs are rerun when the code that they use changes.
        code=run_code,
    message:
        "Restoring labels: {wildcards.run}"
    shell:
        "{PYTHON} workflow/scripts/{params.call} --data-root {DATA_ROOT}"
        " --no-progress --output {output.metrics} > {log} 2>&1"


rule reconstruct_images:
    input:
        run_needs,
    output:
        metrics=paths.RUN_METRICS,
        sidecar=paths.RUN_SIDECAR,
        contact=report(
            paths.RUN_CONTACT,
            category="Reconstructions",
            caption="../workflow/report/contact.rst",
            labels={"run": "{run}"},
        ),
        trace=paths.RUN_TRACE,
        images=paths.RUN_IMAGES,
    log:
        "results/runs/{run}/log.txt",
    benchmark:
        "results/runs/{run}/benchmark.tsv"
    wildcard_constraints:
        run=r"(images|diffusion)/.+",
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        call=run_call,
        code=run_code,
    message:
        "Reconstructing images: {wildcards.run}"
    shell:
        "{PYTHON} workflow/scripts/{params.call} --data-root {DATA_ROOT} {LPIPS}"
        " --no-progress --output {output.metrics} > {log} 2>&1"
