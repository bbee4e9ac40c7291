"""Titles and legends fit for any labels."""

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gradleak.report import published
from gradleak.report.figures.base import build, style, wrapped
from gradleak.report.tables.base import Labels

LONG = "ResNet-50 (ImageNet stem, pretrained)"
LABELS = Labels(
    {"mnist-sample": "MNIST (5k sample)", "cifar100-sample": "CIFAR-100 (20 images)"},
    {"fcn": LONG, "lenet-sigmoid": "LeNet (sigmoid)"},
    {"ig": "IG with labels that are optimised along", "ilrg": "iLRG", "dlg-ilrg": "DLG (iLRG labels)"},
)


@pytest.fixture(scope="module")
def frames(made_up, made_up_images) -> dict[str, pd.DataFrame]:
    settings = [("mnist-sample", "fcn", 1), ("cifar100-sample", "lenet-sigmoid", 3), ("cifar100-sample", "fcn", 4)]
    plain = [made_up_images(*setting, clients=3, method=m) for setting in settings for m in ("ig", "dlg-ilrg")]
    plain.append(made_up_images("cifar100-sample", "lenet-sigmoid", 6, clients=3, aggregated=True))
    plain.append(made_up_images("mnist-sample", "fcn", 12, distribution="balanced-8"))
    defended = [made_up_images(*setting, defense=name) for setting in settings for name in ("none", "sparse-80@all")]
    defended += [made_up_images("mnist-sample", "fcn", size, defense="sparse-80@all") for size in (2, 8)]
    stages = [made_up("cifar100-sample", "fcn", size, stage=s) for size in (4, 8) for s in ("untrained", "iter100")]
    sizes = [made_up(data, "fcn", size) for data in ("mnist-sample", "cifar100-sample") for size in (4, 8)]
    return {
        "psnr_over_iterations": pd.concat(plain),
        "psnr_over_defenses": pd.concat(defended),
        "accuracy_over_stage": pd.concat(stages),
        "accuracy_over_batch": pd.concat(sizes),
    }


def boxes(figure: Figure) -> tuple[list, list]:
    """Return the boxes of titles and legends in pixels, as drawn."""
    with style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
        return titles, [legend.get_window_extent() for legend in figure.legends]


@pytest.mark.parametrize(
    "kind", ["psnr_over_iterations", "psnr_over_defenses", "accuracy_over_stage", "accuracy_over_batch"]
)
def test_titles_do_not_overlap_and_nothing_leaves_the_figure(kind, frames, paper_folder):
    figure = build(kind, frames[kind], published.load(paper_folder / "published" / "ilrg.csv"), LABELS, draft=True)
    titles, legends = boxes(figure)
    assert len(titles) >= 3
    for number, one in enumerate(titles):
        assert not [other for other in titles[:number] if one.overlaps(other)]
    for box in (*titles, *legends):
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1


def test_words_are_not_broken():
    assert wrapped("LeNet (sigmoid), CIFAR-100 (20 images), B=3", 12).split("\n") == [
        "LeNet",
        "(sigmoid),",
        "CIFAR-100",
        "(20 images),",
        "B=3",
    ]
    assert wrapped("incomprehensibilities, B=3", 8).split("\n") == ["incomprehensibilities,", "B=3"]
