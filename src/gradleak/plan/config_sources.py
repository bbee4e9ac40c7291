"""Config files: which of them sets a key, and faults that Snakemake does not report."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gradleak.errors import InputError

_INT = "tag:yaml.org,2002:int"

_DECEPTIVE = re.compile(r"[-+]?(0[0-7_]+|.*:.*)")
"""Octal numbers, such as 012, and those of base 60, such as 1:30."""


class Sources:
    """The files that a configuration was merged from, so that messages can name the file of a fault.

    Args:
        files: name -> parsed YAML, in the order of merging (later files win).
    """

    def __init__(self, files: Mapping[str, Any]) -> None:
        self.files = files

    @classmethod
    def read(cls, paths: Sequence[Path]) -> "Sources":
        """Read config files only to know which file has which key: Snakemake has already read and merged them.

        Raises:
            InputError: a file cannot be read, is not a mapping, or repeats a key, of which YAML would keep the last;
                the message names every such key.
        """
        folder = Path.cwd()
        names = [str(path.relative_to(folder) if path.is_relative_to(folder) else path) for path in paths]
        return cls({name: _read(path, name) for name, path in zip(names, paths, strict=True)})

    def of(self, key: str) -> str:
        """Return the file that sets a dotted key, or else its longest prefix that a file sets."""
        best, depth = "config", -1
        for name, values in self.files.items():
            reached, rest = 0, key
            while isinstance(values, Mapping):
                # Names may contain dots themselves, such as dp-0.01.
                here = {str(part): value for part, value in values.items()}
                fits = [part for part in here if f"{rest}.".startswith(f"{part}.")]
                if not fits:
                    break
                part = max(fits, key=len)
                values, rest, reached = here[part], rest[len(part) + 1 :], reached + 1
            if reached >= depth:
                best, depth = name, reached
        return best

    def fault(self, key: str, text: str) -> str:
        """Return one line: file, key, what is wrong."""
        return f"{self.of(key)}: {key}: {text}"


def _read(path: Path, name: str) -> Mapping[str, Any]:
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        # Checked before merge keys (<<) are resolved, which may repeat a key on purpose.
        faults = [] if root is None else list(_faults(loader, root, "", set()))
        values = None if root is None or faults else loader.construct_document(root)
    except OSError as error:
        raise InputError(f"{name}: {(error.strerror or 'cannot be read')}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: is not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise InputError(f"{name}: is nested too deeply") from error
    if faults:
        raise InputError("\n".join(f"{name}: {fault}" for fault in faults))
    if not isinstance(values, Mapping):
        raise InputError(f"{name}: a config file must be a mapping of keys to values")
    return values


def _faults(loader: yaml.SafeLoader, node: yaml.Node, above: str, seen: set[int]) -> Iterator[str]:
    """Yield repeated keys of mappings with their lines, and numbers that YAML 1.1 does not read as they look.

    A node that aliases share is visited once.
    """
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode) and _DECEPTIVE.fullmatch(node.value) and node.tag == _INT:
        line, read = node.start_mark.line + 1, loader.construct_object(node)
        yield f"{above[:-1]}: YAML reads {node.value} in line {line} as {read}; write it in decimals"
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _faults(loader, item, f"{above}{number}.", seen)
    if isinstance(node, yaml.MappingNode):
        lines: dict[Any, int] = {}
        for key_node, value_node in node.value:
            merges = key_node.tag == "tag:yaml.org,2002:merge"
            if isinstance(key_node, yaml.ScalarNode) and not merges:
                key, line = loader.construct_object(key_node), key_node.start_mark.line + 1
                if key in lines:
                    yield f"{above}{key_node.value}: appears twice, in lines {lines[key]} and {line}; keep one"
                lines[key] = line
            yield from _faults(loader, value_node, f"{above}{getattr(key_node, 'value', '')}.", seen)
