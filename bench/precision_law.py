"""Fit the constant of the law of precision on some initialisations, test it on others, and list the misses inside it.

python bench/precision_law.py --data-root data
python bench/precision_law.py --dataset mnist-sample --fit 1 --test 2 --batch-sizes 16 --stages untrained
"""

import argparse
from collections import Counter
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from gradleak.metrics.precision_law import LAW_CONSTANT
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.metric_facts import PSNR_CAP, RECOVERED
from gradleak.runs.images import run

PRECISIONS = ("float32", "float16", "bfloat16")


def numbers(text: str) -> list[int]:
    """Return comma-separated whole numbers."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Print the constant, how far predictions are off, and which images were missed though the law holds them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the full data sets")
    parser.add_argument("--checkpoint-dir", type=Path, default=Path("results/checkpoints"))
    parser.add_argument("--fit", type=numbers, default=[1, 2, 3], help="initialisations that the constant is fitted on")
    parser.add_argument("--test", type=numbers, default=[4, 5], help="initialisations that it is tested on")
    parser.add_argument("--batch-sizes", type=numbers, default=[16, 32, 50])
    parser.add_argument("--stages", default="untrained,iter100,iter1000")
    parser.add_argument("--tries", type=int, default=2, help="batches of each setting")
    given = parser.parse_args()
    measured: dict[int, list[tuple[float, float]]] = {seed: [] for seed in (*given.fit, *given.test)}
    inside, missed = Counter[str](), []
    settings: Any = product(measured, given.stages.split(","), given.batch_sizes, PRECISIONS)
    for seed, stage, B, precision in settings:
        spec = Reconstruct(
            dataset=given.dataset,
            data_root=given.data_root,
            checkpoint_dir=given.checkpoint_dir,
            model="fcn",
            model_seed=seed,
            stage=stage,
            batch_size=B,
            num_clients=1,
            num_tries=given.tries,
            precision=precision,
            method="consistency",
            attack="consistency",
            device="cpu",
            progress=False,
        )
        for made in run(spec).reconstructions:
            if "predicted_psnr" not in made.metrics:
                continue
            pairs = zip(made.metrics["psnr"].tolist(), made.metrics["predicted_psnr"].tolist(), strict=True)
            for image, (psnr, predicted) in enumerate(pairs):
                setting = f"{precision}, {stage}"
                inside[setting] += predicted >= RECOVERED
                if psnr >= RECOVERED and max(psnr, predicted) < PSNR_CAP:  # at the cap nothing is measured
                    measured[seed].append((psnr, predicted))
                elif psnr < RECOVERED <= predicted:
                    missed.append((setting, f"seed {seed}, B={B}, batch {made.trial}, image {image}", predicted))
    pairs = [pair for seed in given.fit for pair in measured[seed]]
    print(f"constant: {LAW_CONSTANT + median(psnr - predicted for psnr, predicted in pairs):.2f} dB, is {LAW_CONSTANT}")
    for name, seeds in (("fit", given.fit), ("test", given.test)):
        off = [abs(psnr - predicted) for seed in seeds for psnr, predicted in measured[seed]]
        print(f"{name}: {len(off)} images, median {median(off):.2f} dB, 90 % within {quantiles(off, n=10)[-1]:.2f} dB")
    of = Counter(setting for setting, _, _ in missed)
    for setting, count in inside.items():
        print(f"{setting}: {of[setting]} of {count} images inside the law were missed")
    for setting, where, predicted in missed:
        print(f"missed: {setting}, {where}, predicted {predicted:.1f} dB")


if __name__ == "__main__":
    main()
