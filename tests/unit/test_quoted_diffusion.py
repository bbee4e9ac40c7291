"""What the text says of attacks with a prior, from made-up rows."""

import pandas as pd

from gradleak.quoted_diffusion import controls_of, values
from gradleak.reconstructions import Reconstructions
from gradleak.tables.base import Labels

GUIDED = {"dps", "prior-alone"}


def found(made_up_images, **psnr) -> Reconstructions:
    """Attacks of two settings; ``psnr`` moves the value of an attack in the first of them."""
    parts = []
    for size in (1, 4):
        for method in ("ig", "dps", "prior-alone"):
            rows = made_up_images("mnist", "lenet", size, clients=3, method=method)
            if size == 1:
                rows.loc[rows["metric"] == "psnr", "value"] += psnr.get(method.replace("-", "_"), 0.0)
            parts.append(rows.assign(kind="diffusion" if method in GUIDED else "images"))
    return Reconstructions.of(pd.concat(parts))


def test_gains_are_of_the_attacks_and_not_of_the_controls(made_up_images):
    said = values(found(made_up_images, dps=2.0, prior_alone=9.0), GUIDED, {"prior-alone"}, Labels())
    assert said["images/diffusion/settings"] == "2"
    assert said["images/diffusion/better"] == "1"
    assert said["images/diffusion/highest"] == "2.00"
    assert said["images/diffusion/highest/at"] == "lenet, mnist, B=1"
    assert said["images/diffusion/lowest/at"] == "lenet, mnist, B=4"


def test_without_matching_alone_there_is_nothing_to_compare(made_up_images):
    said = values(found(made_up_images), {"ig", *GUIDED}, {"prior-alone"}, Labels())
    assert set(said) == {"images/diffusion/controls"}


def test_controls_are_told_by_their_specs():
    specs = [("a", "none", "none"), ("b", "dps", "random-gradients"), ("c", "dps", "none")]
    records = [
        {"run": "diffusion/x", "spec": {"attack": name, "guidance": guidance, "control": control}}
        for name, guidance, control in specs
    ]
    assert controls_of([*records, {"run": "images/y", "spec": {"attack": "ig"}}]) == {"a", "b"}
