"""The images of clients, and the model that they get."""

import pytest
import torch

from gradleak.clients.round_inputs import draw_batch, make_victim
from gradleak.data import datasets
from gradleak.data.subsets import train_subset
from gradleak.errors import InputError
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.options import BatchOptions


def test_clients_draw_from_the_images_that_the_victim_is_trained_on():
    data = datasets.load("mnist-sample")
    kept = train_subset(data, 40)
    for distribution in ("random", "random2"):
        spec = BatchOptions(dataset="mnist-sample", batch_size=20, train_images=40, distribution=distribution)
        batch = draw_batch(spec, data, trial=3)
        assert len(batch.unique()) == 20
        assert torch.isin(batch, kept).all()
    other = BatchOptions(dataset="mnist-sample", batch_size=30, train_images=40, split="val")
    free = BatchOptions(dataset="mnist-sample", batch_size=30, split="val")
    assert torch.equal(draw_batch(other, data, trial=3), draw_batch(free, data, trial=3))


@pytest.mark.parametrize("damage", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}"])
def test_damaged_weights_that_gradleak_trained_are_to_be_deleted_and_those_of_a_user_saved_again(tmp_path, damage):
    data = datasets.load("mnist-sample")
    options = {"dataset": "mnist-sample", "model": "fcn", "batch_size": 4}
    trained = RestoreLabels(**options, stage="iter1", checkpoint_dir=tmp_path)
    make_victim(trained, data)
    weights = next(tmp_path.rglob("model.safetensors"))
    weights.write_bytes(damage)
    with pytest.raises(InputError, match=r"is not a readable file of weights .*; delete it and run again$"):
        make_victim(trained, data)
    with pytest.raises(InputError, match=r"is not a readable file of weights .*; save it again$"):
        make_victim(RestoreLabels(**options, checkpoint=weights), data)
    weights.unlink()
    make_victim(trained, data)
