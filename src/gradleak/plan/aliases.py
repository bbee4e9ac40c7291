"""Documented spellings of options that specs spell differently, and what they stand for."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from gradleak.plan import catalogue
from gradleak.plan.jobs.spec import Names, split_commas
from gradleak.plan.methods import method_parts


class PlacesShorthand(BaseModel):
    """Documented spellings of where a job runs and where its data are.

    Attributes:
        SYNONYMS: fields that are another name for an option, and that option's name.
        DEFAULTS: in words, the defaults of options whose default a shorthand replaces.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {"data_path": "data_root"}
    DEFAULTS: ClassVar[dict[str, str]] = {}

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    data_path: Path | None = Field(default=None, description="synonym of --data-root")
    cpu: bool = Field(default=False, description="same as --device cpu")

    def expand(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` with the shorthands replaced by what they stand for.

        Raises:
            ValueError: two of the given options contradict each other.
        """
        options = dict(options)
        for short, name in self.SYNONYMS.items():
            if getattr(self, short) is not None:
                self._put(options, name, getattr(self, short), _flag(short))
        if self.cpu:
            self._put(options, "device", "cpu", "--cpu")
        return options

    def _given(self, *names: str) -> str | None:
        """Return the first of the given fields that was set, as a flag."""
        return next((_flag(name) for name in names if name in self.model_fields_set), None)

    @staticmethod
    def _put(options: dict[str, Any], name: str, value: Any, flag: str) -> None:
        if name in options:
            raise ValueError(f"{flag} and {_flag(name)} cannot be combined")
        options[name] = value


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


_LENGTHS = ("epochs", "iters", "iter_train")
"""Shorthands of how long a victim is trained."""


class Shorthand(PlacesShorthand):
    """Documented spellings shared by all programs that have a victim."""

    silu: bool = Field(default=False, description="same as --activation silu")
    leaky_relu: bool = Field(default=False, description="same as --activation leaky_relu")
    epochs: int = Field(default=10, ge=1, description="epochs of the victim's training: same as --stage epoch<N>")
    iter_train: bool = Field(default=False, description="count the victim's training in iterations, see --iters")
    iters: int = Field(default=1000, ge=1, description="with --iter-train: same as --stage iter<N>")

    def expand(self, options: dict[str, Any]) -> dict[str, Any]:
        """See :class:`PlacesShorthand`."""
        options = super().expand(options)
        if self.silu:
            self._put(options, "activation", "silu", "--silu")
        if self.leaky_relu:
            self._put(options, "activation", "leaky_relu", "--leaky-relu")
        return options

    def _stage(self) -> str:
        if "iters" in self.model_fields_set and not self.iter_train:
            raise ValueError("--iters needs --iter-train")
        return f"iter{self.iters}" if self.iter_train else f"epoch{self.epochs}"


class TrainVictimShorthand(Shorthand):
    """Documented spellings that expand into the options of :class:`gradleak.plan.jobs.training.TrainVictim`."""

    SYNONYMS: ClassVar[dict[str, str]] = {**Shorthand.SYNONYMS, "model_path": "checkpoint_dir"}
    DEFAULTS: ClassVar[dict[str, str]] = {"stage": "epoch10, see --epochs and --iters"}

    model_path: Path | None = Field(default=None, description="synonym of --checkpoint-dir")

    def expand(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` with the shorthands replaced by what they stand for.

        Without ``stage`` the training has ``epochs`` epochs, or ``iters`` iterations with ``iter_train``.

        Raises:
            ValueError: two of the given options contradict each other.
        """
        options = super().expand(options)
        given = self._given(*_LENGTHS)
        if "stage" not in options or given:
            self._put(options, "stage", self._stage(), given or "")
        return options


class AttackShorthand(Shorthand):
    """Documented spellings shared by all attacks: batch size, trained victim, and defense."""

    SYNONYMS: ClassVar[dict[str, str]] = {**Shorthand.SYNONYMS, "num_images": "batch_size"}

    num_images: int | None = Field(default=None, description="synonym of --batch-size")
    trained_model: bool = Field(default=False, description="attack a trained victim, see --epochs and --iters")
    defense: bool = Field(default=False, description="defend the gradient, see --defense-method")
    defense_method: Literal["dp", "clip", "sparse", "perturb"] = Field(default="dp", description="with --defense")
    noise_std: float = Field(default=0.001, gt=0, description="dp: standard deviation of the noise")
    clip_bound: float = Field(default=4, gt=0, description="clip: bound on the joint L2 norm")
    sparse_ratio: float = Field(default=10, gt=0, le=100, description="sparse: percentage of entries set to zero")
    prune_ratio: float = Field(
        default=10, gt=0, le=100, description="perturb (Soteria): percentage of the embedding to prune"
    )

    def expand(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` with the shorthands replaced by what they stand for.

        Raises:
            ValueError: two of the given options contradict each other.
        """
        options = super().expand(options)
        if self.trained_model:
            self._put(options, "stage", self._stage(), "--trained-model")
        elif given := self._given(*_LENGTHS):
            raise ValueError(f"{given} needs --trained-model")
        strengths = {kind: catalogue.find("defenses", kind).strength for kind in catalogue.names("defenses")}
        if self.defense:
            strength = getattr(self, strengths[self.defense_method])
            self._put(options, "defenses", (f"{self.defense_method}-{strength}",), "--defense")
        elif given := self._given("defense_method", *strengths.values()):
            raise ValueError(f"{given} needs --defense")
        return options


class RestoreLabelsShorthand(AttackShorthand):
    """Documented spellings that expand into the options of :class:`gradleak.plan.jobs.labels.RestoreLabels`."""

    alpha: float | None = Field(default=None, description="same as --attack-options alpha=X")
    attack_options: Names = Field(
        default=(), description="options of the methods, comma-separated: NAME=X, or METHOD.NAME=X for one method only"
    )
    compare: bool = Field(default=False, description="add the prior works: idlg, gi, rlg")
    simplified: bool = Field(default=False, description="iLRG, given which classes are present")
    estimate: bool = Field(default=False, description="iLRG with 1/C in place of the recovered probabilities")

    def expand(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` with the shorthands replaced by what they stand for.

        Raises:
            ValueError: two of the given options contradict each other.
        """
        options = super().expand(options)
        methods = list(split_commas(options.get("methods", "ilrg")))
        if self.simplified and self.estimate:
            raise ValueError("--simplified and --estimate cannot be combined; name both in --methods")
        variant = "ilrg-simplified" if self.simplified else "ilrg-estimate" if self.estimate else None
        if variant:
            if not {"ilrg", variant} & set(methods):
                raise ValueError(f"{self._given('simplified', 'estimate')} needs ilrg among --methods")
            methods = [variant if name == "ilrg" else name for name in methods]
        if self.compare:
            methods += ["idlg", "gi", "rlg"]
        options["methods"] = tuple(self._with_options(methods))
        return options

    def _with_options(self, methods: list[str]) -> list[str]:
        """Give each method the options that it has.

        Raises:
            ValueError: an option that none of the methods has, or a value outside its range.
        """
        given = [("--alpha", f"alpha={self.alpha}")] if self.alpha is not None else []
        given += [(f"--attack-options {part}", part) for part in self.attack_options]
        for flag, part in given:
            place, equals, value = part.partition("=")
            method, _, name = place.rpartition(".")
            has = [each for each in methods if _has(each, name) and method in ("", each.partition(":")[0])]
            if not has or not equals:
                what = f"none of the methods has an option {name!r}" if equals else "use NAME=X or METHOD.NAME=X"
                raise ValueError(f"{flag}: {what}")
            methods = [_checked(f"{each}:{name}={value}", flag) if each in has else each for each in methods]
        return methods


def _checked(method: str, flag: str) -> str:
    try:
        method_parts(method)
    except ValueError as error:
        raise ValueError(f"{flag}: {error}") from error
    return method


def _has(method: str, option: str) -> bool:
    kind = method.partition(":")[0]
    return kind in catalogue.names("attacks") and option in catalogue.find("attacks", kind).options


class FederatedShorthand(AttackShorthand):
    """Documented spellings that expand into the options of :class:`gradleak.plan.jobs.images.ImageAttack`."""

    SYNONYMS: ClassVar[dict[str, str]] = {
        **AttackShorthand.SYNONYMS,
        "arch": "model",
        "samples_per_client": "batch_size",
        "dataset_split": "split",
        "tv": "tv_weight",
    }

    arch: str | None = Field(default=None, description="synonym of --model")
    samples_per_client: int | None = Field(default=None, description="synonym of --batch-size")
    dataset_split: str | None = Field(default=None, description="synonym of --split")
    tv: float | None = Field(default=None, description="synonym of --tv-weight")
    exp_name: str | None = Field(default=None, description="same as --save-dir outputs/NAME")
    fix_labels: bool = Field(default=False, description="labels restored by iLRG: same as --labels ilrg")
    gt_labels: bool = Field(default=False, description="true labels: same as --labels truth")

    def expand(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` with the shorthands replaced by what they stand for.

        Raises:
            ValueError: two of the given options contradict each other.
        """
        options = super().expand(options)
        if self.exp_name is not None:
            self._put(options, "save_dir", Path("outputs") / self.exp_name, "--exp-name")
        if self.fix_labels and self.gt_labels:
            raise ValueError("--fix-labels and --gt-labels cannot be combined")
        if self.fix_labels:
            self._put(options, "labels", "ilrg", "--fix-labels")
        if self.gt_labels:
            self._put(options, "labels", "truth", "--gt-labels")
        return options


_IG = {"attack": "ig", "cost_fn": "sim", "rec_optimizer": "adam", "lr_schedule": "step", "num_clients": 1}
"""How the release of iLRG reconstructs images: IG (Geiping et al., NeurIPS 2020) on one client."""


class ReconstructShorthand(FederatedShorthand):
    """Documented spellings that expand into the options of :class:`gradleak.plan.jobs.images.Reconstruct`."""

    SYNONYMS: ClassVar[dict[str, str]] = {
        **FederatedShorthand.SYNONYMS,
        "max_iterations": "iterations",
        "l2": "l2_weight",
    }

    max_iterations: int | None = Field(default=None, description="synonym of --iterations")
    l2: float | None = Field(default=None, description="synonym of --l2-weight")
    rec_img: bool = Field(default=False, description="improved IG: same as --optim ig")
    optim: Literal["ig", "dlg"] | None = Field(default=None, description="ig: cosine, Adam, stepped rate, one client")
    save_images: bool = Field(default=False, description="accepted and ignored: images are always saved")
    save_image: bool = Field(default=False, description="accepted and ignored: images are always saved")

    def expand(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``options`` with the shorthands replaced by what they stand for.

        Raises:
            ValueError: two of the given options contradict each other.
        """
        options = super().expand(options)
        if self.optim == "ig" or (self.rec_img and self.optim is None):
            options = {**_IG, **options}
        return options
