"""How ``guidance_scale`` of posterior sampling was chosen: by the matching loss, which a server can compute.

The clients and the victim differ from those in the tables (``--seed 101 --model-seed 5``), and nothing that depends on
the clients' images is printed. Needs the full MNIST and a prior from ``train_prior.py --dataset mnist --split val``.

    python bench/guidance_scale.py --prior results/priors/mnist/val-... --data-root data
"""

import argparse
import time
from pathlib import Path

import torch

from gradleak.plan.jobs.diffusion import DiffusionReconstruct
from gradleak.runs.diffusion import run

SCALES = (5e-4, 1e-3, 2e-3, 4e-3)


def main() -> None:
    """Print the matching losses of the clients for each scale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", required=True, help="folder of the prior")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the full data sets")
    parser.add_argument("--clients", type=int, default=10, help="number of clients, each with its own batch")
    parser.add_argument("--batch-size", type=int, default=1, help="images per client")
    given = parser.parse_args()
    print("scale    mean log10 loss  median    largest   seconds")
    for scale in SCALES:
        began = time.perf_counter()
        spec = DiffusionReconstruct(
            dataset="mnist",
            model="lenet",
            batch_size=given.batch_size,
            num_clients=given.clients,
            seed=101,
            model_seed=5,
            labels="ilrg",
            guidance="dps",
            guidance_scale=scale,
            tv_weight=1e-4,
            prior=given.prior,
            data_root=given.data_root,
            log_every=1000,
            device="cpu",
            progress=False,
        )
        losses = torch.tensor([made.loss for made in run(spec).reconstructions])
        figures = f"{losses.log10().mean():15.3f}  {losses.median():.2e}  {losses.max():.2e}"
        print(f"{scale:<7g}  {figures}  {time.perf_counter() - began:7.0f}", flush=True)


if __name__ == "__main__":
    main()
