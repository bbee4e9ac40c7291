"""Plug-ins declared and loaded by a test are forgotten after it, so that no other test meets their kinds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradleak.attacks.labels.all

# The built-in kinds register when their modules are imported, which is once: before the first look at a registry.
import gradleak.clients.defenses.all
import gradleak.report.figures.all
import gradleak.report.tables.all  # noqa: F401
from gradleak.attacks.images import objectives
from gradleak.attacks.labels import base as labels
from gradleak.clients.defenses import base as defenses
from gradleak.data import datasets
from gradleak.plan import catalogue as facts
from gradleak.plan import model_options as options
from gradleak.plan import plugins
from gradleak.report.figures import base as figures
from gradleak.report.tables import base as tables
from gradleak.victims.models import build

_TABLES: list[Any] = [
    *(facts.DATASETS, facts.DEFENSES, facts.LABEL_METHODS, facts.OBJECTIVES),
    *(facts.TABLES, facts.FIGURES, facts.SHOWS_IMAGES),
    *(options.OPTIONS, options.ACTIVATIONS, options.SMALLEST),
    *(datasets.LOADERS, build.REGISTRY, labels._METHODS, defenses._DEFENSES),
    *(objectives._PER_PARAMETER, tables._BUILDERS, figures._KINDS),
    *(plugins._DECLARED, plugins._LOADED),
]


@contextmanager
def forgotten() -> Iterator[None]:
    """Put all tables of facts and registries back as they were."""
    before = [table.copy() for table in _TABLES]
    try:
        yield
    finally:
        for table, content in zip(_TABLES, before, strict=True):
            table.clear()
            (table.extend if isinstance(table, list) else table.update)(content)
