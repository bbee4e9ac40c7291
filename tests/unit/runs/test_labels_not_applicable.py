"""Runs of methods whose gradients the client does not send: their rows say so, and other methods continue."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.plugin_state import forgotten

from gradleak.plan import plugins
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.records import Row
from gradleak.runs import labels as experiment
from gradleak.runs.labels import restore
from gradleak.victims.models.build import build

PLUGIN = '''
from torch import nn

from gradleak.victims.models.base import Victim

FACTS = {
    "defenses": {"hide": {"strength": "parts", "high": 3}},
    "models": {"plain": {}, "frozen": {}, "lost": {}},
}


def hide(parts):
    """1: the bias of the head, 2: its weight, 3: both."""
    hidden = {1: ["head.bias"], 2: ["head.weight"], 3: ["head.bias", "head.weight"]}[int(parts)]
    return lambda gradients, context: {name: g for name, g in gradients.items() if name not in hidden}


class Linear(Victim):
    def __init__(self, *, num_classes, channels, image_size, bias=True):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, 32), nn.ReLU())
        self.head = nn.Linear(32, num_classes, bias=bias)

    def features(self, x):
        return self.body(x)


def plain(**shape):
    return Linear(bias=False, **shape)


def frozen(**shape):
    model = Linear(**shape)
    model.head.bias.requires_grad_(False)
    return model


def lost(**shape):
    return Linear(**shape).requires_grad_(False)
'''

ALL = ("bias-sign", "gi", "idlg", "ilrg", "ilrg-estimate", "ilrg-simplified", "rlg")
NEED_BIAS = {"bias-sign", "ilrg", "ilrg-estimate", "ilrg-simplified"}
NEED_WEIGHT = {"gi", "idlg", "ilrg", "ilrg-simplified", "rlg"}


@pytest.fixture
def plugin(tmp_path, monkeypatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(PLUGIN, encoding="utf-8")
    with forgotten():
        plugins.load(["mine.py"])
        yield "mine.py"


def rows(**options: Any) -> list[Row]:
    usual: dict[str, Any] = {"dataset": "mnist-sample", "model": "fcn", "batch_size": 12, "num_tries": 2}
    usual |= {"methods": ALL, "device": "cpu", "progress": False}
    return restore(RestoreLabels(**{**usual, **options})).rows


def statuses(found: list[Row]) -> dict[str, set[str]]:
    return {method: {row.status for row in found if row.method == method} for method in ALL}


@pytest.mark.parametrize(
    ("options", "lost"),
    [
        ({"model": "plain"}, NEED_BIAS),
        ({"model": "frozen"}, NEED_BIAS),
        ({"model": "lost"}, set(ALL)),
        ({"defenses": ("hide-1",)}, NEED_BIAS),
        ({"defenses": ("hide-2", "dp-1e-5")}, NEED_WEIGHT),
        ({"defenses": ("clip-4", "hide-3")}, set(ALL)),
        ({"defenses": ("hide-1",), "defense_scope": "all"}, NEED_BIAS),
        ({"model": "plain", "defenses": ("perturb-10", "dp-1e-5"), "defense_scope": "all"}, NEED_BIAS),
        ({"model": "lost", "defenses": ("sparse-10",), "defense_scope": "all"}, set(ALL)),
    ],
)
def test_only_methods_that_lack_a_gradient_have_no_results(plugin, options, lost):
    found = rows(modules=(plugin,), **options)
    assert statuses(found) == {name: {"not applicable" if name in lost else "ok"} for name in ALL}
    for row in found:
        assert math.isnan(row.value) == (row.status != "ok"), row
    assert {row.trial for row in found if row.status == "not applicable"} == {0, 1}
    assert {row.status for row in found if row.method.startswith("floor-")} == {"ok"}


@pytest.mark.parametrize("distribution", ["random", "custom_balanced"])
@pytest.mark.parametrize("analysis", [False, True])
def test_a_method_that_is_not_applicable_has_all_its_rows(plugin, monkeypatch, analysis, distribution):
    # The packaged sample lacks some classes of custom batches.
    monkeypatch.setattr(experiment, "draw_batch", lambda spec, data, trial: torch.arange(12) + trial)
    options = {"modules": (plugin,), "analysis": analysis, "distribution": distribution, "dataset": "cifar100-sample"}
    usual, hidden = rows(**options), rows(**options, defenses=("hide-3",))
    assert statuses(hidden) == {name: {"not applicable"} for name in ALL}
    for method in ALL:
        had, has = (
            sorted((row.trial, row.metric) for row in found if row.method == method and row.metric != "seconds")
            for found in (usual, hidden)
        )
        assert has == had, method


def test_diverged_methods_have_all_their_rows(plugin):
    model = build("fcn", num_classes=10, channels=1, image_size=28, seed=1)
    torch.save({name: torch.full_like(value, torch.nan) for name, value in model.state_dict().items()}, "w.pt")
    broken, usual = rows(checkpoint="w.pt", analysis=True), rows(analysis=True)
    assert statuses(broken) == {name: {"diverged"} for name in ALL}
    for method in ALL:
        had, has = ({row.metric for row in found if row.method == method} for found in (usual, broken))
        assert has == had - {"seconds"}, method


def test_one_line_for_all_tries_reports_it(plugin, capsys):
    rows(modules=(plugin,), defenses=("hide-2",), num_tries=3, methods=("rlg", "ilrg-estimate"))
    assert capsys.readouterr().err == "note: rlg is not applicable: the client sends no gradient of head.weight\n"
