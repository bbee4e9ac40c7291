"""Command lines: the documented spellings, and one line for every mistake."""

from pathlib import Path

import pytest

from gradleak import cli
from gradleak.errors import InputError
from gradleak.label_spec import RestoreLabels
from gradleak.shorthand import RestoreLabelsShorthand


def parse(text: str) -> RestoreLabels:
    return cli.parse(RestoreLabels, text.split(), shorthand=RestoreLabelsShorthand, prog="restore_labels.py")


def test_underscores_and_hyphens_are_the_same():
    assert parse("--num_images 8 --exp_name a_b") == parse("--num-images 8 --exp-name a_b")
    assert parse("--num_images=8").num_images == 8


def test_values_keep_their_underscores():
    assert parse("--distribution custom_balanced --num_images 24").distribution == "custom_balanced"
    assert parse("--exp_name=my_run").exp_name == "my_run"


def test_compare_adds_the_prior_works():
    assert parse("--compare").methods == ("ilrg", "idlg", "gi", "rlg")
    assert parse("--methods gi --compare").methods == ("gi", "idlg", "rlg")


def test_variants_replace_ilrg():
    assert parse("--simplified").methods == ("ilrg-simplified",)
    assert parse("--estimate --compare").methods == ("ilrg-estimate", "idlg", "gi", "rlg")


def test_shorthands_set_what_they_stand_for():
    spec = parse("--silu --cpu --data-path elsewhere --no-progress")
    assert (spec.activation, spec.device, spec.data_root, spec.progress) == (
        "silu",
        "cpu",
        Path("elsewhere"),
        False,
    )
    assert parse("--leaky_relu").activation == "leaky_relu"
    assert parse("--data-root a") == parse("--data-path a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--colour red", "unrecognized arguments: --colour red (see --help)"),
        ("--num_images many", "--num_images: Input should be a valid integer"),
        ("--num_images 0 --seed -1", "--num_images: Input should be greater"),
        ("--silu --leaky_relu", "exclude each other"),
        ("--silu --activation relu", "exclude each other"),
        ("--data-path a --data-root b", "exclude each other"),
        ("--simplified --estimate", "exclude each other"),
        ("--num_images", "expected one argument"),
        ("--num_im 4", "unrecognized arguments"),
    ],
)
def test_mistakes_are_one_line(text, message):
    with pytest.raises(InputError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_faults_are_named_together():
    with pytest.raises(InputError) as caught:
        parse("--num_images 0 --num_tries 0 --model nothing")
    for option in ("--num_images", "--num_tries", "--model"):
        assert option in str(caught.value)
