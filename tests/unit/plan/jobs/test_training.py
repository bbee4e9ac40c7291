"""Options of the victim's training: documented spellings and refusals."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gradleak.errors import InputError
from gradleak.plan import cli
from gradleak.plan.aliases import TrainVictimShorthand
from gradleak.plan.jobs.training import TrainVictim


def test_documented_options_of_the_training_program():
    def parse(text: str) -> TrainVictim:
        return cli.parse(TrainVictim, text.split(), shorthand=TrainVictimShorthand)

    documented = parse("--dataset MNIST_GRAY --model dnn --iter_train --iters 200 --data_path d --model_path m --cpu")
    assert (documented.stage, documented.device, documented.checkpoint_dir) == ("iter200", "cpu", Path("m"))
    assert documented.data_root == Path("d")
    assert documented.run_id.startswith("mnist/fcn/iter200-seed12-")
    assert parse("--epochs 20 --silu").folder.parts[:4] == ("results", "checkpoints", "cifar100", "lenet5-silu")
    assert parse("--model vgg16").stage == "epoch10"
    assert parse(" ".join(documented.to_argv())) == documented
    for text in ("--iters 5", "--stage epoch3 --epochs 4", "--stage untrained", "--model_path a --checkpoint-dir b"):
        with pytest.raises(InputError):
            parse(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stage": "untrained"}, "needs --stage"),
        ({"stage": "iter1١"}, "use untrained, epoch<N> or iter<N>"),
        ({"stage": "epoch3", "schedule": "shared"}, "needs --length"),
        ({"stage": "epoch3", "schedule": "shared", "length": "epoch2"}, "after the end"),
        ({"stage": "epoch3", "schedule": "shared", "length": "untrained"}, "length 'untrained'"),
        ({"stage": "epoch1", "dataset": "cifar100-sample"}, "train_batch_size 128 is more than the 20 images"),
        ({"stage": "epoch1", "train_images": 100}, "train_batch_size 128 is more than the 100 images"),
        ({"stage": "epoch1", "train_images": 50_001}, "train_images 50001 is more than the 50000 images of cifar100"),
        ({"stage": "epoch1", "dataset": "mnist", "model": "vgg16"}, "image_size=28"),
    ],
)
def test_impossible_trainings_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        TrainVictim(**options)
