"""Figures of the paper."""

from gradleak.plan.catalogue.facts import IMAGES, LABELS, FigureFacts
from gradleak.plan.metric_facts import RECOVERED

_MARKS = (
    "Filled markers: mean over initialisations. Bands or bars: 95 % prediction interval for one initialisation, "
    "clipped to the range of the metric. Open markers: published figures at the same setting. Dotted lines: score of "
    "the answer “no class is present” on the data set of the same shade; 0 for IRec."
)

KINDS = {
    "accuracy_over_batch": FigureFacts(
        object="gradleak.report.figures.accuracy_over_batch:draw",
        needs=(LABELS,),
        caption=f"Label restoration by batch size. {_MARKS}",
    ),
    "accuracy_over_defenses": FigureFacts(
        object="gradleak.report.figures.accuracy_over_defenses:draw",
        needs=(LABELS,),
        caption=f"Label restoration under gradient defenses. {_MARKS}",
    ),
    "accuracy_over_stage": FigureFacts(
        object="gradleak.report.figures.accuracy_over_stage:draw",
        needs=(LABELS,),
        caption=f"Label restoration by training stage of the victim; 0 is the untrained victim. {_MARKS} Right axis, "
        "grey: the victim's accuracy on the validation images.",
    ),
    "denoising_path": FigureFacts(
        object="gradleak.report.figures.denoising_path:draw",
        needs=(IMAGES,),
        shows_images=True,
        caption="Denoising path: the first image of the first initialisation after selected denoising steps (numbers "
        "above the columns), from noise to the result, for each setting and attack with a diffusion prior. The "
        "original is at the left of each row.",
    ),
    "precision_law": FigureFacts(
        object="gradleak.report.figures.precision_law:draw",
        needs=(IMAGES,),
        caption="PSNR of every image against the PSNR that the precision of the sent gradient allows, for each type in "
        f"which gradients are sent. Crosses at the bottom: images that were missed although {RECOVERED:.0f} dB or more "
        "(right of the dotted line) were predicted. Images that are neither recovered nor predicted are left out.",
    ),
    "recovered_over_batch": FigureFacts(
        object="gradleak.report.figures.recovered_over_batch:draw",
        needs=(IMAGES,),
        caption="Shares of images that exact inversion certifies and recovers, by batch size, for each activation and "
        "training stage of the victim. Markers: mean over all images. Bars: 95 % confidence interval of the mean "
        "between initialisations or, where there is only one, between batches.",
    ),
    "psnr_over_defenses": FigureFacts(
        object="gradleak.report.figures.psnr_over_defenses:draw",
        needs=(IMAGES,),
        caption="PSNR of reconstructed images under gradient defenses. Markers: mean over all images. Bars: 95 % "
        "prediction interval for one initialisation or, where there is only one initialisation, 95 % interval of the "
        "mean over batches, clipped to the range of PSNR.",
    ),
    "psnr_over_iterations": FigureFacts(
        object="gradleak.report.figures.psnr_over_iterations:draw",
        needs=(IMAGES,),
        caption="PSNR over the iterations of the attack, one panel per setting: mean over all images and batches. Each "
        "curve follows the start whose final matching loss is smallest, with the final pairing to the originals. The "
        "attack keeps the iterate with the smallest loss, which need not be the last one; the attacker cannot see "
        "these curves.",
    ),
    "reconstruction_grid": FigureFacts(
        object="gradleak.report.figures.reconstruction_grid:draw",
        needs=(IMAGES,),
        shows_images=True,
        caption="Originals (top rows) and their reconstructions by each attack, in the order that all metrics use. For "
        "each setting, these are the first images of the first initialisation; none is selected by its quality.",
    ),
}
