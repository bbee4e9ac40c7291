"""The digest of the code: what changes it and what does not."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gradleak import code_digest as module
from gradleak.code_digest import PROGRAMS, code_digest, stamp


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Iterator[Path]:
    """A copy of the sources, so that they can be edited."""
    package = Path(module.__file__).parent
    for folder in (package, package.parents[1] / "workflow" / "scripts"):
        place = tmp_path / folder.relative_to(package.parents[1])
        shutil.copytree(folder, place, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "src" / "gradleak")
    monkeypatch.setattr(module, "_PROGRAMS", tmp_path / "workflow" / "scripts")
    monkeypatch.delenv("GRADLEAK_CODE", raising=False)
    forget()
    yield tmp_path / "src" / "gradleak"
    forget()


def forget() -> None:
    for cached in (module._hash_of_sources, module._digest, module._read):
        cached.cache_clear()


def after_edit(path: Path, edit: Callable[[str], str], kind: str) -> tuple[str, str]:
    """Digest before and after an edit of a source file."""
    before = code_digest(kind)
    text = path.read_text()
    assert edit(text) != text
    path.write_text(edit(text))
    forget()
    return before, code_digest(kind)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("attacks/labels/ilrg.py", "labels"),
        ("victims/models/fcn.py", "labels"),
        ("victims/models/resnet.py", "images"),
        ("data/datasets.py", "labels"),
        ("attacks/images/lbfgs.py", "images"),
        ("attacks/images/lbfgs.py", "diffusion"),
        ("attacks/diffusion/guidance.py", "diffusion"),
        ("attacks/diffusion/train.py", "prior"),
        ("victims/training/loop.py", "train"),
        ("metrics/ssim.py", "images"),
    ],
)
def test_code_that_a_job_reaches_counts(tree, name, kind):
    before, after = after_edit(tree / name, lambda text: text + "\nEXTRA = 1\n", kind)
    assert before != after


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
    forget()
    before, after = after_edit(tree / file, lambda text: text + "x = 2\n", "labels")
    assert before != after


def test_every_model_counts():
    """Victims are built by name: a digest that misses one would keep results of its old code."""
    models = Path(module.__file__).parent / "victims" / "models"
    assert set(models.glob("*.py")) <= set(module.reached("images"))


def test_comments_docstrings_and_layout_do_not_count(tree):
    def edit(text: str) -> str:
        return "# A remark.\n\n" + text.replace('"""', '"""More words. ', 1)

    before, after = after_edit(tree / "attacks" / "labels" / "ilrg.py", edit, "labels")
    assert before == after


def test_code_of_views_and_of_the_plan_does_not_count(tree):
    before = {kind: code_digest(kind) for kind in PROGRAMS}
    for name in ("report/tables/comparison.py", "report/figures/panels.py", "plan/grid.py", "report/tex.py"):
        path = tree / name
        path.write_text(path.read_text() + "\nEXTRA = 1\n")
    forget()
    assert {kind: code_digest(kind) for kind in PROGRAMS} == before


def test_a_job_takes_what_the_workflow_tells_it_but_only_of_these_sources(tree, monkeypatch):
    told = stamp()
    monkeypatch.setenv("GRADLEAK_CODE", told.replace(f"labels={code_digest('labels')}", "labels=12345678"))
    assert code_digest("labels") == "12345678"
    before, after = after_edit(
        tree / "report" / "tables" / "comparison.py", lambda text: text + "\n# A remark.\n", "labels"
    )
    assert (before, after) == ("12345678", told.partition("labels=")[2][:8])
