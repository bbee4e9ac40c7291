"""The one exception that a user's mistake raises, and those of damaged files."""

import zipfile
import zlib

DAMAGED_ARCHIVE = (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What ``numpy.load`` raises for a file that is not an archive of plain arrays, depending on which bytes are wrong."""


class InputError(ValueError):
    """Bad input: the message is one line that says what is wrong, where, and what would be right.

    Programs print the message without a traceback and exit with status 2.
    """
