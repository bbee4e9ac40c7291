"""Image reconstruction: a block per setting, a line per attack, PSNR measured beside published."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from gradleak.measured import Value
from gradleak.published import NO_VERDICT, Match
from gradleak.published_images import beside
from gradleak.reconstructions import BEST_SIX, METRICS, Reconstructions, check
from gradleak.statistics import DIFFERS
from gradleak.tables.base import (
    Column,
    Line,
    Request,
    Table,
    numeric_cell,
    numeric_value,
    plain,
    register,
    tries,
    with_prediction,
)

_MEANS = (("ssim", "SSIM"), ("mse", "MSE"), ("lpips", "LPIPS"), ("feature_cosine", "Feat."))
_PSNR, _SIX = "PSNR in dB", "Best six (comparison only)"

CAPTION = (
    "Reconstructed images beside the true ones{where}. PSNR: mean over all images of a setting, with the 95 % "
    "prediction interval for one initialisation. Feat.: cosine of the victim's embeddings of the true and the "
    "reconstructed image; Labels: share of images with the right label; Div.: starts that diverged and were dropped; "
    "s: seconds per batch."
)
NOTE = (
    "n: initialisations × batches; a batch is one client's, or the aggregate of a round. Starts are chosen by the "
    "matching loss, and one assignment of reconstructions to originals, the one with the smallest squared error, "
    "serves all metrics. [t: …]: one initialisation only, so the 95 % interval is over its batches and there is no "
    "verdict (n/a). "
)
PUBLISHED_NOTE = (
    "Published: measured from the image files of the iLRG release, with the same kind of assignment, after "
    "{iterations} iterations. *: outside the interval. (B=…) or (… it.): published for that batch size, or after "
    "that many iterations, so there is no verdict (—). "
)
SIX_NOTE = (
    "Best six: mean PSNR of the six images of a batch whose PSNR is highest, beside the published mean over the six "
    "images displayed, which need not be the best. Ours are picked by the truth, which no attacker knows; these "
    "columns are for comparison only. "
)


@dataclass(frozen=True)
class _Entry:
    """An attack on a setting.

    Attributes:
        cell: the setting.
        method: the attack.
        values: what was measured, by metric.
        published: PSNR over all images and over the best six, and how the table writes them.
    """

    cell: dict[str, Any]
    method: str
    values: dict[str, Value]
    published: dict[str, tuple[Match, str]]

    @property
    def verdict(self) -> str:
        return self.published["psnr"][0].verdict(self.values["psnr"].pi_low, self.values["psnr"].pi_high)

    def has(self, metric: str) -> bool:
        return self.values[metric].n_trials > 0


@register("reconstruction")
def build(request: Request) -> Table:
    """Build the table; columns in which no line has anything are left out."""
    if not request.draft:
        check(request.measured.frame, f"table {request.name}")
    found = Reconstructions.of(request.measured.frame)
    blocks = [(cell, [_entry(request, found, cell, name) for name in found.methods(cell)]) for cell in found.cells()]
    entries = [entry for _, block in blocks for entry in block]
    has_published = any(entry.published["psnr"][0].values for entry in entries)
    has_verdict = any(entry.verdict != NO_VERDICT for entry in entries)
    has_six = any(entry.has(BEST_SIX) for entry in entries)
    means = [(name, header) for name, header in _MEANS if name in METRICS or any(entry.has(name) for entry in entries)]

    def line(entry: _Entry) -> Line:
        values = entry.values
        texts = [request.labels.method.get(entry.method, entry.method), tries(values["psnr"])]
        texts += [str(found.images(entry.cell, entry.method)), with_prediction(values["psnr"])]
        if has_published:
            texts.append(entry.published["psnr"][1] + ("*" if entry.verdict == DIFFERS else ""))
        if has_verdict:
            texts.append(entry.verdict)
        texts += [plain(values[name]) for name, _ in (*means, ("label_accuracy", ""))]
        texts += [str(found.diverged_restarts(entry.cell, entry.method)), plain(values["seconds"], 1)]
        if has_six:
            shown = entry.published[BEST_SIX][0].shown()  # of the same images as the PSNR over all
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
    columns += [Column(header) for _, header in means]
    columns += [Column("Labels"), Column("Div."), Column("s", align="r")]
    if has_six:
        columns += [Column("measured", _SIX), Column("publ.", _SIX)]
    note = NOTE + (PUBLISHED_NOTE.format(iterations=_iterations(request)) if has_published else "")
    note += SIX_NOTE if has_six else ""
    numbers = pd.DataFrame([_numbers(found, entry) for entry in entries])
    defended = any(cell["defense"] != "none" for cell, _ in blocks)
    caption = CAPTION.format(where=", under defenses of the gradient" if defended else "")
    return Table(caption, note.strip(), tuple(columns), tuple(lines), numbers)


def _entry(request: Request, found: Reconstructions, cell: dict[str, Any], method: str) -> _Entry:
    names = (*METRICS, "lpips", "seconds", BEST_SIX)
    values = {name: found.measured.value(cell, method, name) for name in names}
    figures = request.published_images
    published = {name: beside(figures, found, cell, method, name) for name in ("psnr", BEST_SIX)}
    return _Entry(cell, method, values, published)


def _iterations(request: Request) -> str:
    """Say after how many iterations the published images were made, e.g. ``24,000 (CIFAR-100) or 8,000 (MNIST)``."""
    figures: Any = request.published_images
    pairs = dict.fromkeys(zip(figures["iterations"], figures["dataset"], strict=True))
    return " or ".join(f"{number:,} ({request.labels.dataset.get(name, name)})" for number, name in pairs)


def _numbers(found: Reconstructions, entry: _Entry) -> dict[str, Any]:
    row = {**numeric_cell(entry.cell), "method": entry.method, "images": found.images(entry.cell, entry.method)}
    for name, value in entry.values.items():
        row |= numeric_value(name, value, entry.published[name][0] if name in entry.published else None)
    row["diverged_restarts"] = found.diverged_restarts(entry.cell, entry.method)
    row["last_snapshot"] = max(found.snapshots(entry.cell, entry.method), default=0)
    return row
