"""Tables of the paper."""

from gradleak.plan.catalogue.facts import EMBEDDINGS, IMAGES, LABELS, TableFacts

_FIXED = ("agreement", "error_analysis")

KINDS = {
    kind: TableFacts(object=f"gradleak.report.tables.{kind}:build", needs=needs, chooses_metrics=kind not in _FIXED)
    for kind, needs in {
        "agreement": (),
        "batch_size_and_depth": (LABELS,),
        "batchnorm_dropout": (LABELS,),
        "class_distribution": (LABELS,),
        "comparison": (LABELS,),
        "defenses": (LABELS,),
        "error_analysis": (EMBEDDINGS,),
        "exact_inversion": (LABELS,),
        "extreme_distribution": (LABELS,),
        "probability_cosine": (EMBEDDINGS,),
        "reconstruction": (IMAGES,),
        "soteria_embedding": (EMBEDDINGS,),
        "training_stage": (LABELS,),
    }.items()
}
