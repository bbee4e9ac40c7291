"""The configurations in config/: the default one needs no download, the large ones cover every published row."""

from dataclasses import astuple
from typing import Any

import pytest
import yaml
from tests.workflow import ROOT

from gradleak.plan import config as configuration
from gradleak.plan import grid
from gradleak.records import CELL
from gradleak.report import published

NO_FILES = configuration.Sources({})


def merged(*files: str) -> dict[str, Any]:
    """Merge config files as Snakemake does: mappings are merged, lists replaced."""

    def update(into: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        for key, value in new.items():
            into[key] = update(into.get(key, {}), value) if isinstance(value, dict) else value
        return into

    result: dict[str, Any] = {}
    for file in files:
        update(result, yaml.safe_load((ROOT / "config" / file).read_text(encoding="utf-8")))
    return result


@pytest.mark.parametrize("files", [("config.yaml",), ("config.yaml", "cpu.yaml")])
def test_the_shipped_grids_expand(files):
    expanded = grid.expand(configuration.load(merged(*files), NO_FILES), NO_FILES)
    assert len(expanded.runs) > 20
    assert {"comparison", "batch_size_and_depth"} <= set(expanded.tables)


def test_the_default_grid_needs_no_download():
    expanded = grid.expand(configuration.load(merged("config.yaml"), NO_FILES), NO_FILES)
    assert all(spec.dataset.endswith("-sample") for spec in expanded.runs.values())


PUBLISHED = published.load(ROOT / "paper" / "published" / "ilrg.csv")
WITHOUT_GPU = PUBLISHED["dataset"].isin(["mnist", "cifar100"]) & (PUBLISHED["stage_unit"] != "epoch")


@pytest.mark.parametrize(("name", "rows"), [("cpu.yaml", PUBLISHED[WITHOUT_GPU]), ("paper.yaml", PUBLISHED)])
def test_the_large_grids_run_every_published_row_at_its_size(name, rows):
    expanded = grid.expand(configuration.load(merged("config.yaml", name), NO_FILES), NO_FILES)
    tries: dict[tuple[Any, ...], list[int]] = {}
    for spec in expanded.runs.values():
        tries.setdefault(astuple(spec.setting()), []).append(spec.num_tries)
    cells = rows[[*CELL, "tries"]].drop_duplicates().itertuples(index=False, name=None)
    missing = [(*cell, size) for *cell, size in cells if max(tries.get(tuple(cell), [0])) < size]
    assert not missing
    assert not {spec.dataset for spec in expanded.runs.values()} - {"mnist", "cifar100", "imagenet"}


def test_the_cpu_grid_runs_imagenet_at_the_smallest_batch_on_validation_images():
    expanded = grid.expand(configuration.load(merged("config.yaml", "cpu.yaml"), NO_FILES), NO_FILES)
    runs = [spec for spec in expanded.runs.values() if spec.dataset == "imagenet"]
    smallest: Any = PUBLISHED[(PUBLISHED["dataset"] == "imagenet") & (PUBLISHED["batch_size"] == 24)]
    wanted = set(smallest[[*CELL]].itertuples(index=False, name=None))
    assert {astuple(spec.setting()) for spec in runs} == wanted
    assert {(spec.split, spec.num_tries) for spec in runs} == {("val", 20)}
    assert "1,000 validation images" in expanded.config.datasets["imagenet"].label
