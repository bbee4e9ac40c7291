"""Objectives of image attacks."""

from gradleak.plan.catalogue.facts import ObjectiveFacts

KINDS = {
    "l2": ObjectiveFacts(object="gradleak.attacks.images.objectives:squared"),
    "l1": ObjectiveFacts(object="gradleak.attacks.images.objectives:absolute"),
    "max": ObjectiveFacts(object="gradleak.attacks.images.objectives:largest"),
    "sim": ObjectiveFacts(object="gradleak.attacks.images.objectives:one_minus_cosine", of="gradient"),
    "simlocal": ObjectiveFacts(object="gradleak.attacks.images.objectives:mean_one_minus_cosine", of="gradient"),
}
