"""Reconstruct clients' images from the gradients that they share."""

from gradleak.commands.reconstruct import main
from gradleak.plan import cli

if __name__ == "__main__":
    cli.run(main)
