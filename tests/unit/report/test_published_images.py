"""Published reconstructions, and when they are shown beside a measurement."""

import pytest

from gradleak.errors import InputError
from gradleak.plan.catalogue import names
from gradleak.report import published_images
from gradleak.report.image_rows import BEST_SIX, Reconstructions


@pytest.fixture(scope="module")
def figures(paper_folder):
    return published_images.load(paper_folder / "published" / "images.csv")


def beside(figures, frame, method="ig", metric="psnr"):
    found = Reconstructions.of(frame)
    matched, text = published_images.beside(figures, found, found.cells()[0], method, metric)
    return matched.exact, text


def test_the_file_holds_the_four_published_settings(figures):
    assert len(figures) == 4 * 2
    assert set(figures["metric"]) == {"psnr", BEST_SIX}
    assert set(figures["dataset"]) <= set(names("datasets"))
    assert dict(zip(figures["dataset"], figures["iterations"], strict=True)) == {"cifar100": 24000, "mnist": 8000}


def test_the_same_setting_and_iterations_match(figures, made_up_images):
    frame = made_up_images("mnist", "fcn", 50, iterations=(1, 4000, 8000))
    assert beside(figures, frame) == (True, "11.84")
    assert beside(figures, frame, metric=BEST_SIX) == (True, "12.95")
    sampled = made_up_images(
        "cifar100", "resnet18", 16, distribution="random2-10", method="ig-ilrg", iterations=(24000,)
    )
    assert beside(figures, sampled, "ig-ilrg") == (True, "17.11")


def test_other_iterations_or_batch_sizes_are_shown_and_not_judged(figures, made_up_images):
    assert beside(figures, made_up_images("mnist", "fcn", 50)) == (False, "11.84 (8,000 it.)")
    longer = made_up_images("mnist", "fcn", 50, iterations=(8000, 9000))
    assert beside(figures, longer) == (False, "11.84 (8,000 it.)")
    assert beside(figures, made_up_images("mnist-sample", "fcn", 16)) == (False, "11.84 (B=50)")


def test_other_attacks_and_defenses_match_nothing(figures, made_up_images):
    assert beside(figures, made_up_images("mnist", "fcn", 50, method="dlg"), "dlg") == (False, "—")
    assert beside(figures, made_up_images("mnist", "fcn", 50, defense="dp-0.01@all")) == (False, "—")
    assert beside(published_images.empty(), made_up_images("mnist", "fcn", 50)) == (False, "—")


def test_a_faulty_file_is_one_line(tmp_path, paper_folder):
    with pytest.raises(InputError, match="no such file"):
        published_images.load(tmp_path / "none.csv")
    text = (paper_folder / "published" / "images.csv").read_text()
    (tmp_path / "words.csv").write_text(text.replace("11.84", "many"))
    with pytest.raises(InputError, match="many"):
        published_images.load(tmp_path / "words.csv")
    (tmp_path / "blank.csv").write_text(text.replace("12.95", ""))
    assert len(published_images.load(tmp_path / "blank.csv")) == 7
