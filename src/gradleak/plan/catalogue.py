"""What the plan layer must know about data sets, models and methods without importing torch.

A test keeps these tables equal to the registries that they describe. Plug-ins enter their kinds at run time
(:mod:`gradleak.plan.plugins`).
"""

from dataclasses import dataclass, replace

from gradleak.errors import InputError


@dataclass(frozen=True)
class DatasetFacts:
    """Constants of a data set.

    Attributes:
        num_classes: C. For ``imagenet`` the class index is the rank of the wnid.
        channels: colour channels of an image.
        image_size: height and width in pixels, after the transform.
        mean: per-channel mean of the pixels in [0, 1] that the normalisation subtracts.
        std: per-channel standard deviation that the normalisation divides by.
        sizes: images per split; empty where only the user's folder knows.
        stands_for: the full data set that a packaged sample is drawn from, or the name itself.
        resizable: whether its images may be loaded at another size.
    """

    num_classes: int
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sizes: dict[str, int]
    stands_for: str
    resizable: bool = False


_MNIST = ((0.13066,), (0.30811,))
_CIFAR100 = ((0.50716, 0.48669, 0.44120), (0.26733, 0.25644, 0.27615))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

DATASETS: dict[str, DatasetFacts] = {
    "mnist": DatasetFacts(10, 1, 28, *_MNIST, {"train": 60_000, "val": 10_000, "all": 70_000}, "mnist"),
    "cifar100": DatasetFacts(100, 3, 32, *_CIFAR100, {"train": 50_000, "val": 10_000, "all": 60_000}, "cifar100"),
    "imagenet": DatasetFacts(1000, 3, 224, *_IMAGENET, {}, "imagenet"),
    "tiny-imagenet": DatasetFacts(
        200, 3, 64, *_IMAGENET, {"train": 100_000, "val": 10_000, "all": 110_000}, "tiny-imagenet", resizable=True
    ),
    "mnist-sample": DatasetFacts(10, 1, 28, *_MNIST, {"train": 5_000, "val": 5_000, "all": 5_000}, "mnist"),
    "cifar100-sample": DatasetFacts(100, 3, 32, *_CIFAR100, {"train": 20, "val": 20, "all": 20}, "cifar100"),
    "imagenet-sample": DatasetFacts(1000, 3, 224, *_IMAGENET, {"train": 20, "val": 20, "all": 20}, "imagenet"),
}
"""Packaged samples have one set of images; every split name means that set."""

DATASET_SPELLINGS = {"mnist_gray": "mnist", "cifar-100": "cifar100"}
"""Documented spellings (lower case) of data set names."""

MODEL_SPELLINGS = {"dnn": "fcn", "lenetzhu": "lenet"}
"""Documented spellings (lower case) of model names."""


def dataset_name(spelling: object) -> str:
    """Return the name that a spelling of a data set stands for, whether or not there is such a set."""
    name = str(spelling).lower()
    return DATASET_SPELLINGS.get(name, name)


def model_name(spelling: object) -> str:
    """Return the name that a spelling of a model stands for, whether or not there is such a model."""
    name = str(spelling).lower()
    return MODEL_SPELLINGS.get(name, name)


LABEL_METHODS = ["gi", "idlg", "ilrg", "ilrg-estimate", "ilrg-simplified", "rlg"]

IMAGE_KINDS = ("matching", "diffusion")
"""Kinds of attacks that reconstruct images; all other kinds are label methods."""

OBJECTIVES = ["l2", "l1", "max", "sim", "simlocal"]
"""Objectives of image attacks."""


@dataclass(frozen=True)
class DefenseFacts:
    """A kind of defense has one strength.

    Attributes:
        strength: documented name of the strength.
        high: largest strength; it must be above 0.
    """

    strength: str
    high: float


DEFENSES = {
    "dp": DefenseFacts("noise_std", 1e6),
    "clip": DefenseFacts("clip_bound", 1e6),
    "sparse": DefenseFacts("sparse_ratio", 100.0),
    "perturb": DefenseFacts("prune_ratio", 100.0),
}
"""Kinds of defenses, by standard deviation of the noise, bound on the norm, percent zeroed, percent of the embedding
pruned."""

GIVES: dict[str, tuple[str, ...]] = {
    "gi": (),
    "idlg": (),
    "ilrg": ("counts", "embeddings", "probabilities"),
    "ilrg-estimate": ("counts",),
    "ilrg-simplified": ("counts", "embeddings", "probabilities"),
    "rlg": (),
}
"""What guesses of a label method hold besides presence; of a plug-in's method only its jobs know."""

LABELS, IMAGES, EMBEDDINGS = "labels", "images", "embeddings"
"""What a view can need of an experiment besides attacks: its kind, whatever its attacks, or an attack that recovers
embeddings."""

TABLES: dict[str, tuple[str, ...]] = {
    "agreement": (),
    "batch_size_and_depth": (LABELS,),
    "batchnorm_dropout": (LABELS,),
    "class_distribution": (LABELS,),
    "comparison": (LABELS,),
    "defenses": (LABELS,),
    "error_analysis": (EMBEDDINGS,),
    "extreme_distribution": (LABELS,),
    "probability_cosine": (EMBEDDINGS,),
    "reconstruction": (IMAGES,),
    "soteria_embedding": (EMBEDDINGS,),
    "training_stage": (LABELS,),
}
"""Kinds of tables, and what an experiment must have for a table to show it: kinds of attacks, :data:`LABELS`,
:data:`IMAGES` or :data:`EMBEDDINGS`."""

FIXED_METRICS = ("agreement", "error_analysis")
"""Kinds of tables whose metrics cannot be chosen."""

FIGURES: dict[str, tuple[str, ...]] = {
    "accuracy_over_batch": (LABELS,),
    "accuracy_over_defenses": (LABELS,),
    "accuracy_over_stage": (LABELS,),
    "denoising_path": (IMAGES,),
    "psnr_over_defenses": (IMAGES,),
    "psnr_over_iterations": (IMAGES,),
    "reconstruction_grid": (IMAGES,),
}
"""Kinds of figures, likewise."""

SHOWS_IMAGES = ["denoising_path", "reconstruction_grid"]
"""Kinds of figures that need the images of the runs besides their metrics."""

DISTRIBUTIONS = (
    "random",
    "extreme",
    "balanced",
    "unique",
    "random2",
    "custom_imbalanced",
    "custom_balanced",
    "sim",
)


def dataset_facts(name: str, image_size: int | None = None) -> DatasetFacts:
    """Return the constants of a data set, at another image size if one is given.

    Args:
        name: canonical name.
        image_size: height and width in pixels; other than the set's own only if it is resizable.

    Raises:
        InputError: no data set has that name, or it cannot have that size.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}")
    known = DATASETS[name]
    if image_size in (None, known.image_size):
        return known
    if not known.resizable:
        resizable = ", ".join(other for other, facts in DATASETS.items() if facts.resizable)
        raise InputError(
            f"image_size {image_size} is not that of {name}, which is {known.image_size}; "
            f"it can be chosen for {resizable} only"
        )
    if image_size < 1:
        raise InputError(f"image_size {image_size}: use a number of pixels of at least 1, such as {known.image_size}")
    return replace(known, image_size=image_size)


def is_sample(name: str) -> bool:
    """Whether a data set is a packaged sample, which has one set of images under the name of every split."""
    return stands_for(name) != name


def stands_for(name: str) -> str:
    """Return the full data set that a name stands for: that of a packaged sample, or the name itself."""
    return DATASETS[name].stands_for if name in DATASETS else name
