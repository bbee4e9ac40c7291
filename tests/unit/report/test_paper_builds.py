"""The paper builds for any grid, and no number in its prose is missing."""

import os
import re
import shutil
import subprocess

import pandas as pd
import pytest
from tests.unit.report.views import FIGURES, LABELS, OF_IMAGES, TABLES, gather, image_sidecar, sidecar

from gradleak.report import recorded, tex
from gradleak.report.figures.base import build as draw
from gradleak.report.figures.base import save
from gradleak.report.summary import distinct
from gradleak.report.tables import flower
from gradleak.report.tables.base import build
from gradleak.report.tables.render import to_latex

HAS_TEX = shutil.which("latexmk") is not None and shutil.which("pdflatex") is not None


def get(text: str) -> set[str]:
    return set(re.findall(r"\\Get\{([^{}]*)\}", text))


def sections_of(values: dict[str, str], folder) -> str:
    """Return the prose of a build: what ``\\IfHas`` and ``\\Section`` select, including nested files."""

    def read(name: str) -> str:
        text = (folder / name).read_text(encoding="utf-8")
        argument = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
        text = re.sub(r"\\IfHas\{([^{}]*)\}" + argument * 2, lambda m: m[2] if m[1] in values else m[3], text)
        chosen = re.findall(r"\\Section\{(\w+)\}", text)
        inputs = [f"sections/results/{section}.tex" for section in chosen if f"views/{section}" in values]
        inputs += re.findall(r"\\input\{(sections/[^{}]*)\}", text)
        return text + "".join(map(read, inputs))

    return read("main.tex")


def recorded_values(folder) -> dict[str, str]:
    """Return the numbers that every build has: those that were recorded beforehand."""
    return flower.values(recorded.read(folder / "recorded/flower.json"))


SELECTIONS = {
    "all views": (lambda kind: True, lambda experiment: True),
    "no view": (lambda kind: False, lambda experiment: True),
    "labels alone": (lambda kind: kind not in OF_IMAGES, lambda experiment: "images" not in experiment),
    "images alone": (lambda kind: kind in OF_IMAGES, lambda experiment: "images" in experiment),
}
"""Name -> whether a kind of view is built, and whether an experiment is in the grid."""


@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_number_of_the_chosen_sections_exists(selection, everything, sources, paper_folder):
    is_built, is_run = SELECTIONS[selection]
    frames = {name: frame for name, frame in everything.items() if is_run(name)}
    tables, figures = (
        {name: view for name, view in views.items() if is_built(view["kind"])} for views in (TABLES, FIGURES)
    )
    runs = [image_sidecar(60, 2)] if any("images" in name for name in frames) else [sidecar()]
    values = gather(frames, sources, runs, tables=tables, figures=figures)
    text = sections_of(values, paper_folder)
    assert len(get(text)) > 20
    assert get(text) <= set(values) | set(recorded_values(paper_folder))


def typeset(paper_folder, folder) -> subprocess.CompletedProcess[str]:
    templates = {name: paper_folder / f"templates/{name}.tex.j2" for name in ("table", "macros")}
    for name, text in flower.files(recorded.read(paper_folder / "recorded/flower.json"), **templates).items():
        (folder / name).write_text(text, encoding="utf-8")
    environment = {**os.environ, "TEXINPUTS": f".:paper:{folder}:", "BIBINPUTS": "paper:"}
    command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", f"-outdir={folder}"]
    return subprocess.run(
        [*command, "paper/main.tex"],
        cwd=paper_folder.parent,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=240,
        check=False,
    )


@pytest.mark.latex
@pytest.mark.skipif(not HAS_TEX, reason="no latexmk or pdflatex: `make tex` installs them")
@pytest.mark.parametrize("draft", [True, False])
def test_a_missing_number_stops_the_build_unless_it_is_a_draft(draft, frames, sources, paper_folder, tmp_path):
    values = gather(frames, sources, tables={}, figures={})
    del values["published/judged"]
    values |= {"draft": "yes"} if draft else {}
    (tmp_path / "macros.tex").write_text(tex.macros(values, paper_folder / "templates" / "macros.tex.j2"))
    done = typeset(paper_folder, tmp_path)
    assert (done.returncode == 0) is draft
    assert draft is ("No value for `published/judged'" not in done.stdout)


@pytest.mark.latex
@pytest.mark.skipif(not HAS_TEX, reason="no latexmk or pdflatex: `make tex` installs them")
@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_paper_is_typeset_for_any_selection(selection, everything, sources, paper_folder, tmp_path, write_archive):
    is_built, is_run = SELECTIONS[selection]
    frames = {name: frame for name, frame in everything.items() if is_run(name)}
    tables, figures = (
        {name: view for name, view in views.items() if is_built(view["kind"])} for views in (TABLES, FIGURES)
    )
    for name, view in tables.items():
        shown = distinct(pd.concat(frames[experiment] for experiment in view["experiments"]))
        table = build(view["kind"], shown, sources[0], LABELS, rerun=sources[1], images=sources[2])
        latex = to_latex(table, name, paper_folder / "templates" / "table.tex.j2")
        (tmp_path / f"{name}.tex").write_text(latex)
    for name, view in figures.items():
        shown = frames[view["experiments"][0]]
        archive = write_archive(tmp_path, [0] * 3 + [-1] * 3)
        images = {str(run): archive for run in shown["run"].unique()}
        drawn = draw(view["kind"], shown, sources[0], LABELS, images=images)
        save(drawn, tmp_path / f"{name}.pdf", tmp_path / "f.png")
    values = gather(frames, sources, [image_sidecar(60, 2)], tables=tables, figures=figures)
    (tmp_path / "macros.tex").write_text(tex.macros(values, paper_folder / "templates" / "macros.tex.j2"))
    done = typeset(paper_folder, tmp_path)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "main.log").read_text(errors="replace")
    assert not re.findall(r"LaTeX Warning: (?:Reference|Citation).*|Overfull \\hbox.*", log)
