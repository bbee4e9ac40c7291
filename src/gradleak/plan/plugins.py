"""Kinds from files outside this package, which the configuration names by ``module``.

A plug-in registers its kinds by the decorators that the built-in ones have. The plan must know some facts of a kind and
must not import torch, which a plug-in may, so a plug-in states them as a literal, which is read without running it::

    FACTS = {"defenses": {"quantise": {"strength": "bits", "high": 16}}}

See :mod:`gradleak.plan.plugin_facts` for its keys, and ``docs/extending.md``.
"""

import ast
import hashlib
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from gradleak.code_digest import executed
from gradleak.errors import InputError
from gradleak.plan.plugin_facts import Facts, is_taken

# By name: imported only for the parts that a plug-in has, and views are no part of the code of a job.
_REGISTRIES = {
    "attacks": ("gradleak.attacks.labels.all", "names"),
    "objectives": ("gradleak.attacks.images.objectives", "names"),
    "datasets": ("gradleak.data.datasets", "LOADERS"),
    "models": ("gradleak.victims.models.build", "REGISTRY"),
    "defenses": ("gradleak.clients.defenses.all", "names"),
    "tables": ("gradleak.report.tables.all", "kinds"),
    "figures": ("gradleak.report.figures.all", "kinds"),
}


@dataclass(frozen=True)
class Plugin:
    """A plug-in as it was when it was first read: what runs is what the run ids name, even if the file is edited since.

    Attributes:
        path: as the user wrote it.
        text: its source.
        facts: what it declares.
        digest: eight hex digits that name its executed code.
    """

    path: str
    text: str
    facts: Facts
    digest: str


_DECLARED: dict[Path, Plugin] = {}
_LOADED: set[Path] = set()


def declare(paths: Iterable[str]) -> None:
    """Enter the facts of plug-ins, so that their kinds are known; none is run, and a second call changes nothing.

    Raises:
        InputError: no such file, no Python, no FACTS, wrong ones, or a name that is taken; one line.
    """
    for path in paths:
        place = Path(path).resolve()
        if place in _DECLARED:
            continue
        plugin = _read(path)
        for part, name, _ in plugin.facts.kinds():
            if is_taken(part, name):
                others = [other.path for other in _DECLARED.values() if name in other.facts.of(part)]
                owner = others[0] if others else "gradleak"
                raise InputError(f"{path}: FACTS.{part}.{name}: {owner} has this name already; choose another")
        for _, name, kind in plugin.facts.kinds():
            kind.enter(name)
        _DECLARED[place] = plugin


def load(paths: Iterable[str]) -> None:
    """Run plug-ins, so that their kinds can be built; a second call changes nothing.

    Raises:
        InputError: see :func:`declare`; or the file fails, or does not register what it declares; one line.
    """
    paths = list(paths)
    declare(paths)
    for path in paths:
        place = Path(path).resolve()
        if place in _LOADED:
            continue
        plugin = _DECLARED[place]
        parts = {part: _registered(part) for part, _, _ in plugin.facts.kinds()}  # built-in kinds first
        _run(plugin, place)
        for part, name, _ in plugin.facts.kinds():
            found = _registered(part)
            if name not in found:
                new = ", ".join(sorted(found - parts[part] - set(plugin.facts.of(part)))) or "nothing"
                raise InputError(f"{path}: FACTS.{part}.{name}: is not registered; the file registers {new} besides")
        _LOADED.add(place)


def used(**kinds: Iterable[str]) -> tuple[str, ...]:
    """Return the files of the plug-ins that declare any of some kinds, sorted.

    Args:
        kinds: part of FACTS -> names.
    """
    found = (
        plugin.path
        for plugin in _DECLARED.values()
        if any(name in plugin.facts.of(part) for part, names in kinds.items() for name in names)
    )
    return tuple(sorted(found))


def digests(paths: Iterable[str]) -> list[str]:
    """Return the digests of declared plug-ins, sorted: neither their places nor their order count."""
    return sorted({_DECLARED[Path(path).resolve()].digest for path in paths})


def facts_of(path: str) -> Facts:
    """Return what a declared plug-in declares."""
    return _DECLARED[Path(path).resolve()].facts


@contextmanager
def guarded(part: str, name: str, what: str) -> Iterator[None]:
    """Make one line of whatever the code of a plug-in raises, SystemExit too; built-in kinds keep their tracebacks.

    Args:
        part: of FACTS that the kind is in.
        name: of the kind.
        what: how messages call it, e.g. ``defense quantise-2``.

    Raises:
        InputError: the code failed.
    """
    files = used(**{part: [name]})
    try:
        yield
    except (InputError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if not files:
            raise
        raise InputError(f"{what}: {fault(files[0], error)}") from error


def fault(path: str, error: BaseException) -> str:
    """Return one line for an error in the code of a plug-in: its file, the line there, and what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(Path(path).resolve())]
    where = f"{path}:{lines[-1]}" if lines else path
    return f"{where}: {type(error).__name__}: {' '.join(str(error).split())}"


def _read(path: str) -> Plugin:
    if Path(path).suffix != ".py" or "," in path:
        raise InputError(f"{path}: is no plug-in: name a .py file, without a comma in its path")
    try:
        text = Path(path).read_text(encoding="utf-8")
        tree = ast.parse(text)
    except OSError as error:
        raise InputError(
            f"{path}: {(error.strerror or 'cannot be read').lower()}; paths start at the project"
        ) from error
    except SyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: is no Python: {error.msg}") from error
    except ValueError as error:  # not UTF-8, or null bytes
        raise InputError(f"{path}: is no Python: {error}") from error
    facts = _facts(path, tree)
    return Plugin(path, text, facts, hashlib.sha256(executed(tree).encode()).hexdigest()[:8])


def _facts(path: str, tree: ast.Module) -> Facts:
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
        raise InputError(f"{path}: has no FACTS; declare at module level what it registers, for example {example}")
    try:
        facts = Facts.model_validate(ast.literal_eval(given))
    except ValidationError as error:
        raise InputError(f"{path}: {'; '.join(map(_fault, error.errors()))}") from error
    except (ValueError, TypeError) as error:
        what = "must be a literal, which is read without running the file"
        raise InputError(f"{path}:{given.lineno}: FACTS {what}, for example {example}") from error
    if not any(facts.kinds()):
        raise InputError(f"{path}:{given.lineno}: FACTS declares no kind; use for example {example}")
    return facts


def _fault(fault: object) -> str:
    assert isinstance(fault, dict)
    where = ".".join(["FACTS", *map(str, fault["loc"])])
    given = "" if isinstance(fault["input"], dict) else f" (given: {fault['input']!r})"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}{given}"


def _registered(part: str) -> set[str]:
    module, attribute = _REGISTRIES[part]
    registry: Any = getattr(import_module(module), attribute)
    return set(registry if isinstance(registry, dict) else registry())


def _run(plugin: Plugin, place: Path) -> None:
    module = ModuleType(f"gradleak_plugin_{plugin.digest}")
    module.__file__ = str(place)
    sys.modules[module.__name__] = module  # as dataclasses and pickle expect
    try:
        exec(compile(plugin.text, str(place), "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise InputError(fault(plugin.path, error)) from error
