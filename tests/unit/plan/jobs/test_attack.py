"""Options that all attacks share: the victim that a run needs, and refusals."""

import re

import pytest
from pydantic import ValidationError

from gradleak.plan.jobs.labels import RestoreLabels


def test_runs_share_the_checkpoint_of_an_equal_training():
    run = RestoreLabels(dataset="mnist", model="dnn", stage="iter100", batch_size=8, model_seed=1)
    other = RestoreLabels(
        dataset="mnist", model="fcn", stage="iter100", methods=("gi",), seed=4, model_seed=1, split="val"
    )
    assert run.victim() == other.victim() is not None
    assert RestoreLabels(stage="epoch1", model_seed=2).victim() == RestoreLabels(stage="epoch1", seed=2).victim()
    assert RestoreLabels().victim() is None
    part = RestoreLabels(stage="epoch1", train_images=5000).victim()
    assert part is not None
    assert part.train_images == 5000
    assert part.run_id != RestoreLabels(stage="epoch1").victim().run_id  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.2}, "lr is an option of the victim's training"),
        ({"train_batch_size": 64}, "train_batch_size is an option of the victim's training"),
        ({"train_images": 5000, "split": "val"}, "train_images has no effect"),
        ({"train_images": 20, "batch_size": 24}, "batch_size 24 is more than the 20 images"),
        ({"defense_scope": "all"}, "defense_scope needs --defenses"),
    ],
)
def test_options_without_effect_are_refused(options, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        RestoreLabels(**options)
