"""What an audit returns, and how it is written as JSON."""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from torch import Tensor

from gradleak import __version__
from gradleak.audit.as_gradient import Assumption

SCHEMA = 1
"""Version of audit.json."""

Status = Literal["ok", "not applicable", "failed", "out of time", "interrupted"]
Counts = dict[int, int | None]
"""Class -> instances; None where a method tells only that the class is there."""


@dataclass(frozen=True)
class Attack:
    """One attack on an update.

    Attributes:
        name: of the method.
        status: whether it ran; otherwise ``why`` says more.
        seconds: wall time.
        why: a line; empty if all is well.
        counts: estimated instances of each class, if it restores labels.
        loss: matching loss, one minus the cosine of the gradients, if it matches them.
        metrics: comparison with the truth, if that is given.
    """

    name: str
    status: Status
    seconds: float
    why: str = ""
    counts: Counts | None = None
    loss: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Certified:
    """An input that exact inversion certifies.

    Attributes:
        label: its class.
        times: how often it is in the batch, at least.
        mixture: it is the weighted mean of at most so many inputs that noise cannot tell apart.
        error: stated relative error.
        psnr: in dB against the nearest true image, if that is given.
    """

    label: int
    times: int
    mixture: int
    error: float
    psnr: float | None = None


@dataclass(frozen=True)
class Defended:
    """Attacks on the update behind a defense.

    Attributes:
        name: of the defense.
        what: what it does, in words.
        change: norm of the change over that of the gradient: its price.
        unchanged: share of the nonzero entries that it left as they were.
        certified_labels: certified instances that are left; None if there was no time.
        certified_images: certified inputs that are left, likewise.
        estimated: share of iLRG's counts that stay the same; None if it does not apply.
        seconds: wall time.
    """

    name: str
    what: str
    change: float
    unchanged: float
    certified_labels: int | None
    certified_images: int | None
    estimated: float | None
    seconds: float


@dataclass(frozen=True)
class Pictures:
    """Recovered inputs, which are private.

    Attributes:
        name: the attack.
        inputs: [n, *input_shape], as the model reads them.
        labels: [n] int64.
    """

    name: str
    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Audit:
    """What one update gives away.

    Attributes:
        source: where the update comes from.
        model: name of the model's class.
        num_classes: C.
        input_shape: of one input of the model.
        batch_size: B, told or found; None if neither.
        kind: ``gradient`` or ``delta``; empty if there is no data.
        scale: factor over the mean gradient; None if nothing tells.
        scale_source: what tells it.
        scale_meaning: what it is.
        assumptions: what the results rest on.
        remarks: how names were matched, what is missing.
        certified_labels: class -> certified instances, at least.
        certified_images: what exact inversion certifies, one by one.
        images_are: what these are: images, or inputs of a layer.
        attacks: all that were tried.
        defenses: what would stop it.
        zeros: share of the entries that were sent as 0, in the tensors that were sent at all.
        metrics: comparison with the truth that belongs to no single attack.
        has_data: whether anything but zeros was sent.
        interrupted: whether the user stopped it.
        seconds: wall time of everything.
        pictures: what was recovered.
    """

    source: str
    model: str
    num_classes: int
    input_shape: tuple[int, ...]
    batch_size: int | None = None
    kind: str = ""
    scale: float | None = None
    scale_source: str = "unknown"
    scale_meaning: str = ""
    assumptions: tuple[Assumption, ...] = ()
    remarks: tuple[str, ...] = ()
    certified_labels: dict[int, int] = field(default_factory=dict)
    certified_images: tuple[Certified, ...] = ()
    images_are: str = "images"
    attacks: tuple[Attack, ...] = ()
    defenses: tuple[Defended, ...] = ()
    zeros: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    has_data: bool = True
    interrupted: bool = False
    seconds: float = 0.0
    pictures: tuple[Pictures, ...] = field(default=(), repr=False, compare=False)

    @property
    def estimated_labels(self) -> dict[str, Counts]:
        """Method -> class -> instances."""
        return {attack.name: attack.counts for attack in self.attacks if attack.counts is not None}

    @property
    def found(self) -> Literal["certified", "estimated", "nothing", "no data"]:
        """The most that was found."""
        if not self.has_data:
            return "no data"
        if self.certified_labels:
            return "certified"
        return "estimated" if any(self.estimated_labels.values()) else "nothing"

    def fails(self, level: str) -> bool:
        """Whether something was found at a level: ``certified``, or ``estimated``, which certified includes."""
        return self.found == "certified" or (level == "estimated" and self.found == "estimated")

    def to_json(self) -> str:
        """Return the text of audit.json."""
        values: dict[str, Any] = {"schema": SCHEMA, "gradleak": __version__, "found": self.found}
        for name in self.__dataclass_fields__:
            if name != "pictures":
                values[name] = getattr(self, name)
        values["estimated_labels"] = self.estimated_labels
        for name in ("assumptions", "certified_images", "attacks", "defenses"):
            values[name] = [asdict(each) for each in values[name]]
        return json.dumps(_finite(values), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """Return a value without NaN and infinite numbers, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
