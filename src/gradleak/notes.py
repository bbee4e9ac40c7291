"""Notes on standard error about what a run cannot do or does in an unexpected way; none of them stops it."""

import sys
from functools import cache


@cache
def note(text: str) -> None:
    """Print a line unless it was printed before, so every try and client may call this."""
    print(f"note: {text}", file=sys.stderr)
