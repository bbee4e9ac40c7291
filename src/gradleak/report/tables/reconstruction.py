"""Image reconstruction: a block per setting, a line per attack, PSNR measured beside published."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from gradleak.plan import metric_facts
from gradleak.plan.metric_facts import IMAGE_METRICS
from gradleak.report.image_rows import BEST_SIX, Reconstructions, check
from gradleak.report.paired import Difference
from gradleak.report.published import NO_VERDICT, Match
from gradleak.report.published_images import beside
from gradleak.report.settings import is_usual
from gradleak.report.statistics import DIFFERS
from gradleak.report.summary import Value
from gradleak.report.tables.base import (
    RANGE_NOTE,
    Column,
    Line,
    Request,
    Table,
    judgement,
    numeric_cell,
    numeric_value,
    plain,
    tries,
    with_prediction,
)
from gradleak.report.tex import figure

_MEANS = ("ssim", "mse", "lpips", "feature_cosine", "label_accuracy")
_PSNR, _SIX = "PSNR in dB", "Best six (comparison only)"
_DIFFERENCE = "Difference in dB to matching alone"
_PARTS = ("mean", "ci_low", "ci_high", "n_initialisations", "n_trials", "basis")

CAPTION = (
    "Reconstructed images compared with the true ones{where}. PSNR: mean over all images of a setting, with the 95 % "
    "prediction interval for one initialisation. Feat.: cosine of the victim's embeddings of the true and the "
    "reconstructed image; Labels: share of images with the correct label; Div.: starts that diverged and were dropped; "
    "s: seconds per batch."
)
NOTE = (
    "n: initialisations × batches; a batch is one client's, or the aggregate of a round. Starts are chosen by the "
    "matching loss, and one assignment of reconstructions to originals, the one with the smallest squared error, "
    "serves all metrics. [t: …]: only one initialisation, so the 95 % interval is over its batches and there is no "
    f"verdict. {RANGE_NOTE}"
)
PUBLISHED_NOTE = (
    "Published: measured from the image files of the iLRG release, with the same kind of assignment, after "
    "{iterations} iterations. *: outside the interval. (B=…) or (… it.): published for that batch size, or after "
    "that many iterations, so there is no verdict (—). "
)
DIFFERENCE_NOTE = (
    "Difference: an attack with a prior minus the attack named by the column, which has none and gets its labels in "
    "the same way; mean over the batches that both attacked, of the same initialisations, and its 95 % interval "
    "(Student; over initialisations or, if there is only one, over batches). An interval that contains 0 shows no "
    "difference. "
)
SIX_NOTE = (
    "Best six: mean PSNR of the six images of a batch whose PSNR is highest, beside the published mean over the six "
    "images displayed, which need not be the best. Ours are chosen by the truth, which no attacker knows, so "
    "these columns are for comparison only. "
)


@dataclass(frozen=True)
class _Entry:
    """An attack on a setting.

    Attributes:
        cell: the setting.
        method: the attack.
        values: what was measured, by metric.
        published: PSNR over all images and over the best six, and their texts in the table.
        differences: name of an attack without a prior -> PSNR of this attack, with a prior, minus that one's.
    """

    cell: dict[str, Any]
    method: str
    values: dict[str, Value]
    published: dict[str, tuple[Match, str]]
    differences: dict[str, Difference]

    @property
    def verdict(self) -> str:
        return judgement(self.values["psnr"], self.published["psnr"][0])

    def has(self, metric: str) -> bool:
        return self.values[metric].n_trials > 0


def build(request: Request) -> Table:
    """Build the table; empty columns are left out."""
    if not request.draft:
        check(request.measured.frame, f"table {request.name}")
    pictures = Reconstructions.of(request.measured.frame)
    blocks = [
        (cell, [_entry(request, pictures, cell, name) for name in pictures.methods(cell)]) for cell in pictures.cells()
    ]
    entries = [entry for _, block in blocks for entry in block]
    has_published = any(entry.published["psnr"][0].values for entry in entries)
    has_verdict = any(entry.verdict != NO_VERDICT for entry in entries)
    alone = list(dict.fromkeys(name for entry in entries for name in entry.differences))
    has_six = any(entry.has(BEST_SIX) for entry in entries)
    means = [name for name in _means(request) if name in IMAGE_METRICS or any(entry.has(name) for entry in entries)]

    def line(entry: _Entry) -> Line:
        values = entry.values
        texts = [request.labels.method.get(entry.method, entry.method), tries(values["psnr"])]
        texts += [str(pictures.images(entry.cell, entry.method)), with_prediction(values["psnr"])]
        if has_published:
            texts.append(entry.published["psnr"][1] + ("*" if entry.verdict == DIFFERS else ""))
        if has_verdict:
            texts.append(entry.verdict)
        texts += [_difference(entry.differences[name]) if name in entry.differences else "" for name in alone]
        texts += [plain(values[name]) for name in means]
        texts += [str(pictures.diverged_restarts(entry.cell, entry.method)), plain(values["seconds"])]
        if has_six:
            shown = entry.published[BEST_SIX][0].shown()  # of the same images as the PSNR over all images
            texts += [plain(values[BEST_SIX]) if entry.has(BEST_SIX) else "—", "/".join(shown) or "—"]
        return Line(tuple(texts))

    lines: list[Line] = []
    for cell, block in blocks:
        lines += [Line(heading=request.labels.setting(cell), rule=True), *map(line, block)]
    columns = [Column("Attack", align="l"), Column("n"), Column("Images"), Column("measured", _PSNR)]
    if has_published:
        columns.append(Column("publ.", _PSNR))
    if has_verdict:
        columns.append(Column("Verdict", align="l"))
    columns += [Column(request.labels.method.get(name, name), _DIFFERENCE) for name in alone]
    columns += [Column(metric_facts.label(name)) for name in means]
    columns += [Column("Div."), Column(metric_facts.label("seconds"), align="r")]
    if has_six:
        columns += [Column("measured", _SIX), Column("publ.", _SIX)]
    note = NOTE + (PUBLISHED_NOTE.format(iterations=_iterations(request)) if has_published else "")
    note += (DIFFERENCE_NOTE if alone else "") + (SIX_NOTE if has_six else "")
    numbers = pd.DataFrame([_numbers(pictures, entry) for entry in entries])
    defended = any(not is_usual(cell, "defense") for cell, _ in blocks)
    caption = CAPTION.format(where=", under defenses of the gradient" if defended else "")
    return Table(caption, note.strip(), tuple(columns), tuple(lines), numbers)


def _means(request: Request) -> list[str]:
    """Return the metrics besides PSNR, which is always shown."""
    return [name for name in request.metrics or _MEANS if name != "psnr"]


def _entry(request: Request, pictures: Reconstructions, cell: dict[str, Any], method: str) -> _Entry:
    names = dict.fromkeys((*IMAGE_METRICS, "lpips", "seconds", BEST_SIX, *request.metrics))
    values = {name: pictures.measured.value(cell, method, name) for name in names}
    figures = request.published_images
    published = {name: beside(figures, pictures, cell, method, name) for name in ("psnr", BEST_SIX)}
    return _Entry(cell, method, values, published, pictures.beside_matching(cell, method, request.policies))


def _difference(difference: Difference) -> str:
    """Return ``+0.63 [−0.10, 1.36]``; a dash for each end if there are too few tries for an interval."""
    mean, low, high = (figure(difference.value.metric, end) for end in (difference.value.mean, *difference.ends))
    return f"{'+' if difference.value.mean > 0 and mean.strip('0.') else ''}{mean} [{low}, {high}]"


def _iterations(request: Request) -> str:
    """Return the numbers of iterations of the published images, e.g. ``24,000 (CIFAR-100) or 8,000 (MNIST)``."""
    figures: Any = request.published_images
    pairs = dict.fromkeys(zip(figures["iterations"], figures["dataset"], strict=True))
    return " or ".join(f"{number:,} ({request.labels.dataset.get(name, name)})" for number, name in pairs)


def _numbers(pictures: Reconstructions, entry: _Entry) -> dict[str, Any]:
    row = {**numeric_cell(entry.cell), "method": entry.method, "images": pictures.images(entry.cell, entry.method)}
    for name, value in entry.values.items():
        row |= numeric_value(name, value, entry.published[name][0] if name in entry.published else None)
    for name, difference in entry.differences.items():
        row |= {f"psnr_minus_{name}_{part}": getattr(difference.value, part) for part in _PARTS}
        row[f"psnr_minus_{name}_n_unpaired"] = difference.n_unpaired
    row["diverged_restarts"] = pictures.diverged_restarts(entry.cell, entry.method)
    row["last_snapshot"] = max(pictures.snapshots(entry.cell, entry.method), default=0)
    return row
