"""Write workflow/schemas/config.schema.json from the configuration's types."""

import json
from pathlib import Path

from gradleak.plan.config import schema
from gradleak.records import write_text

PATH = Path(__file__).parents[1] / "schemas" / "config.schema.json"

if __name__ == "__main__":
    write_text(PATH, json.dumps(schema(), indent=2) + "\n")
