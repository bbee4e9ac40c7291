"""Tables of the paper."""

from gradleak.plan.catalogue.facts import IMAGES, TableFacts

KINDS = {
    kind: TableFacts(object=f"gradleak.report.tables.{kind}:build", needs=needs)
    for kind, needs in {
        "agreement": (),
        "batch_size_and_depth": ("ilrg",),
        "batchnorm_dropout": ("ilrg",),
        "class_distribution": ("ilrg",),
        "comparison": ("ilrg", "idlg", "gi", "rlg"),
        "defenses": ("ilrg",),
        "error_analysis": ("ilrg",),
        "extreme_distribution": ("ilrg",),
        "probability_cosine": ("ilrg",),
        "reconstruction": (IMAGES,),
        "soteria_embedding": ("ilrg",),
        "training_stage": ("ilrg",),
    }.items()
}
