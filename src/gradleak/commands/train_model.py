"""Train a victim up to a stage: the checkpoint that experiments on trained victims attack.

Written under --checkpoint-dir, in a folder named by data set, model, stage and seed:
model.safetensors, train.json and history.csv. A killed training resumes where it stopped.
"""

import sys
from collections.abc import Sequence

from gradleak.plan import cli, plugins
from gradleak.plan.aliases import TrainVictimShorthand
from gradleak.plan.jobs.training import TrainVictim


def main(argv: Sequence[str]) -> None:
    """Train the victim that the options in ``argv`` name."""
    spec = cli.parse(TrainVictim, argv, shorthand=TrainVictimShorthand, description=__doc__)
    # Imported only now, so that --help and wrong options answer at once.
    from gradleak.records import check_output, check_place, write_text
    from gradleak.victims.training import train

    check_place(spec.weights, f"--checkpoint-dir {spec.checkpoint_dir}")
    if spec.output is not None:
        check_output(spec.output)
    plugins.load(spec.modules)
    trained = train(spec)
    if spec.output is not None:
        write_text(spec.output, (spec.folder / "history.csv").read_text(encoding="utf-8"))
    print(
        f"{spec.stage:<16}accuracy {trained.accuracy:.4f}  loss {trained.loss:.4f}  "
        f"train loss {trained.train_loss:.4f}  ({trained.steps} steps)"
    )
    print(f"checkpoint: {trained.weights}", file=sys.stderr)
