"""ImageNet (ILSVRC 2012) from the user's own folder: one sub-folder of image files per wnid.

Russakovsky et al. 2015, for research; it cannot be downloaded without an account, so the user supplies it.
"""

from pathlib import Path

import torch

from gradleak.data.files import FileDataset, image_files, wnid_folders
from gradleak.errors import InputError
from gradleak.plan.catalogue import dataset_facts

_PARTS = {"train": ("train",), "val": ("val",), "all": ("train", "val")}


def imagenet(split: str, root: Path, download: bool) -> FileDataset:
    """Return ImageNet from ``root/imagenet/<split>/<wnid>/*.JPEG``: images [N, 3, 224, 224].

    ``root/ImageNet`` and ``root`` itself are accepted as well. A class index is the rank of its wnid among the wnid
    folders of all existing splits, so it does not depend on the split; for the complete set it is the usual 0 .. 999.
    Only file names are read here; images are decoded when they are fetched.

    Raises:
        InputError: the folder, the split, its class folders or their images are missing.
    """
    folder = _find(root, download)
    classes = {part: wnid_folders(folder / part) for part in ("train", "val") if (folder / part).is_dir()}
    for part in _PARTS[split]:
        if part not in classes:
            raise InputError(
                f"imagenet: no split {part} in {folder.absolute()} (present: {', '.join(classes)}); "
                f"choose an existing split, or add {part}/<wnid>/*.JPEG"
            )
        if not classes[part]:
            raise InputError(
                f"imagenet: no class folders such as n01440764 in {(folder / part).absolute()}; "
                "sort the images into one folder per wnid"
            )
    rank = {wnid: index for index, wnid in enumerate(sorted({wnid for part in classes.values() for wnid in part}))}
    paths: list[str] = []
    labels: list[int] = []
    for part in _PARTS[split]:
        for wnid in classes[part]:
            files = image_files(folder / part / wnid)
            paths += files
            labels += [rank[wnid]] * len(files)
    if not paths:
        raise InputError(
            f"imagenet: the class folders of split {split} in {folder.absolute()} have no JPEG or PNG files"
        )
    return FileDataset(
        "imagenet", dataset_facts("imagenet"), len(rank), torch.tensor(labels, dtype=torch.int64), tuple(paths)
    )


def _find(root: Path, download: bool) -> Path:
    """Return the first of the accepted folders that has a split."""
    candidates = (root / "imagenet", root / "ImageNet", root)
    for folder in candidates:
        if any((folder / part).is_dir() for part in ("train", "val")):
            return folder
    looked = ", ".join(str(folder.absolute()) for folder in candidates)
    remedy = "point --data-root to the folder that holds imagenet/<split>/<wnid>/*.JPEG"
    reason = "; --download cannot fetch ImageNet, which needs an account" if download else ""
    raise InputError(f"imagenet: no train or val folder in any of {looked}{reason}; {remedy}")
