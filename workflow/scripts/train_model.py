"""Train a victim up to a stage: the checkpoint that experiments on trained victims attack."""

from gradleak.commands.train_model import main
from gradleak.plan import cli

if __name__ == "__main__":
    cli.run(main)
