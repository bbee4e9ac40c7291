"""Restore the labels of a client's batches from the gradient of the last layer."""

from gradleak.commands.restore_labels import main
from gradleak.plan import cli

if __name__ == "__main__":
    cli.run(main)
