"""The catalogue: every entry names an existing object, and nothing imports torch until it is loaded."""

import subprocess
import sys

import pytest
from tests.plugin_state import bring, forgotten

from gradleak.errors import InputError
from gradleak.plan import catalogue
from gradleak.plan.catalogue import PARTS, Part, find, load, names
from gradleak.plan.catalogue.facts import OptionFacts


@pytest.mark.parametrize(("part", "name"), [(part, name) for part in PARTS for name in names(part)])
def test_every_object_exists(part: Part, name: str):
    assert isinstance(find(part, name), PARTS[part])
    if part != "metrics" or find(part, name).object:  # other metrics are computed together
        assert callable(load(part, name))


@pytest.mark.parametrize("place", ["gradleak.attacks.labels.gi:ig", "gradleak.attacks.labels.ig:gi"])
def test_a_wrong_location_is_detected(monkeypatch, place):
    kinds = catalogue.built_in("attacks")
    monkeypatch.setitem(kinds, "gi", find("attacks", "gi").model_copy(update={"object": place}))  # pyright: ignore
    with pytest.raises((AttributeError, ModuleNotFoundError)):
        test_every_object_exists("attacks", "gi")


def test_loading_a_kind_imports_that_kind():
    code = (
        "import sys; from gradleak.plan import catalogue; catalogue.load('attacks', 'gi'); "
        "print({name for name in sys.modules if name.startswith('gradleak.attacks.labels.')} & "
        "{f'gradleak.attacks.labels.{name}' for name in ('gi', 'idlg', 'ilrg', 'rlg')})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'gradleak.attacks.labels.gi'}"


def test_an_unknown_kind_is_one_line_with_those_of_plugins():
    with forgotten():
        bring("models", "mine", None)
        with pytest.raises(InputError, match=r"^unknown model 'fnc'; known: fcn, .*, mobilenet_v2, mine$"):
            find("models", "fnc")
    with pytest.raises(InputError, match="unknown model 'mine'"):
        load("models", "mine")


@pytest.mark.parametrize(
    ("spelling", "name"), [("MNIST_GRAY", "mnist"), ("CIFAR-100", "cifar100"), ("Nowhere", "nowhere")]
)
def test_documented_spellings_of_data_sets(spelling, name):
    assert catalogue.spelt("datasets", spelling) == name


def test_spellings_are_taken():
    assert catalogue.is_taken("models", "dnn")
    assert not catalogue.is_taken("datasets", "dnn")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0, 12345678, "a number from 0 to 12345678"),
        (0.1234567, None, "a number of at least 0.1234567"),
        (None, 1e16, "a number of at most 1e16"),
        (None, None, "a number"),
    ],
)
def test_ranges_are_written_exactly(low, high, words):
    assert OptionFacts(default=1, low=low, high=high).range() == words
