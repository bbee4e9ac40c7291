"""Audit an update of your own model: what it gives away, how sure that is, and what would stop it.

The model is any torch.nn.Module that ends in a linear layer; the update is a gradient or a change of its weights. Every
attack that applies is run, and a report is written: audit.json, audit.md, audit.html and, where TeX is installed,
audit.pdf. Exit status: 0 if nothing was found at the level of --fail-on, 1 if something was, 2 for bad input.
"""

import sys
from collections.abc import Sequence

from gradleak import interrupts
from gradleak.audit.options import AuditOptions
from gradleak.plan import cli


def main(argv: Sequence[str]) -> None:
    """Run an audit for the options in ``argv``; exits with status 1 if something was found."""
    options = cli.parse(AuditOptions, argv, description=__doc__)
    # Imported only now, so that --help and wrong options answer at once.
    from gradleak.audit.cases import cases
    from gradleak.audit.document import verdict
    from gradleak.audit.measure import Pixels
    from gradleak.audit.report import write
    from gradleak.audit.run import audit
    from gradleak.records import check_place

    check_place(options.output / "audit.json", f"--output {options.output}")
    found = False
    for case in cases(options):
        result = audit(case.model, case.update, case.told, case.truth, progress=options.progress)
        with interrupts.held():  # all files of a report, or none
            pixels = Pixels(case.told.mean, case.told.std)
            files = write(result, case.output, pictures=options.pictures, pixels=pixels, pdf=options.pdf)
        print(f"{result.source}: {verdict(result)}")
        print(f"report: {', '.join(map(str, files))}", file=sys.stderr)
        if result.interrupted:
            raise KeyboardInterrupt
        found |= result.fails(options.fail_on)
    if found:
        sys.stdout.flush()
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
