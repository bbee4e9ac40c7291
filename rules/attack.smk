# One job per run: observe the clients' gradients, attack them, write the metrics (and, of images, what was made of them).
from gradleak.plan.lpips_files import weights_digest

PRIOR_FOLDERS = {prior.folder for prior in GRID.priors.values()}


def run_needs(wildcards):
    """The check of the run's data set (samples need none), its trained victim and the prior that the workflow trains.

    One function for all of them: of the time to plan a large grid, calls of input functions are a good part.
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


def run_options(wildcards):
    """The run's spec as command-line options, without those that only say where things are."""
    return shlex.join(GRID.runs[wildcards.run].to_argv(identity_only=True))


def run_code(wildcards):
    """The code of the run's program, and of the methods, data set, model and defenses that it uses."""
    return code_of(GRID.runs[wildcards.run])


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
        options=run_options,
        # Jobs are run again when the code that they use changes.
        code=run_code,
    message:
        "Restoring labels: {wildcards.run}"
    shell:
        "{PYTHON} workflow/scripts/restore_labels.py {params.options} --data-root {DATA_ROOT}"
        " --no-progress --output {output.metrics} > {log} 2>&1"


def lpips_digest(wildcards):
    """The content of the weights of LPIPS that a run uses: other weights, or none, are another result."""
    return weights_digest(GRID.runs[wildcards.run].lpips_weights)


def image_program(wildcards):
    """The program that a run of images calls."""
    kind = GRID.runs[wildcards.run].KIND
    return {"images": "reconstruct.py", "diffusion": "diffusion_reconstruct.py"}[kind]


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
        options=run_options,
        program=image_program,
        lpips=lpips_digest,
        code=run_code,
    message:
        "Reconstructing images: {wildcards.run}"
    shell:
        "{PYTHON} workflow/scripts/{params.program} {params.options} --data-root {DATA_ROOT} {LPIPS}"
        " --no-progress --output {output.metrics} > {log} 2>&1"
