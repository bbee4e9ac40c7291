"""What does an update give away? Attacks on a user's own model and update, and a report."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gradleak.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gradleak.audit.findings import Audit
    from gradleak.clients.given import Given


def audit_update(
    model: "nn.Module",
    update: Mapping[str, "Given"],
    *,
    labels: "Tensor | None" = None,
    images: "Tensor | None" = None,
    progress: bool = False,
    **told: Any,
) -> "Audit":
    """Attack an update by everything that applies, as ``gradleak audit`` does.

    Args:
        model: any network that ends in a linear layer, with the weights that the server sent; it is not changed.
        update: parameter name -> gradient, or weights after the training minus those before; None, or no entry, where
            nothing was sent.
        labels: [B] int64, the true labels, if the result is to be compared with them.
        images: [B, ...], the true images as the model reads them, likewise.
        progress: show progress on standard error.
        told: fields of :class:`gradleak.audit.options.Told`, such as ``input_shape=(3, 32, 32)`` (which the images
            tell too), ``update_is="delta"``, ``lr=0.1``, ``batch_size=32``, ``minutes=2``.

    Raises:
        InputError: input that does not fit together; one line says what would be right.
    """
    from gradleak.audit.options import Told
    from gradleak.audit.run import audit
    from gradleak.audit.truth import truth_of
    from gradleak.audit.update_files import Update
    from gradleak.clients.given import checked_model, given_tensors
    from gradleak.plan.cli import describe

    try:
        known = Told(**told)
    except ValidationError as error:
        raise InputError(describe(error, "")) from error
    given = given_tensors({"labels": labels, "images": images}, "truth")
    truth = truth_of(given, "truth") if given else None
    sent = Update(given_tensors(update, "update"), "update")
    return audit(checked_model(model), sent, known, truth, progress=progress)
