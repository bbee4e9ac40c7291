"""PSNR of the reconstructions under every defense."""

from typing import Any

from matplotlib.figure import Figure

from gradleak.figures.base import COLOURS, MARKERS, Request, register
from gradleak.reconstructions import Reconstructions, check

CAPTION = (
    "PSNR of reconstructed images under defenses of the gradient. Markers: mean over all images. Bars: 95 % prediction "
    "interval for one initialisation or, where there is one initialisation only, the 95 % interval of the mean over "
    "batches (cut at 0)."
)

Cell = dict[str, Any]


@register("psnr_over_defenses", CAPTION)
def draw(request: Request) -> Figure:
    """Draw a point per defense and attack; defenses are names and no scale, in the order of the configuration."""
    if not request.draft:
        check(request.measured.frame, f"figure {request.name}")
    found = Reconstructions.of(request.measured.frame)
    defenses = list(dict.fromkeys(cell["defense"] for cell in found.cells()))
    series: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in found.cells():
        setting = tuple(value for name, value in cell.items() if name != "defense")
        for method in found.methods(cell):
            series.setdefault((method, *setting), []).append(cell)
    figure = Figure(figsize=(6.5, 3.1), layout="constrained")
    axes = figure.subplots()
    for number, ((method, *_), cells) in enumerate(series.items()):
        # Beside each other, so that no marker hides another.
        shift = 0.5 * (number + 0.5) / len(series) - 0.25
        places = [defenses.index(cell["defense"]) + shift for cell in cells]
        values = [found.measured.value(cell, method, "psnr") for cell in cells]
        of_one = [value.basis == "initialisations" for value in values]
        low = [value.pi_low if several else value.ci_low for value, several in zip(values, of_one, strict=True)]
        high = [value.pi_high if several else value.ci_high for value, several in zip(values, of_one, strict=True)]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        words = [request.labels.method.get(method, method), request.labels.setting(cells[0], without=("defense",))]
        axes.vlines(places, [max(0.0, each) for each in low], high, color=colour, alpha=0.5, linewidth=1.0)
        means = [value.mean for value in values]
        axes.plot(places, means, color=colour, marker=marker, linestyle="none", label=", ".join(words))
    axes.set_ylabel("PSNR (dB)")
    axes.set_xticks(range(len(defenses)), [request.labels.defended(name.removesuffix("@all")) for name in defenses])
    axes.set_xlim(-0.5, len(defenses) - 0.5)
    axes.tick_params(axis="x", rotation=30)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
        label.set_rotation_mode("anchor")
    if any(name.endswith("@all") for name in defenses):
        every = all(name.endswith("@all") for name in defenses if name != "none")
        axes.set_xlabel("Defense of all layers' gradients" if every else "Defense")
    figure.legend(loc="outside lower center", ncols=1 if len(series) < 3 else 2)
    return figure
