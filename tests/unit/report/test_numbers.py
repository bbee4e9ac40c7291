"""The numbers in the prose."""

from tests.unit.report.views import gather, image_sidecar, sidecar


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
