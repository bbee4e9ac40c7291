"""The files with the weights of LPIPS, and a digest of their content.

They are not part of the run id, because they affect only one metric. The digest lets Snakemake repeat runs when weights
are added, changed or removed.
"""

import hashlib
from functools import cache
from pathlib import Path

from gradleak.errors import InputError

FILES = ("alexnet-owt-7be5be79.pth", "alex.pth")
"""Names of the published files in a folder of weights."""

SMALLEST_SIDE = 31
"""Smallest height and width in pixels: AlexNet's last convolutions then have one position."""

REMEDY = f"give a folder with torchvision's {FILES[0]} and the LPIPS release's {FILES[1]}, or one file with both"


def weight_files(path: Path) -> list[Path]:
    """Return the files of weights at a path: itself, or :data:`FILES` in a folder.

    Raises:
        InputError: one of them is missing.
    """
    files = [path / name for name in FILES] if path.is_dir() else [path]
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: no such file with LPIPS weights; {REMEDY}")
    return files


@cache
def weights_digest(path: Path | None) -> str | None:
    """Return eight hex digits that identify the content of the weights at a path; None without a path.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    if path is None:
        return None
    hashed = hashlib.sha256()
    for file in weight_files(path):
        try:
            with file.open("rb") as opened:
                hashed.update(hashlib.file_digest(opened, "sha256").digest())
        except OSError as error:
            raise InputError(f"{file}: {error.strerror or 'cannot be read'}") from error
    return hashed.hexdigest()[:8]
