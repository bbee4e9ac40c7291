"""What the paper's text says of attacks with a diffusion prior: beside matching alone, and beside their controls."""

from collections.abc import Iterable, Mapping
from typing import Any

from gradleak.quoted_images import decibels
from gradleak.reconstructions import DIFFUSION, Reconstructions
from gradleak.tables.base import Labels
from gradleak.tex import figure


def controls_of(sidecars: Iterable[Mapping[str, Any]]) -> set[str]:
    """Names of the attacks that see no gradient of a client: the prior alone, or led by noise."""
    specs = [record["spec"] for record in sidecars if str(record.get("run", "")).startswith(f"{DIFFUSION}/")]
    return {spec["attack"] for spec in specs if spec["guidance"] == "none" or spec["control"] != "none"}


def values(found: Reconstructions, guided: set[str], controls: set[str], labels: Labels) -> dict[str, str]:
    """Return ``images/diffusion/...`` of the settings that were attacked with a prior and without.

    ``settings``; ``better``: where the best attack with the prior has a higher mean PSNR than the best without;
    ``gain``: by how much in dB; ``lowest/at`` and ``highest/at``: where that is smallest and largest; ``controls``:
    mean PSNR of the controls.

    Args:
        found: attacks with and without a prior.
        guided: names of all attacks with a prior.
        controls: those that see no gradient.
        labels: names to write.
    """
    gains: list[tuple[float, str]] = []
    invented: list[float] = []
    for cell in found.cells():
        means = {name: found.measured.value(cell, name, "psnr").mean for name in found.methods(cell)}
        means = {name: mean for name, mean in means.items() if mean == mean}
        invented += [mean for name, mean in means.items() if name in controls]
        attacks = [mean for name, mean in means.items() if name in guided - controls]
        alone = [mean for name, mean in means.items() if name not in guided]
        if attacks and alone:
            gains.append((max(attacks) - max(alone), labels.setting(cell)))
    said: dict[str, str] = {}
    if gains:
        said = {
            "settings": str(len(gains)),
            "better": str(sum(gain > 0 for gain, _ in gains)),
            "gain": decibels(gain for gain, _ in gains),
            "lowest": figure("psnr", min(gains)[0]),
            "lowest/at": min(gains)[1],
            "highest": figure("psnr", max(gains)[0]),
            "highest/at": max(gains)[1],
        }
    if invented:
        said["controls"] = decibels(invented)
    return {f"images/diffusion/{name}": value for name, value in said.items()}
