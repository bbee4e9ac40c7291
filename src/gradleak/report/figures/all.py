"""Every figure, registered: import ``build``, ``find`` and ``kinds`` from here."""

from gradleak.report.figures import (
    accuracy_over_batch,
    accuracy_over_defenses,
    accuracy_over_stage,
    denoising_path,
    psnr_over_defenses,
    psnr_over_iterations,
    reconstruction_grid,
)
from gradleak.report.figures.base import build, find, kinds

__all__ = [
    "accuracy_over_batch",
    "accuracy_over_defenses",
    "accuracy_over_stage",
    "build",
    "denoising_path",
    "find",
    "kinds",
    "psnr_over_defenses",
    "psnr_over_iterations",
    "reconstruction_grid",
]
