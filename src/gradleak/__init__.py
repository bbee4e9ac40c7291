"""gradleak: gradient leakage in federated learning, as a reproducible paper, a command and a library.

The library is the names below, imported when they are used; see ``docs/library.md``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradleak.attacks.exact.inversion import Inversion
    from gradleak.attacks.labels.guess import LabelGuess
    from gradleak.attacks.library import invert, restore_labels
    from gradleak.audit import audit_update
    from gradleak.clients.observation import Observation, SideKnowledge, observation_of, observe_full, observe_head
    from gradleak.errors import InputError

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "Inversion",
    "LabelGuess",
    "Observation",
    "SideKnowledge",
    "__version__",
    "audit_update",
    "invert",
    "observation_of",
    "observe_full",
    "observe_head",
    "restore_labels",
]

_MODULES = {
    "InputError": "errors",
    "Inversion": "attacks.exact.inversion",
    "LabelGuess": "attacks.labels.guess",
    "Observation": "clients.observation",
    "SideKnowledge": "clients.observation",
    "audit_update": "audit",
    "invert": "attacks.library",
    "observation_of": "clients.observation",
    "observe_full": "clients.observation",
    "observe_head": "clients.observation",
    "restore_labels": "attacks.library",
}
"""Name -> where it is defined: ``import gradleak`` itself imports no torch, which takes seconds."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
