"""The command ``gradleak``: its subcommands, each a program of this package."""

import sys
from collections.abc import Sequence
from importlib import import_module

from gradleak import __version__
from gradleak.errors import InputError
from gradleak.plan import cli

SUBCOMMANDS = {
    "audit": "what an update of your own model gives away",
    "restore-labels": "restore the labels of clients' batches from the gradient of the last layer",
    "reconstruct": "reconstruct clients' images from their gradients",
    "diffusion-reconstruct": "reconstruct clients' images with a diffusion prior",
    "train-model": "train a victim, which the attacks above then attack",
    "train-prior": "train a diffusion prior",
    "plan": "what the grid of a configuration costs before it is run (in a checkout of gradleak)",
}
"""Name -> summary. The module of a subcommand has its name with underscores, and its ``main`` takes the arguments."""


def main() -> None:
    """Run the subcommand that the command line of this process names."""
    given = sys.argv[1:]
    name = given[0].replace("_", "-") if given else ""
    if name in SUBCOMMANDS:
        program = f"gradleak.commands.{name.replace('-', '_')}"
        cli.run(lambda argv: import_module(program).main(argv), given[1:], name=f"gradleak {name}")
    else:
        cli.run(_without_subcommand, name="gradleak")


def _without_subcommand(argv: Sequence[str]) -> None:
    """Answer ``--help`` and ``--version``, and refuse everything else."""
    known = ", ".join(SUBCOMMANDS)
    if not argv:
        raise InputError(f"name a subcommand: {known} (see --help)")
    if argv[0] in ("-h", "--help"):
        print(_help())
    elif argv[0] == "--version":
        print(f"gradleak {__version__}")
    else:
        raise InputError(f"unknown subcommand {argv[0]!r}; known: {known}")


def _help() -> str:
    width = max(map(len, SUBCOMMANDS)) + 2
    lines = [f"  {name:<{width}}{summary}" for name, summary in SUBCOMMANDS.items()]
    return "\n".join(
        [
            "usage: gradleak SUBCOMMAND [OPTION ...]",
            "",
            "Gradient leakage in federated learning.",
            "",
            *lines,
            "",
            "gradleak SUBCOMMAND --help lists the options of a subcommand.",
        ]
    )
