"""Kinds from files outside this package, named in the configuration by ``module``.

The plan must know some facts of a kind but must not import torch, as a plug-in may. So a plug-in declares them as a
literal, which is read without running the file::

    FACTS = {"defenses": {"quantise": {"strength": "bits", "high": 16}}}

Its kinds are then in the catalogue (:mod:`gradleak.plan.catalogue`) beside the built-in ones; ``object`` names the
function or class in the file that implements a kind, by default the kind's name with underscores. See
:mod:`gradleak.plan.catalogue.facts` for the other keys, and ``docs/extending.md``.
"""

import ast
import hashlib
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, create_model

from gradleak.code_digest import executed
from gradleak.errors import InputError
from gradleak.plan.catalogue import ENTERED, PARTS, Facts, Kind, Part, is_taken, source_of

_Declared: Any = create_model(
    "_Declared",
    __config__=ConfigDict(extra="forbid"),
    **{part: (dict[str, facts], Field(default_factory=dict)) for part, facts in PARTS.items()},  # pyright: ignore
)
"""Everything that a plug-in declares, by part."""

# A hyphen separates a defense from its strength and a model from its options; a data set's name is in file names.
_SEPARATORS = {"datasets": "-", "defenses": "_", "models": "_", "metrics": "_"}


@dataclass(frozen=True)
class Plugin:
    """A plug-in as it was first read, so that the code that runs matches the run ids even if the file is edited.

    Attributes:
        path: as the user wrote it.
        text: its source code.
        facts: its declarations, by part and name.
        digest: eight hex digits that identify its executed code.
    """

    path: str
    text: str
    facts: Mapping[Part, Mapping[str, Facts]]
    digest: str

    def kinds(self) -> Iterator[tuple[Part, str, Facts]]:
        """Yield part, name and facts of every kind."""
        for part, kinds in self.facts.items():
            for name, facts in kinds.items():
                yield part, name, facts

    @cached_property
    def place(self) -> Path:
        """Its file."""
        return Path(self.path).resolve()

    @cached_property
    def module(self) -> ModuleType:
        """The module, executed once from the text that was read."""
        module = ModuleType(f"gradleak_plugin_{self.digest}")
        module.__file__ = str(self.place)
        sys.modules[module.__name__] = module  # as dataclasses and pickle expect
        try:
            with chdir("."):
                exec(compile(self.text, str(self.place), "exec", dont_inherit=True), module.__dict__)
        except (Exception, SystemExit) as error:
            del sys.modules[module.__name__]
            raise InputError(fault(self.path, error)) from error
        return module

    def load(self, part: Part, name: str) -> Any:
        """Return the object of a kind.

        Raises:
            InputError: the file fails, or has no such object; one line.
        """
        wanted = self.facts[part][name].object or name.replace("-", "_")
        target = getattr(self.module, wanted, None)
        if not callable(target):
            what = "is not a function or class" if hasattr(self.module, wanted) else "does not exist"
            raise InputError(
                f'{self.path}: FACTS.{part}.{name}: {wanted} {what}; name the function or class with "object"'
            )
        return target


def enter(paths: Iterable[str]) -> None:
    """Register the kinds of plug-ins in the catalogue of this process without running them; idempotent.

    Programs call this first, for the plug-ins that their command line or configuration names.

    Raises:
        InputError: no such file, invalid Python, missing or invalid FACTS, or a name that is taken; one line.
    """
    for path in paths:
        if _entered(path) is not None:
            continue
        plugin = _read(path)
        for part, name, _ in plugin.kinds():
            if is_taken(part, name):
                other = source_of(part, name)
                owner = "gradleak" if other is None else other.path
                raise InputError(f"{path}: FACTS.{part}.{name}: {owner} already has this name; choose another")
        ENTERED.append(plugin)


def load(paths: Iterable[str]) -> None:
    """Run plug-ins and load what they declare, so that faults show before the work begins.

    Raises:
        InputError: see :func:`enter`; or the file fails or lacks an object that it declares; one line.
    """
    paths = list(paths)
    enter(paths)
    for path in paths:
        plugin = plugin_at(path)
        for part, name, _ in plugin.kinds():
            plugin.load(part, name)


def plugin_at(path: str) -> Plugin:
    """Return a registered plug-in.

    Raises:
        InputError: it is not registered.
    """
    plugin = _entered(path)
    if plugin is None:
        raise InputError(f"{path}: is not in the catalogue; call gradleak.plan.plugins.enter first")
    return plugin


def _entered(path: str) -> Any:
    place = Path(path).resolve()
    return next((plugin for plugin in ENTERED if isinstance(plugin, Plugin) and plugin.place == place), None)


def used(kinds: Iterable[Kind]) -> tuple[str, ...]:
    """Return the files of the plug-ins that provide some kinds, sorted."""
    if not ENTERED:
        return ()
    sources = (source_of(part, name) for part, name in kinds)
    return tuple(sorted({plugin.path for plugin in sources if plugin is not None}))


def digests(paths: Iterable[str]) -> list[str]:
    """Return the digests of registered plug-ins, sorted: neither their paths nor their order count."""
    return sorted({plugin_at(path).digest for path in paths})


@contextmanager
def guarded(part: Part, name: str, what: str) -> Iterator[None]:
    """Turn anything that the code of a plug-in raises, even SystemExit, into one line; built-in kinds keep tracebacks.

    Afterwards the working folder is the one of before, since relative paths of the job start there.

    Args:
        part: the part of the catalogue that has the kind.
        name: the name of the kind.
        what: its name in messages, e.g. ``defense quantise-2``.

    Raises:
        InputError: the code failed.
    """
    plugin = source_of(part, name)
    try:
        with chdir("."):
            yield
    except (InputError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if plugin is None:
            raise
        raise InputError(f"{what}: {fault(plugin.path, error)}") from error


def fault(path: str, error: BaseException) -> str:
    """Return one line for an error in the code of a plug-in: file, line and message."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(Path(path).resolve())]
    where = f"{path}:{lines[-1]}" if lines else path
    return f"{where}: {type(error).__name__}: {' '.join(str(error).split())}"


def _read(path: str) -> Plugin:
    if Path(path).suffix != ".py" or "," in path:
        raise InputError(f"{path}: is not a plug-in: name a .py file, without a comma in its path")
    try:
        text = Path(path).read_text(encoding="utf-8")
        tree = ast.parse(text)
    except OSError as error:
        raise InputError(
            f"{path}: {(error.strerror or 'cannot be read').lower()}; paths start at the project"
        ) from error
    except SyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: is not valid Python: {error.msg}") from error
    except ValueError as error:  # not UTF-8, or null bytes
        raise InputError(f"{path}: is not valid Python: {error}") from error
    facts = _facts(path, tree)
    return Plugin(path, text, facts, hashlib.sha256(executed(tree).encode()).hexdigest()[:8])


def _facts(path: str, tree: ast.Module) -> Mapping[Part, Mapping[str, Facts]]:
    """Return the literal FACTS of a plug-in."""
    given = None
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == "FACTS" for target in targets):
            given = node.value  # pyright: ignore[reportAttributeAccessIssue]
    example = 'FACTS = {"attacks": {"mine": {}}}'
    if given is None:
        raise InputError(f"{path}: has no FACTS; declare its kinds at module level, for example {example}")
    for line, key in _repeated(given):
        raise InputError(f"{path}:{line}: FACTS: {key!r} appears twice in one dictionary; keep one")
    try:
        declared = _Declared.model_validate(ast.literal_eval(given))
    except ValidationError as error:
        raise InputError(f"{path}: {'; '.join(map(_fault, error.errors()))}") from error
    except (ValueError, TypeError) as error:
        what = "must be a literal, since it is read without running the file"
        raise InputError(f"{path}:{given.lineno}: FACTS {what}, for example {example}") from error
    facts: dict[Part, dict[str, Facts]] = {part: getattr(declared, part) for part in PARTS if getattr(declared, part)}
    if not facts:
        raise InputError(f"{path}:{given.lineno}: FACTS declares no kinds; use, for example, {example}")
    for part, kinds in facts.items():
        for name in kinds:
            _check_name(path, part, name)
    return facts


def _repeated(literal: ast.expr) -> Iterator[tuple[int, object]]:
    """Yield line and key of repeated keys, of which Python would keep the last."""
    for node in ast.walk(literal):
        seen = set()
        for key in (each for each in getattr(node, "keys", ()) if isinstance(each, ast.Constant)):
            if key.value in seen:
                yield key.lineno, key.value
            seen.add(key.value)


def _check_name(path: str, part: str, name: str) -> None:
    between = _SEPARATORS.get(part, "_-")
    if not re.fullmatch(rf"[a-z][a-z0-9]*([{between}][a-z0-9]+)*", name):
        words = " or ".join({"_": "underscores", "-": "hyphens"}[mark] for mark in between)
        raise InputError(f"{path}: FACTS.{part}.{name}: use lower-case letters and digits, with {words} between")


def _fault(fault: object) -> str:
    assert isinstance(fault, dict)
    where = ".".join(["FACTS", *map(str, fault["loc"])])
    given = "" if isinstance(fault["input"], dict) else f" (given: {fault['input']!r})"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}{given}"
