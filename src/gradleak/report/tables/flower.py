"""Tables and numbers of the recorded Flower simulations; they come from no experiment of a grid."""

from pathlib import Path

import pandas as pd

from gradleak.report import tex
from gradleak.report.recorded import Counted, Counters, LocalDp, Showcase, Simulation
from gradleak.report.tables.base import Column, Line, Table
from gradleak.report.tables.render import to_latex
from gradleak.report.tex import listing, number

AUDITS, COUNTERS = "flower_audits", "flower_counters"
"""Names of the tables."""

_DATA = {"mnist": "MNIST", "cifar100": "CIFAR-100"}


def audits(showcase: Showcase) -> Table:
    """Build the table of audits: under each model a line for what the clients did to their updates."""
    lines: list[Line] = []
    numbers = []
    heading = ""
    for simulation in showcase.simulations:
        updates = simulation.updates
        of = _model(simulation)
        if of != heading:
            lines.append(Line(heading=of, rule=True))
            heading = of
        cells = (
            client(simulation.local_dp),
            ", ".join(str(each.certified_labels) for each in updates),
            ", ".join(str(each.certified_images) for each in updates),
            str(sum(each.false_labels + each.false_images for each in updates)),
            f"{max(each.cpu_seconds for each in updates):.0f}",
            f"{max(each.peak_memory_mb for each in updates):,.0f}",
        )
        lines.append(Line(cells))
        setting = simulation.model_dump(include={"model", "data", "batch_size"})
        numbers += [setting | {"client": cells[0]} | {f"update_{k}": v for k, v in each} for each in updates]
    columns = (
        Column("On the client", align="l"),
        Column("labels", group="Certified"),
        Column("images", group="Certified"),
        Column("False"),
        Column("CPU seconds", align="r"),
        Column("Peak MiB", align="r"),
    )
    note = (
        "One number for each update: round 1 (untrained weights), then round 2. False: certificates that the "
        "client's batch does not bear out. CPU seconds and peak memory of the costliest audit."
    )
    return Table("Updates of Flower simulations, audited.", note, columns, tuple(lines), pd.DataFrame(numbers))


def counters(showcase: Showcase) -> Table:
    """Build the table of what LocalDpMod does to step counters; releases with equal figures share their lines."""
    releases: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for each in sorted(showcase.counters, key=_release):
        releases.setdefault(tuple(map(_counted, each.rows)), []).append(each.flwr)
    lines: list[Line] = []
    for rows, versions in releases.items():
        lines.append(Line(heading=f"flwr {listing(versions)}", rule=True))
        lines += [Line(cells) for cells in rows]
    columns = (
        Column("Batches", align="r"),
        Column("counters", group="Norm of the change of", align="r"),
        Column("running statistics", group="Norm of the change of", align="r"),
        Column("parameters", group="Norm of the change of", align="r"),
        Column("by the mod", group="Change of parameters sent", align="r"),
        Column("if counters were left out", group="Change of parameters sent", align="r"),
        Column("Noise on counters"),
    )
    numbers = [{"flwr": each.flwr} | row.model_dump() for each in showcase.counters for row in each.rows]
    note = (
        "The clipping norm is half the norm of the parameters' change; if that alone counted, half of it would be sent."
    )
    return Table(
        "BatchNorm's step counters in the clipping norm of Flower's LocalDpMod (ResNet-18, untrained).",
        note,
        columns,
        tuple(lines),
        pd.DataFrame(numbers),
    )


def values(showcase: Showcase) -> dict[str, str]:
    """Return the numbers that the text quotes, by key."""
    of = {
        "plain": [each for each in showcase.simulations if each.local_dp is None],
        "clipped": [each for each in showcase.simulations if each.local_dp and not each.local_dp.noise],
        "noisy": [each for each in showcase.simulations if each.local_dp and each.local_dp.noise],
    }
    texts = {f"flower/labels/{name}": _certified(simulations) for name, simulations in of.items()}
    updates = [update for simulation in showcase.simulations for update in simulation.updates]
    packages = ", ".join(f"{name} {number}" for name, number in showcase.packages.items())
    return texts | {
        "flower/updates": str(len(updates)),
        "flower/false": str(sum(each.false_labels + each.false_images for each in updates) or "none"),
        "flower/date": showcase.recorded,
        "flower/commit": showcase.commit,
        "flower/processor": showcase.processor,
        "flower/cores": str(showcase.cores),
        "flower/versions": packages,
        "flower/releases": listing([each.flwr for each in sorted(showcase.counters, key=_release)]),
        "flower/noise": listing(sorted({number(each.local_dp.noise, 2) for each in of["noisy"] if each.local_dp})),
    }


def files(showcase: Showcase, *, table: Path, macros: Path) -> dict[str, str]:
    """Return what the paper reads of a record: name of a file -> its TeX.

    Args:
        showcase: the record.
        table: the template ``table.tex.j2``.
        macros: the template ``macros.tex.j2``.
    """
    return {
        f"{AUDITS}.tex": to_latex(audits(showcase), AUDITS, table),
        f"{COUNTERS}.tex": to_latex(counters(showcase), COUNTERS, table),
        "recorded.tex": tex.macros(values(showcase), macros),
    }


def client(local_dp: LocalDp | None) -> str:
    """Return what a client does to its update, in words."""
    if local_dp is None:
        return "nothing"
    noise = f"noise of {number(local_dp.noise, 2)}" if local_dp.noise else "no noise"
    return f"LocalDpMod, clipping norm {local_dp.clipping_norm:g}, {noise}"


def _model(simulation: Simulation) -> str:
    what = "" if simulation.images_are == "images" else " (of certified images, the features)"
    return f"{simulation.model}, {_DATA.get(simulation.data, simulation.data)}, B={simulation.batch_size}{what}"


def _certified(simulations: list[Simulation]) -> str:
    """Return ``N of M``: certified instances of all updates."""
    certified = sum(update.certified_labels for each in simulations for update in each.updates)
    return f"{certified} of {sum(each.batch_size * len(each.updates) for each in simulations)}"


def _release(counters: Counters) -> list[int]:
    return [int(part) for part in counters.flwr.split(".") if part.isdecimal()]


def _counted(row: Counted) -> tuple[str, ...]:
    return (
        str(row.batches),
        f"{row.counters:.3g}",
        f"{row.statistics:.3g}",
        f"{row.parameters:.3g}",
        f"{row.sent:.2%}".replace("%", " %"),
        f"{row.sent_without_counters:.2%}".replace("%", " %"),
        "yes" if row.noise_on_counters else "no",
    )
