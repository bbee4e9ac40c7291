"""Checks of a configuration: names, types and keys that are refused, each with file and key."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from tests.small_grid import BASE, expand
from tests.workflow import ROOT

from gradleak.errors import InputError
from gradleak.plan import config as configuration
from gradleak.plan.config_files import read_grid
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels


def fault_of(changes) -> str:
    with pytest.raises(InputError) as caught:
        expand(changes)
    return str(caught.value)


@pytest.mark.parametrize("name", ["", "/", "..", "-a", "a/b", "a b", "a.b", "é", "x" * 236, "*"])
@pytest.mark.parametrize("part", ["experiments", "tables", "figures"])
def test_names_that_cannot_be_paths(part, name):
    entry = dict(BASE[part][next(iter(BASE[part]))])
    (line,) = {line for line in fault_of({part: {**BASE[part], name: entry}}).splitlines() if line}
    assert line.startswith(f"my.yaml: {part}.{name}: ")
    assert "cannot be part of a path; use 1 to 200 letters, digits, _ and -, and no - first" in line


@pytest.mark.parametrize("name", ["a/b", "..", "a b", "job", "floor-mine"])
def test_names_of_image_attacks_must_be_valid_in_paths_and_rows(name):
    image = {"kind": "matching", "label": "DLG"}
    assert f"my.yaml: attacks.{name}: " in fault_of({"attacks": {**BASE["attacks"], name: image}})


def test_a_run_id_that_is_too_long_for_a_folder():
    defenses = {f"d{k}": {"kind": "dp", "noise_std": 0.1 + 1e-9 * k, "label": "d"} for k in range(1, 30)}
    axes = [{"dataset": "digits", "model": "fcn", "defense": [list(defenses)]}]
    assert re.search(
        r"^my.yaml: experiments.a: .* a folder's name of \d+ bytes, more than 255",
        fault_of({"defenses": defenses, "experiments/a/axes": axes}),
    )


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"defaults/seed": True}, "defaults: seed: Input should be a valid integer"),
        ({"defaults/model_seed": [1, True]}, "defaults: model_seed: Input should be a valid integer"),
        ({"defaults/lr": True}, "defaults: lr: Input should be a valid number"),
        ({"defaults/analysis": 1}, "defaults: analysis: Input should be a valid boolean"),
        ({"defaults/analysis": "yes"}, "defaults: analysis: Input should be a valid boolean"),
        ({"models/deep/n_hidden": True}, "models.deep.n_hidden: Input should be a valid integer"),
        ({"models/deep/batchnorm": 0}, "models.deep.batchnorm: Input should be a valid boolean"),
        ({"draft": 1}, "draft: Input should be a valid boolean"),
        ({"data": {"download": "on"}}, "data.download: Input should be a valid boolean"),
        (
            {"defenses/d": {"kind": "dp", "label": "d", "noise_std": True}},
            "defenses.d.noise_std: Input should be a valid number",
        ),
        (
            {"defenses/d": {"kind": "mine", "module": "mine.py", "label": "d", "bits": True}},
            "defenses.d.bits: Input should be a valid number",
        ),
        (
            {"attacks/dlg": {"kind": "matching", "label": "DLG", "options": {"restarts": True}}},
            "attacks.dlg.options.restarts: Input should be a valid integer",
        ),
        (
            {"attacks/dlg": {"kind": "matching", "label": "DLG", "options": {"signed": 1}}},
            "attacks.dlg.options.signed: Input should be a valid boolean",
        ),
        (
            {"priors/p": {"label": "p", "options": {"steps": True}}},
            "priors.p.options: steps: Input should be a valid integer",
        ),
        (
            {"experiments/a/exclude": [{"batch_size": True}]},
            "experiments.a.exclude.0.batch_size: Input should be a valid integer",
        ),
        (
            {"experiments/a/exclude": [{"model": "feedforward"}]},
            "experiments.a.exclude.0.model: unknown model 'feedforward'",
        ),
    ],
)
def test_booleans_and_numbers_are_not_interchangeable(changes, fault):
    assert f"my.yaml: {fault}" in fault_of(changes)


@pytest.mark.parametrize(
    "options",
    [{"batch_size": True}, {"seed": False}, {"lr": True}, {"analysis": 1}, {"model_seed": True}, {"n_hidden": True}],
)
def test_specs_are_as_strict(options):
    with pytest.raises(ValidationError, match="Input should be a valid"):
        RestoreLabels(**options)


@pytest.mark.parametrize("options", [{"lr": float("inf")}, {"tv_weight": float("nan")}])
def test_numbers_are_finite(options):
    with pytest.raises(ValidationError, match="finite number"):
        Reconstruct(**options)


def test_numbers_may_be_strings_and_booleans_are_accepted():
    options: dict[str, Any] = {"batch_size": "2", "tv_weight": "1e-2", "signed": True, "rec_optimizer": "adam"}
    spec = Reconstruct(**options)
    assert (spec.batch_size, spec.tv_weight, spec.signed) == (2, 0.01, True)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3\n", "a: appears twice, in lines 1 and 3; keep one"),
        ("experiments:\n  mine: {}\n  mine: {}\n", "experiments.mine: appears twice, in lines 2 and 3; keep one"),
        ("axes:\n - {x: 1}\n - {x: 1, y: 2, x: 2}\n", "axes.1.x: appears twice, in lines 3 and 3; keep one"),
        ("a: {yes: 1, on: 2}\n", "a.on: appears twice, in lines 1 and 1; keep one"),
        (
            "defaults:\n  num_tries: 012\n",
            "defaults.num_tries: YAML reads 012 in line 2 as 10; write it in decimals",
        ),
        ("a: [1, 1:30]\n", "a.1: YAML reads 1:30 in line 1 as 90; write it in decimals"),
    ],
)
def test_a_repeated_key_or_a_deceptive_number(tmp_path, monkeypatch, text, fault):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(text)
    with pytest.raises(InputError, match=f"^mine.yaml: {re.escape(fault)}$"):
        configuration.Sources.read([Path("mine.yaml")])


def test_all_repeated_keys_are_reported_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("a: 1\na: 2\nb: {c: 1, c: 2}\n")
    with pytest.raises(InputError) as caught:
        read_grid([Path("mine.yaml")])
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["a", "b.c"]


def test_merged_keys_may_be_overridden(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}\nd: {<<: [*a, *b], z: *a}\n")
    (values,) = configuration.Sources.read([path]).files.values()
    assert values["c"] == {"x": 3, "y": 4}
    assert values["d"]["x"] == 1


def test_a_key_with_dots_is_found_in_its_file():
    files = {"base.yaml": {"defenses": {"dp-0.01": {"kind": "dp"}}}, "mine.yaml": {"defenses": {"dp-0.1": {}}}}
    sources = configuration.Sources(files)
    assert sources.of("defenses.dp-0.01.kind") == "base.yaml"
    assert sources.of("defenses.dp-0.1") == "mine.yaml"


def test_a_fault_of_the_defaults_is_reported_once_and_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("defaults: {seed: -1}\n")
    with pytest.raises(InputError) as caught:
        read_grid([ROOT / "config" / "config.yaml", Path("mine.yaml")])
    assert str(caught.value).startswith("mine.yaml: defaults: seed: ")
    assert "\n" not in str(caught.value)


def test_the_shipped_files_repeat_no_key():
    for path in (ROOT / "config").glob("*.yaml"):
        (values,) = configuration.Sources.read([path]).files.values()
        assert values == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_schema_file_is_generated():
    """To fix it, run python workflow/scripts/write_schema.py."""
    path = ROOT / "workflow" / "schemas" / "config.schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == configuration.schema()


def test_config_readme_explains_every_key():
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    definitions = configuration.schema()["$defs"]
    keys = set(configuration.schema()["properties"]) | {
        key for part in definitions.values() for key in part.get("properties", {})
    }
    missing = sorted(key for key in keys if f"`{key}`" not in text)
    assert not missing
