"""The catalogue of kinds is in step with the code that registers them."""

from gradleak.attacks.labels.all import names
from gradleak.attacks.labels.base import declared
from gradleak.data.batches import DRAWS
from gradleak.plan import catalogue as facts
from gradleak.report.figures.all import kinds as figure_kinds
from gradleak.report.tables.all import kinds as table_kinds


def test_facts_are_the_registries():
    assert list(facts.LABEL_METHODS) == names()
    assert {name: set(gives) for name, gives in facts.GIVES.items()} == {name: declared(name).gives for name in names()}
    assert set(facts.DISTRIBUTIONS) == set(DRAWS)
    assert sorted(facts.TABLES) == table_kinds()
    assert sorted(facts.FIGURES) == figure_kinds()
