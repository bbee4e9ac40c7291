"""Which code computed a result: a digest of the modules that a program can reach.

These are its imports and the modules of the kinds that it uses by name (:mod:`gradleak.plan.code`). Only executed code
counts; layout, comments and docstrings do not. No job reaches the code of tables and figures, so editing that leaves
results valid.
"""

import ast
import hashlib
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
_TOLD = "GRADLEAK_CODE"
_BY_NAME = {"import_module", "importlib.import_module", "__import__"}

PROGRAMS = {
    "labels": "gradleak.commands.restore_labels",
    "images": "gradleak.commands.reconstruct",
    "diffusion": "gradleak.commands.diffusion_reconstruct",
    "train": "gradleak.commands.train_model",
    "prior": "gradleak.commands.train_prior",
}
"""Kind of a job -> the module of its program."""

Use = tuple[str, str]
"""A module that a job imports by name, and further facts that count, as text."""


def code_digest(program: str, uses: frozenset[Use]) -> str:
    """Return eight hex digits that name the code of a job.

    The workflow computes them once and passes them to its jobs in an environment variable, with a hash of all source
    files: a job whose sources were edited in between computes them itself.

    Args:
        program: one of :data:`PROGRAMS`.
        uses: the modules that it also imports by name.
    """
    passed = {name: value for name, _, value in (part.partition("=") for part in os.environ.get(_TOLD, "").split())}
    if passed.get("sources") == _hash_of_sources() and (name := _name(program, uses)) in passed:
        return passed[name]
    return _digest(program, uses)


def tell_jobs(jobs: Iterable[tuple[str, frozenset[Use]]]) -> None:
    """Put the digests of jobs into the environment that child processes inherit."""
    passed = sorted(f"{_name(program, uses)}={code_digest(program, uses)}" for program, uses in jobs)
    os.environ[_TOLD] = " ".join([f"sources={_hash_of_sources()}", *passed])


def _name(program: str, uses: frozenset[Use]) -> str:
    """Return the name of a digest within the environment variable."""
    return f"{program}-{hashlib.sha256(repr(sorted(uses)).encode()).hexdigest()[:8]}"


@cache
def _hash_of_sources() -> str:
    hashed = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()[:16]


@cache
def _digest(program: str, uses: frozenset[Use]) -> str:
    modules = [PROGRAMS[program], *(module for module, _ in uses)]
    starts = [file for module in modules for file in _files(module)]
    files = set().union(*map(reached, starts))
    lines = [f"{path.relative_to(_PACKAGE)} {_read(path)[0]}" for path in sorted(files)]
    return hashlib.sha256("\n".join([*lines, *(text for _, text in sorted(uses))]).encode()).hexdigest()[:8]


@cache
def reached(start: Path) -> frozenset[Path]:
    """Return the files that a file can reach by its imports, itself included."""
    files: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in files:
            files.add(path)
            waiting += _read(path)[1]
    return frozenset(files)


@cache
def _read(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return the executed code of a file as text, and the files of this package that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = _package_of(path)
    names = [name for node in ast.walk(tree) for name in _imported(node, package)]
    files = {file for name in names for file in _files(name)}
    return executed(tree), tuple(sorted(files))


def _imported(node: ast.AST, package: list[str]) -> list[str]:
    """Return the modules that a node imports; ``package`` resolves relative imports."""
    match node:
        case ast.Import(names=aliases):
            return [alias.name for alias in aliases]
        case ast.ImportFrom(module=module, names=aliases, level=level):
            around = package[: len(package) + 1 - level] if level else []
            base = ".".join([*around, *([module] if module else [])])
            # ``from a.b import c``: c may be a module or a name within b.
            return [base, *(f"{base}.{alias.name}" for alias in aliases)]
        case ast.Call(func=called, args=[ast.Constant(value=str(name)), *_]) if ast.unparse(called) in _BY_NAME:
            dots = len(name) - len(name.lstrip("."))
            return [".".join([*package[: len(package) + 1 - dots], name.lstrip(".")] if dots else [name])]
    return []


def _package_of(path: Path) -> list[str]:
    """Return the package that a file's relative imports start from."""
    return list(path.parent.relative_to(_PACKAGE.parent).parts)


def executed(tree: ast.Module) -> str:
    """Return the executed code of a file as text; this removes the docstrings from the tree."""
    for node in ast.walk(tree):
        _drop_docstring(node)
    return ast.unparse(tree)


def _drop_docstring(node: ast.AST) -> None:
    """Remove string statements: docstrings, including those below attributes."""
    body = getattr(node, "body", None)
    if isinstance(body, list):
        kept = [each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
        body[:] = kept or [ast.Pass()]


def _files(module: str) -> list[Path]:
    """Return the files that importing a module runs: its own and those of the packages around it."""
    parts = module.split(".")
    if parts[0] != "gradleak":
        return []
    places = [_PACKAGE.joinpath(*parts[1:end]) for end in range(1, len(parts) + 1)]
    candidates = [place / "__init__.py" for place in places] + [places[-1].with_suffix(".py")]
    return [path for path in candidates if path.is_file() and path != _PACKAGE / "__init__.py"]
