"""The prose of the paper."""

import re


def test_conditions_choose_only_whole_sections(paper_folder):
    lines = [
        line.strip()
        for path in [paper_folder / "main.tex", *(paper_folder / "sections").rglob("*.tex")]
        for line in path.read_text(encoding="utf-8").splitlines()
        if r"\IfHas" in line
    ]
    paragraphs = [line for line in lines if not re.search(r"\{\\input\{sections/[^{}]*\}\}\{\}$", line)]
    assert len(lines) <= 8
    assert all(re.fullmatch(r"\\IfHas\{\w+/runs\}\{", line) for line in paragraphs)  # the abstract's paragraphs
