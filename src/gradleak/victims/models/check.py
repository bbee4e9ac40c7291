"""What a plug-in builds, as a valid victim."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gradleak.errors import InputError
from gradleak.plan import plugins
from gradleak.victims.models.adapted import Adapted
from gradleak.victims.models.base import Victim


@contextmanager
def unchanged(what: str, model: nn.Module) -> Iterator[None]:
    """Refuse code that changes a shared model.

    Args:
        what: the code, for messages.
        model: the model.

    Raises:
        InputError: a parameter or buffer has changed.
    """
    before = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    yield
    for name, tensor in model.state_dict().items():
        if not torch.equal(torch.nan_to_num(tensor), torch.nan_to_num(before[name])):
            raise InputError(f"{what}: changes {name} of the shared model; work on a copy")


def as_victim(name: str, model: object, *, num_classes: int, channels: int, image_size: int) -> Victim:
    """Return a model as a victim in eval mode, after a check of its head and, with passes of two images, its features.

    Args:
        name: name of the model, for messages.
        model: the result of its builder.
        num_classes: C.
        channels: colour channels of an image.
        image_size: height and width in pixels.

    Returns:
        A :class:`Victim` itself; any other module as :class:`gradleak.victims.models.adapted.Adapted`.

    Raises:
        InputError: it is no module, has no linear head with C outputs, or its features are not [n, head.in_features];
            one line.
    """
    where = f"model {name}"
    shape = (2, channels, image_size, image_size)
    images = torch.linspace(-1, 1, 2 * channels * image_size**2).reshape(shape)
    if not isinstance(model, nn.Module):
        raise InputError(f"{where}: its builder returns a {type(model).__name__}; return a torch.nn.Module")
    if not isinstance(model, Victim):
        try:
            with plugins.guarded("models", name, f"{where}: a pass of images {list(shape)}"):
                model = Adapted(model, images)
        except InputError as error:
            prefix = f"{where}: "
            raise InputError(prefix + str(error).removeprefix(prefix)) from error
    head = getattr(model, "head", None)
    if head is None:
        raise InputError(f"{where}: has no head; set self.head to its last layer, an nn.Linear")
    if not isinstance(head, nn.Linear):
        raise InputError(f"{where}: its head is a {type(head).__name__}; use an nn.Linear, with the rest in features()")
    if head.out_features != num_classes:
        raise InputError(f"{where}: its head has {head.out_features} outputs; the data set has {num_classes} classes")
    model.eval()
    with torch.no_grad(), plugins.guarded("models", name, f"{where}: features() of images {list(shape)}"):
        features: object = model.features(images.clone())
    if not isinstance(features, Tensor):
        raise InputError(
            f"{where}: its features are a {type(features).__name__}; return a tensor [n, {head.in_features}]"
        )
    if features.shape != (2, head.in_features):
        raise InputError(
            f"{where}: its features of 2 images have shape {list(features.shape)}; "
            f"its head reads [2, {head.in_features}]"
        )
    if features.dtype != head.weight.dtype:
        raise InputError(f"{where}: its features are {features.dtype}, its head is {head.weight.dtype}; use one type")
    with torch.no_grad(), plugins.guarded("models", name, f"{where}: a pass of images {list(shape)}"):
        again, expected = model.features(images.clone()), head(features)
        logits, repeated = model(images.clone()), model(images.clone())
    for what, values in (("features", features), ("logits", logits)):
        if not values.isfinite().all():
            raise InputError(f"{where}: its {what} of images from -1 to 1 are not finite; attacks need finite ones")
    # Adapted restores the generators after it has read the features, so only its logits show what is random.
    if not torch.equal(again, features) or not torch.equal(repeated, logits):
        what = "logits" if torch.equal(again, features) else "features"
        raise InputError(f"{where}: its {what} of equal images differ in eval mode; draw no random numbers there")
    if not torch.allclose(logits, expected, rtol=1e-4, atol=1e-5):
        raise InputError(f"{where}: its output is not head(features(x)), which attacks on the last layer rely on")
    return model
