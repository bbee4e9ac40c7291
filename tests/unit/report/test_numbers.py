"""The numbers in the prose, and that the paper builds for any grid."""

import os
import re
import shutil
import subprocess

import pandas as pd
import pytest

from gradleak.plan.catalogue import IMAGES, find, names
from gradleak.report import numbers as quoted
from gradleak.report import published, published_images, recorded, tex
from gradleak.report.figures.base import build as draw
from gradleak.report.figures.base import save
from gradleak.report.summary import distinct
from gradleak.report.tables import flower
from gradleak.report.tables.base import Labels, build
from gradleak.report.tables.render import to_latex

HAS_TEX = shutil.which("latexmk") is not None and shutil.which("pdflatex") is not None
LABELS = Labels({"mnist-sample": "MNIST (5k sample)"}, {"fcn": "FCN-3"}, {"ilrg": "iLRG"})
_ANALYSED = ("error_analysis", "soteria_embedding", "training_stage", "defenses", "extreme_distribution")


def _experiments(kind: str, needs: tuple[str, ...]) -> list[str]:
    """Return the artificial experiments that a view shows."""
    if kind == "denoising_path":
        return ["guided images"]
    if IMAGES in needs:
        return ["defended images"] if "defenses" in kind else ["images"]
    if kind in names("figures"):
        return ["two"] if "batch" in kind else ["stages"]
    return ["stages"] if kind in _ANALYSED else ["one", "two"]


TABLES = {
    name: {"kind": name, "experiments": _experiments(name, find("tables", name).needs), "caption": None}
    for name in names("tables")
}
TABLES["more_images"] = {"kind": "reconstruction", "experiments": ["defended images"], "caption": None}
FIGURES = {
    name: {
        "kind": name,
        "experiments": _experiments(name, find("figures", name).needs),
        "caption": "At 95 %" if "batch" in name else None,
    }
    for name in names("figures")
}
OF_IMAGES = [kind for part in ("tables", "figures") for kind in names(part) if IMAGES in find(part, kind).needs]


def sidecar(**more) -> dict:
    return {
        "identity": {"kind": "labels"},
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
    exact = {"certified": 0.5, "recovered": 0.5, "predicted_psnr": 50.0}  # what figures of exact inversion show
    at = {"model_seeds": (1, 2, 3), "iterations": (1, 4000, 8000), "more": exact}
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
    return sidecar(run="images/mnist/fcn/x", identity={"kind": "images"}, spec={**spec, **more})


def test_extent(frames, sources):
    values = gather(frames, sources)
    assert (values["runs"], values["tries"], values["settings"]) == ("12", "48", "4")
    assert (values["initialisations"], values["tries-per-run"]) == ("3", "4")
    assert values["batch-sizes"] == "8, 24, 32 and 128"
    assert values["data-sets"] == "MNIST (5k sample)"
    assert (values["all/data-sets"], values["all/victims"], values["diverged"]) == ("MNIST (5k sample)", "FCN-3", "0")


def test_ranges_name_every_attack_that_has_the_metric(frames, sources):
    values = gather(frames, sources)
    at = frames["two"].query("method == 'ilrg' and metric == 'lnacc'").groupby("batch_size")["value"].mean()
    low, high = (f"{pick(at):.3f}" for pick in (min, max))
    assert values["range/batch_size_and_depth/lnacc"] == f"{low} to {high} for iLRG"
    here, there = (f"(FCN-3, MNIST (5k sample), B={size})" for size in (at.idxmin(), at.idxmax()))
    assert values["range/batch_size_and_depth/lnacc/at"] == f"{low} {here} to {high} {there} for iLRG"
    assert values["range/batch_size_and_depth/settings"] == "4"
    for attack in ("iLRG", "idlg", "gi", "rlg"):
        assert f"for {attack}" in values["range/batch_size_and_depth/leacc"]


def test_both_ends_of_a_series_are_quoted(frames, sources):
    at = frames["two"].query("method == 'ilrg' and metric == 'lnacc'").groupby("batch_size")["value"].mean()
    values = gather(frames, sources)
    assert values["series/lnacc"] == f"{at[8]:.3f} at B=8 to {at[128]:.3f} at B=128 (iLRG on FCN-3, MNIST (5k sample))"
    views = {"t": {"kind": "batch_size_and_depth", "experiments": ["one"], "caption": None}}
    alone = gather({"one": frames["one"]}, sources, tables=views, figures={})
    assert alone["series/lnacc"] == "one to the same, since each setting has one batch size"


def test_views_stand_in_their_subsection(everything, sources):
    values = gather(everything, sources)
    assert values["views/batch_size_and_depth"].startswith(r"\input{batch_size_and_depth.tex}\ResultFigure")
    assert values["refs/error_analysis"] == r"Table~\ref{tab:error_analysis} and Table~\ref{tab:soteria_embedding}"
    assert r"\input{reconstruction.tex}" in values["views/reconstruction"]
    assert r"\input{more_images.tex}" in values["views/reconstruction_defenses"]
    assert "{denoising_path}" in values["views/diffusion"]
    assert values["tables/comparison"] == r"\input{comparison.tex}"  # for the prose of plug-ins


def test_images_do_not_count_as_restored_labels(frames, of_images, sources):
    labels = gather(frames, sources)
    both = gather({**frames, **of_images}, sources)
    differs = {key for key, value in labels.items() if both.get(key) != value}
    # Shared keys, and the tables placed in the text.
    assert {"all/runs", "all/data-sets", "all/victims"} <= differs
    assert all(
        key.startswith(("all/", "images/")) for key in differs - {"views/exact_inversion", "refs/exact_inversion"}
    )
    assert {key.split("/")[0] for key in set(both) - set(labels)} == {
        *("figures", "images", "ref", "refs", "tables", "views")
    }
    assert "images/runs" not in labels


def test_learnt_priors_do_not_count_as_gradient_matching(of_images, guided, sources):
    values = gather(of_images, sources)
    with_guided = gather({**of_images, **guided}, sources)
    assert {key for key, value in values.items() if with_guided.get(key) != value} <= {"all/runs"}
    more = set(with_guided) - set(values)
    assert "images/diffusion/comparisons" in more
    assert all("diffusion" in key or "denoising_path" in key for key in more)
    assert with_guided["runs"] == "0"


def test_extent_of_images(of_images, sources):
    values = gather(of_images, sources, [image_sidecar(60, 2), image_sidecar(8000, 1, local_steps=5)])
    # IG: 3 attacks on 3 x 50; DLG: 2 attacks on 3 and 3; 3 settings of 4 clients each.
    assert (values["images/settings"], values["images/images"]) == ("6", f"{450 + 12 + 12}")
    assert (values["images/runs"], values["images/batches"]) == ("16", f"{9 + 8 + 12}")
    assert (values["images/initialisations"], values["images/batch-sizes"]) == ("1 to 3", "1, 3 and 50")
    assert (values["images/diverged"], values["images/dropped"]) == ("3", "6")
    assert "labels/runs" not in values
    assert (values["images/iterations"], values["images/restarts"]) == ("60 to 8000", "1 to 2")
    assert (values["runs"], values["all/runs"]) == ("0", "16")


def test_effects_of_labels_aggregation_and_defenses(of_images, sources):
    values = gather(of_images, sources)
    # IG rises by 1.8 for each of three initialisations, DLG falls by 1 for each of three clients; the one aggregate has
    # no interval.
    counted = "dB (settings: {}; of {} with a 95 % interval, {} above zero, {} below, {} undecided)"
    assert values["images/restored"] == f"−1.00 to 1.80 {counted.format(3, 2, 1, 1, 0)}"
    assert values["images/given"] == f"0.70 {counted.format(1, 1, 1, 0, 0)}"
    # Single: 20 + client + 0.01, aggregate: 10 + image + 0.01, each for 0, 1 and 2.
    assert values["images/aggregates"] == "10.01 to 11.01 dB, and 20.01 to 21.01 dB"
    assert values["images/defenses/none"] == "41.01"
    assert (values["images/defenses/lowest"], values["images/defenses/lowest/at"]) == ("10.01", "sparse-80")
    assert (values["images/defenses/highest"], values["images/defenses/highest/at"]) == ("21.01", "dp-0.01")


def test_published_reconstructions_are_counted(of_images, sources):
    values = gather(of_images, sources)
    counts = {name: values[f"images/published/{name}"] for name in ("covered", "judged", "agreeing")}
    assert counts == {"covered": "2", "judged": "2", "agreeing": "1"}


def test_a_comparison_that_the_grid_does_not_allow_is_named(of_images, sources):
    alone = of_images["defended images"]
    values = gather({"defended images": alone[alone["defense"] == "none"]}, sources)
    for name in ("restored", "given", "aggregates"):
        assert values[f"images/{name}"] == "not measured in this build"
    assert values["images/published/covered"] == "0"


def test_agreement_is_counted(frames, sources):
    values = gather(frames, sources)
    parts = [int(values[f"published/{name}"]) for name in ("agreeing", "differing", "judged", "covered")]
    assert parts[0] + parts[1] == parts[2] == parts[3]
    assert values["rerun/covered"] == "9"


def test_provenance(frames, sources):
    other = sidecar(commit="fedcba9876543210", dirty=True)
    values = gather(frames, sources, [sidecar(), other])
    assert values["commit"] == "0123456789ab and fedcba987654-dirty"
    assert (values["compute"], values["versions"]) == ("3 min", "python 3.11.2, torch 2.12.0")


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


@pytest.fixture(scope="module")
def everything(with_stages, of_images, guided) -> dict[str, pd.DataFrame]:
    return {**with_stages, **of_images, **guided}


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
