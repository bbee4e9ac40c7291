"""Restore the labels of a client's batches from the gradient of the last layer.

Each try draws a batch, computes the head gradient that the client would send, gives every method the same observation,
and compares the guesses with the truth. Results: a long metrics CSV and run.json beside it.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from gradleak import interrupts
from gradleak.plan import cli, plugins
from gradleak.plan.aliases import RestoreLabelsShorthand
from gradleak.plan.code import code_of
from gradleak.plan.jobs.labels import RestoreLabels


def main(argv: Sequence[str]) -> None:
    """Run label restoration for the options in ``argv``."""
    spec = cli.parse(RestoreLabels, argv, shorthand=RestoreLabelsShorthand, description=__doc__)
    # Imported only now, so that --help and wrong options answer at once.
    from gradleak.provenance import Clock, write_results
    from gradleak.records import check_output, check_place
    from gradleak.runs.labels import restore

    plugins.load(spec.modules)
    output = spec.output or Path("outputs") / spec.exp_name / f"{spec.run_id.replace('/', '_')}.csv"
    if spec.output is not None:
        check_output(output)
    check_place(output, f"--exp-name {spec.exp_name}")
    clock = Clock(code_of(spec))
    result = restore(spec)
    with interrupts.held():  # the record must belong to these metrics
        about = {"run": spec.run_id, "device": result.device, "side_knowledge": spec.told()}
        write_results(output, result.rows, spec, clock, **about)
    width = max(16, *(len(method) + 2 for method in result.methods))
    for method in result.methods:
        values = {
            name: [
                row.value for row in result.rows if row.method == method and row.metric == name and row.status == "ok"
            ]
            for name in ("leacc", "lnacc", "irec", "probability_cosine")
        }
        shown = "  ".join(f"{name} {fmean(series):.3f}" for name, series in values.items() if series)
        why = {row.trial: row.status for row in result.rows if row.method == method and row.status != "ok"}
        lost = "".join(f", {number} {status}" for status, number in Counter(why.values()).items())
        print(f"{method:<{width}}{shown}  ({spec.num_tries} tries{lost})")
    print(f"metrics: {output}", file=sys.stderr)
