"""torchvision's weights from the cache of torch.hub, which these tests fill with random weights."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn

from gradleak.errors import InputError
from gradleak.plan import catalogue
from gradleak.plan.model_options import check_pretrained
from gradleak.victims.models.base import Victim
from gradleak.victims.models.build import build
from gradleak.victims.models.pretrained import load_pretrained

FILES = {"resnet18": "resnet18-f37072fd.pth", "mobilenet_v2": "mobilenet_v2-7ebf99e0.pth"}


def victim(name: str, num_classes: int = 10, **options: Any) -> Victim:
    if name.startswith("resnet"):
        options = {"stem": "imagenet", **options}
    return build(name, **{"num_classes": num_classes, "channels": 3, "image_size": 64, "seed": 0, **options})


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache without a network."""

    def no_net(*args: object, **kwargs: object) -> None:
        raise URLError("Name or service\nnot known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", no_net)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def fill(cache: Path, name: str) -> nn.Module:
    """Put the weights of a randomly initialised torchvision model into the cache."""
    theirs = torchvision.models.get_model(name, weights=None).eval()
    torch.save(theirs.state_dict(), cache / FILES[name])
    return theirs


@pytest.mark.parametrize("name", FILES)
def test_a_thousand_classes_get_the_head_too(name: str, cache: Path):
    theirs, ours = fill(cache, name), victim(name, 1000)
    load_pretrained(ours, name)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize("name", FILES)
def test_other_classes_keep_their_new_head(name: str, cache: Path):
    theirs, ours, untouched = fill(cache, name), victim(name), victim(name)
    load_pretrained(ours, name)
    assert equal(ours.head.state_dict(), untouched.head.state_dict())
    body = [tensor for key, tensor in theirs.state_dict().items() if not key.startswith(("fc.", "classifier."))]
    own = [tensor for key, tensor in ours.state_dict().items() if not key.startswith("head.")]
    assert len(own) == len(body)
    assert all(torch.equal(a, b) for a, b in zip(own, body, strict=True))  # both are registered in the order of use
    assert ours.head.weight.requires_grad


def test_offline(cache: Path, capsys: pytest.CaptureFixture[str]):
    model, before = victim("resnet18"), victim("resnet18").state_dict()
    with pytest.raises(InputError) as caught:
        load_pretrained(model, "resnet18")
    message = str(caught.value)
    assert "\n" not in message
    for words in (FILES["resnet18"], "Name or service not known", f"into {cache}, or", "--checkpoint FILE"):
        assert words in message
    assert equal(model.state_dict(), before)
    assert capsys.readouterr().out == ""
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"^--pretrained: cannot download resnet18-f37072fd\.pth \("):
        load_pretrained(victim("resnet18"), "resnet18")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_damaged_file_in_the_cache(content: bytes, cache: Path):
    (cache / FILES["resnet18"]).write_bytes(content)
    with pytest.raises(InputError, match=r"^--pretrained: .*/resnet18-f37072fd\.pth is not a readable file"):
        load_pretrained(victim("resnet18"), "resnet18")


def test_weights_of_another_model_do_not_change_the_victim(cache: Path):
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), cache / FILES["resnet18"])
    model, before = victim("resnet18"), victim("resnet18").state_dict()
    with pytest.raises(InputError, match=r"has an unexpected layer1\.2\.conv1\.weight"):
        load_pretrained(model, "resnet18")
    assert equal(model.state_dict(), before)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"stem": "released"}, "model resnet18: pretrained weights do not fit the stem 'released'; use "),
        ("resnet18", {"channels": 1}, "model resnet18: pretrained weights need images of 3 channels; these have 1"),
        ("mobilenet_v2", {"channels": 1}, "model mobilenet_v2: pretrained weights need images of 3 channels"),
        ("lenet", {}, "model lenet: no pretrained weights; use one of resnet18, resnet34, resnet50, resnet101, "),
        ("fcn", {}, "model fcn: no pretrained weights"),
    ],
)
def test_victims_that_the_weights_do_not_fit(name: str, options: dict[str, Any], message: str, cache: Path):
    with pytest.raises(InputError) as caught:
        load_pretrained(victim(name, **options), name)
    assert str(caught.value).startswith(message)


def test_every_name_has_weights_and_an_architecture():
    pretrained = [name for name in catalogue.names("models") if catalogue.find("models", name).pretrained]
    assert "resnet18" in pretrained
    for name in pretrained:
        check_pretrained(name, stem="imagenet", channels=3)
        assert torchvision.models.get_model_weights(name)["DEFAULT"].url.startswith("https://")
