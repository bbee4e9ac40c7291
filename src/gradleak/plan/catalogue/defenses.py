"""Defenses of a gradient: noise, clipping of the norm, sparsification, pruning of the embedding."""

from gradleak.plan.catalogue.facts import DefenseFacts

KINDS = {
    "dp": DefenseFacts(object="gradleak.clients.defenses.dp:additive_noise", strength="noise_std", high=1e6),
    "clip": DefenseFacts(object="gradleak.clients.defenses.clip:clip_norm", strength="clip_bound", high=1e6),
    "sparse": DefenseFacts(object="gradleak.clients.defenses.sparse:sparsify", strength="sparse_ratio", high=100),
    "perturb": DefenseFacts(object="gradleak.clients.defenses.perturb:soteria", strength="prune_ratio", high=100),
}
