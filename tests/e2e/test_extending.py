"""Every example of docs/extending.md: its plug-in, configuration and commands, exactly as written there."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tests.plugin_state import forgotten
from tests.workflow import ROOT, Workflow

from gradleak.attacks.images import objectives
from gradleak.attacks.labels.base import build as build_method
from gradleak.clients.defenses.base import DefenseContext
from gradleak.clients.defenses.base import build as build_defense
from gradleak.clients.observation import Observation, observe_full, observe_head
from gradleak.clients.round_inputs import client_keys
from gradleak.data import batches, datasets
from gradleak.data.datasets import load
from gradleak.plan import plugins
from gradleak.plan.config_files import merged, read_grid
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.streams import stream
from gradleak.victims.models.build import build as build_model

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
PLUGINS = dict(re.findall(r"^```python\n# (plugins/\w+\.py)\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL))
OVERLAYS = dict(re.findall(r"^```yaml\n# (\w+\.yaml)\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^```bash\n(.+?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
BY_HAND = [command.removeprefix("python ") for command in COMMANDS if command.startswith("python ")]

TINY = {"num_tries": 2, "model_seed": 1}
"""Defaults for the examples, which set everything else."""


def walks() -> dict[str, Any]:
    """Return all overlays with :data:`TINY`, and what each selects."""
    together: dict[str, Any] = {}
    selected: dict[str, list[str]] = {"experiments": [], "tables": [], "figures": []}
    for text in OVERLAYS.values():
        overlay = yaml.safe_load(text)
        select = overlay.pop("select")
        shown = [name for table in select["tables"] for name in overlay["tables"][table]["experiments"]]
        selected["experiments"] += select.get("experiments", shown)
        selected["tables"] += select["tables"]
        together = merged(together, overlay)
    return {**together, "defaults": TINY, "select": selected}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Workflow]:
    """A checkout with the plug-ins and overlays of the page."""
    workflow = Workflow(tmp_path_factory.mktemp("extending"))
    (workflow.folder / "plugins").mkdir()
    for name, text in {**PLUGINS, **OVERLAYS}.items():
        (workflow.folder / name).write_text(text, encoding="utf-8")
    before = Path.cwd()
    os.chdir(workflow.folder)
    with forgotten():
        yield workflow
    os.chdir(before)


@pytest.fixture(scope="module")
def finished(project) -> Workflow:
    """All examples in one call."""
    config = walks()
    project.configure(config)
    targets = [f"results/experiments/{name}.csv" for name in config["select"]["experiments"]]
    targets += [f"results/tables/{name}.{suffix}" for name in config["select"]["tables"] for suffix in ("md", "csv")]
    done = project.snakemake("--", *targets, "results/paper/macros.tex")
    assert done.returncode == 0, done.stdout
    return project


@pytest.fixture(scope="module")
def loaded(project) -> None:
    """The plug-ins, in this process."""
    plugins.load(PLUGINS)


def rows(workflow: Workflow, experiment: str) -> Any:
    return pd.read_csv(workflow.folder / f"results/experiments/{experiment}.csv", keep_default_na=False)


def table(workflow: Workflow, name: str) -> list[dict[str, str]]:
    with (workflow.folder / f"results/tables/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_example_has_a_plugin_a_configuration_and_a_command():
    names = [Path(name).stem for name in PLUGINS]
    assert names == [Path(name).stem for name in OVERLAYS]
    assert len(names) == 7
    calls = [f"snakemake --cores 2 --configfile {name}" for name in OVERLAYS]
    assert [command for command in COMMANDS if command.startswith("snakemake")] == calls
    assert len(calls) + len(BY_HAND) == len(COMMANDS)


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_configuration_is_valid_on_its_own(project, name):
    grid = read_grid([Path("config/config.yaml"), Path(name)])
    assert grid.runs


def test_a_built_in_table_shows_the_attack_with_the_others(finished):
    text = (finished.folder / "results/tables/bias.md").read_text(encoding="utf-8")
    header = next(line for line in text.splitlines() if line.startswith("| Victim"))
    assert "| Bias LeAcc | Bias LnAcc | Bias IRec | Bias (0.9) LeAcc " in header
    assert header.endswith("| RLG LeAcc |")
    assert float(table(finished, "bias")[0]["bias_leacc_mean"]) > 0


def test_the_attack_counts_by_its_formula(finished, loaded):
    """The rows equal those of a slow reference: gradient by autograd, counts by the formula on the page."""
    found = rows(finished, "bias").query("method == 'bias' and metric == 'lnacc'")
    spec = RestoreLabels(dataset="mnist-sample", model="fcn", batch_size=24)
    data = load("mnist-sample")
    model = build_model("fcn", num_classes=10, channels=1, image_size=28, seed=1)
    assert list(found["trial"]) == [0, 1]
    for trial, value in zip(found["trial"], found["value"], strict=True):
        indices = batches.select(data.labels, 10, "random", 24, stream("batch", *client_keys(spec, trial, 0)))
        images, labels = data.fetch(indices), data.labels[indices]
        gradient = observe_full(model, images, labels).gradients["head.bias"].numpy().astype(float)
        counts = np.maximum(np.rint(24 * (0.1 - gradient)), 0)
        true = np.bincount(labels.numpy(), minlength=10)
        assert value == pytest.approx((counts == true).mean())
        assert value > 0.5


def test_the_attack_is_exact_where_outputs_are_uniform(loaded):
    model = build_model("fcn", num_classes=10, channels=1, image_size=28, seed=1)
    torch.nn.init.zeros_(model.head.weight)
    torch.nn.init.zeros_(model.head.bias)
    labels = torch.tensor([3, 3, 3, 7, 0])
    observation, _ = observe_head(model, [(torch.rand(5, 1, 28, 28), labels)])
    assert build_method("bias")(observation).counts.tolist() == torch.bincount(labels, minlength=10).tolist()  # pyright: ignore


def test_an_attack_with_other_options_is_another_method(finished, loaded):
    found = rows(finished, "bias").query("metric == 'f1'")
    assert {"bias", "bias:least=0.9", "ilrg", "rlg"} <= set(found["method"])
    assert found.groupby("run")["method"].nunique().eq(found["method"].nunique()).all()  # on the same gradients
    model = build_model("fcn", num_classes=10, channels=1, image_size=28, seed=1)
    gradient = torch.full((10,), 0.1)
    gradient[3] -= 0.7 / 5  # as for 0.7 instances
    observation = Observation({"head.bias": gradient}, model, batch_size=5)
    assert build_method("bias")(observation).presence.tolist() == [c == 3 for c in range(10)]
    assert not build_method("bias:least=0.9")(observation).presence.any()


def test_the_metric_is_measured(finished):
    found = rows(finished, "majority").query("metric == 'majority'")
    assert set(found["method"]) == {"ilrg", "floor-blank", "floor-uniform"}
    assert found.query("method == 'ilrg'")["value"].tolist() == [1.0] * TINY["num_tries"]
    record = json.loads(next(finished.folder.glob("results/runs/labels/**/*random-B24-*/run.json")).read_text())
    assert "kinds" in record


def test_the_objective_matches_its_formula_and_restores_an_image(finished, loaded):
    generator = torch.Generator().manual_seed(0)
    dummy, target = ([torch.randn(2, *shape, generator=generator) for shape in ((3, 4), (5,))] for _ in range(2))
    expected = sum(
        ((d - t) ** 2).flatten(1).sum(1) / t.flatten(1).norm(dim=1) for d, t in zip(dummy, target, strict=True)
    )
    torch.testing.assert_close(objectives.build("scaled")(dummy, target), expected)
    found = rows(finished, "scaled").query("metric == 'psnr'")
    assert set(found["method"]) == {"dlg-ilrg", "dlg-scaled"}
    assert found.query("method == 'dlg-scaled'")["value"].max() > 12


def test_the_defense_leaves_the_given_number_of_values(finished, loaded):
    gradient = torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
    context = DefenseContext(torch.Generator(), torch.nn.Linear(1, 1), lambda: [])  # pyright: ignore[reportArgumentType]
    sent = build_defense("quantise-2")({"head.weight": gradient}, context)["head.weight"]
    assert len(sent.unique()) == 4
    assert (sent.min(), sent.max()) == (gradient.min(), pytest.approx(float(gradient.max()), rel=1e-6))
    step = float(gradient.max() - gradient.min()) / 3
    assert float((sent - gradient).abs().max()) <= step / 2 * (1 + 1e-5)
    found = rows(finished, "quantised").query("method == 'ilrg' and metric == 'lnacc'").groupby("defense")["value"]
    assert list(found.groups) == ["clip-4+quantise-2", "none"]
    means = found.mean()
    assert means["clip-4+quantise-2"] < means["none"]
    text = (finished.folder / "results/tables/quantised.md").read_text()
    assert "clipping at 4 + 2 bits" in text


def test_the_model_is_trained_and_attacked(finished, loaded):
    found = rows(finished, "convnet").query("method == 'ilrg' and metric == 'leacc' and model != 'fcn'")
    assert set(found["model_options"]) == {'{"n_dim":64}'}
    assert set(zip(found["stage_unit"], found["stage_number"], strict=True)) == {("", 0), ("iter", 100)}
    victim = next(iter(finished.files("checkpoints/mnist-sample/convnet-n_dim=64/*/train.json")))
    record = json.loads((finished.folder / victim).read_text())
    assert record["spec"]["modules"] == ["plugins/convnet.py"]
    assert record["identity"]["modules"] == plugins.digests(["plugins/convnet.py"])
    assert "ConvNet" in (finished.folder / "results/tables/convnet.md").read_text()
    # The closed form of the head gradient holds as for every victim.
    model = build_model("convnet", num_classes=10, channels=1, image_size=28, seed=0, n_dim=64)
    images, labels = torch.rand(6, 1, 28, 28), torch.arange(6)
    closed, full = observe_head(model, [(images, labels)])[0], observe_full(model, images, labels)
    torch.testing.assert_close(closed.head_weight, full.head_weight, check_dtype=False, atol=1e-6, rtol=1e-4)


def test_the_data_set_is_checked_and_attacked(finished, loaded):
    record = json.loads((finished.folder / "results/data/uci-digits.json").read_text())
    assert record["splits"] == {"train": {"images": 1400, "classes": 10}}
    data = datasets.load("uci-digits")
    assert data.fetch(torch.arange(1400)).mean() == pytest.approx(0, abs=2e-3)
    assert data.fetch(torch.arange(1400)).std() == pytest.approx(1, abs=2e-3)
    assert len(datasets.load("uci-digits", split="all")) == 1797
    found = rows(finished, "uci_digits").query("method == 'ilrg' and metric == 'leacc'")
    assert len(found) == TINY["num_tries"]
    assert (found["value"] == 1).all()
    assert "UCI digits" in (finished.folder / "results/tables/uci_digits.md").read_text()


def test_the_table_has_a_column_per_attack(finished):
    frame = rows(finished, "batchnorm_dropout").query("metric == 'leacc'")
    shown = table(finished, "by_attack")
    assert [line["model_options"] for line in shown] == ["{}", '{"batchnorm":true}']
    for line in shown:
        for method in ("ilrg", "idlg", "gi", "rlg"):
            of_it = frame[(frame["method"] == method) & (frame["model_options"] == line["model_options"])]
            assert float(line[f"{method}_mean"]) == pytest.approx(of_it["value"].mean())
    header = (finished.folder / "results/tables/by_attack.md").read_text().splitlines()[2]
    assert header == "| Setting | iLRG | iDLG | GI | RLG |"
    assert "tables/by_attack" in (finished.folder / "results/paper/macros.tex").read_text()


def test_runs_without_a_plugin_do_not_mention_one(finished):
    named = {"quantised": 1, "batchnorm_dropout": 0, "scaled": 1}
    for experiment, number in named.items():
        runs = set(rows(finished, experiment)["run"])
        records = [json.loads((finished.folder / f"results/runs/{run}/run.json").read_text()) for run in runs]
        assert sum("modules" in record["identity"] for record in records) == number


def test_an_edited_table_is_rebuilt_and_a_comment_renames_no_run(finished):
    pages = {name: (finished.folder / name).read_text() for name in ("plugins/by_attack.py", "plugins/quantise.py")}
    try:
        for name, text in pages.items():
            (finished.folder / name).write_text(text + "\n# A remark.\n")
        targets = ("results/tables/by_attack.md", "results/tables/quantised.md")
        jobs = finished.planned("--", *targets)
        assert {name: count for name, count in jobs.items() if name != "total"} == {"table": 1}
    finally:
        for name, text in pages.items():
            (finished.folder / name).write_text(text)


@pytest.mark.parametrize("command", BY_HAND)
def test_by_direct_call(project, command):
    arguments = [sys.executable, *shlex.split(command), "--num-tries", "1", "--no-progress"]
    done = subprocess.run(arguments, cwd=project.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ilrg" in done.stdout
