"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """Bad input: the message is one line that says what is wrong, where, and what would be right.

    Programs print the message without a traceback and exit with status 2.
    """
