"""Training of victims: determinism, resuming, schedules, and output files."""

import csv
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradleak.data import datasets
from gradleak.data.subsets import train_subset
from gradleak.errors import InputError
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.training import TrainingOptions, TrainVictim
from gradleak.victims import checkpoints
from gradleak.victims.models.build import build
from gradleak.victims.training import Plan, learning_rate, plan, train, victim_weights
from gradleak.victims.training import loop as loops
from gradleak.victims.training import state as states
from gradleak.victims.training.images import PADDING, crop_and_flip, order


def spec(folder: Path, **options: Any) -> TrainVictim:
    """Return a training that takes a fraction of a second."""
    values = {
        "dataset": "mnist-sample",
        "model": "fcn",
        "stage": "iter7",
        "train_batch_size": 16,
        "n_dim": 20,
        **options,
    }
    return TrainVictim(**values, checkpoint_dir=folder, device="cpu", progress=False)


def weights(training: TrainVictim) -> dict[str, Tensor]:
    facts = {"num_classes": 10, "channels": 1, "image_size": 28}
    model = build(training.model, **facts, seed=99, **training.model_options())
    checkpoints.load(model, training.weights)
    return model.state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def history(training: TrainVictim) -> list[dict[str, str]]:
    with (training.folder / "history.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


read_once = functools.cache(datasets.load)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse the sample once, and add an entry to the history every 3 iterations."""
    monkeypatch.setattr("gradleak.data.datasets.load", read_once)
    monkeypatch.setattr("gradleak.victims.training.schedule.EVERY", 3)


class Killed(BaseException):
    """Stands in for the signal."""


def kill_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    step = loops._Runner._step

    def killed(self: loops._Runner, number: int, indices: Tensor) -> Tensor:
        if number == steps:
            raise Killed
        return step(self, number, indices)

    monkeypatch.setattr(loops._Runner, "_step", killed)


def with_dropout(*args: Any, **kwargs: Any):
    model = build(*args, **kwargs)
    model.body.append(nn.Dropout(0.5))  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    return model


def test_equal_trainings_give_equal_bits_and_seeds_differ(tmp_path):
    first, again, other = spec(tmp_path / "a"), spec(tmp_path / "b"), spec(tmp_path / "c", seed=3)
    for training in (first, again, other):
        torch.manual_seed(len(str(training)))  # regardless of the caller's draws
        train(training)
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))


def test_the_callers_generator_is_unchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(loops, "build", with_dropout)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(spec(tmp_path))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("killed_at", [2, 3, 5, 8])
@pytest.mark.parametrize(
    "options", [{}, {"optimizer": "AdamW", "lr": 1e-3, "augment": True, "warmup": True}], ids=["sgd", "adamw-augment"]
)
def test_a_killed_training_resumes_bit_for_bit(tmp_path, monkeypatch, killed_at, options):
    monkeypatch.setattr(loops, "build", with_dropout)
    straight = spec(tmp_path / "a", stage="iter10", **options)
    train(straight)
    killed = spec(tmp_path / "b", stage="iter10", **options)
    with monkeypatch.context() as context:
        kill_after(context, killed_at)
        with pytest.raises(Killed):
            train(killed)
    assert not killed.weights.exists()
    assert states.state_path(killed).exists() == (killed_at >= 3)
    assert train(killed).resumed_from == killed_at // 3 * 3
    assert same(weights(straight), weights(killed))
    assert history(straight) == history(killed)
    assert not states.state_path(killed).exists()


def test_resuming_in_the_middle_of_an_epoch(tmp_path, monkeypatch):
    """An epoch has 4 steps and a state every 3: the resumed training must find its position in the permutation."""
    straight, killed = (spec(tmp_path / name, stage="iter11", train_batch_size=1250) for name in "ab")
    train(straight)
    with monkeypatch.context() as context:
        kill_after(context, 7)
        with pytest.raises(Killed):
            train(killed)
    train(killed)
    assert same(weights(straight), weights(killed))


def test_train_images_limits_the_training_set(tmp_path, monkeypatch):
    """80 images in batches of 16: an epoch has 5 steps and shows each of them once."""
    shown: list[Tensor] = []
    step = loops._Runner._step

    def noted(self: loops._Runner, number: int, indices: Tensor) -> Tensor:
        shown.append(indices)
        return step(self, number, indices)

    monkeypatch.setattr(loops._Runner, "_step", noted)
    assert train(spec(tmp_path, stage="epoch2", train_images=80)).steps == 10
    for epoch in (shown[:5], shown[5:]):
        assert torch.equal(torch.cat(epoch).sort().values, train_subset(read_once("mnist-sample"), 80))
    assert not torch.equal(torch.cat(shown[:5]), torch.cat(shown[5:]))


@pytest.mark.parametrize("damage", [b"", b"not a state"])
def test_a_damaged_state_is_skipped(tmp_path, damage):
    training = spec(tmp_path)
    training.folder.mkdir(parents=True)
    states.state_path(training).write_bytes(damage)
    assert train(training).resumed_from == 0


def test_outputs(tmp_path):
    training = spec(tmp_path)
    result = train(training)
    assert sorted(path.name for path in training.folder.iterdir()) == ["history.csv", "model.safetensors", "train.json"]
    rows = history(training)
    assert list(rows[0]) == ["step", "epoch", "split", "metric", "value"]
    assert [int(row["step"]) for row in rows] == [3] * 3 + [6] * 3 + [7] * 3
    assert {(row["split"], row["metric"]) for row in rows} == {("train", "loss"), ("val", "loss"), ("val", "accuracy")}
    assert float(rows[-1]["value"]) == result.accuracy
    sidecar = json.loads((training.folder / "train.json").read_text())
    assert (sidecar["run"], sidecar["steps"], sidecar["accuracy"]) == (training.run_id, 7, result.accuracy)


@pytest.mark.parametrize(("stage", "expected"), [("iter1", 1), ("iter7", 7), ("epoch1", 4), ("epoch3", 12)])
def test_stages_count_exactly(tmp_path, monkeypatch, stage, expected):
    taken = []
    step = loops._Runner._step
    monkeypatch.setattr(loops._Runner, "_step", lambda self, *args: (taken.append(args), step(self, *args))[1])
    training = spec(tmp_path, stage=stage, train_batch_size=1200)
    assert train(training).steps == expected
    assert len(taken) == expected
    assert all(len(indices) == 1200 for _, indices in taken)


def test_a_plan_drops_the_incomplete_batch(tmp_path):
    assert plan(spec(tmp_path, stage="epoch2", train_batch_size=128), 60_000) == Plan(468, 936, 936, 468)
    shared = spec(tmp_path, stage="epoch2", schedule="shared", length="epoch10", train_batch_size=128)
    assert plan(shared, 60_000) == Plan(468, 4680, 936, 468)
    mixed = spec(tmp_path, stage="iter800", schedule="shared", length="epoch1", train_batch_size=128)
    with pytest.raises(InputError, match="800 steps, after the end of epoch1, 468 steps"):
        plan(mixed, 60_000)
    with pytest.raises(InputError, match="has 100 training images"):
        plan(spec(tmp_path, train_batch_size=128), 100)


def test_the_learning_rate_drops_at_three_five_and_seven_eighths():
    options = TrainingOptions()
    rates = {step: learning_rate(options, step, 800) for step in (0, 299, 300, 499, 500, 699, 700, 799)}
    assert rates == pytest.approx({0: 0.1, 299: 0.1, 300: 1e-2, 499: 1e-2, 500: 1e-3, 699: 1e-3, 700: 1e-4, 799: 1e-4})
    assert learning_rate(TrainingOptions(scheduler="none"), 799, 800) == 0.1


def test_the_warm_up_is_linear_over_the_first_tenth():
    options = TrainingOptions(warmup=True)
    found = [learning_rate(options, step, 100) for step in (0, 4, 9, 10, 36)]
    assert found == pytest.approx([0.01, 0.05, 0.1, 0.1, 0.1])
    assert learning_rate(options, 0, 5) == 0.1  # too short for a warm-up


def test_a_shared_schedule_stops_early_and_later_stages_continue(tmp_path, monkeypatch):
    options = {"schedule": "shared", "length": "iter8"}
    end = spec(tmp_path / "alone", stage="iter8", **options)
    train(end)
    snapshots: dict[int, dict[str, Tensor]] = {}
    step = loops._Runner._step

    def watched(self: loops._Runner, number: int, indices: Tensor) -> Tensor:
        loss = step(self, number, indices)
        snapshots[number + 1] = {name: value.clone() for name, value in self.model.state_dict().items()}
        return loss

    with monkeypatch.context() as context:
        context.setattr(loops._Runner, "_step", watched)
        train(spec(tmp_path / "watched", stage="iter7", **options))
    first, second = (spec(tmp_path / "chain", stage=stage, **options) for stage in ("iter4", "iter7"))
    train(first)
    assert same(weights(first), snapshots[4])
    assert train(second).resumed_from == 4
    assert same(weights(second), snapshots[7])
    assert history(second) == history(spec(tmp_path / "watched", stage="iter7", **options))
    # the last stage of a shared training is the per-stage training of that length
    assert end.schedule == "per-stage"
    assert end.run_id == spec(tmp_path, stage="iter8").run_id
    chained = spec(tmp_path / "chain", stage="iter8", **options)
    assert train(chained).resumed_from == 7
    assert same(weights(chained), weights(end))
    per_stage = spec(tmp_path / "chain", stage="iter4")
    train(per_stage)
    assert not same(weights(per_stage), weights(first))  # its learning rate has dropped


def test_a_few_epochs_learn_the_digits(tmp_path):
    result = train(spec(tmp_path, stage="epoch3", train_batch_size=64, n_dim=100))
    assert result.accuracy > 0.9
    assert result.loss < 0.5


def test_batchnorm_statistics_are_learned(tmp_path):
    training = spec(tmp_path, model="lenet5", batchnorm=True, n_dim=300, stage="iter3", train_batch_size=32)
    train(training)
    trained = weights(training)
    means = [value for name, value in trained.items() if name.endswith("running_mean")]
    assert means
    assert all(mean.abs().max() > 0 for mean in means)
    assert all(int(value) == 3 for name, value in trained.items() if name.endswith("num_batches_tracked"))


def test_a_diverged_training_is_an_error_and_leaves_no_checkpoint(tmp_path):
    training = spec(tmp_path, lr=1e30, stage="iter9")
    with pytest.raises(InputError, match=r"diverged: loss (nan|inf) by step \d+; lower --lr"):
        train(training)
    assert not training.weights.exists()
    assert not states.state_path(training).exists()


def test_each_epoch_has_its_own_permutation():
    first, second = order("mnist", 1, 0, 50), order("mnist", 1, 1, 50)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(50))
    assert not torch.equal(first, second)


def test_crops_are_windows_of_the_padded_image():
    pixels = torch.arange(1, 6 * 2 * 5 * 7 + 1).reshape(6, 2, 5, 7)
    found = crop_and_flip(pixels, 3)
    assert found.shape == pixels.shape
    padded = nn.functional.pad(pixels, [PADDING] * 4)
    for image, whole in zip(found, padded, strict=True):
        windows = whole.unfold(1, 5, 1).unfold(2, 7, 1).permute(1, 2, 0, 3, 4).reshape(-1, 2, 5, 7)
        candidates = torch.cat([windows, windows.flip(-1)])
        assert (candidates == image).flatten(1).all(1).any()
    assert not torch.equal(found, crop_and_flip(pixels, 4))


def test_weights_of_a_run_are_trained_once(tmp_path, capsys):
    run = RestoreLabels(
        dataset="mnist-sample", model="fcn", n_dim=20, stage="iter3", train_batch_size=16,
        checkpoint_dir=tmp_path, device="cpu", progress=False,
    )  # fmt: skip
    path = victim_weights(run)
    assert path is not None
    assert path.exists()
    assert "training the victim to iter3 first" in capsys.readouterr().err
    written = path.stat().st_mtime_ns
    assert victim_weights(run) == path
    assert path.stat().st_mtime_ns == written
    assert capsys.readouterr().err == ""
    own = run.model_copy(update={"checkpoint": tmp_path / "own.pt"})
    assert victim_weights(own) == tmp_path / "own.pt"
    assert victim_weights(RestoreLabels()) is None
