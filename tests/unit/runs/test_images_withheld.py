"""Image attacks on clients that do not send every gradient."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.plugin_state import forgotten
from torch import Tensor, nn

from gradleak.clients import rounds
from gradleak.clients.client import Client
from gradleak.clients.local_training import LocalTraining
from gradleak.plan import plugins
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.metric_facts import SNAPSHOT
from gradleak.records import Row
from gradleak.runs import images as experiment
from gradleak.runs.image_job import execute
from gradleak.victims.models.base import Victim

PLUGIN = '''
import torch
from torch import nn

from gradleak.victims.models.base import Victim

FACTS = {"defenses": {"hide": {"strength": "part", "high": 4}}, "models": {"mixed": {"object": "Mixed"}}}


def hide(part):
    """1: the bias of the head, 2: its weight, 3: all, 4: the bias of the head for batches with any even label."""

    def defend(gradients, context):
        labels = torch.cat([y for _, y in context.chunks()])
        hidden = {1: ["head.bias"], 2: ["head.weight"], 3: list(gradients), 4: ["head.bias"]}[int(part)]
        if part == 4 and labels.fmod(2).all():
            hidden = []
        return {name: g for name, g in gradients.items() if name not in hidden}

    return defend


class Mixed(Victim):
    """A head without bias, a frozen and an unused layer."""

    def __init__(self, *, num_classes, channels, image_size):
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, 24), nn.Sigmoid())
        self.middle = nn.Linear(24, 24).requires_grad_(False)
        self.spare = nn.Linear(3, 3)
        self.head = nn.Linear(24, num_classes, bias=False)

    def features(self, x):
        return torch.sigmoid(self.middle(self.first(x)))
'''


@pytest.fixture(autouse=True)
def plugin(tmp_path, monkeypatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(PLUGIN, encoding="utf-8")
    with forgotten():
        plugins.load(["mine.py"])
        yield


def spec(**options: Any) -> Reconstruct:
    usual: dict[str, Any] = {"dataset": "mnist-sample", "iterations": 2, "device": "cpu", "progress": False}
    return Reconstruct(**{**usual, "modules": ("mine.py",), **options})


def attacked(found: list[Row]) -> list[Row]:
    return [row for row in found if row.trial >= 0]


def test_the_matching_loss_of_the_true_batch_is_zero_on_what_was_sent():
    mine = spec(num_clients=1, batch_size=2, defenses=("hide-1",))
    round_ = rounds.prepare(mine)
    ((batch,),) = rounds.client_batches(mine, round_)
    assert "head.bias" not in batch.observation.gradients
    client = round_.client.sending(list(batch.observation.gradients))
    targets = torch.nn.functional.one_hot(batch.labels, 10).float()
    for name, gradient in zip(client.names, client.send(batch.images, targets), strict=True):
        torch.testing.assert_close(gradient, batch.observation.gradients[name])
    assert experiment.run(mine).reconstructions[0].loss > 0


@pytest.mark.parametrize("options", [{"defenses": ("hide-1",)}, {"defenses": ("hide-2",)}, {"model": "mixed"}])
@pytest.mark.parametrize("local_steps", [1, 2])
def test_attacks_match_what_was_sent(options, local_steps):
    found = experiment.run(spec(num_clients=2, restarts=2, local_steps=local_steps, **options))
    assert {row.status for row in attacked(found.rows)} == {"ok"}
    assert all(math.isfinite(made.loss) for made in found.reconstructions)


def test_a_victim_of_all_kinds_of_parameters_sends_what_it_trains(capsys):
    mine = spec(num_clients=2, model="mixed", reconstruct_mode="both", apply_agg_step=True, defenses=("dp-1e-4",))
    round_ = rounds.prepare(mine)
    assert round_.client.names == ["first.1.weight", "first.1.bias", "head.weight"]
    for batches in rounds.client_batches(mine, round_):
        assert all(list(batch.observation.gradients) == round_.client.names for batch in batches)
    assert {row.status for row in attacked(experiment.run(mine).rows)} == {"ok"}


@pytest.mark.parametrize("options", [
    {"defenses": ("hide-3",)},
    {"defenses": ("hide-3",), "reconstruct_mode": "both"},
    {"defenses": ("hide-3",), "reconstruct_mode": "aggregated", "apply_agg_step": True},
    {"defenses": ("hide-1",), "labels": "ilrg"},
    {"defenses": ("hide-2",), "labels": "idlg"},
    {"model": "mixed", "labels": "ilrg", "reconstruct_mode": "both"},
])  # fmt: skip
def test_without_a_needed_gradient_all_rows_are_not_applicable(options):
    mine = spec(num_clients=2, num_tries=2, **options)
    usual = experiment.run(spec(**{**options, "num_clients": 2, "num_tries": 2, "defenses": (), "model": "lenet"}))
    found = experiment.run(mine)
    assert {row.status for row in attacked(found.rows)} == {"not applicable"}
    assert all(math.isnan(row.value) for row in attacked(found.rows))
    had, has = (
        sorted((r.trial, r.client, r.image, r.aggregated, r.metric) for r in attacked(rows) if r.metric != SNAPSHOT)
        for rows in (usual.rows, found.rows)
    )
    assert has == had
    assert len(found.reconstructions) == len(usual.reconstructions)


@pytest.mark.parametrize(("hidden", "missing"), [("hide-1", "head.bias"), ("hide-2", "head.weight")])
def test_exact_inversion_without_the_gradients_that_it_reads_is_not_applicable(capsys, hidden, missing):
    exact: dict[str, Any] = {"attack": "exact", "method": "consistency", "dataset": "mnist-sample", "model": "fcn"}
    more: dict[str, Any] = {"num_clients": 2, "batch_size": 2, "modules": ("mine.py",), "progress": False}
    mine = Reconstruct(**exact, **more, defenses=(hidden,))
    found = experiment.run(mine)
    assert {row.status for row in attacked(found.rows)} == {"not applicable"}
    usual = experiment.run(mine.model_copy(update={"defenses": ()}))
    had, has = ({row.metric for row in attacked(rows)} for rows in (usual.rows, found.rows))
    assert had - has <= {"predicted_psnr"}  # no law without the gradient
    assert {"certified", "relative_error"} <= has
    said = f"exact is not applicable: method consistency needs the gradient of {missing}, which is not sent"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"labels": "idlg", "defenses": ("hide-1",)}, {"labels": "truth", "model": "mixed"},
                                     {"labels": "idlg", "model": "mixed"}])  # fmt: skip
def test_labels_that_need_fewer_gradients_are_restored(options):
    found = experiment.run(spec(num_clients=1, **options))
    assert {row.status for row in attacked(found.rows)} == {"ok"}


def test_each_batch_is_matched_on_its_own_clients_gradients():
    """Clients may withhold different gradients; the result of a batch does not depend on others."""
    mine = spec(num_clients=4, num_tries=2, labels="ilrg", defenses=("hide-4",), iterations=3)
    found = experiment.run(mine)
    plain = experiment.run(mine.model_copy(update={"defenses": ()}))
    even = [bool((made.true_labels % 2 == 0).any()) for made in plain.reconstructions]
    assert 0 < sum(even) < len(even)
    psnr = {(r.trial, r.client, r.image): r for r in found.rows if r.metric == "psnr"}
    for made, withheld in zip(plain.reconstructions, even, strict=True):
        row = psnr[made.trial, made.client, 0]
        assert row.status == ("not applicable" if withheld else "ok")
        if not withheld:
            assert row.value == pytest.approx(float(made.metrics["psnr"][0]), abs=0.2)  # rounding in larger batches
    # The server does not know the mean of a gradient that one client withholds.
    together = experiment.run(mine.model_copy(update={"labels": "optimise", "reconstruct_mode": "aggregated"}))
    assert {row.status for row in attacked(together.rows)} == {"ok"}
    for batches in rounds.client_batches(mine, rounds.prepare(mine)):
        names = rounds.aggregate(mine, batches).observation.gradients
        assert ("head.bias" in names) == all("head.bias" in b.observation.gradients for b in batches)


def test_the_program_leaves_the_files_that_the_workflow_waits_for(tmp_path, capsys):
    mine = spec(num_clients=2, defenses=("hide-3",), output=tmp_path / "out" / "metrics.csv")
    execute(mine, experiment.run)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made >= {"metrics.csv", "run.json", "contact.png", "trace.csv", "images.npz"}
    with np.load(tmp_path / "out" / "images.npz") as archive:
        assert archive["truth"].shape == archive["guess"].shape
        assert len(np.unique(archive["guess"])) == 1
    said = capsys.readouterr()
    assert "dlg is not applicable: no gradient is sent" in said.err
    assert "(0 of 2 batches, 0 restarts diverged, 2 not applicable)" in said.out


class Shared(Victim):
    """One BatchNorm under two names, and a weight that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.again = self.norm
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
        self.two.weight = self.one.weight
        self.head = nn.Linear(6, 3)

    def features(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.again(self.two(torch.sigmoid(self.norm(self.one(x.flatten(1)))))))


def test_batch_statistics_of_a_shared_layer_and_a_shared_weight():
    torch.manual_seed(0)
    model = Shared().double()
    x, y = torch.rand(5, 1, 2, 3, dtype=torch.float64), torch.arange(5) % 3
    client = Client(model, LocalTraining(bn_eval=False))
    sent = dict(zip(client.names, client.send(x, nn.functional.one_hot(y, 3).double()), strict=True))
    model.train()
    nn.functional.cross_entropy(model(x), y).backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert list(sent) == list(expected)
    for name, gradient in sent.items():
        torch.testing.assert_close(gradient, expected[name])


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({}, False),
        ({"activation": "relu"}, True),
        ({"activation": "relu", "rec_optimizer": "adam"}, False),
        ({"model": "fcn"}, True),
        ({"model": "lenet5", "activation": "leaky_relu"}, True),
        ({"model": "lenet5", "activation": "silu"}, False),
        ({"model": "mixed"}, False),
    ],
)
def test_lbfgs_on_a_piecewise_linear_victim_prints_one_note(capsys, options, warned):
    experiment.run(spec(iterations=1, num_clients=2, num_tries=2, **options))
    assert capsys.readouterr().err.count("second derivatives vanish") == int(warned)
