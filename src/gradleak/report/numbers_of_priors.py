"""Numbers of attacks with a diffusion prior in the paper's text, beside matching alone and beside their controls."""

from collections.abc import Mapping
from typing import Any

from gradleak.report.image_rows import DIFFUSION, Reconstructions
from gradleak.report.numbers_of_images import decibels, signs
from gradleak.report.numbers_of_views import NOT_MEASURED
from gradleak.report.paired import Difference
from gradleak.report.tables.base import Labels
from gradleak.report.tex import figure, listing

_MOST = 6
"""Largest number of comparisons that the text lists; tables list all."""


def values(pictures: Reconstructions, policies: Mapping[str, str], labels: Labels) -> dict[str, str]:
    """Return ``images/diffusion/...`` for the settings that were attacked both with and without a prior.

    Every attack guided by the clients' gradients is compared with every attack without a prior that gets its labels in
    the same way (:meth:`gradleak.report.image_rows.Reconstructions.beside_matching`); none is chosen by its score.
    ``comparisons``: their number, and the counts of :func:`gradleak.report.numbers_of_images.signs`; ``list``: each
    with its interval, if they are few; ``controls``: mean PSNR of the attacks that see no gradient.

    Args:
        pictures: attacks with and without a prior.
        policies: run id -> how its attack gets labels, see :meth:`gradleak.plan.grid.Grid.label_policies`; a run with a
            prior that is not in it is a control.
        labels: names in tables and figures.
    """
    frame: Any = pictures.measured.frame
    controls = set(frame.loc[(frame["kind"] == DIFFUSION) & ~frame["run"].isin(list(policies)), "method"])
    differences: list[Difference] = []
    words: list[str] = []
    invented: list[float] = []
    for cell in pictures.cells():
        for method in pictures.methods(cell):
            if method in controls:
                invented.append(pictures.measured.value(cell, method, "psnr").mean)
                continue
            for other, difference in pictures.beside_matching(cell, method, policies).items():
                differences.append(difference)
                names = (labels.method.get(name, name) for name in (method, other))
                words.append(f"{' against '.join(names)} on {labels.setting(cell)}: {_interval(difference)}")
    invented = [mean for mean in invented if mean == mean]
    texts = {
        "comparisons": str(len(differences)),
        **signs(differences),
        "list": (listing(words) or "none") if len(words) <= _MOST else "see the tables",
        "controls": f"{decibels(invented)} dB" if invented else NOT_MEASURED,
    }
    return {f"images/diffusion/{name}": value for name, value in texts.items()}


def _interval(difference: Difference) -> str:
    mean, low, high = (figure(difference.value.metric, end) for end in (difference.value.mean, *difference.ends))
    return f"{mean} dB [{low}, {high}]" if low != "—" else f"{mean} dB (too few tries for an interval)"
