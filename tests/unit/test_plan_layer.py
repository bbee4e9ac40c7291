"""The plan layer: quick to import, and in step with what it describes."""

import json
import subprocess
import sys
from pathlib import Path

from gradleak.attacks.labels.all import names
from gradleak.data.batches import DRAWS
from gradleak.plan import catalogue as facts
from gradleak.plan import config as configuration
from gradleak.report.figures.all import kinds as figure_kinds
from gradleak.report.tables.all import kinds as table_kinds

ROOT = Path(__file__).parents[2]
PLAN_LAYER = (
    *("spec", "options", "training_spec", "attack_spec", "label_spec", "image_spec", "diffusion_spec"),
    *("axes", "grid", "grid_checks", "config", "cli", "shorthand", "facts", "paths", "streams"),
    *(
        "plugins",
        "plugin_facts",
        "records",
        "provenance",
        "published",
        "measured",
        "quoted",
        "statistics",
        "tex",
        "script_jobs",
    ),
    *("tables.all", "figures.all"),
)


def test_the_plan_layer_never_imports_torch():
    imports = "; ".join(f"import gradleak.{name}" for name in PLAN_LAYER)
    code = f"{imports}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_facts_are_the_registries():
    assert list(facts.LABEL_METHODS) == names()
    assert set(facts.DISTRIBUTIONS) == set(DRAWS)
    assert sorted(facts.TABLES) == table_kinds()
    assert sorted(facts.FIGURES) == figure_kinds()


def test_the_schema_file_is_generated():
    """Repair with: python workflow/scripts/write_schema.py."""
    path = ROOT / "workflow" / "schemas" / "config.schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == configuration.schema()


def test_config_readme_explains_every_key():
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    definitions = configuration.schema()["$defs"]
    keys = set(configuration.schema()["properties"]) | {
        key for part in definitions.values() for key in part.get("properties", {})
    }
    missing = sorted(key for key in keys if f"`{key}`" not in text)
    assert not missing
