"""Options that all attacks have in common."""

import hashlib
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from gradleak.plan import catalogue, names
from gradleak.plan.catalogue import Kind
from gradleak.plan.jobs.local_training import LocalTrainingOptions
from gradleak.plan.jobs.options import DefenseOptions, RuntimeOptions, VictimOptions
from gradleak.plan.jobs.spec import Names, runtime
from gradleak.plan.jobs.training import TrainingOptions, TrainVictim, check_training, stage_parts
from gradleak.records import CELL, Setting


class AttackRun(RuntimeOptions, LocalTrainingOptions, VictimOptions, TrainingOptions, DefenseOptions):
    """Options shared by all attacks: clients that train on batches, a victim, and defenses."""

    checkpoint: Path | None = Field(default=None, description="weights of the victim: safetensors or a state dict")
    metrics: Names = Field(default=(), description="metrics to measure besides the usual ones, comma-separated")
    checkpoint_dir: Path = runtime(Path("results/checkpoints"), "where trained victims are kept")

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        of = "labels" if cls.KIND == "labels" else "images"
        for name in value:
            facts = catalogue.find("metrics", name)
            if facts.of != of:
                raise ValueError(f"metric {name} measures {facts.of}, but this job needs metrics of {of}")
            if not facts.object and name in catalogue.built_in("metrics"):
                raise ValueError(f"metric {name} is always measured; leave it out")
        return tuple(dict.fromkeys(value))

    def kinds(self) -> list[Kind]:
        """See :class:`gradleak.plan.jobs.spec.Spec`."""
        return [*super().kinds(), *(("metrics", name) for name in self.metrics)]

    @model_validator(mode="after")
    def _possible_victim(self) -> Self:
        if self.stage != "untrained" and self.checkpoint is None:
            check_training(self.dataset, self.train_batch_size, self.train_images)
        else:
            unused = [name for name in TrainingOptions.model_fields if name != "stage" and self._is_set(name)]
            if unused:
                raise ValueError(f"{unused[0]} is an option of the victim's training: it needs --stage")
            if self.train_images is not None and self.split != "train":
                raise ValueError(
                    f"train_images has no effect: no victim is trained, and clients draw from {self.split}"
                )
        if self.checkpoint is not None and self.stage != "untrained":
            raise ValueError("checkpoint and stage cannot be combined: given weights are not trained")
        if self._is_set("defense_scope") and not self.defenses:
            raise ValueError("defense_scope needs --defenses")
        return self

    def _is_set(self, name: str) -> bool:
        return getattr(self, name) != type(self).model_fields[name].default

    def victim(self) -> TrainVictim | None:
        """Return the training whose checkpoint this run needs: None if untrained, or if ``checkpoint`` is given.

        Runs that differ only in options that do not affect the victim have equal trainings.
        """
        if self.stage == "untrained" or self.checkpoint is not None:
            return None
        shared = {name: getattr(self, name) for name in TrainVictim.model_fields if name in type(self).model_fields}
        training = TrainVictim(**{**shared, "seed": self.victim_seed, "model_seed": None, "output": None})
        return training.with_modules()

    def setting(self) -> Setting:
        """Return the columns of results that describe the setting of a single client.

        A column named like an option has the value of that option; booleans are 0 or 1.
        """
        options = {name: getattr(self, name) for name in CELL if name in type(self).model_fields}
        values: dict[str, Any] = {
            name: int(value) if isinstance(value, bool) else value for name, value in options.items()
        }
        # The user's own weights are identified by their content, so that they are not taken for a known stage.
        values["checkpoint"] = "" if self.checkpoint is None else _digest(self.checkpoint)
        if self.stage != "untrained":
            values["stage_unit"], values["stage_number"] = stage_parts(self.stage)
        values["model_options"] = names.canonical(self.model_options())
        values["distribution_classes"] = self.distribution_classes
        values["defense"] = names.composition(self.defenses)
        values["defense_scope"] = self.defense_scope if self.defenses else ""
        return Setting(**values)

    @property
    def victim_seed(self) -> int:
        """Seed of the victim's weights."""
        return self.seed if self.model_seed is None else self.model_seed

    @property
    def setting_id(self) -> str:
        """Readable part of the run id: the clients' batches and defenses."""
        batch = f"{self.distribution_id}-B{self.batch_size}-seed{self.victim_seed}"
        if self.stage != "untrained":
            batch = f"{self.stage}-{batch}"
        if self._is_set("precision"):
            batch = f"{batch}-{self.precision}"
        return f"{batch}-{self.defense_id}" if self.defenses else batch

    @property
    def run_id(self) -> str:
        """Readable path plus the digest: the run's folder under results/runs."""
        return f"{self.KIND}/{self.dataset}/{self.model_id}/{self.setting_id}-{self.digest}"


def _digest(weights: Path) -> str:
    """Return eight hex digits that name the content of a file."""
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]
