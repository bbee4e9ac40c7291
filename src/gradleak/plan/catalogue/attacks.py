"""Label-restoration methods."""

from gradleak.plan.catalogue.facts import MethodFacts, OptionFacts

_WEIGHT = ("head.weight",)
_ALL = ("counts", "embeddings", "probabilities")
_ALPHA = {"alpha": OptionFacts(default=1.0, low=1e-6, high=1e6)}
"""Factor on the recovered logits before the softmax."""

KINDS = {
    "bias-sign": MethodFacts(object="gradleak.attacks.labels.bias_sign:bias_sign", needs=("head.bias",), gives=()),
    "consistency": MethodFacts(
        object="gradleak.attacks.labels.consistency:consistency",
        images="gradleak.attacks.exact.images:invert_images",
        gives=("counts", "certified"),
        sees="all",
    ),
    "gi": MethodFacts(object="gradleak.attacks.labels.gi:gi", needs=_WEIGHT, gives=()),
    "idlg": MethodFacts(object="gradleak.attacks.labels.idlg:idlg", needs=_WEIGHT, gives=()),
    "ilrg": MethodFacts(object="gradleak.attacks.labels.ilrg:ilrg", gives=_ALL, options=_ALPHA),
    "ilrg-estimate": MethodFacts(object="gradleak.attacks.labels.ilrg:ilrg_estimate", needs=("head.bias",)),
    "ilrg-simplified": MethodFacts(
        object="gradleak.attacks.labels.ilrg:ilrg_simplified",
        gives=_ALL,
        side=("present_classes",),
        options=_ALPHA,
    ),
    "rlg": MethodFacts(object="gradleak.attacks.labels.rlg:rlg", needs=_WEIGHT, gives=()),
}
