"""A prior on disk is complete or not loaded."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline

from gradleak.attacks.diffusion import train as training
from gradleak.attacks.diffusion.prior import Prior, load_prior
from gradleak.errors import InputError
from gradleak.plan.jobs.diffusion import TrainPrior


def spec(folder: Path) -> TrainPrior:
    return TrainPrior(
        dataset="mnist-sample",
        channels=("8", "8"),
        steps=1,
        train_batch_size=4,
        prior_dir=folder,
        progress=False,
        device="cpu",
    )


def load(folder: Path) -> Prior:
    return load_prior(str(folder), channels=1, image_size=28, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return training.train(spec(tmp_path_factory.mktemp("priors"))).folder


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "prior"))


@pytest.mark.parametrize("name", ["prior.json", "seen.npy"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\x80\x04}"])
def test_a_prior_that_lost_its_record_is_refused(folder, name, content):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=r"do not say which images it was .*; delete the folder") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_prior_whose_images_were_replaced_is_refused(folder):
    """Otherwise the check that it has not seen the clients' images would pass trivially."""
    np.save(folder / "seen.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"seen\.npy does not number the 5000 images"):
        load(folder)


def test_a_foreign_prior_has_no_record(folder):
    for name in ("prior.json", "seen.npy"):
        (folder / name).unlink()
    assert (load(folder).dataset, load(folder).seen) == (None, None)


def test_a_prior_loads_only_when_completely_written(tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "write_sidecar", killed)
        with pytest.raises(KeyboardInterrupt):
            training.train(spec(tmp_path))
    with pytest.raises(InputError, match="is not a diffusers folder"):
        load(spec(tmp_path).folder)
    training.train(spec(tmp_path))
    assert load(spec(tmp_path).folder).dataset == "mnist-sample"
    assert json.loads((spec(tmp_path).folder / "prior.json").read_text())["images"] == 5000


def test_an_interrupted_write_leaves_no_partial_prior(tmp_path, monkeypatch):
    save = DDPMPipeline.save_pretrained

    def interrupted(self, folder, **options):
        save(self, folder, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(DDPMPipeline, "save_pretrained", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.train(spec(tmp_path))
    assert {path.name for path in spec(tmp_path).folder.iterdir()} == {"loss.csv", "samples.png", "seen.npy"}
