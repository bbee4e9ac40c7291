"""Audit an update of your own model: what it gives away, how sure that is, and what would stop it.

The model is any torch.nn.Module that ends in a linear layer; the update is a gradient or a change of its weights. Every
attack that applies is run, and a report is written: audit.json, audit.md, audit.html and, where TeX is installed,
audit.pdf. It runs on the CPU. Exit status: 0 if nothing was found at the level of --fail-on, 1 if something was, 2 for
bad input; of a folder, 1 if something was found in any update, else 2 if one could not be audited.
"""

import sys
from collections.abc import Sequence

from gradleak import interrupts
from gradleak.audit.options import AuditOptions
from gradleak.errors import InputError
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
    found, refused = False, []
    every = cases(options)
    for case in every:
        try:
            read = case.read()
            result = audit(read.model, read.update, read.told, read.truth, progress=options.progress)
        except InputError as error:
            refused.append(error)
            if len(every) > 1:  # one that cannot be read does not end the audit of the others
                print(f"not audited: {cli.as_typed(error)}", file=sys.stderr)
            continue
        with interrupts.held():  # all files of a report, or none
            pixels = Pixels(read.told.mean, read.told.std)
            files = write(result, case.output, pictures=options.pictures, pixels=pixels, pdf=options.pdf)
        print(f"{result.source}: {verdict(result)}")
        print(f"report: {', '.join(map(str, files))}", file=sys.stderr)
        if result.interrupted:
            raise KeyboardInterrupt
        found |= result.fails(options.fail_on)
    if found:
        sys.stdout.flush()
        sys.exit(1)
    if refused:
        raise refused[0] if len(every) == 1 else InputError(_not_audited(len(refused), len(every)))


def _not_audited(number: int, of: int) -> str:
    others = "" if number == of else ", and nothing was found in the others"
    return f"{number} of {of} updates could not be audited, as said above{others}"
