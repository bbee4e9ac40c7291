"""Figures of reconstructed images from artificial rows and small archives."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gradleak.errors import InputError
from gradleak.report.figures.base import build, save, wrapped
from gradleak.report.figures.pictures import read_archive
from gradleak.report.tables.base import Labels

LABELS = Labels(method={"ig": "IG", "ig-ilrg": "IG (iLRG labels)"}, defense={"dp-0.01": "noise 1e-2"})
NONE = pd.DataFrame()


@pytest.fixture(scope="module")
def frame(made_up_images) -> pd.DataFrame:
    parts = [made_up_images("mnist", "fcn", 12, method=name, model_seeds=(1, 2)) for name in ("ig", "ig-ilrg")]
    return pd.concat(parts)


@pytest.fixture
def archives(frame, write_archive, tmp_path) -> dict[str, Path]:
    return {run: write_archive(tmp_path, [0] * 12, name=str(i)) for i, run in enumerate(dict.fromkeys(frame["run"]))}


def pixels(figure) -> list[np.ndarray]:
    return [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_originals_are_above_the_first_images_of_each_attack(frame, archives, tmp_path):
    figure = build("reconstruction_grid", frame, NONE, LABELS, images=archives)
    assert words(figure) == ["fcn, mnist, B=12", "original", "IG", "IG (iLRG labels)"]
    assert len(figure.axes) == 3 * 8
    with np.load(next(iter(archives.values()))) as archive:
        truth = archive["truth"]
    shown = pixels(figure)
    factor = shown[0].shape[0] // 6
    for number in range(8):
        assert (shown[number][::factor, ::factor] == truth[number, ..., 0]).all()
        assert (shown[8 + number][::factor, ::factor] == truth[number, ..., 0] // 2).all()
    axes = figure.axes[0].get_images()[0]
    assert (axes.get_cmap().name, axes.get_clim(), axes.get_interpolation()) == ("gray", (0, 255), "none")
    save(figure, tmp_path / "f.pdf", tmp_path / "f.png")


def test_only_the_first_initialisation_is_shown(frame, archives):
    first = {run: path for run, path in archives.items() if "seed1" in run}
    assert build("reconstruction_grid", frame, NONE, LABELS, images=first).axes


def test_colour_images_keep_their_channels(frame, write_archive, tmp_path):
    images = {run: write_archive(tmp_path, [0] * 3, channels=3) for run in frame["run"].unique()}
    assert pixels(build("reconstruction_grid", frame, NONE, LABELS, images=images))[0].shape[2:] == (3,)


def test_clients_and_aggregates_are_settings_beside_each_other(made_up_images, write_archive, tmp_path):
    frame = pd.concat(
        [made_up_images("mnist", "fcn", 1, clients=2), made_up_images("mnist", "fcn", 2, clients=2, aggregated=True)]
    ).assign(run="images/one")
    path = write_archive(tmp_path, [0, 1, -1, -1])
    figure = build("reconstruction_grid", frame, NONE, LABELS, images={"images/one": path})
    assert [text.replace("\u00a0", " ").replace("\n", " ") for text in words(figure)[::3]] == [
        "fcn, mnist, B=1",
        "fcn, mnist, B=2, 2 clients aggregated",
    ]
    with np.load(path) as archive:
        truth = archive["truth"]
    shown = pixels(figure)
    assert len(shown) == 2 * 2 * 2
    assert [int(image[0, 0]) for image in (shown[0], shown[1], shown[4], shown[5])] == truth[:, 0, 0, 0].tolist()
    left = [axes.get_position().x0 for axes in figure.axes]
    assert max(left[:4]) < min(left[4:])


def test_attacks_on_other_images_are_refused(frame, write_archive, tmp_path):
    runs = list(dict.fromkeys(frame["run"]))
    images = {run: write_archive(tmp_path, [0] * 12, seed=i, name=str(i)) for i, run in enumerate(runs)}
    with pytest.raises(InputError, match="attacked different images, or in another order"):
        build("reconstruction_grid", frame, NONE, LABELS, images=images)


def test_the_denoising_path_shows_the_first_image_at_the_steps_that_all_attacks_have(
    made_up_images, write_archive, tmp_path
):
    parts = [made_up_images("mnist", "lenet", 2, method=name) for name in ("ig", "ig-ilrg")]
    frame = pd.concat(
        [
            parts[0].assign(kind="images"),
            parts[1].assign(kind="diffusion"),
            parts[1].assign(kind="diffusion", method="dps", run="diffusion/dps"),
        ]
    )
    longer = write_archive(tmp_path, [0] * 2, name="longer")
    with np.load(longer) as archive:
        arrays = dict(archive)
    np.savez(
        longer, **{**arrays, "path": np.concatenate([arrays["path"], arrays["path"][:1]]), "path_at": [1, 10, 20, 30]}
    )
    images = {run: write_archive(tmp_path, [0] * 2) for run in frame["run"].unique()} | {"diffusion/dps": longer}
    figure = build("denoising_path", frame, NONE, LABELS, images=images)
    assert words(figure) == ["lenet, mnist, B=2", "original", "1", "10", "20", "result", "IG (iLRG labels)", "dps"]
    shown = [int(image[0, 0]) for image in pixels(figure)]
    value = int(arrays["truth"][0, 0, 0, 0])
    assert shown == 2 * [value, value // 5, value // 4, value // 3, value // 2]


def test_the_denoising_path_needs_a_run_with_a_prior(frame, archives):
    with pytest.raises(InputError, match="no run with a diffusion prior"):
        build("denoising_path", frame, NONE, LABELS, images=archives)


def test_missing_and_foreign_archives_are_one_line(frame, archives, tmp_path):
    run, path = next(iter(archives.items()))
    with pytest.raises(InputError, match=f"figure mine: no images of run {run}"):
        build("reconstruction_grid", frame, NONE, LABELS, name="mine")
    with pytest.raises(InputError, match="no reconstructed images"):
        build("reconstruction_grid", frame, NONE, LABELS, draft=True)
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="not an archive of reconstructed images"):
        build("reconstruction_grid", frame, NONE, LABELS, images=archives)
    np.savez(path, truth=np.zeros(3))
    with pytest.raises(InputError, match="not an archive of reconstructed images"):
        build("reconstruction_grid", frame, NONE, LABELS, images=archives)
    with pytest.raises(InputError, match="no such file"):
        build("reconstruction_grid", frame, NONE, LABELS, images={run: tmp_path / "none.npz"})


def test_archives_with_a_wrong_byte_are_one_line(write_archive, tmp_path):
    """Depending on where it is, the archive, its index, a header or the compressed data cannot be read."""
    path = write_archive(tmp_path, [0] * 12)
    whole = path.read_bytes()
    request: Any = SimpleNamespace(name="mine", images={"a": path})
    messages = []
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            read_archive(request, "a", ["truth", "guess", "path_at"])
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(message.startswith(f"{path}: not an archive of reconstructed images") for message in messages)


def test_psnr_over_iterations_has_a_panel_per_setting(frame, made_up_images):
    both = pd.concat([frame, made_up_images("cifar100", "lenet", 1, clients=3, iterations=(1, 20))])
    figure = build("psnr_over_iterations", both, NONE, LABELS)
    first, second = figure.axes
    assert [len(axes.get_lines()) for axes in (first, second)] == [2, 1]
    # Artificial snapshots: 13 + iteration / 100.
    assert np.asarray(second.get_lines()[0].get_xydata()).ravel().tolist() == pytest.approx([1, 13.01, 20, 13.2])
    # One attack has one colour in all panels.
    assert first.get_lines()[0].get_color() == second.get_lines()[0].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["IG", "IG (iLRG labels)"]


def test_psnr_over_iterations_leaves_out_attacks_without_any(frame, made_up_images):
    exact = made_up_images("mnist", "fcn", 12, method="consistency", model_seeds=(1, 2), iterations=())
    figure = build("psnr_over_iterations", pd.concat([exact, frame]), NONE, LABELS)
    assert len(figure.axes[0].get_lines()) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["IG", "IG (iLRG labels)"]


def test_psnr_over_iterations_needs_snapshots(made_up_images):
    with pytest.raises(InputError, match="figure psnr_over_iterations: no run of its experiments has snapshots"):
        build("psnr_over_iterations", made_up_images("mnist", "fcn", 2, iterations=()), NONE, LABELS)


def test_psnr_over_defenses_has_a_categorical_axis_and_bars(made_up_images):
    parts = [made_up_images("mnist", "fcn", 2, clients=3, defense=name) for name in ("none", "dp-0.01@all")]
    parts += [made_up_images("mnist", "fcn", 2, method="dlg", model_seeds=(1, 2), defense="dp-0.01@all")]
    figure = build("psnr_over_defenses", pd.concat(parts), NONE, LABELS)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["none", "noise 1e-2"]
    assert axes.get_xlabel() == "Defense of all layers' gradients"
    one, two = axes.get_lines()
    assert np.asarray(one.get_ydata()).tolist() == pytest.approx([19.51, 19.51])
    assert np.asarray(two.get_ydata()).tolist() == pytest.approx([18.515])
    bars = [[np.asarray(path.vertices) for path in collection.get_paths()] for collection in axes.collections]
    assert [len(segments) for segments in bars] == [2, 1]
    assert min(float(segment[:, 1].min()) for segments in bars for segment in segments) >= 0
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["IG", "dlg"]
    assert axes.get_title().replace("\u00a0", " ") == "fcn, mnist, B=2"


@pytest.mark.parametrize("kind", ["psnr_over_defenses", "psnr_over_iterations"])
def test_missing_rows_fail_unless_draft(kind, frame):
    holey = frame[~((frame["metric"] == "mse") & (frame["method"] == "ig"))]
    with pytest.raises(InputError, match=r"figure mine: run .* has no mse"):
        build(kind, holey, NONE, LABELS, name="mine")
    assert build(kind, holey, NONE, LABELS, draft=True).axes


def test_settings_break_at_commas_alone():
    assert wrapped("ab cd, ef gh, i", 12) == "ab\u00a0cd,\nef\u00a0gh, i"
