"""The report: private, complete, in every format."""

import json
import re
import shutil
import stat
from dataclasses import replace

import pytest
import torch

from gradleak.audit.as_gradient import Assumption
from gradleak.audit.document import document
from gradleak.audit.findings import Attack, Audit, Certified, Defended, Pictures
from gradleak.audit.measure import Pixels
from gradleak.audit.report import write


@pytest.fixture
def audit() -> Audit:
    return Audit(
        source="round <1> & 2_3",
        model="Mine|d",
        num_classes=10,
        input_shape=(1, 4, 4),
        batch_size=3,
        kind="gradient",
        scale=3.0,
        scale_source="exact inversion",
        scale_meaning="3: a sum over the batch of 3",
        assumptions=(Assumption("The loss is cross-entropy.", "assumed"),),
        certified_labels={2: 2, 7: 1},
        certified_images=(Certified(2, 1, 1, 1e-6), Certified(2, 1, 1, 1e-6), Certified(7, 1, 2, 1e-5)),
        attacks=(
            Attack("exact inversion", "ok", 0.5),
            Attack("ilrg", "ok", 0.1, counts={2: 2, 7: 1}),
            Attack("gi", "failed", 0.1, "RuntimeError: 50 % <b>"),
            Attack("gradient matching", "ok", 9.0, "100 iterations", loss=0.25),
        ),
        defenses=(
            Defended("clip-1", "norm clipped", 0.5, 0.0, 3, 3, 1.0, 1.0),
            Defended("dp-0.1", "noise", 0.1, 0.0, 0, 0, 0.66, 1.0),
            Defended("dp-1", "noise", 1.0, 0.0, 0, 0, None, 1.0),
            Defended("sparse-9", "zeros", 0.01, 0.0, None, None, None, 1.0),
        ),
        seconds=12.0,
        pictures=(Pictures("exact inversion", torch.rand(3, 1, 4, 4), torch.tensor([2, 2, 7])),),
    )


def test_the_json_has_the_documented_keys(audit, tmp_path):
    write(audit, tmp_path, pictures=True, pixels=Pixels(), pdf=False)
    record = json.loads((tmp_path / "audit.json").read_text())
    assert record["found"] == "certified"
    assert record["certified_labels"] == {"2": 2, "7": 1}
    assert record["estimated_labels"] == {"ilrg": {"2": 2, "7": 1}}
    assert [each["label"] for each in record["certified_images"]] == [2, 2, 7]
    assert record["scale"] == 3.0
    assert record["assumptions"] == [{"what": "The loss is cross-entropy.", "source": "assumed"}]
    assert record["seconds"] == 12.0
    assert "pictures" not in record


def test_numbers_that_json_does_not_have_are_left_out(audit):
    odd = replace(audit, metrics={"psnr": float("nan")}, seconds=float("inf"))
    record = json.loads(odd.to_json())
    assert record["metrics"] == {"psnr": None}
    assert record["seconds"] is None


def test_files_are_private_and_pages_stand_alone(audit, tmp_path):
    files = write(audit, tmp_path, pictures=True, pixels=Pixels(), pdf=False)
    assert {path.name for path in files} >= {"audit.json", "audit.md", "audit.html"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    page = (tmp_path / "audit.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert "private data of a client" in page
    assert "50 % &lt;b&gt;" in page
    assert "Mine\\|d" in (tmp_path / "audit.md").read_text()


def test_names_open_no_tag(audit, tmp_path):
    tag = "<img src=x>"
    told = (Assumption(f"It is {tag}.", "told"),)
    odd = replace(audit, source=tag, model=tag, remarks=(f"Stripped: {tag}.",), assumptions=told, scale_meaning=tag)
    write(odd, tmp_path, pictures=True, pixels=Pixels(), pdf=False)
    assert tag not in (tmp_path / "audit.html").read_text()
    text = (tmp_path / "audit.md").read_text()
    assert text.count("<") == text.count("\\<") >= 4


def test_pictures_can_be_left_out(audit, tmp_path):
    write(audit, tmp_path, pictures=False, pixels=Pixels(), pdf=False)
    page = (tmp_path / "audit.html").read_text()
    assert "base64" not in page
    assert "left out of this report" in page


def test_every_format_says_that_silence_is_no_proof_and_claims_no_epsilon(audit, tmp_path):
    nothing = replace(audit, certified_labels={}, certified_images=(), attacks=(), pictures=())
    write(nothing, tmp_path, pictures=True, pixels=Pixels(), pdf=False)
    for name in ("audit.md", "audit.html"):
        text = (tmp_path / name).read_text()
        assert "Nothing found" in text
        assert "no proof of safety" in text
        assert "a value of ε needs" in text


def test_the_summary_names_the_cheapest_defense_that_ends_all_certificates(audit):
    (_, leaks), (_, sure), (_, stops) = document(audit, pictures="nowhere").summary
    assert "2:\u00a02, 7:\u00a01" in leaks
    assert "not compared" not in sure
    assert stops.startswith("Of the defenses tried, dp-0.1")
    assert "No effect on certified labels: clip-1." in stops
    assert "For 1 of 4 there was no time." in stops


def test_false_certificates_are_said(audit):
    false = replace(audit, metrics={"falsely_certified_labels": 2.0, "falsely_certified_images": 0.0})
    assert "2 of the certificates are false" in document(false, pictures="nowhere").summary[1][1]


def test_no_data_is_said(audit, tmp_path):
    empty = replace(audit, has_data=False, certified_labels={}, certified_images=(), attacks=(), pictures=())
    write(empty, tmp_path, pictures=True, pixels=Pixels(), pdf=False)
    assert "No data" in (tmp_path / "audit.html").read_text()
    assert json.loads((tmp_path / "audit.json").read_text())["found"] == "no data"


def test_without_a_truth_there_is_no_column_of_it(audit):
    def headers(of):
        return next(each.header for each in document(of, pictures="nowhere").sections if each.title == "Attacks")

    assert headers(audit) == ("attack", "status", "seconds", "result")
    measured = replace(audit.attacks[1], metrics={"irec": 1.0})
    assert headers(replace(audit, attacks=(*audit.attacks, measured)))[-1] == "against the truth"


@pytest.mark.latex
@pytest.mark.skipif(shutil.which("latexmk") is None, reason="needs latexmk")
def test_a_pdf_is_made_whatever_the_names(audit, tmp_path):
    odd = replace(audit, source="模型 \\ {x} $%#~^ " + "a_long_word-" * 20, model="Modèle")
    files = write(odd, tmp_path, pictures=True, pixels=Pixels())
    assert files[-1].name == "audit.pdf"
    assert files[-1].read_bytes().startswith(b"%PDF")
