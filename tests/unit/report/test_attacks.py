"""Tables and figures of label restoration show all attacks of their experiments."""

import ast
import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from gradleak import report
from gradleak.errors import InputError
from gradleak.plan import catalogue
from gradleak.plan.catalogue.facts import EMBEDDINGS
from gradleak.plan.catalogue.facts import LABELS as LABEL_ATTACKS
from gradleak.report import published
from gradleak.report.figures.base import build as draw
from gradleak.report.summary import distinct
from gradleak.report.tables.base import Labels, Table, build

TABLES = [
    kind
    for kind in catalogue.names("tables")
    if {LABEL_ATTACKS, EMBEDDINGS} & set(catalogue.find("tables", kind).needs)
]
FIGURES = [kind for kind in catalogue.names("figures") if LABEL_ATTACKS in catalogue.find("figures", kind).needs]
GROUPED = [kind for kind in TABLES if kind != "exact_inversion"]
"""Tables with a group of columns per attack; the other one has a line for each."""
JUDGED = [kind for kind in GROUPED if kind not in ("comparison", "error_analysis")]
LABELS = Labels(method={"mine": "My attack", "ilrg": "iLRG", "idlg": "iDLG"})
"""``mine`` is in no catalogue, and comes first in the configuration."""


@pytest.fixture(scope="module")
def figures(paper_folder) -> pd.DataFrame:
    return published.load(paper_folder / "published" / "ilrg.csv")


@pytest.fixture(scope="module")
def made(made_up):
    """The function that makes analysed rows of some methods, at two stages and on a custom distribution."""

    def rows(*methods: str, full: tuple[str, ...] = ("ilrg", "mine")) -> pd.DataFrame:
        options = {"methods": methods, "full": full, "analysis": True, "more": {"surprise": 0.25}}
        parts = [made_up("mnist", "fcn", 8, stage=stage, **options) for stage in ("untrained", "iter100")]
        parts += [made_up("mnist", "fcn", 24, **options), made_up("cifar100", "vgg16", 64, **options)]
        parts.append(made_up("cifar100", "vgg16", 24, distribution="custom_imbalanced", **options))
        return distinct(pd.concat(parts))

    return rows


def text_of(table: Table) -> str:
    cells = [" ".join((line.heading, *line.cells)) for line in table.lines]
    columns = [f"{column.group} {column.header}" for column in table.columns]
    return "\n".join([table.caption, *columns, *cells, table.note])


def words_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_shows_every_attack_in_the_order_of_the_configuration(kind, made, figures):
    table = build(kind, made("ilrg", "mine"), figures, LABELS)
    assert "My attack" in table.caption
    assert table.caption.index("My attack") < table.caption.index("iLRG")
    if kind == "comparison":
        assert table.numbers["mine_leacc_mean"].notna().to_numpy().all()
        return
    of_method = dict(tuple(table.numbers.groupby("method")))
    assert len(of_method["mine"]) == len(of_method["ilrg"]) > 0
    means = [name for name in table.numbers if str(name).endswith("_mean")]
    assert of_method["mine"][means].notna().to_numpy().any()


@pytest.mark.parametrize("kind", JUDGED)
def test_each_attack_has_a_group_of_columns(kind, made, figures):
    both, mine, theirs = (
        build(kind, made(*names), figures, LABELS) for names in (("ilrg", "mine"), ("mine",), ("ilrg",))
    )
    groups = list(dict.fromkeys(column.group.partition(":")[0] for column in both.columns if column.group))
    assert groups == ["My attack", "iLRG"]
    own = [sum(column.group.startswith(name) for column in both.columns) for name in groups]
    shared = len(both.columns) - sum(own)
    assert own == [len(alone.columns) - shared for alone in (mine, theirs)]
    first = next(line.cells for line in both.lines if line.cells)
    keys = next(number for number, column in enumerate(both.columns) if column.group)
    for at, alone in ((keys, mine), (keys + own[0], theirs)):
        assert first[at : at + own[0]] == next(line.cells for line in alone.lines if line.cells)[keys : keys + own[0]]


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_of_a_single_unknown_attack_mentions_no_other(kind, made, figures):
    table = build(kind, made("mine"), figures, LABELS)
    assert not re.search("ilrg|idlg|Attack$", text_of(table), re.IGNORECASE)
    assert "My attack" in table.caption


@pytest.mark.parametrize("kind", ["batch_size_and_depth", "defenses", "extreme_distribution", "comparison"])
def test_quantities_that_an_attack_does_not_restore_have_no_column(kind, made, figures):
    table = build(kind, made("ilrg", "idlg", "mine"), figures, LABELS)
    titles = [f"{column.group} {column.header}" for column in table.columns]
    assert any("iDLG" in title and "LeAcc" in title for title in titles)
    assert any("iLRG" in title and "LnAcc" in title for title in titles)
    assert not any("iDLG" in title and ("LnAcc" in title or "IRec" in title) for title in titles)


@pytest.mark.parametrize("kind", ["error_analysis", "probability_cosine", "soteria_embedding"])
def test_attacks_without_embeddings_are_left_out(kind, made, figures):
    both = build(kind, made("ilrg", "idlg"), figures, LABELS)
    assert "iDLG" not in text_of(both)
    with pytest.raises(InputError, match=r"^table t: no attack of its experiments has .*they have leacc, f1"):
        build(kind, made("idlg"), figures, LABELS, name="t")


@pytest.mark.parametrize("kind", GROUPED)
def test_published_figures_stand_beside_their_own_attack(kind, made, figures):
    """For these settings there are published figures of iLRG but none of our own attack."""
    numbers = build(kind, made("ilrg", "mine"), figures, LABELS).numbers
    verdicts = numbers.filter(regex="verdict$")
    ours = verdicts.filter(like="mine_") if kind == "comparison" else verdicts[numbers["method"] == "mine"]
    theirs = verdicts.filter(like="ilrg_") if kind == "comparison" else verdicts[numbers["method"] == "ilrg"]
    assert set(ours.to_numpy().ravel()) == {"—"}
    assert set(theirs.to_numpy().ravel()) - {"—"}


def test_an_attack_that_only_some_experiments_run_is_shown_where_it_ran(made_up, figures):
    ours_alone = made_up("mnist", "fcn", 16, methods=("mine",), full=("mine",))
    frame = pd.concat([made_up("mnist", "fcn", 8, methods=("ilrg",)), ours_alone])
    lines = [line.cells for line in build("batch_size_and_depth", frame, figures, LABELS).lines if line.cells]
    ours, theirs = slice(2, 9), slice(9, 16)  # three metrics, measured and published, and the verdict
    assert [line[0] for line in lines] == ["B=8", "B=16"]
    assert set(lines[0][ours]) == set(lines[1][theirs]) == {"—"}
    assert "—" not in (lines[0][theirs.start], lines[1][ours.start])
    measured = build("comparison", frame, figures, LABELS).lines[0].cells
    assert measured[:4] == ("fcn", "8", "measured", "—")  # no attack of ours at that batch size


@pytest.mark.parametrize("kind", [kind for kind in GROUPED if catalogue.find("tables", kind).chooses_metrics])
def test_a_metric_of_a_plugin_can_be_shown(kind, made, figures):
    table = build(kind, made("ilrg", "mine"), figures, LABELS, metrics=["leacc", "surprise"])
    titles = [f"{column.group} {column.header}".lower() for column in table.columns]
    assert sum("surprise" in title for title in titles) >= 2
    assert not any("lnacc" in title for title in titles)
    assert sum(any(cell.startswith("0.250 [") for cell in line.cells) for line in table.lines) > 1
    with pytest.raises(InputError, match="table t: no attack of its experiments has typo; they have leacc, "):
        build(kind, made("ilrg", "mine"), figures, LABELS, metrics=["leacc", "typo"], name="t")


def test_a_metric_of_a_plugin_can_be_shown_of_images(made_up_images, figures):
    frame = made_up_images("mnist", "fcn", 8, more={"surprise": 0.25})
    table = build("reconstruction", frame, figures, Labels(), metrics=["surprise", "ssim"])
    headers = [column.header for column in table.columns]
    assert [name for name in headers if name in ("surprise", "SSIM", "MSE", "Labels")] == ["surprise", "SSIM"]
    assert table.lines[1].cells[headers.index("surprise")] == "0.250"


@pytest.mark.parametrize("kind", FIGURES)
def test_a_figure_shows_every_attack(kind, made, figures):
    frame = made("ilrg", "idlg", "mine")
    drawn = draw(kind, frame, figures, LABELS)
    words = words_of(drawn)
    assert [word for word in words if word in ("My attack", "iLRG", "iDLG")] == ["My attack", "iLRG", "iDLG"]
    counts, presence = (
        len([line for line in axes.get_lines() if line.get_linewidth() > 1.2]) for axes in drawn.axes[:2]
    )
    alone = draw(kind, made("mine"), figures, LABELS)
    assert not {"My attack", "iLRG"} & set(words_of(alone))
    single = len([line for line in alone.axes[0].get_lines() if line.get_linewidth() > 1.2])
    published_ones = sum(
        line.get_linestyle() == "None" and line.get_markerfacecolor() == "none" for line in drawn.axes[0].get_lines()
    )
    assert counts - published_ones >= 2 * single - 1
    assert presence > counts - published_ones


def test_no_table_or_figure_names_a_method():
    """Names of methods belong in configurations and results; those of published figures are data."""
    names = "|".join(sorted([*catalogue.names("attacks"), "ig", "dlg"], key=len, reverse=True))
    named = []
    for folder in ("tables", "figures"):
        for path in (Path(report.__file__).parent / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found = re.search(rf"(?<![\w-])({names})(?![\w-])", node.value)
                    named += [f"{path.name}:{node.lineno}: {node.value!r}"] if found else []
    assert not named
