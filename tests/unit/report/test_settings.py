"""Parts of a setting, and their words."""

from tests.cells import columns

from gradleak.records import CELL
from gradleak.report import settings
from gradleak.report.settings import is_usual, model_of, part_of, without, words_of
from gradleak.report.tables.base import Labels

LABELS = Labels(model={"fcn-n_hidden=3": "FCN-5"}, defense={"clip-4+dp-0.01": "clipping + noise"})
PLAIN = columns("mnist", "fcn", 8)


def test_every_column_belongs_to_one_part():
    assert sorted(name for part in settings.PARTS for name in settings.columns_of(part)) == sorted(CELL)
    assert part_of(PLAIN, *settings.PARTS) == tuple(PLAIN.values())


def test_settings_that_differ_in_one_part_are_equal_without_it():
    early, late = (columns("mnist", "fcn", 8, stage=stage) for stage in ("epoch9", "iter10"))
    assert without(early, "stage") == without(late, "stage") == without(PLAIN, "stage")
    assert without(early, "defense") != without(late, "defense")


def test_defaults_are_usual():
    odd = columns("mnist", "fcn", 8, stage="iter1", distribution="balanced-4", defense="dp-1", aggregated=2)
    for part in ("stage", "distribution", "defense", "aggregated"):
        assert is_usual(PLAIN, part)
        assert not is_usual(odd, part)


def test_a_setting_in_words():
    cell = columns(
        "mnist", "fcn-n_hidden=3", 8, stage="iter1", distribution="sim-5", defense="clip-4+dp-0.01@all", aggregated=4
    )
    said = "FCN-5, mnist, B=8, sim, 5 classes, 4 clients aggregated, 1 iteration, clipping + noise (all layers)"
    assert LABELS.setting(cell) == said
    assert LABELS.setting(cell, without=("dataset", "stage", "defense")) == (
        "FCN-5, B=8, sim, 5 classes, 4 clients aggregated"
    )
    assert LABELS.setting(PLAIN) == "fcn, mnist, B=8"
    assert LABELS.where(PLAIN) == ""


def test_stages_in_words():
    stages = {"untrained": "untrained", "epoch1": "1 epoch", "iter100": "100 iterations"}
    for stage, words in stages.items():
        assert words_of(columns("mnist", "fcn", 8, stage=stage), "stage") == words
    assert words_of(PLAIN | {"checkpoint": "01234567"}, "stage") == "checkpoint-01234567"


def test_models_have_the_names_of_the_configuration():
    for model in ("fcn", "fcn-n_hidden=3-n_dim=10", "lenet5-silu", "vgg16-dropout"):
        assert model_of(columns("mnist", model, 8)) == model
