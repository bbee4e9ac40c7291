"""Lines on standard error about what a run cannot do, or does otherwise than one may think; none stops it."""

import sys
from functools import cache


@cache
def note(text: str) -> None:
    """Print a line; what was said already is not said again, so tries and clients may repeat it."""
    print(f"note: {text}", file=sys.stderr)
