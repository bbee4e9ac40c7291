"""The law of precision: to how many dB each image of a batch can be recovered from the gradient as it was sent.

It is a statement about true images, so it is no part of any attack.
"""

from dataclasses import replace

import torch
from torch import Tensor

from gradleak.attacks.exact.affine import Affine
from gradleak.attacks.exact.beside import equations
from gradleak.attacks.exact.evidence import examine, looks_forward
from gradleak.attacks.exact.observed import see
from gradleak.attacks.exact.peel import copies, passes
from gradleak.attacks.exact.settle import whole_problem
from gradleak.clients.observation import Observation
from gradleak.plan.metric_facts import PSNR_CAP

LAW_CONSTANT = 0.8
"""dB that images gain by being clamped to valid pixels: the one number of the law that is fitted
(``bench/precision_law.py``)."""


def predicted_psnr(observation: Observation, images: Tensor, std: Tensor) -> Tensor | None:
    """Return the PSNR in dB to which exact inversion can recover each image, to first order in the gradient's errors.

    Rounding turns the row spaces of the gradients. Let h be the true image, h0 its projection onto the inputs that the
    first layer's row space allows, and f what must vanish at h0: the part of the second layer's input outside that
    layer's row space, and the pairings with all other images that pass the attack's tests, weighed by their noise
    (:func:`gradleak.attacks.exact.beside.equations`). With J the derivative of f by the coordinates M in the first row
    space, the root closest to h is one Gauss-Newton step away,

        h' = h0 - M J^+ f,    PSNR = c - 10 log10( mean over pixels j of (s_j (h'_j - h_j))^2 ),

    with s_j the divisor of the normalisation and c :data:`LAW_CONSTANT`. For an error E of the gradient, h0 - h is to
    first order the part of B E^T d outside the row space, d being the image's dual: its row of the pseudo-inverse of
    the errors of all images. So an image whose error is small beside the others', or nearly a mixture of theirs, is
    lost first.

    Args:
        observation: what the server sees.
        images: [n, c, h, w] true images, normalised, on any device.
        std: [c, 1, 1] of the normalisation.

    Returns:
        [n] float64 on the CPU, at most :data:`gradleak.plan.metric_facts.PSNR_CAP`; None where forward consistency does
        not fix images: no linear layer reads them, or the following layers are too narrow for the batch.
    """
    seen = see(observation)
    spans = seen.spans(len(images))
    if not seen.shows_images or not looks_forward(spans):
        return None
    h = images.flatten(1).to(spans[0].right)
    affine = Affine(spans[0].right)
    s = (h - affine.origin) @ affine.basis
    h0 = affine.inputs(s)
    shown = examine(seen.network, spans, h0)
    known = equations(seen.network, spans, affine, shown, h0, of_themselves=True)
    # Copies pair with one another as with themselves.
    known = replace(known, weights=known.weights.masked_fill(copies(shown) | ~passes(shown), 0.0))
    problem = whole_problem(seen.network, spans, h0, known, pulled=False)[0]
    _, slope, curvature = problem.normal(s)
    step = torch.linalg.pinv(curvature, rtol=1e-14, hermitian=True) @ slope[..., None]
    off = (affine.inputs(s - step[..., 0]) - h) * std.to(h).expand(images.shape[1:]).flatten()
    return (LAW_CONSTANT - 10 * off.square().mean(1).log10()).clamp(max=PSNR_CAP).cpu()
