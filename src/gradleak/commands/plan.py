"""Print what a configuration costs before it is run: its jobs, which of them are done, and mean times of past jobs."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gradleak.errors import InputError
from gradleak.plan import cli
from gradleak.records import check_output, whole_file

_DEFAULT = Path("config/config.yaml")


def _cores(value: str) -> int:
    count = len(os.sched_getaffinity(0)) if value == "all" else int(value)
    if count < 1:
        raise ValueError
    return count


_cores.__name__ = "number of cores"


def main(argv: Sequence[str]) -> None:
    """Print the plan of the configuration that ``argv`` names."""
    parser = cli.Parser(__doc__)
    merged = f"config files merged over {_DEFAULT}, in order"
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], metavar="FILE", help=merged)
    parser.add_argument("--cores", type=_cores, default="all", metavar="N", help="a number or all (default: all)")
    parser.add_argument(
        "--device", metavar="NAME", help="device of the past jobs to average over, e.g. cuda (default: where most ran)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="CSV file to write, one row per job (default: none)"
    )
    options = parser.parse_args(argv)
    # Imported only now, so that --help and wrong options answer at once.
    from gradleak.plan.config_files import read_grid
    from gradleak.plan.cost.costs import costs_of, text

    if not _DEFAULT.is_file():
        raise InputError(f"{_DEFAULT}: no such file here; run this in a checkout of gradleak")
    if options.output is not None:
        check_output(options.output)
    grid = read_grid([_DEFAULT, *options.configfile])
    costs = costs_of(grid, Path("results"), options.device)
    if options.output is not None:
        with whole_file(options.output) as temporary:
            table = costs.jobs.assign(experiments=costs.jobs["experiments"].map(" ".join))
            table.to_csv(temporary, index=False, float_format="%.1f", lineterminator="\n")
        print(f"jobs: {options.output}", file=sys.stderr)
    print(text(costs, options.cores))
