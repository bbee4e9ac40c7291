"""The images of clients."""

import torch

from gradleak.clients.round_inputs import draw_batch
from gradleak.data import datasets
from gradleak.data.subsets import train_subset
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
