"""Settings for tests, from short words such as ``fcn-n_hidden=3``, ``iter100``, ``balanced-32`` or ``dp-0.01@all``."""

import json
import re
from dataclasses import asdict
from typing import Any

from gradleak.records import Setting


def columns(
    dataset: str,
    model: str,
    batch_size: int,
    *,
    stage: str = "untrained",
    distribution: str = "random",
    defense: str = "none",
    aggregated: int = 0,
) -> dict[str, Any]:
    """Return the columns of a setting; a defense is of the last layer unless it ends in ``@all``."""
    model, *options = model.split("-")
    name, _, classes = distribution.partition("-")
    unit, number = re.findall(r"([a-z]+)(\d+)", stage)[0] if stage != "untrained" else ("", 0)
    defense, _, scope = defense.partition("@")
    return asdict(
        Setting(
            dataset=dataset,
            model=model,
            model_options=json.dumps(dict(map(_option, options)), separators=(",", ":")),
            stage_unit=unit,
            stage_number=int(number),
            batch_size=batch_size,
            aggregated=aggregated,
            distribution=name,
            distribution_classes=int(classes or 0),
            defense=defense,
            defense_scope="" if defense == "none" else scope or "head",
        )
    )


def _option(word: str) -> tuple[str, Any]:
    name, equals, number = word.partition("=")
    if equals:
        return name, int(number)
    return (word, True) if word in ("batchnorm", "dropout") else ("activation", word)
