# One job per trained victim. Runs with equal victims share the checkpoint; the id is the checkpoint's folder.
from gradleak.plan.trainings import earlier_stages

CHECKPOINTS = "results/checkpoints"
PRIORS = "results/priors"
VICTIMS = {victim.run_id: victim for victim in GRID.victims.values()}
EARLIER = earlier_stages(VICTIMS)


def victim_data(wildcards):
    """Return the check of the training data; packaged samples need none."""
    name = VICTIMS[wildcards.victim].dataset
    return [] if catalogue.is_sample(name) else ancient(f"results/data/{name}.json")


def earlier_stage(wildcards):
    """Return the stage before this one of a shared training, from which it continues."""
    before = EARLIER.get(wildcards.victim)
    return ancient(f"{CHECKPOINTS}/{before}/model.safetensors") if before else []


def victim_options(wildcards):
    """Return the training as command-line options, without those that only set locations."""
    return shlex.join(VICTIMS[wildcards.victim].to_argv(identity_only=True))


rule train_model:
    input:
        victim_data,
        earlier_stage,
    output:
        weights=f"{CHECKPOINTS}/{{victim}}/model.safetensors",
        history=f"{CHECKPOINTS}/{{victim}}/history.csv",
        sidecar=f"{CHECKPOINTS}/{{victim}}/train.json",
    log:
        f"{CHECKPOINTS}/{{victim}}/log.txt",
    benchmark:
        f"{CHECKPOINTS}/{{victim}}/benchmark.tsv"
    wildcard_constraints:
        victim=r"[a-z0-9-]+/[^/]+/(epoch|iter)\d+-seed\d+-[0-9a-f]{8}",
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        options=victim_options,
        code=lambda wildcards: code_of(VICTIMS[wildcards.victim]),
    message:
        "Training the victim {wildcards.victim}"
    shell:
        "{PYTHON} workflow/scripts/train_model.py {params.options} --data-root {DATA_ROOT}"
        " --checkpoint-dir {CHECKPOINTS} --no-progress > {log} 2>&1"


def prior_data(wildcards):
    """The check of the data that a prior learns from; packaged samples need none."""
    name = GRID.priors[wildcards.prior].dataset
    return [] if catalogue.is_sample(name) else ancient(f"results/data/{name}.json")


# One job per diffusion prior that the workflow trains; the record is written last.
rule train_prior:
    input:
        prior_data,
    output:
        weights=f"{PRIORS}/{{prior}}/unet/diffusion_pytorch_model.safetensors",
        record=f"{PRIORS}/{{prior}}/prior.json",
        samples=report(
            f"{PRIORS}/{{prior}}/samples.png",
            category="Priors",
            caption="../workflow/report/prior.rst",
            labels={"prior": "{prior}"},
        ),
    log:
        f"{PRIORS}/{{prior}}/log.txt",
    benchmark:
        f"{PRIORS}/{{prior}}/benchmark.tsv"
    wildcard_constraints:
        prior=r"[a-z0-9-]+/[^/]+-[0-9a-f]{8}",
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
    params:
        options=lambda wildcards: shlex.join(
            GRID.priors[wildcards.prior].to_argv(identity_only=True)
        ),
        code=lambda wildcards: code_of(GRID.priors[wildcards.prior]),
    message:
        "Training the prior {wildcards.prior}"
    shell:
        "{PYTHON} workflow/scripts/train_prior.py {params.options} --data-root {DATA_ROOT}"
        " --prior-dir {PRIORS} --no-progress > {log} 2>&1"
