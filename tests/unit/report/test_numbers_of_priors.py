"""The text about attacks with a prior, from artificial rows."""

import pandas as pd

from gradleak.report.image_rows import Reconstructions
from gradleak.report.numbers_of_priors import values
from gradleak.report.tables.base import Labels

LABELS = {"ig": "optimise", "ig-ilrg": "ilrg", "dps": "ilrg", "refined": "ilrg"}
CONTROL = "prior-alone"
GUIDED = ("dps", "refined", CONTROL)


def attacked(made_up_images, gains: dict[str, list[float]]) -> tuple[Reconstructions, dict[str, str]]:
    """One setting, four clients: attacks whose PSNR on client c is raised by ``gains[attack][c]``; and the policies."""
    frames, policies = [], {}
    for method, raised in gains.items():
        rows = made_up_images("mnist", "lenet", 2, clients=len(raised), method=method)
        rows["value"] += rows["client"].clip(lower=0).map(dict(enumerate(raised))).where(rows["metric"] == "psnr", 0.0)
        kind = "diffusion" if method in GUIDED else "images"
        frames.append(rows.assign(kind=kind, run=rows["run"].str.replace("images", kind, n=1)))
        if method != CONTROL:
            policies[frames[-1]["run"].iloc[0]] = LABELS[method]
    return Reconstructions.of(pd.concat(frames)), policies


def said(made_up_images, **gains: list[float]) -> dict[str, str]:
    named = {name.replace("_", "-"): raised for name, raised in gains.items()}
    found = values(*attacked(made_up_images, named), Labels(method={"dps": "DPS", "ig-ilrg": "IG"}))
    return {key.removeprefix("images/diffusion/"): value for key, value in found.items()}


ALONE = [0.0, 0.0, 0.0, 0.0]


def test_every_attack_is_compared(made_up_images):
    # Differences 1, 2, 3, 2: mean 2, sd sqrt(2/3), t(0.975, 3) = 3.182446, half-width 1.299228.
    found = said(made_up_images, ig_ilrg=ALONE, dps=[1.0, 2.0, 3.0, 2.0], refined=[-9.0, 9.0, -9.0, 9.0])
    assert (found["comparisons"], found["judged"]) == ("2", "2")
    assert (found["above"], found["below"], found["undecided"]) == ("1", "0", "1")
    assert found["list"].startswith("DPS against IG on lenet, mnist, B=2: 2.00 dB [0.70, 3.30]; and refined against IG")
    assert not {"better", "gain", "highest", "lowest"} & set(found)


def test_only_attacks_with_equal_label_policies_are_compared(made_up_images):
    both = said(made_up_images, ig=[5.0, 5.0, 5.0, 5.0], ig_ilrg=ALONE, dps=[1.0, 2.0, 3.0, 2.0])
    assert both["comparisons"] == "1"
    assert "2.00 dB" in both["list"]
    neither = said(made_up_images, ig=ALONE, dps=[1.0, 2.0, 3.0, 2.0])
    assert (neither["comparisons"], neither["list"]) == ("0", "none")


def test_controls_are_not_compared_as_attacks(made_up_images):
    found = said(made_up_images, ig_ilrg=ALONE, prior_alone=[9.0, 9.0, 9.0, 9.0])
    assert (found["comparisons"], found["controls"]) == (
        "0",
        "29.01 dB",
    )  # 18.01 + 9, half an image, one and a half clients


def test_one_batch_has_no_interval_and_no_claim(made_up_images):
    found = said(made_up_images, ig_ilrg=[0.0], dps=[3.0])
    assert found["comparisons"] == "1"
    assert found["list"].endswith("3.00 dB (too few tries for an interval)")
    assert (found["judged"], found["above"]) == ("0", "0")
