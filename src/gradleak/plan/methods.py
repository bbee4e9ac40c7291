"""Label methods with options: ``ilrg``, or ``ilrg:alpha=0.9`` if an option is not at its default.

Jobs and results use this one spelling, so that methods with equal options are one method.
"""

from collections.abc import Mapping

from gradleak.plan import catalogue
from gradleak.plan.names import shortest


def method_name(kind: str, options: Mapping[str, object]) -> str:
    """Return the spelling of a method.

    Raises:
        ValueError: an unknown kind, an option that it does not have, or a value outside the option's range.
    """
    known = catalogue.find("attacks", kind).options
    changed = []
    for name, value in options.items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has no options"
            raise ValueError(f"method {kind}: unknown option {name!r}; {has}")
        number = _number(value)
        if number is None or not known[name].allows(number):
            raise ValueError(f"method {kind}: {name}={value}; use {known[name].range()}")
        if number != known[name].default:
            changed.append(f"{name}={shortest(number)}")
    return ":".join([kind, *sorted(changed)])


def method_parts(name: str) -> tuple[str, dict[str, float]]:
    """Return kind and options of a method, including those at their defaults.

    Raises:
        ValueError: see :func:`method_name`.
    """
    kind, *given = name.split(":")
    options = {option: value for option, _, value in (each.partition("=") for each in given)}
    method_name(kind, options)  # refuses invalid options
    defaults = {option: facts.default for option, facts in catalogue.find("attacks", kind).options.items()}
    return kind, defaults | {option: float(value) for option, value in options.items()}


def canonical_method(name: str) -> str:
    """Return the one spelling of a method, e.g. ``ilrg:alpha=1.0`` -> ``ilrg``.

    Raises:
        ValueError: see :func:`method_name`.
    """
    return method_name(*method_parts(name))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except ValueError:
        return None
