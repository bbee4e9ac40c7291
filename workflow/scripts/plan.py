"""Print what a configuration costs before it is run: its jobs, which of them are done, and mean times of past jobs."""

from gradleak.commands.plan import main
from gradleak.plan import cli

if __name__ == "__main__":
    cli.run(main)
