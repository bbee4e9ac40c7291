"""Texts of users in Markdown: no tag, no line break, no cell too many."""

import pytest

from gradleak.report import markdown


@pytest.mark.parametrize(
    ("text", "plain", "cell"),
    [
        ("a </b>\n| c", "a \\</b> | c", "a \\</b> \\| c"),
        ("a \\<b> \\| c", "a \\\\\\<b> \\| c", "a \\\\\\<b> \\\\\\| c"),  # an escaped backslash, then an escaped letter
        ("a \\n b", "a \\n b", "a \\n b"),
    ],
)
def test_letters_that_would_begin_something_are_escaped(text, plain, cell):
    assert markdown.plain(text) == plain
    assert markdown.cell(text) == cell
