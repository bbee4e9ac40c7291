"""From the names in an update to those of the model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from gradleak.audit.update_files import Update
from gradleak.clients.given import given_tensors
from gradleak.clients.observation import trainable
from gradleak.errors import InputError
from gradleak.victims.checkpoints import COUNTER, check_floating, without_prefixes

_SHOWN = 3


@dataclass(frozen=True)
class Matched:
    """An update in the model's terms.

    Attributes:
        tensors: name as in :func:`gradleak.clients.observation.trainable` -> what was sent.
        own_names: the same name -> the model's own name of the parameter.
        remarks: how names were matched, and what is missing, a sentence each.
        lacking: buffers of the model that were not sent.
    """

    tensors: dict[str, Tensor]
    own_names: dict[str, str]
    remarks: tuple[str, ...]
    lacking: tuple[str, ...]

    def of_buffers(self) -> list[str]:
        """Return what to say of a weight change without buffers, which a client of this model has."""
        if not self.lacking:
            return []
        return [
            f"The update has no {_listing(list(self.lacking))}: those of the model are used. If the client has another "
            "norm layer there, this is not its model."
        ]


def match(update: Update, model: nn.Module) -> Matched:
    """Match the tensors of an update to the parameters of a model.

    By name, after prefixes of wrappers (``module.``, ``_module.``, ``_orig_mod.``, ``model.``), stripped repeatedly;
    if no name fits, by shape: where each shape occurs once, or where the shapes of all tensors in order are those of
    the model's parameters, with or without its buffers, or where one vector is as long as all of them. Buffers and
    counters are left out.

    Args:
        update: what was sent.
        model: whose last layer is known (:func:`gradleak.victims.head.head_of`); a copy of the user's. A parameter that
            it has frozen, but the update changes, is trained from now on.

    Raises:
        InputError: a name or shape that is not the model's, or integers in place of a parameter's; one line names the
            first.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    known = {**parameters, **buffers}
    remarks: list[str] = []
    tensors = given_tensors(update.tensors, update.source)
    for name, tensor in without_prefixes(tensors, known).items():
        if name in parameters:
            check_floating(tensor, f"{update.source}: {name}")
    sent = {name: tensor for name, tensor in tensors.items() if not _is_counter(name, tensor)}
    if not sent:
        raise InputError(f"{update.source}: holds no floating-point tensor")
    named = without_prefixes(sent, known)
    if named is not sent:
        remarks.append(f"Prefixes of {_listing(list(sent))} were stripped.")
    if not named.keys() & known.keys():
        named = _by_shape(update, sent, model)
        remarks.append("Tensors were matched to the model's parameters by their shapes: their names are not its.")
    for name, tensor in named.items():
        if name not in known:
            raise InputError(
                f"{update.source}: {name} {list(tensor.shape)} is not a parameter of the model, which has "
                f"{_listing(list(parameters))}; is it the model of this client?"
            )
        if tensor.shape != known[name].shape:
            raise InputError(
                f"{update.source}: {name} has shape {list(tensor.shape)}, in the model it has {list(known[name].shape)}"
            )
    thawed = [name for name in named if name in parameters and _is_moved(parameters[name], named[name])]
    if thawed:
        remarks.append(f"Frozen in the model, but changed by the update, so taken for trained: {_listing(thawed)}.")
    for name in thawed:
        parameters[name].requires_grad_()
    of_parameter = {id(parameter): name for name, parameter in trainable(model).items()}
    matched, own_names, untrained = {}, {}, []
    for name, tensor in named.items():
        if name not in parameters:
            continue
        role = of_parameter.get(id(parameters[name]))
        if role is None:
            untrained.append(name)
        elif role not in matched:  # a tied parameter has one gradient under several names
            matched[role], own_names[role] = tensor, name
    if untrained:
        remarks.append(f"The model does not train {_listing(untrained)}, and what was sent for it is zero.")
    missing = [name for name in of_parameter.values() if name not in matched]
    if missing:
        remarks.append(f"The update has no {_listing(missing)}: attacks do without.")
    lacking = [name for name in buffers if name not in named and not name.endswith(COUNTER)]
    return Matched(matched, own_names, tuple(remarks), tuple(lacking))


def _is_moved(parameter: nn.Parameter, sent: Tensor) -> bool:
    """Whether a parameter that the model has frozen changes."""
    return not parameter.requires_grad and bool(sent.any())


def _is_counter(name: str, tensor: Tensor) -> bool:
    return name.endswith(COUNTER) or not tensor.is_floating_point()


def _by_shape(update: Update, sent: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Match tensors whose names say nothing.

    Raises:
        InputError: shapes do not tell.
    """
    parameters = dict(model.named_parameters())
    state = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    shapes = [tensor.shape for tensor in sent.values()]
    if update.ordered:
        for wanted in (parameters, state):
            if [tensor.shape for tensor in wanted.values()] == shapes:
                return dict(zip(wanted, sent.values(), strict=True))
    if len(shapes) == 1 and len(shapes[0]) == 1:  # all parameters in one vector
        (vector,) = sent.values()
        for wanted in (parameters, state):
            if sum(tensor.numel() for tensor in wanted.values()) == len(vector):
                parts = vector.split([tensor.numel() for tensor in wanted.values()])
                return {name: part.view_as(wanted[name]) for name, part in zip(wanted, parts, strict=True)}
    owners = {tensor.shape: name for name, tensor in parameters.items()}
    times = Counter(tensor.shape for tensor in parameters.values())
    if len(set(shapes)) == len(shapes) and all(times[shape] == 1 for shape in shapes):
        return {owners[tensor.shape]: tensor for tensor in sent.values()}
    raise InputError(
        f"{update.source}: its names ({_listing(list(sent))}) are not those of the model "
        f"({_listing(list(parameters))}), and its shapes do not tell which is which; save it with the model's names"
    )


def _listing(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
