"""Options of image reconstruction, on the command line and in the configuration."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from gradleak.plan import catalogue, paths
from gradleak.plan.catalogue import Kind
from gradleak.plan.jobs.attack import AttackRun
from gradleak.plan.jobs.options import Activation, check_model
from gradleak.plan.jobs.spec import Names, runtime
from gradleak.plan.lpips_files import SMALLEST_SIDE
from gradleak.plan.model_options import check_pretrained
from gradleak.records import is_attack

_RESTORED = ("ilrg", "idlg")
"""Label policies that are label methods."""


class FederatedOptions(AttackRun):
    """Clients, what they send, and how the server uses it."""

    # Defaults of these programs must be field defaults: a command line leaves out what equals its default.
    model: str = Field(default="lenet", description=f"architecture: {', '.join(catalogue.names('models'))}")
    activation: Activation = Field(
        default="sigmoid",
        description="activation of the FCN, LeNet-5, LeNet and the small CNNs (default: relu, of LeNet sigmoid)",
    )
    batch_size: int = Field(default=1, ge=1, description="images per client (--samples-per-client)")
    num_tries: int = Field(default=1, ge=1, description="number of rounds, each with new batches")
    num_clients: int = Field(default=2, ge=1, description="number of clients in a round")
    client_indices: Names = Field(
        default=(), description="indices of all clients' images within the split, comma-separated, in order"
    )
    image_size: int | None = Field(default=None, ge=8, description="height and width of Tiny-ImageNet's images")
    pretrained: bool = Field(default=False, description="torchvision's ImageNet weights for the body of the victim")
    reconstruct_mode: Literal["per-client", "aggregated", "both"] = Field(
        default="per-client", description="match each client's gradient, or their mean"
    )
    normalize_gradients: bool = Field(default=False, description="scale the aggregated gradient to L2 norm 1")
    apply_agg_step: bool = Field(
        default=False, description="let the server take a step along the aggregated gradient before inversion"
    )
    agg_lr: float = Field(default=0.01, gt=0, description="learning rate of the server's step")
    lpips: Path | None = runtime(None, "weights of LPIPS, a file or a folder; LPIPS is not measured without them")
    defense_scope: Literal["head", "all"] = Field(
        default="all", description="head: defend the last layer's gradients; all: those of all parameters together"
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_victim(cls, values: dict[str, Any]) -> dict[str, Any]:
        # DLG needs second derivatives everywhere, so the LeNet of the inversion papers has a sigmoid by default.
        values = dict(values)
        model = catalogue.spelt("models", values.get("model", "lenet"))
        if model != "lenet":
            values.setdefault("activation", "relu")
        # Pretrained weights fit the stem that they were trained with.
        known = model in catalogue.names("models")  # the field's validator reports unknown models
        if values.get("pretrained") is True and known and "stem" in catalogue.find("models", model).options:
            values.setdefault("stem", "imagenet")
        return values

    @field_validator("client_indices")
    @classmethod
    def _numbers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            if not part.strip().isdecimal():
                raise ValueError(
                    f"client_indices: {part!r} is not an index; use numbers from 0, for example 1,5,42,100"
                )
        return tuple(str(int(part)) for part in value)

    @model_validator(mode="after")
    def _clients_fit(self) -> Self:
        check_model(self.dataset, self.model, self.image_size)
        needed = self.num_clients * self.batch_size
        if self.client_indices and len(self.client_indices) != needed:
            raise ValueError(
                f"client_indices names {len(self.client_indices)} images; {self.num_clients} clients with "
                f"{self.batch_size} each need {needed}"
            )
        if self.client_indices and self.num_tries > 1:
            raise ValueError("client_indices fixes the batches, so num_tries must be 1")
        if self.pretrained and (self.checkpoint is not None or self.stage != "untrained"):
            raise ValueError(
                "pretrained cannot be combined with --checkpoint or --stage: the victim has one set of weights"
            )
        if self.pretrained:
            channels = catalogue.find("datasets", self.dataset).channels
            check_pretrained(self.model, stem=self.stem, channels=channels)
        aggregated = self.reconstruct_mode != "per-client"
        for option in ("normalize_gradients", "apply_agg_step"):
            if getattr(self, option) and not aggregated:
                raise ValueError(
                    f"{option} acts on the aggregated gradient: it needs reconstruct_mode aggregated or both"
                )
        if aggregated and self.num_clients > 1 and (self.takes_steps or not self.bn_eval):
            what = "clients take several steps" if self.takes_steps else "no_bn_eval"
            raise ValueError(
                f"{what}: the clients' mean is then not the gradient of one joint batch, which the server would match; "
                "use reconstruct_mode per-client or num_clients 1"
            )
        if self.client_indices and (self.distribution != "random"):
            raise ValueError("client_indices fixes the batches, so --distribution has no effect")
        if self._is_set("agg_lr") and not self.apply_agg_step:
            raise ValueError("agg_lr needs apply_agg_step")
        return self

    def to_argv(self, *, identity_only: bool = False) -> list[str]:
        """See :class:`gradleak.plan.jobs.spec.Spec`; a sigmoid is told to models whose usual activation is another."""
        argv = super().to_argv(identity_only=identity_only)
        told = self.model != "lenet" and not self._is_set("activation")
        return [*argv, "--activation", self.activation] if told else argv

    @property
    def lpips_weights(self) -> Path | None:
        """The weights of LPIPS, if they are given and the images are large enough."""
        size = catalogue.dataset_facts(self.dataset, self.image_size).image_size
        return self.lpips if size >= SMALLEST_SIDE else None


class ImageAttack(FederatedOptions):
    """Options shared by all reconstructions: matching loss, labels, where results go."""

    attack: str = Field(default="dlg", description="name of this attack in results")
    labels: Literal["optimise", "ilrg", "idlg", "truth"] = Field(
        default="optimise", description="labels: optimised with the images, restored by iLRG or iDLG, or the true ones"
    )
    cost_fn: str = Field(
        default="l2",
        description="objective: l2, l1, max (squared, absolute, largest difference), sim, simlocal (one minus cosine)",
    )
    indices: Literal["def", "first", "first4", "first5", "first10", "last5", "last10", "top10", "top50"] = Field(
        default="def", description="parameters that take part in the objective"
    )
    weights: Literal["equal", "linear", "exp"] = Field(default="equal", description="weighting of the parameters")
    restarts: int = Field(default=1, ge=1, description="starts of each problem; the smallest matching loss is kept")
    tv_weight: float = Field(default=0.0, ge=0, description="factor of the total variation")
    dummy_seed: int | None = Field(default=None, ge=0, description="seed of the starts (default: --seed)")
    log_every: int = Field(default=20, ge=1, description="iterations between two snapshots")
    at_once: int | None = runtime(None, "starts that go through the model together (default: all)", ge=1)
    save: bool = runtime(True, "save images")
    save_dir: Path = runtime(Path("outputs/reconstructions"), "where run folders are created")

    @field_validator("attack")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        paths.check_name(value)
        if not is_attack(value):
            raise ValueError(f"{value!r} is reserved for rows that belong to no attack; choose another name")
        return value

    @field_validator("cost_fn")
    @classmethod
    def _known_objective(cls, value: str) -> str:
        catalogue.find("objectives", value)
        return value

    @property
    def is_control(self) -> bool:
        """Whether the attack is a control, which gets noise in place of the clients' gradients."""
        return False

    @model_validator(mode="after")
    def _labels_are_possible(self) -> Self:
        most = self.batch_size * (self.num_clients if self.reconstruct_mode != "per-client" else 1)
        if self.labels == "ilrg" and self.normalize_gradients:
            raise ValueError(
                "labels ilrg reads counts from the size of the gradient, which normalize_gradients removes"
            )
        if self.output is not None and self._is_set("save_dir"):
            raise ValueError("save_dir has no effect with --output: all files are written beside it")
        if self.labels == "idlg" and most > 1:
            raise ValueError(f"labels idlg restores the label of one image, not of {most}; use ilrg")
        return self

    def kinds(self) -> list[Kind]:
        """See :class:`gradleak.plan.jobs.spec.Spec`."""
        kinds: list[Kind] = [*super().kinds(), ("objectives", self.cost_fn)]
        return [*kinds, ("attacks", self.labels)] if self.labels in _RESTORED else kinds

    @property
    def setting_id(self) -> str:
        """Readable part of the run id."""
        clients = f"-{self.num_clients}clients" if self.num_clients > 1 else ""
        return f"{super().setting_id}{clients}-{self.attack}"


OF_MATCHING = (
    "rec_optimizer",
    "rec_lr",
    "lr_schedule",
    "iterations",
    "signed",
    "boxed",
    "l2_weight",
    "tv_weight",
    "median",
    "loss_thresh",
    "init",
    "init_scale",
    "restarts",
    "dummy_seed",
    "labels",
)
"""Options of gradient matching that exact inversion does not have."""


class Reconstruct(ImageAttack):
    """Image reconstruction by gradient matching."""

    KIND: ClassVar[str] = "images"

    method: Literal["matching", "consistency"] = Field(
        default="matching", description="match gradients, or invert those of the linear layers exactly"
    )
    rec_optimizer: Literal["lbfgs", "adam", "adamw", "sgd"] = Field(
        default="lbfgs", description="optimiser of the images"
    )
    rec_lr: float | None = Field(
        default=None, gt=0, description="step size of the optimiser (default: 1 for lbfgs, else 0.1)"
    )
    lr_schedule: Literal["step", "constant"] = Field(
        default="constant", description="step: step size x0.1 at 3/8, 5/8 and 7/8 of the iterations"
    )
    iterations: int = Field(default=300, ge=1, description="steps of the optimiser")
    signed: bool = Field(default=False, description="use only the sign of the derivative")
    boxed: bool = Field(default=False, description="keep pixels in their valid range")
    l2_weight: float = Field(default=0.0, ge=0, description="factor of half the mean square of the pixels")
    median: int = Field(default=0, ge=0, description="apply a median filter every so many iterations; 0: never")
    loss_thresh: float = Field(default=0.0, ge=0, description="stop once the loss of every problem is below this")
    init: Literal["randn", "rand", "zeros", "auxiliary"] = Field(default="randn", description="images to start from")
    init_scale: float = Field(default=1.0, gt=0, description="factor of the start (randn: its standard deviation)")

    @model_validator(mode="after")
    def _attack_is_possible(self) -> Self:
        if self.method == "consistency" and (given := [name for name in OF_MATCHING if self._is_set(name)]):
            raise ValueError(f"{given[0]} has no effect with --method consistency, which does not iterate")
        if self.signed and self.rec_optimizer == "lbfgs":
            raise ValueError("signed needs rec_optimizer adam, adamw or sgd: L-BFGS needs the derivative itself")
        if self.lr_schedule == "step" and self.rec_optimizer == "lbfgs":
            raise ValueError("lr_schedule step needs rec_optimizer adam, adamw or sgd")
        if self.init == "zeros" and self.restarts > 1:
            raise ValueError("init zeros makes all restarts equal; use --restarts 1")
        if self.init == "zeros" and self._is_set("init_scale"):
            raise ValueError("init_scale has no effect with --init zeros")
        return self

    def kinds(self) -> list[Kind]:
        """See :class:`gradleak.plan.jobs.spec.Spec`."""
        return [*super().kinds(), *([("attacks", self.method)] if self.method == "consistency" else [])]

    @property
    def step_size(self) -> float:
        """Step size of the optimiser."""
        return self.rec_lr if self.rec_lr is not None else 1.0 if self.rec_optimizer == "lbfgs" else 0.1
