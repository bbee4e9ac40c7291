"""Texts of users in Markdown, which may hold HTML."""

import re


def plain(text: object) -> str:
    """Return a text on one line in which ``<`` opens no tag."""
    return _escaped(" ".join(str(text).splitlines()), "<")


def cell(text: object) -> str:
    """Return the same for a cell of a table, in which ``|`` ends nothing."""
    return _escaped(plain(text), "|")


def _escaped(text: str, letter: str) -> str:
    # Backslashes in front of it are doubled: otherwise they would escape the one that is added.
    return re.sub(rf"(\\*)({re.escape(letter)})", r"\1\1\\\2", text)
