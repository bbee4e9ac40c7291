"""The final chain of linear layers of any network, and the functions between them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradleak.errors import InputError
from gradleak.victims.recording import Call, linear_inputs, record


def _named(names: str) -> dict[object, str]:
    """Return torch's functions and methods with these names, including in-place ones -> the name."""
    spaces = (torch, functional, Tensor)
    return {
        getattr(space, spelling): name
        for name in names.split()
        for spelling in (name, f"{name}_")
        for space in spaces
        if hasattr(space, spelling)
    }


_ELEMENTWISE = _named(
    "abs neg exp sin cos sqrt square erf log1p expm1 add sub rsub mul div pow clamp clamp_min clamp_max "
    "__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __pow__ "
    "relu relu6 silu gelu sigmoid tanh leaky_relu elu selu celu softplus hardtanh hardswish hardsigmoid mish "
    "logsigmoid softsign tanhshrink softshrink hardshrink threshold _threshold"
)
_PER_FEATURE = _named("batch_norm prelu")
_RESHAPES = _named("flatten reshape view squeeze unsqueeze unflatten view_as reshape_as ravel contiguous clone")
_CASTS = _named("float double half bfloat16 to type")
_DROPOUTS = _named("dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout")
_OUTPUT_FUNCTIONS = _named("softmax log_softmax")

_INPUT = "the model's input"


@dataclass(frozen=True)
class Dense:
    """A linear layer z = W x + b and the function that joins it to the next.

    Attributes:
        weight: name of W [out_features, in_features] among the model's parameters.
        bias: name of b [out_features], or None if it has none.
        in_features: length of x.
        out_features: length of z.
        activation: maps z [n, out_features] to the next layer's x, entry by entry, as in eval mode; it follows z in
            dtype and device. None for the last layer.
        activation_name: names of its functions, joined by " + "; "identity" if there are none, "" for the last layer.
        dropout: whether a dropout layer follows. It does nothing in eval mode, so ``activation`` leaves it out. A layer
            that the model calls only in train mode is not detected.
    """

    weight: str
    bias: str | None
    in_features: int
    out_features: int
    activation: Callable[[Tensor], Tensor] | None
    activation_name: str
    dropout: bool


@dataclass(frozen=True)
class Chain:
    """The final linear layers of a model, in the order of the pass; the last one returns the logits.

    Attributes:
        layers: one or more.
        reads_input: whether the first layer reads the model's input, flattened.
        stops_at: what precedes the first layer, and where.
        output_function: ``softmax`` or ``log_softmax`` if the model puts its logits through it, else None.
        model: the model with the named parameters.
    """

    layers: tuple[Dense, ...]
    reads_input: bool
    stops_at: str
    output_function: str | None
    model: nn.Module = field(repr=False)

    def body(self, images: Tensor) -> Tensor:
        """Return the first layer's input [n, d] for images, from the model in its current state, in eval mode.

        Raises:
            InputError: the pass of these images takes another path than that of the example.
        """
        return linear_inputs(self.model, [self.layers[0].weight], images)[0]

    def inputs(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return every layer's input [n, in_features] for images, from the model in its current state, in eval mode.

        Raises:
            InputError: the pass of these images takes another path than that of the example.
        """
        return linear_inputs(self.model, [layer.weight for layer in self.layers], images)


@torch.inference_mode(mode=False)  # tensors made in inference mode have no versions, which tell in-place changes
def linear_chain(model: nn.Module, example: Tensor) -> Chain:
    """Trace a model's logits back through its final linear layers.

    Two linear layers belong to one chain if they are joined only by elementwise functions (an activation, arithmetic
    with numbers, BatchNorm and PReLU in eval mode), reshapes that keep the order of the entries, changes of the
    floating-point type, and dropout. A layer whose parameter the pass uses a second time ends the chain: that
    parameter's gradient is not the layer's alone. So does a joint whose function depends on the images because the
    model branches on its data: two more passes are compared.

    Args:
        model: any; in eval mode it returns logits [n, C], alone, as the entry ``logits`` of a mapping, named tuple or
            dataclass, or as its only tensor. Its mode and buffers, and all generators, are restored.
        example: images [n, ...], input of the model, on its device; two suffice. One pass of them is recorded.

    Raises:
        InputError: the pass fails, it is unclear which output holds the logits, or these do not come from a linear
            layer with parameters of its own; one line.
    """
    example = example.detach().clone()  # the model may modify it in place
    version = example._version
    calls, output = record(model, example)
    trace = _Trace(model, example, version, calls)
    where = f"model {type(model).__name__}"
    joint = trace.joint(logits_of(output, where), None)
    output_function = None
    if joint.call and not joint.functions and _is_over_classes(joint.call):
        output_function = _OUTPUT_FUNCTIONS[joint.call.function]
        joint = trace.joint(joint.call.source, joint.call)
    if joint.functions:
        raise InputError(f"{where}: its output is that of {joint.functions[0]}; return the logits of a linear layer")
    layers: list[Dense] = []
    while joint.call and not trace.why_no_layer(joint.call):
        layers.insert(0, trace.layer(joint.call, joint, last=not layers))
        joint = trace.joint(joint.call.source, joint.call)
    stops_at = trace.why_no_layer(joint.call) if joint.call else joint.end
    if not layers:
        raise InputError(
            f"{where}: its logits come from {stops_at}, not from a linear layer with parameters of its own"
        )
    if joint.end == _INPUT and (joint.functions or joint.dropout):
        stops_at = f"{joint.functions[-1] if joint.functions else 'dropout'} of {_INPUT}"
    reads_input = stops_at == _INPUT
    return _without_branches(Chain(tuple(layers), reads_input, stops_at, output_function, model), example)


def _without_branches(chain: Chain, example: Tensor) -> Chain:
    """Return the part of a chain after the last joint that differs for other images."""
    if not example.is_floating_point():
        return chain
    for probe in (-example, 3 * example.flip(-1)):
        with torch.no_grad():
            try:
                read = chain.inputs(probe)
            except Exception:  # from the model: it refuses such images, or takes another path without such a layer
                continue
            for place in range(len(chain.layers) - 1, 0, -1):
                before, after = chain.layers[place - 1 : place + 1]
                assert before.activation is not None
                bias = None if before.bias is None else chain.model.get_parameter(before.bias)
                z = functional.linear(read[place - 1], chain.model.get_parameter(before.weight), bias)
                if not torch.allclose(before.activation(z), read[place], rtol=1e-3, atol=1e-5, equal_nan=True):
                    stops_at = f"a branch on data between {before.weight} and {after.weight}"
                    chain = replace(chain, layers=chain.layers[place:], reads_input=False, stops_at=stops_at)
                    break
    return chain


def logits_of(output: object, where: str) -> Tensor:
    """Return the logits of a model's output, see :func:`linear_chain`.

    Raises:
        InputError: it is unclear which entry holds them.
    """
    if isinstance(output, Tensor):
        return output
    entries: dict[object, object] = {}
    if isinstance(output, Mapping):
        entries = dict(output)
    elif is_dataclass(output):
        entries = {entry.name: getattr(output, entry.name) for entry in fields(output)}
    elif isinstance(output, tuple | list):
        entries = dict(zip(getattr(output, "_fields", range(len(output))), output, strict=True))
    tensors = {key: value for key, value in entries.items() if isinstance(value, Tensor)}
    if "logits" in tensors:
        return tensors["logits"]
    if len(tensors) != 1:
        raise InputError(
            f"{where}: it returns a {type(output).__name__} with {len(tensors)} tensors; "
            "return the logits alone or as an entry named logits"
        )
    return next(iter(tensors.values()))


def _is_cast(call: Call) -> bool:
    """Whether a call changes the floating-point type of its first argument."""
    return call.function in _CASTS and isinstance(call.output, Tensor) and call.output.is_floating_point()


def _is_over_classes(call: Call) -> bool:
    """Whether a call is a softmax or log-softmax over the last dimension of logits [n, C]."""
    if call.function not in _OUTPUT_FUNCTIONS or call.source is None or call.source.ndim != 2:
        return False
    return call.argument(1, "dim") in (None, 1, -1)


@dataclass
class _Joint:
    """What lies between a tensor and the call that it comes from.

    Attributes:
        functions: elementwise calls, last one first.
        dropout: whether there is a dropout layer.
        call: the call, neither one of these nor a reshape; None if no call made the tensor.
        end: in that case, what the tensor is.
    """

    functions: list[Call] = field(default_factory=list)
    dropout: bool = False
    call: Call | None = None
    end: str = ""


@dataclass(frozen=True)
class _Step:
    """One elementwise function with its other arguments; it holds no tensor of the recorded pass."""

    function: Callable[..., Tensor]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    in_place: bool

    @classmethod
    def of(cls, call: Call) -> "_Step":
        return cls(call.function, *call.further, call.in_place)

    def __call__(self, z: Tensor) -> Tensor:
        args = [_like(argument, z) for argument in self.args]
        kwargs = {key: _like(argument, z) for key, argument in self.kwargs.items()}
        return self.function(z.clone() if self.in_place else z, *args, **kwargs)


def _like(argument: object, z: Tensor) -> object:
    return argument.to(z) if isinstance(argument, Tensor) else argument


@dataclass(frozen=True)
class _Activation:
    """Elementwise functions, applied in turn."""

    steps: tuple[_Step, ...]

    def __call__(self, z: Tensor) -> Tensor:
        for step in self.steps:
            z = step(z)
        return z


class _Trace:
    """A recorded pass, read backwards."""

    def __init__(self, model: nn.Module, example: Tensor, version: int, calls: Sequence[Call]) -> None:
        self.example, self.version, self.calls = example, version, calls
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        self.uses = Counter(key for call in calls if call.after and not call.does_nothing for key in call.before)
        self.makers: dict[int, list[Call]] = defaultdict(list)
        for call in calls:
            for key in call.after:
                self.makers[key].append(call)

    def joint(self, tensor: Tensor | None, reader: Call | None) -> _Joint:
        """Follow a tensor back from the call that reads it, or from the output."""
        joint = _Joint()
        while tensor is not None:
            version = reader.before[id(tensor)] if reader else tensor._version
            last = reader.index if reader else len(self.calls)
            call = next((call for call in reversed(self.makers[id(tensor)]) if call.index < last), None)
            made = call.after[id(tensor)] if call else self.version
            if call is None and tensor is not self.example:
                joint.end = f"a tensor that no torch function made, read by {reader or 'nobody'}"
            elif made != version:
                joint.end = f"a tensor that is changed in place, read by {reader or 'nobody'}"
            elif call is None:
                joint.end = _INPUT
            elif _is_dropout(call):
                dropped = call.argument(1, "p", default=0.5)
                joint.dropout |= dropped != 0
            elif _is_elementwise(call):
                joint.functions.append(call)
            elif not (call.does_nothing or call.function in _RESHAPES or _is_cast(call)):
                joint.call = call
            if joint.end or joint.call:
                break
            reader, tensor = call, call.source if call else None
        return joint

    def why_no_layer(self, call: Call) -> str:
        """Return why a call is not a linear layer of a chain, or "" if it is."""
        if call.function is not functional.linear or call.source is None:
            return str(call)
        x, weight, bias = call.source, call.argument(1, "weight"), call.argument(2, "bias")
        for what, parameter in (("weight", weight), ("bias", bias)):
            if parameter is None and what == "bias":
                continue
            if id(parameter) not in self.names:
                return f"{call}, whose {what} is not a parameter of the model"
            if self.uses[id(parameter)] > 1:
                return f"{call}, whose {what} {self.names[id(parameter)]} is used {self.uses[id(parameter)]} times"
        if x.ndim != 2 or len(x) != len(self.example):
            return f"{call}, whose input has shape {list(x.shape)} for {len(self.example)} images"
        return ""

    def layer(self, call: Call, joint: _Joint, *, last: bool) -> Dense:
        """Return the layer of a call, with what follows it."""
        weight, bias = call.argument(1, "weight"), call.argument(2, "bias")
        assert isinstance(weight, Tensor)
        steps = tuple(_Step.of(function) for function in reversed(joint.functions))
        name = " + ".join(_name(function) for function in reversed(joint.functions)) or "identity"
        return Dense(
            weight=self.names[id(weight)],
            bias=None if bias is None else self.names[id(bias)],
            in_features=weight.shape[1],
            out_features=weight.shape[0],
            activation=None if last else _Activation(steps),
            activation_name="" if last else name,
            dropout=joint.dropout,
        )


def _name(call: Call) -> str:
    return {**_ELEMENTWISE, **_PER_FEATURE}[call.function].strip("_")


def _is_dropout(call: Call) -> bool:
    """Whether a call is dropout that does nothing in eval mode."""
    always = "alpha" not in _DROPOUTS.get(call.function, "")
    return call.function in _DROPOUTS and not call.argument(2, "training", "train", default=always)


def _is_elementwise(call: Call) -> bool:
    """Whether a call maps each entry of its first argument independently, depending at most on its column."""
    args, kwargs = call.further
    if call.source is None:
        return False
    if call.function in _PER_FEATURE:
        return call.source.ndim == 2 and not call.argument(5, "training", default=False)
    return call.function in _ELEMENTWISE and not any(isinstance(a, Tensor) for a in (*args, *kwargs.values()))
