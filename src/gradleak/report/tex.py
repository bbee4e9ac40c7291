"""TeX: escaping, numbers, and the templates under ``paper/templates``."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from gradleak.errors import InputError
from gradleak.plan import metric_facts

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    '"': r"\textquotedbl{}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
    "−": r"\ensuremath{-}",
    "≤": r"\ensuremath{\le}",
    "≥": r"\ensuremath{\ge}",
    "≠": r"\ensuremath{\ne}",
    "≈": r"\ensuremath{\approx}",
    "∞": r"\ensuremath{\infty}",
    "→": r"\ensuremath{\to}",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "“": "``",
    "”": "''",
    "°": r"\ensuremath{^\circ}",
    "²": r"\ensuremath{^2}",
    "³": r"\ensuremath{^3}",
    "\u00a0": "~",
    "\u2009": r"\,",
    "\n": " ",
}
_GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "eta": "η",
    "theta": "θ",
    "lambda": "λ",
    "mu": "μ",
    "pi": "π",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "phi": "φ",
    "Delta": "Δ",
    "Sigma": "Σ",
    "nabla": "∇",
}
_SPECIAL |= {letter: rf"\ensuremath{{\{name}}}" for name, letter in _GREEK.items()}


def escape(text: object) -> str:
    """Escape plain text for TeX's text mode.

    Accented Latin letters are left to the input encoding.

    Raises:
        InputError: a character that pdfTeX cannot show.
    """
    shown = []
    for letter in str(text).replace(" ± ", "\u2009±\u2009"):
        if letter in _SPECIAL:
            shown.append(_SPECIAL[letter])
        elif letter.isprintable() and ord(letter) < 0x180:
            shown.append(letter)
        else:
            raise InputError(f"{text!r}: pdfTeX cannot typeset the character {letter!r}; use another one")
    return "".join(shown)


def number(value: float, digits: int = 3) -> str:
    """Return a number with a fixed number of decimals, a dash for NaN, and never a negative zero."""
    if math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    shown = f"{value:.{digits}f}"
    return shown.lstrip("-") if float(shown) == 0 else shown.replace("-", "−")


def scientific(value: float) -> str:
    """Return a number with two significant digits and an exponent, e.g. ``1.6e−5``; a dash for NaN."""
    if not math.isfinite(value):
        return number(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return "0" if value == 0 else f"{mantissa}e{int(exponent)}".replace("-", "−")


def figure(metric: str, value: float) -> str:
    """Return the text of a metric's value in tables.

    Errors range over many powers of ten; anything else has the digits of :func:`gradleak.plan.metric_facts.digits`.
    """
    return scientific(value) if metric_facts.is_error(metric) else number(value, metric_facts.digits(metric))


def duration(seconds: float) -> str:
    """Return a time in a suitable unit: seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def listing(items: list[str] | tuple[str, ...]) -> str:
    """Join words as in prose: ``a``, ``a and b``, ``a, b and c``; with semicolons if a word has a comma."""
    if len(items) < 2:
        return "".join(items)
    comma, last = ("; ", "; and ") if any("," in item for item in items) else (", ", " and ")
    return comma.join(items[:-1]) + last + items[-1]


class Raw(str):
    """Text that is already TeX; templates do not escape it."""

    __slots__ = ()


def environment() -> jinja2.Environment:
    """Return a template environment with delimiters that TeX does not use: ``<% %>``, ``<< >>``, ``<# #>``.

    The filter ``tex`` escapes.
    """
    made = jinja2.Environment(
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        undefined=jinja2.StrictUndefined,
    )
    made.filters["tex"] = lambda value: value if isinstance(value, Raw) else escape(value)
    return made


def template(path: Path) -> jinja2.Template:
    """Load a template, see :func:`environment`.

    Raises:
        InputError: the file is missing or is not a valid template.
    """
    try:
        return environment().from_string(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: {error.message}") from error


def fill(path: Path, **values: Any) -> str:
    """Fill a template.

    Raises:
        InputError: see :func:`template`; or the template uses a value that was not given.
    """
    try:
        return template(path).render(**values)
    except jinja2.UndefinedError as error:
        raise InputError(f"{path}: {error.message}") from error


def macros(values: Mapping[str, str], path: Path) -> str:
    r"""Write the numbers that the prose quotes.

    The text gets a value by ``\Get{key}``, an error if there is none, and tests for one by ``\IfHas{key}{yes}{no}``.

    Args:
        values: key -> plain text, or :class:`Raw`. Keys consist of letters, digits and ``/ - = . _``.
        path: the template ``macros.tex.j2``.

    Raises:
        InputError: a key that TeX cannot look up, or see :func:`fill`.
    """
    for key in values:
        if not key or not key.isascii() or not all(letter.isalnum() or letter in "/-=._" for letter in key):
            raise InputError(f"{key!r} cannot be the name of a number in the text")
    return fill(path, values=values)
