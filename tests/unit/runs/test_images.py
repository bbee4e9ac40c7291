"""Rounds of clients: what they send, how the server uses it, and the rows of a run."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from gradleak.attacks.images.label_policy import known_labels
from gradleak.attacks.images.starts import start
from gradleak.clients import rounds
from gradleak.clients.observation import observe_full
from gradleak.clients.round_inputs import draw_batch
from gradleak.data import datasets
from gradleak.errors import InputError
from gradleak.plan import cli
from gradleak.plan.aliases import ReconstructShorthand
from gradleak.plan.jobs.diffusion import DiffusionReconstruct
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.metric_facts import SNAPSHOT
from gradleak.runs import images as experiment
from gradleak.streams import stream


def spec(**options: Any) -> Reconstruct:
    usual: dict[str, Any] = {"dataset": "mnist-sample", "iterations": 2, "device": "cpu", "progress": False}
    return Reconstruct(**{**usual, **options})


def test_the_first_client_holds_the_batch_of_the_label_experiments():
    data = datasets.load("mnist-sample")
    mine = spec(batch_size=4, num_clients=2)
    labels = RestoreLabels(dataset="mnist-sample", model="fcn", batch_size=4)
    assert torch.equal(draw_batch(mine, data, 0, 0), draw_batch(labels, data, 0))
    assert not torch.equal(draw_batch(mine, data, 0, 1), draw_batch(mine, data, 0, 0))


def test_the_aggregate_is_the_gradient_of_the_joint_batch():
    mine = spec(batch_size=2, num_clients=3)
    round_ = rounds.prepare(mine)
    (batches,) = rounds.client_batches(mine, round_)
    whole = rounds.aggregate(mine, batches)
    assert whole.observation.batch_size == 6
    expected = observe_full(round_.server, whole.images, whole.labels).gradients
    for name, gradient in expected.items():
        torch.testing.assert_close(whole.observation.gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_a_client_with_mini_batches_holds_the_same_images_in_an_order_of_its_own():
    """A simulated client with this order sends the same, so the matching loss is 0 there and nowhere else."""
    plain = spec(batch_size=6, num_clients=2)
    mine = spec(batch_size=6, num_clients=2, local_epochs=3, local_batch_size=4, local_lr=0.3, local_momentum=0.5)
    round_ = rounds.prepare(mine)
    (drawn,), (batches,) = (list(rounds.client_batches(one, round_)) for one in (plain, mine))
    for before, batch in zip(drawn, batches, strict=True):
        assert not torch.equal(batch.indices, before.indices)
        assert torch.equal(batch.indices.sort().values, before.indices.sort().values)
        observed = batch.observation.gradients

        def distance(other: rounds.Batch, observed: dict[str, torch.Tensor] = observed) -> float:
            sent = round_.client.send(other.images, torch.nn.functional.one_hot(other.labels, 10).float())
            pairs = zip(sent, observed.values(), strict=True)
            return max(float((ours - seen).norm() / seen.norm()) for ours, seen in pairs)

        assert distance(batch) < 1e-6
        assert distance(before) > 1e-3
    first, second = ([int(i) for i in batch.indices.argsort().argsort()] for batch in batches)
    assert first != second


@pytest.mark.parametrize("attack", [Reconstruct, DiffusionReconstruct, RestoreLabels])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"local_batch_size": 5}, "local_batch_size 5 is more than the 4 images of a client"),
        ({"local_steps": 2, "local_epochs": 2}, "local_steps and local_epochs cannot be combined"),
        ({"local_batch_size": 4, "local_momentum": 0.9}, "local_momentum needs local_epochs"),
        ({"local_weight_decay": 0.1}, "local_weight_decay needs local_epochs"),
        ({"local_momentum": 1.0, "local_epochs": 2}, "less than 1"),
    ],
)
def test_contradictions_of_local_training(attack, options, message):
    with pytest.raises(ValidationError, match=message):
        attack(dataset="mnist-sample", model="fcn", batch_size=4, **options)


def test_steps_on_whole_batches_are_epochs():
    """Steps on whole batches are epochs: equal trainings are one run."""
    assert spec(local_steps=5) == spec(local_epochs=5)
    assert spec(local_steps=1) == spec()
    assert spec(batch_size=4, local_steps=5, local_batch_size=2).local_steps == 5
    typed = cli.parse(Reconstruct, ["--local_steps", "5", "--local-lr", "0.1"], shorthand=ReconstructShorthand)
    assert typed == Reconstruct(local_epochs=5, local_lr=0.1)


def test_normalised_clients_have_equal_weight():
    mine = spec(num_clients=2, reconstruct_mode="aggregated", normalize_gradients=True)
    (batches,) = rounds.client_batches(mine, rounds.prepare(mine))
    sent = [torch.cat([g.flatten() for g in b.observation.gradients.values()]) for b in batches]
    expected = torch.stack([g / g.norm() for g in sent]).mean(0)
    found = rounds.aggregate(mine, batches).observation.gradients
    torch.testing.assert_close(torch.cat([g.flatten() for g in found.values()]), expected)


def test_the_server_steps_along_the_negative_gradient():
    mine = spec()
    round_ = rounds.prepare(mine)
    before = {name: p.detach().clone() for name, p in round_.server.named_parameters()}
    ones = {name: torch.ones_like(p) for name, p in before.items()}
    after = rounds.updated(round_.server, ones, lr=0.5)
    for name, parameter in after.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] - 0.5)
    for name, parameter in round_.server.named_parameters():
        assert torch.equal(parameter, before[name])


def test_label_policies():
    mine = spec(batch_size=4, num_clients=1)
    (batches,) = rounds.client_batches(mine, rounds.prepare(mine))
    batch = batches[0]
    assert known_labels("optimise", batch.observation, batch.labels) is None
    restored, given = (known_labels(policy, batch.observation, batch.labels) for policy in ("ilrg", "truth"))
    assert restored is not None
    assert given is not None
    assert torch.equal(given, batch.labels.sort().values)
    assert torch.equal(restored, given)
    # The policies that restore labels must not read the truth.
    blind = known_labels("ilrg", batch.observation, torch.zeros_like(batch.labels))
    assert blind is not None
    assert torch.equal(restored, blind)
    one = spec(batch_size=1, num_clients=1)
    (single,) = rounds.client_batches(one, rounds.prepare(one))
    label = known_labels("idlg", single[0].observation, torch.zeros(1))
    assert label is not None
    assert torch.equal(label, single[0].labels)


def test_starts():
    shape = (2, 1, 4, 4)

    def never() -> torch.Tensor:
        raise AssertionError("only auxiliary takes other images")

    drawn = {kind: start(kind, shape, 0.5, stream("attack", 1), never) for kind in ("randn", "rand", "zeros")}
    assert torch.equal(drawn["zeros"], torch.zeros(shape))
    assert drawn["rand"].abs().max() <= 0.5
    assert torch.equal(drawn["randn"], start("randn", shape, 0.5, stream("attack", 1), never))
    assert torch.equal(drawn["randn"] * 2, start("randn", shape, 1.0, stream("attack", 1), never))
    assert torch.equal(
        start("auxiliary", shape, 2.0, stream("attack", 1), lambda: torch.ones(shape)), torch.full(shape, 2.0)
    )


def test_auxiliary_starts_are_other_images_of_the_label():
    mine = spec(num_clients=1, batch_size=2, labels="truth", init="auxiliary")
    round_ = rounds.prepare(mine)
    ((batch,),) = rounds.client_batches(mine, round_)
    labels = batch.labels.sort().values
    for seed in range(20):
        images = experiment._others(round_.data, batch.indices, 2, labels, stream("attack", seed))
        for image, label in zip(images, labels, strict=True):
            distances = (round_.data.fetch((round_.data.labels == label).nonzero()[:, 0]) - image).abs().amax((1, 2, 3))
            assert distances.min() == 0
            assert (batch.images - image).abs().amax((1, 2, 3)).min() > 0


def test_more_restarts_do_not_change_the_first_ones():
    few, many = (experiment.run(spec(restarts=r, num_clients=1)).reconstructions[0] for r in (1, 3))
    # Equal starts; later losses differ by rounding in a larger batch.
    torch.testing.assert_close(few.trace[0, 0], many.trace[0, 0], rtol=0.01, atol=0)
    assert many.trace.shape == (2, 3)
    assert many.loss == pytest.approx(float(many.trace.min()), rel=0.5)


def test_rows_of_both_modes():
    result = experiment.run(spec(num_clients=2, batch_size=2, reconstruct_mode="both", num_tries=2, log_every=1))
    assert len(result.reconstructions) == 2 * 2 + 2
    psnr = [row for row in result.rows if row.metric == "psnr"]
    alone = {(row.trial, row.client, row.image, row.batch_size) for row in psnr if not row.aggregated}
    assert alone == {(t, c, i, 2) for t in (0, 1) for c in (0, 1) for i in (0, 1)}
    together = {(row.trial, row.client, row.image, row.batch_size) for row in psnr if row.aggregated == 2}
    assert together == {(t, -1, i, 4) for t in (0, 1) for i in range(4)}
    assert len(alone) + len(together) == len(psnr)
    snapshots = {(row.image, row.iteration) for row in result.rows if row.metric == SNAPSHOT}
    assert snapshots >= {(-1, 1), (-1, 2)}
    assert {row.iteration for row in result.rows if row.metric != SNAPSHOT} == {-1}
    assert {row.metric for row in result.rows} >= {"ssim", "mse", "feature_cosine", "label_accuracy"}
    assert {row.method for row in result.rows} == {"dlg", "job"}


def test_a_defense_changes_what_the_attack_sees_and_not_the_batch():
    plain, noisy = spec(num_clients=1), spec(num_clients=1, defenses=("dp-0.1",))
    (a,), (b,) = (next(iter(rounds.client_batches(s, rounds.prepare(s)))) for s in (plain, noisy))
    assert torch.equal(a.images, b.images)
    difference = b.observation.gradients["head.weight"] - a.observation.gradients["head.weight"]
    assert difference.std() == pytest.approx(0.1, rel=0.1)
    assert all(not torch.equal(b.observation.gradients[n], g) for n, g in a.observation.gradients.items())


def test_a_nan_victim_gives_diverged_rows(tmp_path):
    good = rounds.prepare(spec(num_clients=1)).server
    torch.save({name: torch.full_like(value, math.nan) for name, value in good.state_dict().items()}, tmp_path / "w.pt")
    result = experiment.run(spec(num_clients=1, checkpoint=tmp_path / "w.pt"))
    rows = [row for row in result.rows if row.metric == "psnr"]
    assert rows
    assert {row.status for row in rows} == {"diverged"}
    assert result.reconstructions[0].diverged == 1


def test_given_indices_are_the_batches():
    mine = spec(num_clients=2, batch_size=1, client_indices="7,3")
    round_ = rounds.prepare(mine)
    (batches,) = rounds.client_batches(mine, round_)
    assert [int(b.labels) for b in batches] == [int(round_.data.labels[7]), int(round_.data.labels[3])]
    with pytest.raises(InputError, match="--client-indices: 99999 is outside the 5000 images; use 0 to 4999"):
        next(rounds.client_batches(spec(num_clients=1, client_indices="99999"), round_))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"client_indices": "1,2,3"}, "client_indices names 3 images; 2 clients with 1 each need 2"),
        ({"client_indices": "1,x"}, "'x' is not an index"),
        ({"client_indices": "1,2", "num_tries": 2}, "num_tries must be 1"),
        ({"signed": True}, "signed needs rec_optimizer adam"),
        ({"lr_schedule": "step"}, "lr_schedule step needs rec_optimizer adam"),
        ({"labels": "idlg", "batch_size": 2}, "restores the label of one image, not of 2; use ilrg"),
        ({"normalize_gradients": True}, "it needs reconstruct_mode aggregated or both"),
        ({"apply_agg_step": True}, "it needs reconstruct_mode aggregated or both"),
        ({"agg_lr": 0.5}, "agg_lr needs apply_agg_step"),
        ({"reconstruct_mode": "both", "local_steps": 2}, "is then not the gradient of one joint batch"),
        ({"client_indices": "1,2", "distribution": "extreme"}, "distribution has no effect"),
        (
            {"reconstruct_mode": "aggregated", "normalize_gradients": True, "labels": "ilrg"},
            "which normalize_gradients removes",
        ),
        ({"local_lr": 0.5}, "local_lr needs local_epochs or local_steps above 1"),
        ({"init": "zeros", "restarts": 2}, "init zeros makes all restarts equal"),
        ({"image_size": 64}, "mnist-sample"),
        ({"pretrained": True}, "lenet"),
        ({"pretrained": True, "model": "resnet18", "dataset": "cifar100-sample", "stem": "released"}, "stem"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises((ValidationError, InputError), match=message):
        spec(**options)


@pytest.mark.parametrize("options", [
    {},
    {"activation": "relu"},
    {"model": "lenet5"},
    {"model": "lenet5", "activation": "silu"},
    {"model": "fcn"},
    {"dataset": "cifar100", "model": "resnet18", "pretrained": True, "bn_eval": False},
])  # fmt: skip
def test_the_command_line_rebuilds_the_spec(options):
    mine = spec(**options)
    again = cli.parse(Reconstruct, mine.to_argv(identity_only=True), shorthand=ReconstructShorthand)
    assert again.identity() == mine.identity()
    assert again.run_id == mine.run_id


def test_pretrained_and_lenet_have_fitting_defaults():
    assert spec().activation == "sigmoid"
    assert spec(activation="relu").activation == "relu"
    assert Reconstruct(model="resnet18", pretrained=True).stem == "imagenet"
