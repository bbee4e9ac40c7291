"""Figures of the paper."""

from gradleak.plan.catalogue.facts import IMAGES, LABELS, FigureFacts

_MARKS = (
    "Filled markers: mean over initialisations. Bands or bars: 95 % prediction interval for one initialisation, "
    "clipped to the range of the metric. Open markers: published figures at the same setting. Dotted: score of the "
    "answer “no class is present” on the data set of the same shade, 0 for IRec."
)

KINDS = {
    "accuracy_over_batch": FigureFacts(
        object="gradleak.report.figures.accuracy_over_batch:draw",
        needs=(LABELS,),
        caption=f"Label restoration over the batch size. {_MARKS}",
    ),
    "accuracy_over_defenses": FigureFacts(
        object="gradleak.report.figures.accuracy_over_defenses:draw",
        needs=(LABELS,),
        caption=f"Label restoration under defenses of the gradient. {_MARKS}",
    ),
    "accuracy_over_stage": FigureFacts(
        object="gradleak.report.figures.accuracy_over_stage:draw",
        needs=(LABELS,),
        caption=f"Label restoration over the training of the victim; 0 is the untrained victim. {_MARKS} Right axis, "
        "grey: the victim's accuracy on the validation images.",
    ),
    "denoising_path": FigureFacts(
        object="gradleak.report.figures.denoising_path:draw",
        needs=(IMAGES,),
        shows_images=True,
        caption="Denoising paths: the first image of the first initialisation after some of the denoising steps "
        "(numbers above the columns), from noise to the result, for each setting and attack with a diffusion prior. "
        "The original is on the left of each row.",
    ),
    "psnr_over_defenses": FigureFacts(
        object="gradleak.report.figures.psnr_over_defenses:draw",
        needs=(IMAGES,),
        caption="PSNR of reconstructed images under defenses of the gradient. Markers: mean over all images. Bars: "
        "95 % prediction interval for one initialisation or, if there is only one initialisation, the 95 % interval of "
        "the mean over batches, clipped to the range of PSNR.",
    ),
    "psnr_over_iterations": FigureFacts(
        object="gradleak.report.figures.psnr_over_iterations:draw",
        needs=(IMAGES,),
        caption="PSNR over the iterations of the attack, one panel per setting: mean over all images and batches for "
        "the start with the smallest final matching loss, paired with the originals as for the result. The attack "
        "keeps the iterate with the smallest loss, which need not be the last; the attacker cannot see these curves.",
    ),
    "reconstruction_grid": FigureFacts(
        object="gradleak.report.figures.reconstruction_grid:draw",
        needs=(IMAGES,),
        shows_images=True,
        caption="Originals (top rows) and their reconstructions by each attack, in the one order that all metrics use: "
        "for each setting the first images of the first initialisation, not selected by quality.",
    ),
}
