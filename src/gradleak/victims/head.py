"""The last linear layer of any model: what label restoration reads, and what Soteria prunes."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.nn import functional

from gradleak.errors import InputError
from gradleak.victims.layers import linear_chain
from gradleak.victims.models.base import Victim
from gradleak.victims.recording import linear_inputs

_FOUND: WeakKeyDictionary[nn.Module, tuple[str, str | None]] = WeakKeyDictionary()
"""Foreign model (not a Victim) -> names of its last layer's weight and bias."""


@dataclass(frozen=True)
class Head:
    """The last layer z = W e + b of a model in its current state.

    Attributes:
        model: the model.
        weight_name: name of W among the model's parameters.
        bias_name: name of b, or None if there is none.
    """

    model: nn.Module
    weight_name: str
    bias_name: str | None

    @property
    def weight(self) -> Tensor:
        """W [C, d]."""
        return _parameter(self.model, self.weight_name)

    @property
    def bias(self) -> Tensor | None:
        """b [C], if there is one."""
        return None if self.bias_name is None else _parameter(self.model, self.bias_name)

    @property
    def out_features(self) -> int:
        """C."""
        return self.weight.shape[0]

    @property
    def in_features(self) -> int:
        """d."""
        return self.weight.shape[1]

    def features(self, images: Tensor) -> Tensor:
        """Return the embeddings e [n, d] of images; a :class:`Victim` keeps its mode, other models run in eval mode.

        Raises:
            InputError: a pass of these images does not reach the last layer.
        """
        if isinstance(self.model, Victim):
            return self.model.features(images)
        return linear_inputs(self.model, [self.weight_name], images)[0]

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Return the logits [n, C] of embeddings [n, d]."""
        if isinstance(self.model, Victim):
            return self.model.head(embeddings)
        return functional.linear(embeddings, self.weight, self.bias)

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits [n, C] of images, before any final softmax of the model."""
        return self.model(images) if isinstance(self.model, Victim) else self(self.features(images))


def _parameter(model: nn.Module, name: str) -> Tensor:
    owner, _, leaf = name.rpartition(".")
    return getattr(model.get_submodule(owner), leaf)


def head_of(model: nn.Module, images: Tensor | None = None) -> Head:
    """Return the last linear layer of a model.

    That of a :class:`Victim` is its ``head``. Another model is followed by
    :func:`gradleak.victims.layers.linear_chain`, once: later calls need no images. A copy counts as another model.

    Args:
        model: any.
        images: [n, ...], input of the model, on its device.

    Raises:
        InputError: a foreign model was not followed yet and no images are given; or its logits do not come from a
            linear layer.
    """
    if isinstance(model, Victim):
        return Head(model, "head.weight", None if model.head.bias is None else "head.bias")
    if model not in _FOUND:
        if images is None:
            raise InputError(
                f"model {type(model).__name__}: its last layer is not known; observe it, or call "
                "gradleak.victims.head.head_of(model, images), before attacking it"
            )
        last = linear_chain(model, images).layers[-1]
        _FOUND[model] = last.weight, last.bias
    return Head(model, *_FOUND[model])


def role_names(model: nn.Module) -> dict[str, str]:
    """Return the names of the last layer's parameters -> ``head.weight`` and ``head.bias``, if the layer is known.

    Raises:
        InputError: another parameter has one of these names.
    """
    if isinstance(model, Victim) or model not in _FOUND:
        return {}
    weight, bias = _FOUND[model]
    roles = {weight: "head.weight"} | ({} if bias is None else {bias: "head.bias"})
    for name, _ in model.named_parameters():
        if name in roles.values() and roles.get(name) != name:
            raise InputError(
                f"model {type(model).__name__}: its parameter {name} is not that of its last layer, whose weight is "
                f"{weight}; give it another name"
            )
    return roles
