"""The recorded Flower simulations: read with a check, shown alike in the paper and in the documentation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradleak.errors import InputError
from gradleak.report import recorded
from gradleak.report.tables import flower
from gradleak.report.tables.render import to_markdown

SHIPPED = Path("recorded/flower.json")


@pytest.fixture
def record(paper_folder) -> dict[str, Any]:
    return json.loads((paper_folder / SHIPPED).read_text(encoding="utf-8"))


@pytest.fixture
def damaged(record, tmp_path) -> Callable[..., Path]:
    """Return a function that writes the record with an entry replaced, by the path to it."""

    def write(*keys: Any, value: Any) -> Path:
        place: Any = record
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        path = tmp_path / "flower.json"
        path.write_text(json.dumps(record), encoding="utf-8")
        return path

    return write


def test_the_documentation_shows_the_recorded_tables(paper_folder):
    showcase = recorded.read(paper_folder / SHIPPED)
    page = (paper_folder.parent / "docs/capture.md").read_text(encoding="utf-8")
    for table in (flower.audits(showcase), flower.counters(showcase)):
        assert to_markdown(table) in page


def test_both_tables_and_every_number_of_the_text_can_be_typeset(paper_folder):
    showcase = recorded.read(paper_folder / SHIPPED)
    templates = {name: paper_folder / f"templates/{name}.tex.j2" for name in ("table", "macros")}
    files = flower.files(showcase, **templates)
    assert r"\label{tab:flower_audits}" in files["flower_audits.tex"]
    assert r"\label{tab:flower_counters}" in files["flower_counters.tex"]
    values = flower.values(showcase)
    assert all(rf"\SetValue{{{key}}}" in files["recorded.tex"] for key in values)
    text = (paper_folder / "sections/results/flower.tex").read_text(encoding="utf-8")
    quoted = {part.partition("}")[0] for part in text.split(r"\Get{")[1:]}
    assert quoted <= set(values)


def test_the_record_bears_out_what_the_text_says_of_it(paper_folder):
    values = flower.values(recorded.read(paper_folder / SHIPPED))
    (plain, of), (noisy, _) = (values[f"flower/labels/{name}"].split(" of ") for name in ("plain", "noisy"))
    assert plain == of
    assert noisy == "0"
    assert values["flower/false"] == "none"


def test_the_table_adds_up_what_is_false_and_says_what_clients_did(damaged):
    path = damaged("simulations", 1, "updates", 2, "false_labels", value=3)
    lines = flower.audits(recorded.read(path)).lines
    assert [line.cells[3] for line in lines if line.cells] == ["0", "3", "0", "0", "0", "0"]
    assert lines[0].heading == "FCN-3, MNIST, B=32"
    assert lines[2].cells[0] == "LocalDpMod, clipping norm 0.1, no noise"


def test_releases_with_equal_figures_share_their_lines(damaged):
    table = flower.counters(recorded.read(damaged("counters", 0, "rows", 0, "sent", value=0.5)))
    assert [line.heading for line in table.lines if line.heading] == ["flwr 1.28.0", "flwr 1.42.0"]
    assert len(table.lines) == 2 + 3 + 3


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("schema",), 2, "schema: Input should be 1"),
        (("recorded",), "yesterday", "recorded: String should match"),
        (
            ("simulations", 0, "updates", 0, "seconds"),
            "4",
            "simulations: 0: updates: 0: seconds: Input should be a valid number",
        ),
        (("simulations", 0, "updates"), [], "simulations: 0: updates: Tuple should have at least 1 item"),
        (("counters", 0, "more"), 1, "counters: 0: more: Extra inputs are not permitted"),
        (("simulations", 0, "updates", 0, "seconds"), float("nan"), "Input should be a finite number"),
    ],
)
def test_a_damaged_record_is_one_line(damaged, keys, value, message):
    path = damaged(*keys, value=value)
    with pytest.raises(InputError, match=f"flower.json: is not a record of Flower simulations .*{message}") as raised:
        recorded.read(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_file_that_is_no_record_is_one_line(tmp_path, content):
    (tmp_path / "flower.json").write_bytes(content)
    with pytest.raises(InputError, match=r"restore it, or measure again with bench/showcase.py") as raised:
        recorded.read(tmp_path / "flower.json")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"flower.json: cannot be read"):
        recorded.read(tmp_path / "flower.json")
