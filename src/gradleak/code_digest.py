"""Which code computed a result: a digest of the modules that a program can reach.

Only what Python executes counts: layout, comments and docstrings do not. A table's or a figure's code is not reached by
a job, so editing it leaves results as they are.
"""

import ast
import hashlib
import os
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
_PROGRAMS = _PACKAGE.parents[1] / "workflow" / "scripts"
_TOLD = "GRADLEAK_CODE"

PROGRAMS = {
    "labels": "restore_labels.py",
    "images": "reconstruct.py",
    "diffusion": "diffusion_reconstruct.py",
    "train": "train_model.py",
    "prior": "train_prior.py",
}
"""Kind of a job -> the program that does it."""


def code_digest(kind: str) -> str:
    """Return eight hex digits that name the code of a kind of jobs.

    The workflow computes it once and tells its jobs by an environment variable, together with a hash of the very bytes
    of all sources: a job whose sources have been edited since computes it anew.

    Args:
        kind: one of :data:`PROGRAMS`.
    """
    told = {name: value for name, _, value in (part.partition("=") for part in os.environ.get(_TOLD, "").split())}
    if told.get("sources") == _hash_of_sources() and kind in told:
        return told[kind]
    return _digest(kind)


def stamp() -> str:
    """Return the digests of all kinds as one text for ``GRADLEAK_CODE``."""
    return " ".join([f"sources={_hash_of_sources()}", *(f"{kind}={code_digest(kind)}" for kind in PROGRAMS)])


def tell_jobs() -> None:
    """Put :func:`stamp` into the environment of all processes that this one starts."""
    os.environ[_TOLD] = stamp()


@cache
def _hash_of_sources() -> str:
    hashed = hashlib.sha256()
    for path in sorted([*_PACKAGE.rglob("*.py"), *_PROGRAMS.glob("*.py")]):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()[:16]


@cache
def _digest(kind: str) -> str:
    reached: dict[Path, str] = {}
    waiting = [_PROGRAMS / PROGRAMS[kind]]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached[path], imported = _read(path)
            waiting += imported
    lines = [f"{path.name} {text}" for path, text in sorted(reached.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


@cache
def _read(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return the executed code of a file as text, and the files of this package that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # ``from a.b import c``: c may be a module or a name within b.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            names = []
        for name in names:
            imported.update(_files(name))
    return executed(tree), tuple(sorted(imported))


def executed(tree: ast.Module) -> str:
    """Return what Python executes of a file, as text; the docstrings are taken out of the tree."""
    for node in ast.walk(tree):
        _drop_docstring(node)
    return ast.unparse(tree)


def _drop_docstring(node: ast.AST) -> None:
    """Remove texts that stand alone: docstrings, also those below attributes."""
    body = getattr(node, "body", None)
    if isinstance(body, list):
        kept = [each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
        node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]


def _files(module: str) -> list[Path]:
    """Return the files that importing a module runs: its own and those of the packages around it."""
    parts = module.split(".")
    if parts[0] != "gradleak":
        return []
    places = [_PACKAGE.joinpath(*parts[1:end]) for end in range(1, len(parts) + 1)]
    candidates = [place / "__init__.py" for place in places] + [places[-1].with_suffix(".py")]
    return [path for path in candidates if path.is_file() and path != _PACKAGE / "__init__.py"]
