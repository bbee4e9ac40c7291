"""Data sets. Packaged samples have the same images in every split."""

from typing import Any

from gradleak.plan.catalogue.facts import DatasetFacts

_MNIST: dict[str, Any] = {"num_classes": 10, "channels": 1, "image_size": 28, "mean": (0.13066,), "std": (0.30811,)}
_CIFAR100: dict[str, Any] = {
    "num_classes": 100,
    "channels": 3,
    "image_size": 32,
    "mean": (0.50716, 0.48669, 0.44120),
    "std": (0.26733, 0.25644, 0.27615),
}
_IMAGENET: dict[str, Any] = {"channels": 3, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

KINDS = {
    "mnist": DatasetFacts(
        object="gradleak.data.torchvision_sets:mnist",
        **_MNIST,
        sizes={"train": 60_000, "val": 10_000},
        spellings=("mnist_gray",),
    ),
    "cifar100": DatasetFacts(
        object="gradleak.data.torchvision_sets:cifar100",
        **_CIFAR100,
        sizes={"train": 50_000, "val": 10_000},
        spellings=("cifar-100",),
    ),
    "imagenet": DatasetFacts(
        object="gradleak.data.imagenet:imagenet",
        **_IMAGENET,
        num_classes=1000,
        image_size=224,
    ),
    "tiny-imagenet": DatasetFacts(
        object="gradleak.data.tiny_imagenet:tiny_imagenet",
        **_IMAGENET,
        num_classes=200,
        image_size=64,
        sizes={"train": 100_000, "val": 10_000},
        resizable=True,
    ),
    "mnist-sample": DatasetFacts(
        object="gradleak.data.samples:mnist_sample",
        **_MNIST,
        sizes=dict.fromkeys(("train", "val", "all"), 5_000),
        sample_of="mnist",
    ),
    "cifar100-sample": DatasetFacts(
        object="gradleak.data.samples:cifar100_sample",
        **_CIFAR100,
        sizes=dict.fromkeys(("train", "val", "all"), 20),
        sample_of="cifar100",
    ),
    "imagenet-sample": DatasetFacts(
        object="gradleak.data.samples:imagenet_sample",
        **_IMAGENET,
        num_classes=1000,
        image_size=224,
        sizes=dict.fromkeys(("train", "val", "all"), 20),
        sample_of="imagenet",
    ),
}
