"""What changes the digest of the code, and what does not."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradleak import code_digest as module
from gradleak.code_digest import tell_jobs
from gradleak.plan.catalogue import attacks
from gradleak.plan.code import code_of, code_of_kinds, stamped, uses
from gradleak.plan.jobs.diffusion import DiffusionReconstruct, TrainPrior
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.spec import Job
from gradleak.plan.jobs.training import TrainVictim


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Iterator[Path]:
    """A copy of the sources, so that they can be edited."""
    package = Path(module.__file__).parent
    copy = tmp_path / "src" / "gradleak"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "_PACKAGE", copy)
    monkeypatch.delenv("GRADLEAK_CODE", raising=False)
    forget()
    yield copy
    forget()


def forget() -> None:
    for cached in (module._hash_of_sources, module._digest, module._read, module.reached, code_of_kinds):
        cached.cache_clear()


DIFFUSION: Any = {"labels": "ilrg", "guidance": "dps", "dataset": "mnist", "model": "fcn"}
JOBS: dict[str, Job] = {
    "ilrg": RestoreLabels(),
    "prior works": RestoreLabels(methods=("idlg", "gi"), dataset="mnist", model="fcn"),
    "gi defended": RestoreLabels(methods=("gi",), defenses=("clip-4", "dp-0.01"), dataset="mnist-sample", model="fcn"),
    "vgg": RestoreLabels(methods=("rlg",), model="vgg16"),
    "dlg": Reconstruct(),
    "ig with labels": Reconstruct(labels="idlg", cost_fn="sim", dataset="tiny-imagenet", model="resnet18"),
    "diffusion": DiffusionReconstruct(**DIFFUSION),
    "training": TrainVictim(stage="iter1", dataset="mnist", model="lenet"),
    "prior": TrainPrior(dataset="mnist"),
}


def digests() -> dict[str, str]:
    forget()
    return {name: code_of(job) for name, job in JOBS.items()}


def changed(path: Path, edit: Callable[[str], str] = lambda text: text + "\nEXTRA = 1\n") -> set[str]:
    """Return the jobs whose digest changes when a source file is edited."""
    before, text = digests(), path.read_text()
    assert edit(text) != text
    path.write_text(edit(text))
    after = digests()
    return {name for name in JOBS if after[name] != before[name]}


LABELS = {"ilrg", "prior works", "gi defended", "vgg"}
IMAGES = {"dlg", "ig with labels", "diffusion"}


@pytest.mark.parametrize(
    ("file", "jobs"),
    [
        ("attacks/labels/gi.py", {"prior works", "gi defended"}),
        ("attacks/labels/idlg.py", {"prior works", "ig with labels"}),
        ("attacks/labels/ilrg.py", {"ilrg", "diffusion"}),
        ("attacks/labels/rlg.py", {"vgg"}),
        ("attacks/labels/base.py", LABELS | IMAGES),
        ("attacks/images/objectives.py", IMAGES),
        ("attacks/images/lbfgs.py", IMAGES),
        ("attacks/diffusion/guidance.py", {"diffusion"}),
        ("attacks/diffusion/train.py", {"prior"}),
        ("clients/defenses/clip.py", {"gi defended"}),
        ("clients/defenses/perturb.py", set()),
        ("clients/defenses/base.py", set(JOBS) - {"training"}),
        ("data/torchvision_sets.py", set(JOBS) - {"gi defended", "ig with labels"}),
        ("data/samples.py", {"gi defended"}),
        ("data/tiny_imagenet.py", {"ig with labels"}),
        ("data/datasets.py", set(JOBS)),
        ("victims/models/fcn.py", {"prior works", "gi defended", "diffusion"}),
        ("victims/models/vgg.py", {"vgg"}),
        ("victims/models/lenet.py", {"dlg", "training"}),
        ("victims/training/loop.py", set(JOBS)),
        ("metrics/ssim.py", IMAGES),
        ("report/tables/comparison.py", set()),
        ("report/figures/panels.py", set()),
        ("report/tex.py", set()),
        ("plan/grid.py", set()),
        ("plan/catalogue/attacks.py", set()),
        ("plan/catalogue/tables.py", set()),
        ("plan/catalogue/__init__.py", set(JOBS)),
        ("commands/restore_labels.py", LABELS),
        ("commands/reconstruct.py", IMAGES - {"diffusion"}),
        ("commands/diffusion_reconstruct.py", {"diffusion"}),
        ("commands/train_model.py", {"training"}),
        ("commands/train_prior.py", {"prior"}),
        ("commands/main.py", set()),
        ("commands/plan.py", set()),
        ("attacks/library.py", set()),
        ("__init__.py", set()),
    ],
)
def test_an_edit_changes_exactly_the_jobs_that_use_the_code(tree, file, jobs):
    assert changed(tree / file) == jobs


def test_the_facts_of_a_kind_count_for_the_jobs_that_use_it(tree, monkeypatch):
    before = digests()
    monkeypatch.setitem(attacks.KINDS, "gi", attacks.KINDS["gi"].model_copy(update={"gives": ("counts",)}))
    uses.cache_clear()
    after = digests()
    uses.cache_clear()
    assert {name for name in JOBS if after[name] != before[name]} == {"prior works", "gi defended"}


@pytest.mark.parametrize(
    ("statement", "file"),
    [
        ("from . import extra", "attacks/labels/extra.py"),
        ("from .extra import x", "attacks/labels/extra.py"),
        ("from .extra import *", "attacks/labels/extra.py"),
        ("from ..images import extra", "attacks/images/extra.py"),
        ("from .. import extra", "attacks/extra.py"),
        ("from ..extra import x", "attacks/extra.py"),
        ("from ...extra import x", "extra.py"),
        ("import gradleak.extra as y", "extra.py"),
        ("def f():\n    from . import extra", "attacks/labels/extra.py"),
        ("from importlib import import_module\nimport_module('gradleak.extra')", "extra.py"),
        ("import importlib\nimportlib.import_module('..extra', __package__)", "attacks/extra.py"),
        ("__import__('gradleak.extra')", "extra.py"),
        ("from . import box", "attacks/labels/box/extra.py"),
    ],
)
def test_every_form_of_import_is_followed(tree, statement, file):
    (tree / "attacks" / "labels" / "box").mkdir()
    (tree / "attacks" / "labels" / "box" / "__init__.py").write_text("from .extra import x\n")
    (tree / file).write_text("x = 1\n")
    gi = tree / "attacks" / "labels" / "gi.py"
    gi.write_text(f"{gi.read_text()}\n{statement}\n")
    assert changed(tree / file) == {"prior works", "gi defended"}


def test_comments_docstrings_and_layout_do_not_count(tree):
    def edit(text: str) -> str:
        return "# A remark.\n\n" + text.replace('"""', '"""More words. ', 1)

    assert changed(tree / "attacks" / "labels" / "ilrg.py", edit) == set()


def test_digests_do_not_depend_on_where_the_package_is_installed(tree, tmp_path, monkeypatch):
    before = digests()
    installed = tmp_path / "site-packages" / "gradleak"
    shutil.copytree(tree, installed)
    monkeypatch.setattr(module, "_PACKAGE", installed)
    assert digests() == before


def test_a_job_uses_the_workflows_digest_only_for_the_same_sources(tree, monkeypatch):
    jobs = [JOBS["ilrg"], JOBS["vgg"]]
    right = {name: code_of(JOBS[name]) for name in ("ilrg", "vgg", "dlg")}
    monkeypatch.setenv("GRADLEAK_CODE", "")
    tell_jobs(stamped(jobs))
    told = os.environ["GRADLEAK_CODE"].replace(right["vgg"], "12345678")
    monkeypatch.setenv("GRADLEAK_CODE", told)
    forget()
    assert {name: code_of(JOBS[name]) for name in right} == right | {"vgg": "12345678"}
    comparison = tree / "report" / "tables" / "comparison.py"
    comparison.write_text(comparison.read_text() + "\n# A remark.\n")
    forget()
    assert code_of(JOBS["vgg"]) == right["vgg"]
