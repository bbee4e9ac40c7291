"""Clients' batches: the label distributions of the label restoration literature.

The eight distributions follow Ma et al. 2023 (iLRG) and its released code. A distribution is drawn in two
steps: how many images of which classes, then which images of these classes. Only labels are read: no image is
decoded.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradleak.errors import InputError
from gradleak.plan.distributions import CUSTOM_CLASSES, check_batch


def select(
    labels: Tensor,
    num_classes: int,
    distribution: str,
    batch_size: int,
    rng: np.random.Generator,
    *,
    num_uniform_cls: int = 32,
    num_target_cls: int = 5,
) -> Tensor:
    """Draw a batch.

    ====================  ================================================================================
    random                B distinct images, whatever their classes
    extreme               one random class
    balanced              ``num_uniform_cls`` random classes, B / ``num_uniform_cls`` images each
    unique                B random classes, one image each
    random2               ``num_target_cls`` random classes with random positive counts that sum to B
    custom_imbalanced     classes 0, 18, 92 with 1, B - 2, 1 images
    custom_balanced       classes 0, 18, 92 with B / 3 images each
    sim                   counts as in random2, but each class is one image repeated
    ====================  ================================================================================

    Classes are drawn among those that have enough images. Images of a class are distinct, except in sim, and in the
    custom distributions where the class has too few: its images are then repeated, each as often as any other or once
    more. The published B = 648 needs 646 images of class 18, of which CIFAR-100 has 600 in all. The
    counts of random2 are a uniform composition of B; if the data are too small for it, the excess goes at random to
    classes with images left.

    Args:
        labels: [N] int64, the class of each image of the data set.
        num_classes: C of the data set; some classes may have no images.
        distribution: a name of :data:`gradleak.plan.distributions.DISTRIBUTIONS`.
        batch_size: B.
        rng: the stream of the batch; equal streams and labels give equal batches.
        num_uniform_cls: number of classes of balanced.
        num_target_cls: number of classes of random2 and sim.

    Returns:
        [B] int64, indices into ``labels``, grouped by class except in random.

    Raises:
        InputError: the distribution is unknown, or the data set cannot provide such a batch.
    """
    if distribution not in DRAWS:
        raise InputError(f"unknown distribution {distribution!r}; known: {', '.join(DRAWS)}")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; a batch has at least 1 image")
    if batch_size > len(labels) and distribution != "sim":
        raise InputError(
            f"batch_size {batch_size} is more than the {len(labels)} images of the data set; use at most {len(labels)}"
        )
    pool = _Pool.of(labels, num_classes, distribution, batch_size, rng)
    check_batch(
        distribution,
        batch_size,
        num_classes,
        num_uniform_cls=num_uniform_cls,
        num_target_cls=num_target_cls,
        num_present=int(np.count_nonzero(pool.available)),
    )
    return torch.from_numpy(DRAWS[distribution](pool, num_uniform_cls, num_target_cls))


@dataclass(frozen=True)
class _Pool:
    """The images by class, and the requested batch.

    Attributes:
        available: [C], images per class.
        members: [N], image indices sorted by class.
        starts: [C], where each class begins in ``members``.
    """

    available: np.ndarray
    members: np.ndarray
    starts: np.ndarray
    distribution: str
    batch_size: int
    rng: np.random.Generator

    @classmethod
    def of(
        cls, labels: Tensor, num_classes: int, distribution: str, batch_size: int, rng: np.random.Generator
    ) -> "_Pool":
        array = labels.cpu().numpy()
        available = np.bincount(array, minlength=num_classes)
        if len(available) > num_classes:
            raise ValueError(f"label {len(available) - 1} is outside the {num_classes} classes")
        members = np.argsort(array, kind="stable")
        return cls(available, members, np.cumsum(available) - available, distribution, batch_size, rng)

    def error(self, text: str) -> InputError:
        return InputError(f"distribution {self.distribution}: {text}")

    def classes(self, number: int, each: int) -> np.ndarray:
        """Draw distinct classes from those with at least ``each`` images."""
        enough = np.flatnonzero(self.available >= each)
        if number > len(enough):
            raise self.error(
                f"batch_size {self.batch_size} needs {_count(number, 'class', 'classes')} with at least "
                f"{_count(each, 'image')} and the data set has {len(enough)} "
                f"(its largest class has {_count(int(self.available.max()), 'image')})"
            )
        return self.rng.choice(enough, number, replace=False)

    def images(self, classes: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Draw distinct images of each class."""
        return np.concatenate([self._images(c, k) for c, k in zip(classes, counts, strict=True)])

    def _images(self, c: int, count: int) -> np.ndarray:
        start = self.starts[c]
        return self.rng.choice(self.members[start : start + self.available[c]], count, replace=False)

    def repeated(self, c: int, count: int) -> np.ndarray:
        """Draw images of a class; if it has too few, each appears as often as any other or once more."""
        whole, rest = divmod(count, int(self.available[c]))
        everything = self.members[self.starts[c] : self.starts[c] + self.available[c]]
        return np.concatenate([np.tile(everything, whole), self._images(c, rest)])


def _random(pool: _Pool, num_uniform_cls: int, num_target_cls: int) -> np.ndarray:
    return pool.rng.choice(len(pool.members), pool.batch_size, replace=False)


def _extreme(pool: _Pool, num_uniform_cls: int, num_target_cls: int) -> np.ndarray:
    return pool.images(pool.classes(1, pool.batch_size), np.array([pool.batch_size]))


def _balanced(pool: _Pool, num_uniform_cls: int, num_target_cls: int) -> np.ndarray:
    each = pool.batch_size // num_uniform_cls
    return pool.images(pool.classes(num_uniform_cls, each), np.full(num_uniform_cls, each))


def _unique(pool: _Pool, num_uniform_cls: int, num_target_cls: int) -> np.ndarray:
    return pool.images(pool.classes(pool.batch_size, 1), np.ones(pool.batch_size, dtype=np.int64))


def _random2(pool: _Pool, num_uniform_cls: int, num_target_cls: int) -> np.ndarray:
    counts = np.sort(_composition(pool, num_target_cls))[::-1]
    limits = np.sort(pool.available)[::-1][:num_target_cls]
    if limits.sum() < pool.batch_size:
        raise pool.error(
            f"batch_size {pool.batch_size} is more than the {limits.sum()} images of the {num_target_cls} "
            f"largest classes (num_target_cls {num_target_cls}); use at most {limits.sum()}"
        )
    fitting = np.minimum(counts, limits)
    excess = pool.batch_size - fitting.sum()
    if excess:
        fitting = fitting + pool.rng.multivariate_hypergeometric(limits - fitting, excess)
    # The largest count chooses first. Classes large enough for it are large enough for every later count, so no choice
    # leads to a dead end and every valid assignment of classes is equally likely.
    fitting = np.sort(fitting)[::-1]
    free = pool.available.copy()
    classes = np.empty(num_target_cls, dtype=np.int64)
    for position, count in enumerate(fitting):
        classes[position] = pool.rng.choice(np.flatnonzero(free >= count))
        free[classes[position]] = 0
    return pool.images(classes, fitting)


def _custom_imbalanced(pool: _Pool, num_uniform_cls: int, num_target_cls: int) -> np.ndarray:
    return _custom(pool, np.array([1, pool.batch_size - 2, 1]))


def _custom_balanced(pool: _Pool, num_uniform_cls: int, num_target_cls: int) -> np.ndarray:
    return _custom(pool, np.full(3, pool.batch_size // 3))


def _sim(pool: _Pool, num_uniform_cls: int, num_target_cls: int) -> np.ndarray:
    counts = _composition(pool, num_target_cls)
    images = pool.images(pool.classes(num_target_cls, 1), np.ones_like(counts))
    return np.repeat(images, counts)


DRAWS: dict[str, Callable[[_Pool, int, int], np.ndarray]] = {
    "random": _random,
    "extreme": _extreme,
    "balanced": _balanced,
    "unique": _unique,
    "random2": _random2,
    "custom_imbalanced": _custom_imbalanced,
    "custom_balanced": _custom_balanced,
    "sim": _sim,
}
"""Distribution -> function (pool, num_uniform_cls, num_target_cls) -> indices [B]."""


def _custom(pool: _Pool, counts: np.ndarray) -> np.ndarray:
    missing = [c for c in CUSTOM_CLASSES if pool.available[c] == 0]
    if missing:
        raise pool.error(f"it needs images of class {missing[0]} and the data set has none; use a larger data set")
    return np.concatenate([pool.repeated(c, count) for c, count in zip(CUSTOM_CLASSES, counts, strict=True)])


def _composition(pool: _Pool, parts: int) -> np.ndarray:
    """Draw positive counts [parts] that sum to B; all such lists are equally likely."""
    # Counts are the gaps between distinct cuts of a line of B images.
    cuts = np.sort(pool.rng.choice(pool.batch_size - 1, parts - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=pool.batch_size)


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"
