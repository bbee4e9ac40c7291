"""No tensor stays on the CPU: whole runs on a simulated GPU, which refuses to mix devices, as a real one does."""

from typing import Any

import pytest
import torch
from tests.simulated_gpu import GPU, OnGPU, simulated_gpu

import exact_inversion
import peers
from gradleak.attacks.diffusion import train as priors
from gradleak.data import datasets
from gradleak.plan.jobs.diffusion import DiffusionReconstruct, TrainPrior, batches_id
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.training import TrainVictim
from gradleak.runs import diffusion, images, labels
from gradleak.victims.training import train

SMALL: dict[str, Any] = {"dataset": "cifar100-sample", "progress": False}


def test_the_simulated_gpu_refuses_what_a_gpu_refuses():
    with simulated_gpu() as seen:
        x = torch.ones(2, 3).to(GPU)
        assert isinstance(x, OnGPU)
        assert x.device == GPU
        assert (x + torch.zeros(3, device=x.device)).device == GPU
        assert float((x + torch.tensor(2.0)).sum()) == 18  # numbers may come from the CPU
        assert x[torch.tensor([1])].device == GPU  # and indices
        assert x.cpu().device.type == "cpu"
        with pytest.raises(RuntimeError, match=r"two devices, on the CPU \[\[3\]\]"):
            x.add(torch.zeros(3))
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()
        assert not seen
        torch.ones(2, 2).mm(torch.ones(2, 2))
        assert seen == {("aten::mm", torch.float32)}


@pytest.mark.parametrize(
    "options",
    [
        {"methods": ("ilrg", "ilrg-simplified", "ilrg-estimate", "idlg", "gi", "rlg"), "analysis": True},
        {"methods": ("ilrg", "consistency"), "batch_size": 2, "num_tries": 1},
        {"model": "resnet18", "batch_size": 2, "num_tries": 1},
        {"defenses": ("dp-0.01", "clip-4"), "defense_scope": "all"},
        {"defenses": ("sparse-10",), "precision": "bfloat16"},
        {"defenses": ("perturb-10",)},
        {"local_epochs": 2, "local_batch_size": 2, "local_momentum": 0.9, "local_weight_decay": 1e-4},
        {"bn_eval": False, "model": "lenet5", "batchnorm": True},
    ],
    ids=str,
)
def test_label_runs(options):
    spec = RestoreLabels(**{**SMALL, "model": "lenet5", "batch_size": 4, "num_tries": 2, **options})
    plain = labels.restore(spec.model_copy(update={"device": "cpu"}))
    with simulated_gpu():
        there = labels.restore(spec)
    assert there.device == str(GPU)
    for name in ("leacc", "lnacc"):
        got, want = ([row.value for row in result.rows if row.metric == name] for result in (there, plain))
        assert got == want


IG = {"cost_fn": "sim", "rec_optimizer": "adam", "rec_lr": 0.1, "signed": True, "boxed": True, "lr_schedule": "step"}


@pytest.mark.parametrize(
    "options",
    [
        {"labels": "optimise", "iterations": 1},
        {**IG, "labels": "truth", "restarts": 2, "tv_weight": 1e-3, "l2_weight": 1e-3, "median": 2, "init": "rand"},
        {**IG, "labels": "ilrg", "batch_size": 2, "at_once": 1, "restarts": 2, "loss_thresh": 1e-9},
        {**IG, "num_clients": 2, "reconstruct_mode": "both", "normalize_gradients": True},
        {**IG, "num_clients": 2, "reconstruct_mode": "aggregated", "apply_agg_step": True},
        {"cost_fn": "l1", "indices": "top10", "weights": "linear", "rec_optimizer": "sgd"},
        {"batch_size": 2, "local_steps": 2, "local_batch_size": 1, "local_momentum": 0.9, "rec_optimizer": "adamw"},
        {**IG, "model": "lenet5", "batchnorm": True, "batch_size": 2, "bn_eval": False, "init": "zeros"},
        {**IG, "defenses": ("dp-0.01", "clip-4"), "precision": "float16"},
        {"method": "consistency", "model": "lenet5", "batch_size": 2},
    ],
    ids=str,
)
def test_image_runs(options):
    values = {**SMALL, "model": "lenet", "activation": "sigmoid", "batch_size": 1, "num_tries": 1}
    if "model" in options:
        values |= {"activation": "relu"}
    if "method" not in options:
        values |= {"iterations": 4}
    spec = Reconstruct(**{**values, "num_clients": 1, **options})
    plain = images.run(spec.model_copy(update={"device": "cpu"}))
    with simulated_gpu():
        there = images.run(spec)
    assert there.device == str(GPU)
    for got, want in zip(there.reconstructions, plain.reconstructions, strict=True):
        assert type(got.guess) is torch.Tensor  # back on the CPU
        assert torch.allclose(got.guess, want.guess, atol=1e-4)


def test_the_passes_of_an_attack_run_on_the_gpu():
    spec = Reconstruct(
        **SMALL, model="lenet", batch_size=1, num_clients=1, num_tries=1, iterations=2, restarts=2, rec_optimizer="adam"
    )
    with simulated_gpu() as seen:
        images.run(spec)
    assert not [name for name, dtype in seen if "conv" in name and dtype == torch.float32], seen  # float64: SSIM


@pytest.mark.parametrize(
    "options",
    [
        {"model": "cnn3", "augment": True},
        {"model": "lenet5", "batchnorm": True, "train_precision": "bfloat16"},
        {"model": "vgg11", "dropout": True, "optimizer": "AdamW", "warmup": True},
    ],
    ids=str,
)
def test_trainings(tmp_path, options):
    spec = TrainVictim(**SMALL, stage="iter2", train_batch_size=4, **options, checkpoint_dir=tmp_path)
    with simulated_gpu() as seen:
        trained = train(spec)
    assert trained.device == str(GPU)
    assert not [name for name, dtype in seen if "conv" in name and dtype == torch.float32], seen  # float64: SSIM
    again = train(spec.model_copy(update={"device": "cpu", "checkpoint_dir": tmp_path / "cpu"}))
    assert trained.loss == pytest.approx(again.loss, rel=1e-3)


def test_priors_and_their_attacks(tmp_path):
    options: dict[str, Any] = {"dataset": "mnist-sample", "progress": False}
    attack = {**options, "num_clients": 1, "batch_size": 1, "model": "lenet", "labels": "ilrg", "match_steps": 1}
    attack |= {"diffusion_steps": 2, "refine_iterations": 1}
    left_out = batches_id(DiffusionReconstruct(**attack, prior="none"))
    small: dict[str, Any] = {"channels": ("8", "8"), "steps": 2, "train_batch_size": 2, "avoid": (left_out,)}
    training = TrainPrior(**options, **small, split="train", train_precision="bfloat16", prior_dir=tmp_path)
    with simulated_gpu() as seen:
        prior = priors.train(training)
        assert not [name for name, _ in seen if "conv" in name], seen
        for guidance, sampler in (("alternate", "euler-ancestral"), ("dps", "ddpm")):
            guided = {**attack, "guidance": guidance, "sampler": sampler}
            spec = DiffusionReconstruct(**guided, prior=str(prior.folder))
            made = diffusion.run(spec)
            assert made.device == str(GPU)
            assert bool(made.reconstructions[0].guess.isfinite().all())


def test_auxiliary_starts():
    spec = Reconstruct(
        dataset="mnist-sample", model="lenet", init="auxiliary", **IG, labels="truth", iterations=1, num_clients=1,
        batch_size=2, num_tries=1, progress=False,
    )  # fmt: skip
    with simulated_gpu():
        assert images.run(spec).device == str(GPU)


@pytest.mark.parametrize(
    ("options", "certified"),
    [
        ({"batch_size": 16}, 16),
        ({"batch_size": 8, "activation": "sigmoid"}, 8),
        ({"batch_size": 8, "precision": "bfloat16"}, 8),
        ({"batch_size": 8, "n_hidden": 0}, 8),
        ({"batch_size": 8, "n_dim": 4}, 0),  # too narrow: nothing is found
    ],
    ids=str,
)
def test_exact_inversion(options, certified):
    spec = RestoreLabels(dataset="mnist-sample", model="fcn", num_tries=1, **options)
    with simulated_gpu() as seen:
        (line,) = exact_inversion.attack(spec, [0], head=False)
    assert (line["certified"], line["false"]) == (certified, 0)
    assert not [name for name, _ in seen if "svd" in name or "cholesky" in name], seen


def test_the_pairs_of_the_bench():
    with simulated_gpu():
        data = datasets.load("cifar100-sample")
        (line,) = peers.reconstructed(peers.Attack("lenet5", 2, 2, 1, data, GPU), [0], beside=False)
    assert line["psnr"] > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_gives_the_labels_and_images_of_the_cpu():
    options = {**SMALL, "model": "lenet5", "batch_size": 4, "num_tries": 2}
    of_labels: Any = RestoreLabels(**options, methods=("ilrg", "idlg", "gi", "rlg", "consistency"))
    of_images: Any = Reconstruct(**{**options, "num_clients": 1, "iterations": 3, **IG, "restarts": 2})
    for spec, run in ((of_labels, labels.restore), (of_images, images.run)):
        here, there = (run(spec.model_copy(update={"device": device})) for device in ("cpu", "cuda"))
        assert there.device.startswith("cuda")
        for got, want in zip(there.rows, here.rows, strict=True):
            if got.metric in ("leacc", "lnacc", "psnr"):
                assert got.value == pytest.approx(want.value, abs=1e-2), got
