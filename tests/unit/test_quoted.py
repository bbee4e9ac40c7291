"""The numbers in the prose, and that the paper reads whatever the grid holds."""

import json
import logging
import os
import re
import shutil
import subprocess

import pandas as pd
import pytest

from gradleak import facts, published, quoted, tex
from gradleak.errors import InputError
from gradleak.figures.all import build as draw
from gradleak.figures.base import save
from gradleak.measured import distinct
from gradleak.script_jobs import logged
from gradleak.tables.all import build
from gradleak.tables.base import Labels
from gradleak.tables.render import to_latex

HAS_TEX = shutil.which("latexmk") is not None and shutil.which("pdflatex") is not None
LABELS = Labels({"mnist-sample": "MNIST (5k sample)"}, {"fcn": "FCN-3"}, {"ilrg": "iLRG"})
_ANALYSED = ("error_analysis", "soteria_embedding", "training_stage", "defenses", "extreme_distribution")
TABLES = {
    name: {"kind": name, "experiments": ["stages"] if name in _ANALYSED else ["one", "two"], "caption": None}
    for name in facts.TABLES
}
FIGURES = {
    name: {
        "kind": name,
        "experiments": ["two"] if "batch" in name else ["stages"],
        "caption": "At 95 %" if "batch" in name else None,
    }
    for name in facts.FIGURES
}


def sidecar(**more) -> dict:
    return {
        "commit": "0123456789abcdef",
        "dirty": False,
        "packages": {"python": "3.11.2", "torch": "2.12.0"},
        "device": "cpu",
        "hardware": {"processor": "Some CPU @ 3 GHz", "cores": 2, "host": "h"},
        "seconds": 90.0,
        "peak_memory_mb": 700.0,
        **more,
    }


@pytest.fixture(scope="module")
def frames(made_up) -> dict[str, pd.DataFrame]:
    return {
        "one": made_up("mnist-sample", "fcn", 24),
        "two": pd.concat([made_up("mnist-sample", "fcn", size) for size in (8, 32, 128)]),
    }


@pytest.fixture(scope="module")
def with_stages(frames, made_up) -> dict[str, pd.DataFrame]:
    settings = ({"stage": "iter100"}, {"defense": "clip-4+dp-0.01"}, {})
    parts = [made_up("mnist-sample", "fcn", 8, analysis=True, **setting) for setting in settings]
    return {**frames, "stages": pd.concat(parts)}


@pytest.fixture(scope="module")
def sources(paper_folder):
    folder = paper_folder / "published"
    return published.load(folder / "ilrg.csv"), published.load_rerun(folder / "rerun.csv")


def gather(frames, sources, sidecars=None, tables=TABLES, figures=FIGURES):
    tables, figures = (
        {name: view for name, view in views.items() if set(view["experiments"]) <= set(frames)}
        for views in (tables, figures)
    )
    figures_published, rerun = sources
    runs = sidecars or [sidecar()]
    return quoted.gather(frames, figures_published, rerun, runs, tables=tables, figures=figures, labels=LABELS)


def test_extent(frames, sources):
    values = gather(frames, sources)
    assert (values["runs"], values["tries"], values["settings"]) == ("12", "48", "4")
    assert (values["initialisations"], values["tries-per-run"]) == ("3", "4")
    assert values["batch-sizes"] == "8, 24, 32 and 128"
    assert values["data-sets"] == "MNIST (5k sample)"
    assert "samples" in values
    assert not {"full-sets", "trained", "defended", "diverged"} & set(values)


def test_cells_are_found_under_the_full_data_sets_name(frames, sources):
    values = gather(frames, sources)
    mean = frames["two"].query("batch_size == 32 and method == 'ilrg' and metric == 'lnacc'")["value"].mean()
    assert values["value/ilrg/mnist/fcn/32/lnacc"] == f"{mean:.3f}"
    assert values["name/mnist"] == "MNIST (5k sample)"
    assert (values["series/mnist/fcn/first"], values["series/mnist/fcn/last"]) == ("8", "128")


def test_the_full_set_is_quoted_rather_than_its_sample(frames, sources, made_up):
    both = {**frames, "three": made_up("mnist", "fcn", 32, level=0.5)}
    values = gather(both, sources)
    assert values["value/ilrg/mnist/fcn/32/lnacc"].startswith("0.5") or values[
        "value/ilrg/mnist/fcn/32/lnacc"
    ].startswith("0.49")
    assert "value/ilrg/mnist/fcn/8/lnacc" not in values


def test_agreement_is_counted(frames, sources):
    values = gather(frames, sources)
    parts = [int(values[f"published/{name}"]) for name in ("agreeing", "differing", "judged", "covered")]
    assert parts[0] + parts[1] == parts[2] == parts[3]
    assert values["rerun/covered"] == "9"


def test_provenance(frames, sources):
    other = sidecar(commit="fedcba9876543210", dirty=True)
    values = gather(frames, sources, [sidecar(), other])
    assert values["commit"] == "0123456789ab and fedcba987654"
    assert (values["several-commits"], values["dirty"], values["compute"]) == ("2", "yes", "3 min")
    assert "dirty" not in gather(frames, sources)


def test_sidecars_are_read_or_named(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(sidecar()))
    assert quoted.read_sidecars([tmp_path / "run.json"])[0]["device"] == "cpu"
    with pytest.raises(InputError, match="no such file"):
        quoted.read_sidecars([tmp_path / "none.json"])
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json:1"):
        quoted.read_sidecars([tmp_path / "run.json"])


def test_a_fault_is_one_line_in_log_and_on_standard_error(tmp_path, capsys):
    def job() -> None:
        with logged(tmp_path / "sub" / "log.txt", "job") as log:
            log.info("started")
            raise InputError("no rows")

    with pytest.raises(SystemExit) as caught:
        job()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "job: error: no rows\n"
    assert (tmp_path / "sub" / "log.txt").read_text() == "INFO: started\nERROR: no rows\n"
    assert not logging.getLogger("gradleak.job").handlers


def test_every_unguarded_number_exists(frames, sources, paper_folder):
    """A quick stand-in for TeX: what the text gets outside of any condition is always there."""
    values = gather(frames, sources, tables={}, figures={})
    argument = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
    for path in (paper_folder / "sections").glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        while (shorter := re.sub(r"\\IfHas\{[^{}]*\}" + argument * 2, "", text)) != text:
            text = shorter
        if "appendix" not in path.name:
            assert set(re.findall(r"\\Get\{([^{}]*)\}", text)) <= set(values), path.name


@pytest.mark.latex
@pytest.mark.skipif(not HAS_TEX, reason="no latexmk or pdflatex: `make tex` installs them")
@pytest.mark.parametrize("whole", [True, False], ids=["all views", "no view"])
def test_the_paper_is_typeset_for_any_selection(whole, with_stages, sources, paper_folder, tmp_path):
    tables, figures = (TABLES, FIGURES) if whole else ({}, {})
    for name, view in tables.items():
        shown = distinct(pd.concat(with_stages[experiment] for experiment in view["experiments"]))
        table = build(view["kind"], shown, sources[0], LABELS, rerun=sources[1])
        latex = to_latex(table, name, paper_folder / "templates" / "table.tex.j2")
        (tmp_path / f"{name}.tex").write_text(latex)
    for name, view in figures.items():
        save(
            draw(view["kind"], with_stages[view["experiments"][0]], sources[0], LABELS),
            tmp_path / f"{name}.pdf",
            tmp_path / "f.png",
        )
    values = gather(with_stages, sources, tables=tables, figures=figures)
    (tmp_path / "macros.tex").write_text(tex.macros(values, paper_folder / "templates" / "macros.tex.j2"))
    environment = {**os.environ, "TEXINPUTS": f".:paper:{tmp_path}:", "BIBINPUTS": "paper:"}
    command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", f"-outdir={tmp_path}"]
    done = subprocess.run(
        [*command, "paper/main.tex"],
        cwd=paper_folder.parent,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "main.log").read_text(errors="replace")
    assert not re.findall(r"LaTeX Warning: (?:Reference|Citation).*|Overfull \\hbox.*", log)
