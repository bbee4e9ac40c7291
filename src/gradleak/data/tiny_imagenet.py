"""Tiny-ImageNet (200 classes of ImageNet at 64x64 pixels) from the user's own folder.

Stanford CS231n, http://cs231n.stanford.edu/tiny-imagenet-200.zip, drawn from ImageNet (Russakovsky et al. 2015) and
under its terms: non-commercial research and education.
"""

from collections.abc import Iterator
from pathlib import Path

import torch

from gradleak.data.base import one_line
from gradleak.data.files import FileDataset, image_files, wnid_folders
from gradleak.errors import InputError
from gradleak.plan.catalogue import dataset_facts

_NAME = "tiny-imagenet"
_FOLDER = "tiny-imagenet-200"
_PARTS = {"train": ("train",), "val": ("val",), "all": ("train", "val")}
_ANNOTATIONS = "val_annotations.txt"


def tiny_imagenet(split: str, root: Path, download: bool) -> FileDataset:
    """Return Tiny-ImageNet from ``root/tiny-imagenet-200``: images [N, 3, 64, 64].

    ``root`` may also be the folder ``tiny-imagenet-200`` itself. Its layout is the official one:
    ``train/<wnid>/images/*.JPEG``, ``wnids.txt``, ``val/val_annotations.txt`` and ``val/images/*.JPEG``; class
    folders without ``images``, and a ``val`` that is sorted into class folders, are read as well. A part of the
    images suffices.

    A class index is the line of its wnid in ``wnids.txt``; without that file it is the rank of the wnid among the
    class folders, which is another order. Training images come in the order of their folders and names, validation
    images in that of the annotations. Only names are read here; images are decoded when they are fetched.

    Raises:
        InputError: the folder, the split or its images are missing, there are not 200 classes, or an annotation
            names an unknown class or a missing file.
    """
    folder = _find(root, download)
    known = dataset_facts(_NAME)
    index = _class_index(folder, known.num_classes)
    paths: list[str] = []
    labels: list[int] = []
    for part in _PARTS[split]:
        if not (folder / part).is_dir():
            present = ", ".join(name for name in ("train", "val") if (folder / name).is_dir())
            raise InputError(
                f"{_NAME}: no split {part} in {folder} (present: {present or 'none'}); choose an existing split"
            )
        before = len(paths)
        for path, wnid in _entries(folder / part):
            if wnid not in index:
                raise InputError(f"{_NAME}: {path} is of the class {wnid!r}, which is not in {folder / 'wnids.txt'}")
            paths.append(path)
            labels.append(index[wnid])
        if len(paths) == before:
            raise InputError(f"{_NAME}: no JPEG or PNG files of the split {part} in {folder / part}")
    size = known.image_size
    return FileDataset(_NAME, known, known.num_classes, torch.tensor(labels), tuple(paths), resize=size)


def _find(root: Path, download: bool) -> Path:
    folder = (root if root.absolute().name == _FOLDER else root / _FOLDER).absolute()
    if folder.is_dir():
        return folder
    reason = "; it is not downloaded automatically" if download else ""
    raise InputError(f"{_NAME}: no folder {folder}{reason}; point --data-root to the folder that holds {_FOLDER}/")


def _class_index(folder: Path, num_classes: int) -> dict[str, int]:
    """Return wnid -> class index."""
    file = folder / "wnids.txt"
    if file.exists():
        wnids, where = _text(file).split(), str(file)
    else:
        wnids, where = wnid_folders(folder / "train") or wnid_folders(folder / "val"), f"the class folders of {folder}"
    if len(set(wnids)) != num_classes:
        raise InputError(f"{_NAME}: {where} name {len(set(wnids))} classes; wnids.txt must name {num_classes}")
    if len(wnids) != num_classes:
        raise InputError(f"{_NAME}: {where} names a class twice; it must name each of the {num_classes} once")
    return {wnid: i for i, wnid in enumerate(wnids)}


def _text(file: Path) -> str:
    """Return a text file of the set, with or without a byte order mark."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{_NAME}: cannot read {file}: {one_line(error)}; extract the set again") from error


def _entries(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and the wnid of each image of a split."""
    annotations = folder / _ANNOTATIONS
    if not annotations.is_file():
        for wnid in wnid_folders(folder):
            inner = folder / wnid / "images"
            for path in image_files(inner if inner.is_dir() else folder / wnid):
                yield path, wnid
        return
    images = folder / "images"
    there = {Path(path).name: path for path in image_files(images)}
    named: set[str] = set()
    for line in filter(None, _text(annotations).splitlines()):
        name, wnid, *_ = (*line.split(), "", "")
        if name not in there:
            raise InputError(f"{_NAME}: {annotations} names {name}, which is not in {images}; extract the set again")
        if name in named:
            raise InputError(f"{_NAME}: {annotations} names {name} twice; extract the set again")
        named.add(name)
        yield there[name], wnid
