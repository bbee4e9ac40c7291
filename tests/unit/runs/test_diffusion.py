"""Diffusion priors from training to guided reconstruction, at tiny sizes."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from pydantic import ValidationError
from torch.nn.functional import one_hot

from gradleak.attacks.diffusion import train as training
from gradleak.attacks.diffusion.guidance import _posterior_step
from gradleak.attacks.diffusion.ids import image_ids, seen
from gradleak.attacks.diffusion.prior import load_prior
from gradleak.clients.round_inputs import draw_batch
from gradleak.clients.rounds import client_batches, prepare
from gradleak.data import datasets
from gradleak.errors import InputError
from gradleak.plan.jobs.diffusion import DiffusionReconstruct, TrainPrior, avoided, batches_id
from gradleak.runs.diffusion import run

CPU = torch.device("cpu")


def prior_spec(folder: Path, **options: Any) -> TrainPrior:
    usual: dict[str, Any] = {
        "dataset": "mnist-sample",
        "split": "train",
        "channels": "8,8",
        "steps": 3,
        "train_batch_size": 4,
        "device": "cpu",
        "progress": False,
        "prior_dir": folder,
    }
    return TrainPrior(**{**usual, **options})


def attack_spec(prior: Path | str, **options: Any) -> DiffusionReconstruct:
    usual: dict[str, Any] = {
        "dataset": "mnist-sample",
        "num_clients": 1,
        "diffusion_steps": 4,
        "log_every": 2,
        "device": "cpu",
        "progress": False,
        "prior": str(prior),
    }
    return DiffusionReconstruct(**{**usual, **options})


@pytest.fixture(scope="module")
def victims() -> DiffusionReconstruct:
    return attack_spec("unused")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, victims: DiffusionReconstruct) -> training.Trained:
    folder = tmp_path_factory.mktemp("priors")
    return training.train(prior_spec(folder, avoid=batches_id(victims)))


def test_a_prior_is_a_diffusers_folder_with_its_record(trained):
    pipeline: Any = DDPMPipeline.from_pretrained(trained.folder, local_files_only=True, low_cpu_mem_usage=False)
    assert pipeline.unet.config["sample_size"] == 28
    record = json.loads((trained.folder / "prior.json").read_text(encoding="utf-8"))
    assert record["spec"]["avoid"] == ["random-B1-clients1-tries1-seed12-train"]
    assert {path.name for path in trained.folder.iterdir()} >= {"samples.png", "loss.csv", "seen.npy"}
    assert not list(trained.folder.glob("state*"))


def test_a_prior_avoids_the_given_batches(trained, victims):
    data = datasets.load("mnist-sample")
    held = draw_batch(victims, data, 0, 0)
    learnt = torch.from_numpy(np.load(trained.folder / "seen.npy"))
    assert len(learnt) == len(data) - 1 == trained.images
    assert seen(learnt, held) == 0


def test_a_prior_that_has_seen_the_client_is_refused(tmp_path):
    careless = training.train(prior_spec(tmp_path))
    with pytest.raises(InputError, match=r"was trained on 1 of .* --avoid random-B1-clients1-tries1-seed12-train"):
        run(attack_spec(careless.folder))


def test_an_interrupted_training_resumes_exactly(tmp_path, monkeypatch):
    whole = training.train(prior_spec(tmp_path / "a", steps=3))
    spec = prior_spec(tmp_path / "b", steps=3)
    step = training._Run._step

    def killed(self: Any, number: int) -> float:
        if number == 2:
            self._save(2)
            raise KeyboardInterrupt
        return step(self, number)

    monkeypatch.setattr(training._Run, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        training.train(spec)
    assert list(spec.folder.glob("state-*.pt"))
    monkeypatch.setattr(training._Run, "_step", step)
    again = training.train(spec)
    priors = [load_prior(str(t.folder), channels=1, image_size=28, device=CPU) for t in (whole, again)]
    for one, other in zip(*(prior.unet.parameters() for prior in priors), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp", "euler", "euler-ancestral"])
def test_every_sampler_denoises(trained, sampler):
    result = run(attack_spec(trained.folder, sampler=sampler))
    (made,) = result.reconstructions
    assert torch.isfinite(made.guess).all()
    assert made.trace.shape == (4, 1)


@pytest.mark.parametrize("guidance", ["alternate", "dps"])
def test_guidance_reduces_the_matching_loss(trained, guidance):
    more: dict[str, Any] = {"match_steps": 2} if guidance == "alternate" else {}
    spec = attack_spec(trained.folder, labels="truth", guidance=guidance, diffusion_steps=30, cost_fn="sim", **more)
    (led,) = run(spec).reconstructions
    assert led.loss < 0.5 * float(led.trace[0])


def test_the_posterior_step_is_the_published_one():
    """zeta / ||r|| times the derivative of ||r||^2, with r relative to the observed gradient (algorithm 1)."""
    K, n, zeta = 3, 4, 0.3
    generator = torch.Generator().manual_seed(0)
    y, matrix = (torch.randn(K, m, generator=generator, dtype=torch.float64) for m in (5, 5 * n))
    x = torch.zeros(K, 1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    point = x + 0.5

    def residual(point: torch.Tensor) -> torch.Tensor:
        return y - (matrix.view(K, 5, n) @ point.reshape(K, n, 1))[..., 0]

    loss = residual(point).square().sum(1)
    (by_x,) = torch.autograd.grad(loss.sum(), x, retain_graph=True)
    state: Any = SimpleNamespace(guidance=SimpleNamespace(guidance_scale=zeta), observed=y.square().sum(1))
    relative = residual(point).norm(dim=1) / y.norm(dim=1)
    (of_square,) = torch.autograd.grad(relative.square().sum(), x)
    expected = zeta * n / relative.detach().view(K, 1, 1, 1, 1) * of_square
    torch.testing.assert_close(_posterior_step(state, by_x, loss.detach()), expected)
    # The unit of the gradients does not matter.
    state.observed *= 100
    torch.testing.assert_close(_posterior_step(state, 100 * by_x, 100 * loss.detach()), expected)


@pytest.mark.parametrize(("whole", "observed"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_zero_gradients_or_zero_residuals_take_no_step(whole, observed):
    state: Any = SimpleNamespace(guidance=SimpleNamespace(guidance_scale=1.0), observed=torch.full((1,), observed))
    assert not _posterior_step(state, torch.ones(1, 1, 1, 2, 2), torch.full((1,), whole)).any()


def test_tiny_and_large_gradients_take_the_same_step():
    steps = []
    for unit in (1.0, 1e-12):
        observed = torch.full((1,), 2 * unit**2)
        state: Any = SimpleNamespace(guidance=SimpleNamespace(guidance_scale=1.0), observed=observed)
        steps.append(_posterior_step(state, torch.full((1, 1, 1, 2, 2), unit**2), torch.full((1,), unit**2)))
    torch.testing.assert_close(steps[0], steps[1])


def test_posterior_sampling_has_the_published_number_of_steps():
    dps, alternate = attack_spec("p", guidance="dps", diffusion_steps=None), attack_spec("p", diffusion_steps=None)
    assert (dps.steps, alternate.steps) == (1000, 50)
    assert DiffusionReconstruct(**{**dps.model_dump(), "diffusion_steps": 50}).steps == 50


@pytest.mark.parametrize(
    ("guidance", "option"),
    [
        ("dps", "match_steps"),
        ("dps", "match_lr"),
        ("dps", "match_lr_end"),
        ("none", "match_steps"),
        ("none", "match_lr"),
        ("none", "guidance_scale"),
        ("alternate", "guidance_scale"),
    ],
)
def test_options_without_effect_are_refused(guidance, option):
    with pytest.raises(ValidationError, match=f"{option} .*has no effect with --guidance"):
        attack_spec(Path("prior"), guidance=guidance, **{option: 3})


def test_refinement_lowers_the_cosine_objective_and_keeps_the_box(trained):
    options: dict[str, Any] = {"labels": "truth", "cost_fn": "sim", "guidance": "dps"}
    plain = run(attack_spec(trained.folder, **options)).reconstructions[0]
    refined = run(attack_spec(trained.folder, refine_iterations=30, **options)).reconstructions[0]
    assert refined.loss < plain.loss
    assert refined.guess.min() >= 0
    assert refined.guess.max() <= 1


def test_refinement_reports_the_loss_of_the_guidance(trained):
    """Both rows are called matching_loss, so both must be the l2 objective at the result."""
    spec = attack_spec(trained.folder, labels="truth", guidance="dps", refine_iterations=2)
    round_ = prepare(spec)
    (batch,) = next(client_batches(spec, round_))
    (made,) = run(spec).reconstructions
    sent = round_.client.send(round_.data.normalise(made.guess), one_hot(batch.labels, 10).float())
    observed = batch.observation.gradients.values()
    expected = sum(float((mine - theirs).square().sum()) for mine, theirs in zip(sent, observed, strict=True))
    assert made.loss == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("labels", ["ilrg", "optimise"])
@pytest.mark.parametrize("kind", [{"guidance": "none"}, {"control": "random-gradients", "guidance": "dps"}])
def test_a_control_does_not_depend_on_the_clients_gradient(trained, kind, labels):
    made = [
        run(attack_spec(trained.folder, labels=labels, restarts=2, defenses=defense, **kind))
        for defense in ("", "dp-3", "clip-0.001")
    ]
    first, *others = (result.reconstructions[0] for result in made)
    for other in others:
        assert torch.equal(first.guess, other.guess)
        assert torch.equal(first.labels, other.labels)
        assert first.loss == other.loss


def test_an_attack_depends_on_the_clients_gradient(trained):
    made = [run(attack_spec(trained.folder, guidance="dps", defenses=name)).reconstructions[0] for name in ("", "dp-3")]
    assert not torch.equal(made[0].guess, made[1].guess)


def test_a_control_differs_from_the_guided_attack(trained):
    options: dict[str, Any] = {"labels": "ilrg", "guidance": "dps"}
    led, control = (
        run(attack_spec(trained.folder, control=control, **options)) for control in ("none", "random-gradients")
    )
    assert not torch.equal(led.reconstructions[0].guess, control.reconstructions[0].guess)


def test_equal_seeds_give_equal_images(trained):
    a, b = (run(attack_spec(trained.folder, sampler="ddpm")).reconstructions[0] for _ in range(2))
    assert torch.equal(a.guess, b.guess)


def test_numbering_across_splits():
    some = torch.tensor([0, 5])
    assert image_ids("mnist", "val", some).tolist() == [60_000, 60_005]
    assert image_ids("mnist", "all", some).tolist() == [0, 5]
    assert image_ids("mnist-sample", "val", some).tolist() == [0, 5]
    assert seen(image_ids("imagenet", "val", some), image_ids("imagenet", "train", some)) == 0
    with pytest.raises(InputError, match="use split train or val"):
        image_ids("imagenet", "all", some)


def test_names_of_batches():
    spec = attack_spec("p", batch_size=8, num_clients=3, num_tries=2, distribution="random2", num_target_cls=4, seed=7)
    batches, clients = avoided(batches_id(spec), "mnist")
    assert (batches.distribution_id, batches.batch_size, batches.num_tries, batches.seed, clients) == (
        "random2-4",
        8,
        2,
        7,
        3,
    )
    assert batches.train_images is None
    part = attack_spec("p", dataset="mnist", train_images=500)
    assert avoided(batches_id(part), "mnist")[0].train_images == 500
    elsewhere = attack_spec("p", dataset="mnist", train_images=500, split="val", stage="epoch1")
    assert avoided(batches_id(elsewhere), "mnist")[0].train_images is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance": "none", "refine_iterations": 5}, "uses no gradient"),
        ({"guidance": "dps", "sampler": "euler"}, "needs --sampler ddpm or ddim"),
        ({"guidance": "none", "apply_agg_step": True, "reconstruct_mode": "both"}, "a control must not see them"),
        ({"guidance": "none", "labels": "truth"}, "a control must not see it; use ilrg"),
    ],
)
def test_contradictions(options, message):
    with pytest.raises(ValidationError, match=message):
        attack_spec("p", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": "10"}, "multiples of 8"),
        ({"avoid": "everything"}, "like random-B1-clients1-tries9-seed12-train"),
    ],
)
def test_wrong_training_options(options, message, tmp_path):
    with pytest.raises(ValidationError, match=message):
        prior_spec(tmp_path, **options)


def test_priors_that_do_not_fit(trained, tmp_path):
    source = str(trained.folder)
    with pytest.raises(InputError, match="is for images of 1 channels; these have 3"):
        load_prior(source, channels=3, image_size=28, device=CPU)
    with pytest.raises(InputError, match="is for images of 28 x 28 pixels; these have 32"):
        load_prior(source, channels=1, image_size=32, device=CPU)
    with pytest.raises(InputError, match="no such folder; train one with train_prior"):
        load_prior(str(tmp_path / "nowhere"), channels=1, image_size=28, device=CPU)
    with pytest.raises(InputError, match="is not a diffusers folder of a DDPM"):
        load_prior(str(tmp_path), channels=1, image_size=28, device=CPU)


def test_a_hub_that_cannot_be_reached_names_the_alternative(monkeypatch):
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(DDPMPipeline, "from_pretrained", offline)
    with pytest.raises(InputError, match=r"google/ddpm-cifar10-32: cannot be downloaded from the hub .*local folder"):
        load_prior("google/ddpm-cifar10-32", channels=3, image_size=32, device=CPU)


def test_images_that_cannot_be_halved(tmp_path):
    with pytest.raises(InputError, match="cannot be halved 3 times"):
        training.train(prior_spec(tmp_path, channels="8,8,8,8"))
