"""The numbers in the prose, and that the paper reads whatever the grid holds."""

import logging
import os
import re
import shutil
import subprocess

import pandas as pd
import pytest

from gradleak.errors import InputError
from gradleak.plan import catalogue as facts
from gradleak.report import numbers as quoted
from gradleak.report import published, published_images, tex
from gradleak.report.figures.all import build as draw
from gradleak.report.figures.base import save
from gradleak.report.snakemake_log import logged, packed, unpacked
from gradleak.report.summary import distinct
from gradleak.report.tables.all import build
from gradleak.report.tables.base import Labels
from gradleak.report.tables.render import to_latex

HAS_TEX = shutil.which("latexmk") is not None and shutil.which("pdflatex") is not None
LABELS = Labels({"mnist-sample": "MNIST (5k sample)"}, {"fcn": "FCN-3"}, {"ilrg": "iLRG"})
_ANALYSED = ("error_analysis", "soteria_embedding", "training_stage", "defenses", "extreme_distribution")


def _experiments(kind: str, needs: tuple[str, ...]) -> list[str]:
    """The made-up experiments that a view shows."""
    if kind == "denoising_path":
        return ["guided images"]
    if facts.IMAGES in needs:
        return ["defended images"] if "defenses" in kind else ["images"]
    if kind in facts.FIGURES:
        return ["two"] if "batch" in kind else ["stages"]
    return ["stages"] if kind in _ANALYSED else ["one", "two"]


TABLES = {
    name: {"kind": name, "experiments": _experiments(name, needs), "caption": None}
    for name, needs in facts.TABLES.items()
}
TABLES["more_images"] = {"kind": "reconstruction", "experiments": ["defended images"], "caption": None}
FIGURES = {
    name: {
        "kind": name,
        "experiments": _experiments(name, needs),
        "caption": "At 95 %" if "batch" in name else None,
    }
    for name, needs in facts.FIGURES.items()
}
OF_IMAGES = [kind for kind, needs in (facts.TABLES | facts.FIGURES).items() if facts.IMAGES in needs]


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
def of_images(made_up_images) -> dict[str, pd.DataFrame]:
    """DLG on clients and their aggregate, IG with labels optimised, restored and given; and DLG under defenses."""
    levels = {"ig": 17.0, "ig-ilrg": 18.8, "ig-truth": 19.5}
    at = {"model_seeds": (1, 2, 3), "iterations": (1, 4000, 8000)}
    parts = [made_up_images("mnist-sample", "fcn", 50, method=m, psnr=p - 24.5, **at) for m, p in levels.items()]
    for method, level in (("dlg", 20.0), ("dlg-ilrg", 19.0)):
        parts.append(made_up_images("cifar100-sample", "lenet-sigmoid", 1, method=method, clients=3, psnr=level))
        whole = {"clients": 3, "aggregated": True, "psnr": level - 10}
        parts.append(made_up_images("cifar100-sample", "lenet-sigmoid", 3, method=method, **whole))
    strengths = {"none": 40.0, "dp-0.01@all": 20.0, "sparse-80@all": 9.0}
    defended = [
        made_up_images("mnist-sample", "lenet-sigmoid", 1, clients=4, defense=name, psnr=level, diverged=(3,))
        for name, level in strengths.items()
    ]
    return {"images": pd.concat(parts), "defended images": pd.concat(defended)}


@pytest.fixture(scope="module")
def guided(made_up_images) -> dict[str, pd.DataFrame]:
    """The same with a diffusion prior."""
    rows = made_up_images("mnist-sample", "lenet-sigmoid", 1, clients=2, method="diffusion")
    return {"guided images": rows.assign(kind="diffusion")}


@pytest.fixture(scope="module")
def sources(paper_folder):
    folder = paper_folder / "published"
    reconstructed = published_images.load(folder / "images.csv")
    return published.load(folder / "ilrg.csv"), published.load_rerun(folder / "rerun.csv"), reconstructed


def gather(frames, sources, sidecars=None, tables=TABLES, figures=FIGURES):
    tables, figures = (
        {name: view for name, view in views.items() if set(view["experiments"]) <= set(frames)}
        for views in (tables, figures)
    )
    restored, rerun, images = sources
    runs = sidecars or [sidecar()]
    return quoted.gather(frames, restored, rerun, runs, tables=tables, figures=figures, labels=LABELS, images=images)


def image_sidecar(iterations: int, restarts: int, **more) -> dict:
    spec = {"iterations": iterations, "restarts": restarts, "bn_eval": True, "local_steps": 1, "median": 0}
    return sidecar(run="images/mnist/fcn/x", spec={**spec, **more})


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


def test_images_do_not_count_as_restored_labels(frames, of_images, sources):
    labels = gather(frames, sources)
    both = gather({**frames, **of_images}, sources)
    differs = {key for key, value in labels.items() if both.get(key) != value}
    # What both have in common, and the tables that are put into the text.
    assert differs == {"all/runs"}
    assert {key.split("/")[0] for key in set(both) - set(labels)} == {
        *("data", "figures", "images", "range", "ref", "refs", "tables", "value", "views")
    }
    assert not [key for key in labels if key.startswith("images/")]


def test_learnt_priors_do_not_count_as_gradient_matching(of_images, guided, sources):
    values = gather(of_images, sources)
    with_guided = gather({**of_images, **guided}, sources)
    assert {key for key, value in values.items() if with_guided.get(key) != value} <= {"all/runs"}
    more = set(with_guided) - set(values)
    assert "images/diffusion" in more
    assert all(key.startswith("images/diffusion") or "denoising_path" in key for key in more)
    assert with_guided["runs"] == "0"


def test_extent_of_images(of_images, sources):
    values = gather(of_images, sources, [image_sidecar(60, 2), image_sidecar(8000, 1, local_steps=5)])
    # IG: 3 attacks on 3 x 50; DLG: 2 attacks on 3 and 3; 3 settings of 4 clients each.
    assert (values["images/settings"], values["images/images"]) == ("6", f"{450 + 12 + 12}")
    assert (values["images/runs"], values["images/batches"]) == ("16", f"{9 + 8 + 12}")
    assert (values["images/initialisations"], values["images/batch-sizes"]) == ("1 to 3", "1, 3 and 50")
    assert (values["images/diverged"], values["images/dropped"]) == ("3", "6")
    assert {"images/aggregated", "images/defended", "views/images", "images/local-steps"} <= set(values)
    assert not {"images/trained", "images/lpips", "images/batch-statistics", "labels/runs"} & set(values)
    assert (values["images/iterations"], values["images/restarts"]) == ("60 to 8000", "1 to 2")
    assert (values["runs"], values["all/runs"]) == ("0", "16")


def test_what_labels_aggregation_and_defenses_do(of_images, sources):
    values = gather(of_images, sources)
    # IG rises by 1.8 for each of three initialisations, DLG falls by 1 for each of three clients; the one aggregate has
    # no interval.
    names = ("settings", "judged", "above", "below", "undecided")
    assert [values[f"images/restored/{name}"] for name in names] == ["3", "2", "1", "1", "0"]
    assert (values["images/restored/gain"], values["images/given/gain"]) == ("−1.00 to 1.80", "0.70")
    # Single: 20 + client + 0.01, aggregate: 10 + image + 0.01, each for 0, 1 and 2.
    assert (values["images/single/psnr"], values["images/aggregate/psnr"]) == ("20.01 to 21.01", "10.01 to 11.01")
    assert values["images/defenses/none"] == "41.01"
    assert (values["images/defenses/lowest"], values["images/defenses/lowest/at"]) == ("10.01", "sparse-80")
    assert (values["images/defenses/highest"], values["images/defenses/highest/at"]) == ("21.01", "dp-0.01")
    assert values["value/ig-ilrg/mnist/fcn/50/psnr"] == "18.82"


def test_published_reconstructions_are_counted(of_images, sources):
    values = gather(of_images, sources)
    counts = {name: values[f"images/published/{name}"] for name in ("covered", "judged", "agreeing")}
    assert counts == {"covered": "2", "judged": "2", "agreeing": "1"}


def test_ranges_of_a_table_of_images(of_images, sources):
    values = gather(of_images, sources)
    assert (values["range/reconstruction/dlg/psnr/low"], values["range/reconstruction/dlg/psnr/high"]) == (
        "11.01",
        "21.01",
    )
    assert "3 clients aggregated" in values["range/reconstruction/dlg/psnr/low/at"]
    assert values["refs/table/reconstruction"] == r"Table~\ref{tab:reconstruction} and Table~\ref{tab:more_images}"


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


def test_parameters_of_rules_can_stand_in_a_script_of_the_report():
    value = {"caption": "a </script> <!-- b", "names": ["<"], "draft": False, "none": None}
    assert "<" not in packed(value)
    assert unpacked(packed(value)) == value


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
    assert "images/runs" not in values
    argument = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
    for path in (paper_folder / "sections").glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        while (shorter := re.sub(r"\\IfHas\{[^{}]*\}" + argument * 2, "", text)) != text:
            text = shorter
        if "appendix" not in path.name:
            assert set(re.findall(r"\\Get\{([^{}]*)\}", text)) <= set(values), path.name


@pytest.fixture(scope="module")
def everything(with_stages, of_images, guided) -> dict[str, pd.DataFrame]:
    return {**with_stages, **of_images, **guided}


SELECTIONS = {
    "all views": (lambda kind: True, lambda experiment: True),
    "no view": (lambda kind: False, lambda experiment: True),
    "labels alone": (lambda kind: kind not in OF_IMAGES, lambda experiment: "images" not in experiment),
    "images alone": (lambda kind: kind in OF_IMAGES, lambda experiment: "images" in experiment),
}
"""Name -> whether a kind of view is built, and whether an experiment is in the grid."""


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
    values = gather(frames, sources, tables=tables, figures=figures)
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
