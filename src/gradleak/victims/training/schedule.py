"""Length of a training, and its learning rate at every step: pure functions of the options."""

from dataclasses import dataclass

from gradleak.errors import InputError
from gradleak.plan.jobs.training import TrainingOptions, TrainVictim, stage_parts, steps_to

EVERY = 100
"""Iterations between two entries of the history if the stage counts iterations."""

_DROPS = (3, 5, 7)
"""Eighths of the training after which the learning rate is divided by ten."""


@dataclass(frozen=True)
class Plan:
    """The steps of a training.

    Attributes:
        steps_per_epoch: full batches of the data set; an incomplete last batch is dropped.
        total: steps that the learning-rate schedule spans.
        stop: steps after which the checkpoint is taken, at most ``total``.
        every: steps between two entries of the history and two saved states.
    """

    steps_per_epoch: int
    total: int
    stop: int
    every: int


def plan(spec: TrainVictim, num_images: int) -> Plan:
    """Return the steps of a training on ``num_images`` images.

    Raises:
        InputError: fewer images than a batch has, or a stage after the end of a shared training.
    """
    steps_per_epoch = steps_to("epoch1", num_images, spec.train_batch_size)
    if steps_per_epoch == 0:
        raise InputError(
            f"--train-batch-size {spec.train_batch_size}: {spec.dataset} has {num_images} training images; "
            "use at most that many"
        )
    length = spec.length or spec.stage
    total, stop = (steps_to(stage, num_images, spec.train_batch_size) for stage in (length, spec.stage))
    if stop > total:
        raise InputError(f"--stage {spec.stage}: {stop} steps, after the end of {length}, {total} steps")
    every = steps_per_epoch if stage_parts(length)[0] == "epoch" else EVERY
    return Plan(steps_per_epoch, total, stop, every)


def learning_rate(options: TrainingOptions, step: int, total: int) -> float:
    """Return the learning rate of a step, 0 <= step < total.

    ``linear`` multiplies by 0.1 when 3/8, 5/8 and 7/8 of the steps are done, as the released iLRG code does (Ma et
    al. 2023; there the breakpoints are rounded to whole epochs). A warm-up raises it linearly over the first
    ``total // 10`` steps, to the full rate at the last of them.
    """
    drops = sum(8 * step >= eighths * total for eighths in _DROPS) if options.scheduler == "linear" else 0
    rise = total // 10 if options.warmup else 0
    return options.lr * 0.1**drops * min(1.0, (step + 1) / max(rise, 1))
