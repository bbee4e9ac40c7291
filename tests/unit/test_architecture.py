"""Packages import in one direction, and those that answer at once import no torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workflow import ROOT

SOURCE = ROOT / "src" / "gradleak"
ORDER = ("plan", "data", "victims", "clients", "attacks", "metrics", "runs", "report", "capture", "audit", "commands")
"""Each package imports only those before it."""

ROOT_FILES = {path.stem for path in SOURCE.glob("*.py")} - {"__init__"}
"""Modules that all packages may import and that import none of them."""

LONGEST = 350


def sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def place(path: Path) -> str:
    """Return the package of a file; empty for a file beside the packages."""
    return path.relative_to(SOURCE).parts[0] if path.parent != SOURCE else ""


def imported(text: str) -> Iterator[tuple[int, str]]:
    """Return line and name of each package, or file beside the packages, that a file imports anywhere."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ImportFrom(level=level) if level:
                yield node.lineno, "a relative import"
                continue
            case ast.ImportFrom(module="gradleak", names=aliases):
                names = [f"gradleak.{alias.name}" for alias in aliases]
            case ast.ImportFrom(module=str(module)):
                names = [module]
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case _:
                continue
        for name in names:
            if name.startswith("gradleak."):
                yield node.lineno, name.split(".")[1]


def wrong_imports(path: Path, text: str) -> list[str]:
    """Return the imports of a file in the wrong direction, with their lines."""
    if path == SOURCE / "__init__.py":  # the library, whose names come from all packages
        return []
    here = place(path)
    allowed = ROOT_FILES | set(ORDER[: ORDER.index(here) + 1] if here else ()) | {"__version__"}
    where = path.relative_to(SOURCE)
    return [f"{where}:{line}: {name}" for line, name in imported(text) if name not in allowed]


def test_every_package_has_its_place_in_the_order():
    assert {path.parent.name for path in SOURCE.glob("*/__init__.py")} == set(ORDER)
    assert {place(path) for path in sources()} == {"", *ORDER}


def test_imports_point_one_way():
    assert [fault for path in sources() for fault in wrong_imports(path, path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("plan/x.py", "from gradleak.data.base import ImageDataset"),
        ("attacks/labels/x.py", "def f():\n    import gradleak.metrics.images as m"),
        ("metrics/x.py", "from gradleak import runs"),
        ("x.py", "from gradleak.plan.typed import Typed"),
        ("data/x.py", "from gradleak.nowhere import y"),
        ("audit/x.py", "from gradleak import observe_full"),
        ("runs/x.py", "from gradleak.commands.main import main"),
    ],
)
def test_an_import_that_points_back_is_detected(file, text):
    assert len(wrong_imports(SOURCE / file, text)) == 1


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Package -> packages, and files beside them, that it imports; "" for the files beside the packages."""
    found: dict[str, set[str]] = {name: set() for name in ("", *ORDER)}
    for path in sources():
        if path != SOURCE / "__init__.py":
            found[place(path)] |= {name for _, name in imported(path.read_text(encoding="utf-8"))}
    return found


def test_only_runs_and_audits_import_attacks_and_metrics(imports):
    """Metrics use the types that attacks return; only these two call both."""
    both = {name for name, names in imports.items() if {"attacks", "metrics"} <= names}
    assert both - {"metrics"} == {"runs", "audit"}


def test_a_client_captures_without_the_rest(imports):
    assert imports["capture"] <= ROOT_FILES | {"capture", "__version__"}


WALK = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
    if "torch" in sys.modules:
        sys.exit(module.name + " imports torch")
print(len([name for name in sys.modules if name.startswith(package.__name__ + ".")]))
"""


@pytest.mark.parametrize("package", ["plan", "report", "commands"])
def test_no_module_imports_torch(package):
    command = [sys.executable, "-c", WALK, f"gradleak.{package}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    walked = [path for path in (SOURCE / package).rglob("*.py") if path != SOURCE / package / "__init__.py"]
    assert int(done.stdout) == len(walked)


def test_no_file_is_too_long():
    lines = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}
