"""Figures of exact inversion: what their lines and points are."""

from typing import Any

import pandas as pd
import pytest

from gradleak.errors import InputError
from gradleak.report.figures.base import build
from gradleak.report.figures.precision_law import images_of
from gradleak.report.tables.base import Labels

LABELS = Labels({"mnist-sample": "MNIST"}, {"fcn": "FCN-3", "fcn-silu": "FCN-3 (SiLU)"}, {"consistency": "Exact"})


@pytest.fixture
def exact(made_up_images):
    """Rows of exact inversion; ``more`` are metrics of every image."""

    def rows(model: str, size: int, *, stage: int = 0, precision: str = "float32", psnr: float = 60.0, **more: float):
        frame = made_up_images("mnist-sample", model, size, method="consistency", psnr=psnr, iterations=(), more=more)
        run = frame["run"] + f"-{stage}-{precision}"
        unit = "iter" if stage else ""
        return frame.assign(stage_unit=unit, stage_number=stage, precision=precision, run=run)

    return rows


def drawn(kind: str, frame: pd.DataFrame):
    return build(kind, frame, pd.DataFrame(), LABELS)


def points(line: Any) -> tuple[list[float], list[float]]:
    """Return where the points of a line are, across and up."""
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def test_a_line_for_every_victim_and_stage_over_the_batch_sizes(exact):
    frame = pd.concat(
        [
            *(exact("fcn", size, certified=share, recovered=1.0) for size, share in ((8, 1.0), (32, 0.5))),
            *(exact("fcn", size, stage=100, certified=0.25, recovered=0.75) for size in (8, 32)),
            *(exact("fcn-silu", size, certified=0.0, recovered=0.0) for size in (8, 32)),
        ]
    )
    figure = drawn("recovered_over_batch", frame)
    certified, recovered = ([points(line)[1] for line in axes.lines] for axes in figure.axes)
    assert certified == [[1.0, 0.5], [0.25, 0.25], [0.0, 0.0]]
    assert recovered == [[1.0, 1.0], [0.75, 0.75], [0.0, 0.0]]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["FCN-3, untrained", "FCN-3, 100 iterations", "FCN-3 (SiLU)"]
    for line in figure.axes[0].lines:
        assert [round(place / size, 1) for place, size in zip(points(line)[0], (8, 32), strict=True)] == [1.0, 1.0]


def test_attacks_that_certify_nothing_have_no_line(made_up_images):
    with pytest.raises(InputError, match="figure recovered_over_batch: no attack of its experiments certifies images"):
        drawn("recovered_over_batch", made_up_images("mnist-sample", "fcn", 8))


def test_measured_stands_over_predicted_and_misses_at_the_bottom(exact):
    frame = pd.concat(
        [
            exact("fcn", 3, psnr=60.0, predicted_psnr=61.0),  # 60, 61 and 62 dB, all found
            exact("fcn", 2, precision="float16", psnr=12.0, predicted_psnr=55.0),  # both missed
            exact("fcn", 2, precision="float16", stage=100, psnr=11.0, predicted_psnr=20.0),  # not in the gradient
        ]
    )
    figure = drawn("precision_law", frame)
    assert [axes.get_title() for axes in figure.axes] == [
        "sent as float32\n0 of 3 missed",
        "sent as float16\n2 of 2 missed",
    ]
    (predicted, measured), (missed, bottom) = points(figure.axes[0].lines[0]), points(figure.axes[1].lines[0])
    assert predicted == [61.0, 61.0, 61.0]
    assert [round(value) for value in measured] == [60, 61, 62]
    assert (missed, bottom) == ([55.0, 55.0], [24.0, 24.0])
    # No line without points, which would shift the panels; the last two are the diagonal and the limit.
    assert len(figure.axes[1].lines) == 3


def test_images_without_a_prediction_are_left_out(exact):
    both = pd.concat([exact("fcn", 3, predicted_psnr=50.0), exact("fcn-silu", 2)])
    assert len(images_of(both)) == 3
    with pytest.raises(InputError, match="figure precision_law: no image of its experiments has a predicted PSNR"):
        drawn("precision_law", exact("fcn", 3))
