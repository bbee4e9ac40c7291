"""Error analysis of closed-form attacks: approximations and recovered quantities against the truth."""

from itertools import product

import pandas as pd

from gradleak.report.settings import part_of
from gradleak.report.statistics import DIFFERS
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
from gradleak.report.tables.judged import INTERVALS
from gradleak.report.tables.training_stage import stage_order

QUANTITIES = {
    "approx1": "1: dW(i) ≈ db(i) E(i)",
    "approx2": "2: dW[i] ≈ k(i)/B dW(i)",
    "approx3": "3: db[i] ≈ k(i)/B db(i)",
    "approx4": "4: softmax(W E(i) + b) ≈ P(i)",
    "scale": "dW[i]/db[i] ≈ dW(i)/db(i)",
    "approx_out": "W E(i) + b ≈ Z(i)",
    "approx_probabilities": "softmax(Z(i)) ≈ P(i)",
    "embedding": "recovered embedding",
    "out": "recovered logits",
    "probabilities": "recovered probabilities",
}
_COSINES = {"embedding": "embedding_cosine", "out": "output_cosine", "probabilities": "probability_cosine"}
_PUBLISHED = ("error_analysis",)

CAPTION = (
    "Error analysis of {attacks}: each approximation behind the closed form, and each recovered quantity, against the "
    f"truth of the same batch. {INTERVALS}"
)
NOTE = (
    "For class i of the batch: k(i) its count; E(i), Z(i) and P(i) its mean embedding, logits and probabilities; dW(i) "
    "and db(i) the gradients of its images alone (row i); dW[i] and db[i] rows of the observed gradient. MSE: mean "
    "squared error. Rel.: mean relative error. Cosine: to the true class-wise mean. "
    f"{RANGE_NOTE}*: published figure outside the "
    "interval. —: not published, or not defined."
)


def build(request: Request) -> Table:
    """Build the table: a block per setting and attack, a line per quantity."""
    attacks = request.attacks([f"{name}_{error}" for name in QUANTITIES for error in ("mse", "mre")])
    measured, lines, numbers = request.measured, [], []
    cells = sorted(measured.cells(), key=lambda cell: (*part_of(cell, "dataset", "model"), *stage_order(cell)))
    for cell, method in product(cells, attacks):
        if not measured.ran(cell, method):
            continue
        of_attack = f", {request.named([method])}" if len(attacks) > 1 else ""
        n = tries(measured.value(cell, method, attacks[method][0]))
        lines.append(Line(heading=f"{request.labels.setting(cell)}{of_attack} (n: {n})", rule=True))
        for name, words in QUANTITIES.items():
            if f"{name}_mse" not in attacks[method]:
                continue
            value, published = request.find(cell, method, f"{name}_mse", _PUBLISHED)
            word = judgement(value, published)
            relative = measured.value(cell, method, f"{name}_mre")
            cosine, published_cosine = request.find(cell, method, _COSINES.get(name, ""), _PUBLISHED)
            lines.append(
                Line(
                    (
                        words,
                        with_prediction(value),
                        published.text() + ("*" if word == DIFFERS else ""),
                        word,
                        plain(relative),
                        with_prediction(cosine) if name in _COSINES else "—",
                        published_cosine.text(),
                    )
                )
            )
            row = {**numeric_cell(cell), "method": method, "quantity": name, **numeric_value("mse", value, published)}
            row |= {**numeric_value("mre", relative), **numeric_value("cosine", cosine, published_cosine)}
            numbers.append(row)
    columns = (
        Column("Quantity", align="l"),
        Column("measured", "MSE"),
        Column("publ.", "MSE"),
        Column("Verdict", align="l"),
        Column("Rel."),
        Column("measured", "Cosine"),
        Column("publ.", "Cosine"),
    )
    caption = CAPTION.format(attacks=request.named(attacks))
    return Table(caption, NOTE, columns, tuple(lines), pd.DataFrame(numbers), long=True)
