"""Make a LaTeX table of the metrics of a reconstruction run and, optionally, of a diffusion-guided one.

The folders are those that reconstruct.py and diffusion_reconstruct.py print at the end. The table needs the LaTeX
package booktabs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from gradleak.plan import cli
from gradleak.records import write_text
from gradleak.report.run_table import MetricsTable, read_run, table
from gradleak.report.tables.render import to_latex

_TEMPLATE = Path(__file__).parents[2] / "paper" / "templates" / "table.tex.j2"


def main(argv: Sequence[str]) -> None:
    """Make the table for the options in ``argv``."""
    spec = cli.parse(MetricsTable, argv, description=__doc__)
    made = table([read_run(folder) for folder in spec.folders], per_batch=spec.per_batch)
    text = to_latex(made, "metrics", _TEMPLATE)
    if spec.output is None:
        print(text, end="")
        return
    write_text(spec.output, text)
    print(f"table: {spec.output}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main)
