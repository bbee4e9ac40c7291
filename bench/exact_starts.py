"""How many starts of exact inversion reach an image, by how far the activations are blurred in the first steps.

python bench/exact_starts.py
python bench/exact_starts.py --checkpoint results/checkpoints/mnist-sample/fcn/iter1000-.../model.safetensors
"""

import argparse
from pathlib import Path

import torch

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.forward import Forward
from gradleak.attacks.exact.levenberg import minimise
from gradleak.attacks.exact.observed import see
from gradleak.attacks.exact.smoothing import BLURS, smoothed
from gradleak.attacks.exact.spans import decompose
from gradleak.attacks.exact.starts import row_starts
from gradleak.clients.observation import observe_full
from gradleak.clients.round_inputs import draw_batch, make_victim
from gradleak.data import datasets
from gradleak.plan.jobs.labels import RestoreLabels

REACHED = 0.05
"""Relative distance at which a search has reached an image."""


def main() -> None:
    """Print the starts that reach an image, and how many images they reach, for each sequence of widths of the blur."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="weights of the victim (default: untrained)")
    parser.add_argument("--dataset", default="mnist-sample")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the full data sets")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--tries", type=int, default=5)
    given = parser.parse_args()
    spec = RestoreLabels(
        dataset=given.dataset,
        data_root=given.data_root,
        model="fcn",
        batch_size=given.batch_size,
        checkpoint=given.checkpoint,
        model_seed=1,
        device="cpu",
    )
    data = datasets.load(spec.dataset, split=spec.split, root=spec.data_root, download=False)
    model = make_victim(spec, data)
    print("widths      starts  reach an image  images reached  (sums over tries)")
    totals = {widths: [0, 0, 0] for widths in BLURS}
    for trial in range(given.tries):
        chosen = draw_batch(spec, data, trial)
        images, labels = data.fetch(chosen), data.labels[chosen]
        seen = see(observe_full(model, images, labels))
        first, second = (
            decompose(gradient, precision=seen.precision, batch_size=given.batch_size)
            for gradient in seen.gradients[:2]
        )
        affine = Affine(first.right)
        starts = row_starts(first.left * first.values, affine)
        truth = images.flatten(1).double()
        for widths, total in totals.items():
            s = starts
            for width in widths:
                blurred = smoothed(seen.network, affine.inputs(starts[:64]), width)
                s, _ = minimise(Forward(blurred, affine, [second.right]), s, steps=12)
            s, _ = minimise(Forward(seen.network, affine, [second.right]), s, steps=25, tolerance=1e-18)
            nearest = (torch.cdist(affine.inputs(s), truth) / truth.norm(dim=1)).min(1)
            reached = nearest.indices[nearest.values < REACHED]
            for place, number in enumerate((len(s), len(reached), len(reached.unique()))):
                total[place] += number
    for widths, (number, reaching, reached) in totals.items():
        print(f"{', '.join(map(str, widths)) or 'none':10}  {number:6d}  {reaching:14d}  {reached:14d}")


if __name__ == "__main__":
    main()
