"""Options in messages as the user typed them; types and checks know only the names of their fields."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence

_FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def _name(flag: str) -> str:
    return flag[2:].replace("-", "_")


def as_keys(message: str) -> str:
    """Return a message whose flags are written as keys of a configuration: ``--save-dir`` -> ``save_dir``."""
    return _FLAG.sub(lambda match: _name(match[0]), message)


class Spelling:
    """How the user spelled the options of one command line.

    Args:
        argv: the command line.
        fields: names of the options in types and checks, e.g. ``batch_size``.
        synonyms: other names of options on the command line, and the field that each stands for.
    """

    def __init__(self, argv: Sequence[str], fields: Collection[str] = (), synonyms: Mapping[str, str] | None = None):
        self._synonyms = dict(synonyms or {})
        flags = [argument.partition("=")[0] for argument in argv]
        self._typed = {_name(flag): flag for flag in flags if _FLAG.fullmatch(flag)}
        self._stands_for = {self._synonyms.get(name, name): flag for name, flag in self._typed.items()}
        names = sorted({*fields, *(f"no_{name}" for name in fields)}, key=len, reverse=True)
        # Not inside paths, file names and other words.
        self._word = re.compile(rf"(?<![\w./-])({'|'.join(map(re.escape, names))})(?![\w/-]|\.\w)") if names else None

    def flag(self, field: str) -> str:
        """``batch_size`` -> ``--batch-size``, or what the user typed for it."""
        usual = "--" + field.replace("_", "-")
        return self._typed.get(field) or self._stands_for.get(self._synonyms.get(field, field), usual)

    def flags(self, message: str) -> str:
        """Return a message in which flags, and names that can only be fields, are written as the user typed them."""
        message = _FLAG.sub(lambda match: self.flag(_name(match[0])), message)
        return self._fields(message, lambda name: "_" in name)

    def statement(self, message: str) -> str:
        """Do the same for the message of a check of several options, which begins with their names.

        There even plain words are options (``checkpoint and stage cannot be combined: ...``); elsewhere such words are
        prose.
        """
        names = re.match(r"\w+(?:(?:, | and | or )\w+)*", message)
        end = names.end() if names else 0
        return self.flags(self._fields(message[:end], lambda name: True) + message[end:])

    def _fields(self, text: str, wanted: Callable[[str], bool]) -> str:
        if self._word is None:
            return text
        return self._word.sub(lambda match: self.flag(match[1]) if wanted(match[1]) else match[0], text)
