"""Escaping, numbers, macros and the prose around them."""

import math

import pytest

from gradleak.errors import InputError
from gradleak.report import tex


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("{#}$^~\\", r"\{\#\}\$\textasciicircum{}\textasciitilde{}\textbackslash{}"),
        ("1 ± 2 × 3", r"1\,\ensuremath{\pm}\,2 \ensuremath{\times} 3"),
        ("α—–", r"\ensuremath{\alpha}-----"),
        ("“so”", "``so''"),
        ("Dröge", "Dröge"),
        ("two\nlines", "two lines"),
    ],
)
def test_escape(text, expected):
    assert tex.escape(text) == expected


def test_untypesettable_characters_are_refused():
    with pytest.raises(InputError, match="pdfTeX cannot typeset"):
        tex.escape("数")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.9994, "0.999"),
        (-0.0001, "0.000"),
        (-0.25, "−0.250"),
        (math.nan, "—"),
        (math.inf, "∞"),
        (1, "1.000"),
    ],
)
def test_number(value, expected):
    assert tex.number(value) == expected


def test_duration_and_listing():
    assert [tex.duration(s) for s in (5, 300, 9000)] == ["5 s", "5 min", "2.5 h"]
    assert [tex.listing(list(x)) for x in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


def test_macros(paper_folder):
    template = paper_folder / "templates" / "macros.tex.j2"
    text = tex.macros({"value/ilrg/mnist/fcn-n_hidden=0/64/lnacc": "50 %", "raw": tex.Raw(r"\input{x}")}, template)
    assert r"\SetValue{value/ilrg/mnist/fcn-n_hidden=0/64/lnacc}{50 \%}" in text
    assert r"\SetValue{raw}{\input{x}}" in text


def test_macro_names_must_be_plain(paper_folder):
    with pytest.raises(InputError, match="cannot be the name"):
        tex.macros({"a}b": "1"}, paper_folder / "templates" / "macros.tex.j2")


def test_template_faults_are_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        tex.fill(tmp_path / "none.j2")
    path = tmp_path / "t.j2"
    path.write_text("<< unknown >>")
    with pytest.raises(InputError, match="unknown"):
        tex.fill(path)
    path.write_text("<% if %>")
    with pytest.raises(InputError, match=r"t\.j2:1"):
        tex.fill(path)
