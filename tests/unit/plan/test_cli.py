"""Command lines: the documented spellings, and one line for every mistake."""

import re
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from gradleak.audit.options import AuditOptions
from gradleak.errors import InputError
from gradleak.plan import cli
from gradleak.plan.aliases import (
    FederatedShorthand,
    PlacesShorthand,
    ReconstructShorthand,
    RestoreLabelsShorthand,
    TrainVictimShorthand,
)
from gradleak.plan.jobs.diffusion import DiffusionReconstruct, TrainPrior
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.training import TrainVictim
from gradleak.report.run_table import MetricsTable


def parse(text: str) -> RestoreLabels:
    return cli.parse(RestoreLabels, text.split(), shorthand=RestoreLabelsShorthand)


def refusal(text: str) -> str:
    """Return why options are refused, on one line."""
    with pytest.raises(InputError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_underscores_and_hyphens_are_the_same():
    assert parse("--num_images 8 --exp_name a_b") == parse("--num-images 8 --exp-name a_b")
    assert parse("--num_images=8").batch_size == 8


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
        ("--silu --leaky_relu", "cannot be combined"),
        ("--silu --activation relu", "cannot be combined"),
        ("--data-path a --data-root b", "cannot be combined"),
        ("--simplified --estimate", "cannot be combined"),
        ("--num_images", "expected one argument"),
        ("--num_im 4", "unrecognized arguments"),
    ],
)
def test_mistakes_are_one_line(text, message):
    assert message in refusal(text)


def test_all_faults_are_named_together():
    with pytest.raises(InputError) as caught:
        parse("--num_images 0 --num_tries 0 --model nothing")
    for option in ("--num_images", "--num_tries", "--model"):
        assert option in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--num_images -3", "--num_images: Input should be greater than or equal to 1 (given: -3)"),
        ("--num-images -3", "--num-images: Input should be greater than or equal to 1 (given: -3)"),
        ("--samples_per_client=-3", "--samples_per_client: Input should be greater than or equal to 1 (given: -3)"),
        ("--tv -1", "--tv: Input should be greater than or equal to 0 (given: -1.0)"),
        ("--max_iterations 0", "--max_iterations: Input should be greater than or equal to 1 (given: 0)"),
        ("--arch nothing", "--arch: unknown model 'nothing'; known: "),
        ("--samples-per-client 2 --num_images 3", "--samples-per-client and --num_images cannot be combined"),
        ("--data_path a --data-root b", "--data_path and --data-root cannot be combined"),
        ("--noise_std 0 --defense", "--noise_std: Input should be greater than 0 (given: '0')"),
        ("--noise_std 1", "--noise_std needs --defense"),
        ("--defense_method clip --noise_std 1", "--defense_method needs --defense"),
        ("--iters 3 --iter-train", "--iters needs --trained-model"),
        ("--trained_model --iters 3", "--iters needs --iter-train"),
        ("--gt_labels --labels ilrg", "--gt_labels and --labels cannot be combined"),
        ("--gt_labels --fix-labels", "--fix-labels and --gt_labels cannot be combined"),
        ("--schedule shared --stage epoch3", "--schedule shared needs --length, the end of the training"),
        ("--save_dir a --output b.csv", "--save_dir has no effect with --output: all files are written beside it"),
        ("--defense_scope head", "--defense_scope needs --defenses"),
        ("--client_indices a", "--client_indices: 'a' is not an index; use numbers from 0, for example 1,5,42,100"),
        (
            "--local_lr 1",
            "--local_lr needs --local-epochs or --local-steps above 1, or --local-batch-size: "
            "a client that sends its gradient takes no step",
        ),
        ("--checkpoint w --stage iter1", "--checkpoint and --stage cannot be combined: given weights are not trained"),
        ("--init zeros --restarts 2", "--init zeros makes all restarts equal; use --restarts 1"),
        ("--stage 3", "--stage: '3'; use untrained, epoch<N> or iter<N>, for example epoch100 (given: '3')"),
        ("--stage epoch999999999", "--stage: 'epoch999999999'; use untrained, epoch<N> or iter<N>, "),
        ("--tv inf", "--tv: Input should be a finite number (given: 'inf')"),
        ("--rec_lr nan", "--rec_lr: Input should be a finite number (given: 'nan')"),
        ("--no_such_thing", "unrecognized arguments: --no_such_thing (see --help)"),
        ("--num_tries", "argument --num_tries: expected one argument (see --help)"),
    ],
)
def test_messages_name_options_as_they_were_typed(text, message):
    with pytest.raises(InputError) as caught:
        cli.parse(Reconstruct, text.split(), shorthand=ReconstructShorthand)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--alpha -1", "--alpha: method ilrg: alpha=-1.0; use a number from 1e-06 to 1000000"),
        ("--alpha 1 --methods gi", "--alpha: none of the methods has an option 'alpha'"),
        (
            "--attack_options ilrg.alpha=x",
            "--attack_options ilrg.alpha=x: method ilrg: alpha=x; use a number from 1e-06",
        ),
        ("--attack-options alpha", "--attack-options alpha: use NAME=X or METHOD.NAME=X"),
        ("--simplified --methods gi", "--simplified needs ilrg among --methods"),
        ("--methods gi,no", "--methods: unknown label method 'no'; known: "),
    ],
)
def test_options_of_methods_are_named_as_they_were_typed(text, message):
    assert refusal(text).startswith(message)


@pytest.mark.parametrize(
    ("text", "given"),
    [("--epochs 3", "--epochs"), ("--iter_train --iters 3", "--iters"), ("--iter_train", "--iter_train")],
)
def test_a_training_has_one_length(text, given):
    with pytest.raises(InputError, match=f"^{given} and --stage cannot be combined$"):
        cli.parse(TrainVictim, f"{text} --stage epoch4".split(), shorthand=TrainVictimShorthand)


def test_keys_of_a_configuration_are_no_flags():
    with pytest.raises(ValidationError) as caught:
        Reconstruct(save_dir=Path("a"), output=Path("b.csv"))
    assert cli.describe(caught.value, "") == "save_dir has no effect with output: all files are written beside it"


def test_later_faults_name_options_as_they_were_typed(monkeypatch, capsys):
    def main(argv):
        cli.parse(Reconstruct, argv, shorthand=ReconstructShorthand)
        raise InputError(
            "mnist: no folder a/batch_size/b.batch_size; point --data-path to it; --num-images, batch_size 3"
        )

    monkeypatch.setattr("sys.argv", ["program.py", "--num_images", "3", "--data_root", "x"])
    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "program.py: error: mnist: no folder a/batch_size/b.batch_size; point --data_root to it; "
        "--num_images, --num_images 3\n"
    )


PROGRAMS = [
    (RestoreLabels, RestoreLabelsShorthand),
    (Reconstruct, ReconstructShorthand),
    (DiffusionReconstruct, FederatedShorthand),
    (TrainVictim, TrainVictimShorthand),
    (TrainPrior, PlacesShorthand),
    (MetricsTable, None),
    (AuditOptions, None),
]


def help_of(spec: type[BaseModel], shorthand, capsys) -> dict[str, str]:
    """Return the help of each option in one line."""
    with pytest.raises(SystemExit):
        cli.parse(spec, ["--help"], shorthand=shorthand)
    text = capsys.readouterr().out
    parts = re.split(r"^  --([a-z0-9-]+)", text, flags=re.MULTILINE)[1:]
    return {name: " ".join(said.split()) for name, said in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.parametrize(("spec", "shorthand"), PROGRAMS)
def test_help_shows_the_default_of_every_option(spec, shorthand, capsys):
    said = help_of(spec, shorthand, capsys)
    for name, field in spec.model_fields.items():
        assert re.search(r"required|default", said[name.replace("_", "-")]), name
        if field.default in (0, 1) and not isinstance(field.default, bool):
            assert f"(default: {field.default})" in said[name.replace("_", "-")]
    assert "PydanticUndefined" not in "".join(said.values())


def test_help_lists_choices_and_what_is_required(capsys):
    said = help_of(Reconstruct, ReconstructShorthand, capsys)
    assert said["device"].startswith("{auto,cpu,cuda} ")
    assert said["optim"].startswith("{ig,dlg} ")
    assert said["tv-weight"] == "X factor of the total variation (default: 0.0)"
    assert said["restarts"].endswith("(default: 1)")
    assert said["bn-eval"].endswith("(default: on)")
    assert said["boxed"].endswith("(default: off)")
    assert said["arch"] == "VALUE synonym of --model"
    said = help_of(MetricsTable, None, capsys)
    assert said["dlg-run"] == "PATH folder of a run of reconstruct.py (required)"


def test_help_shows_the_default_stage_of_a_training(capsys):
    said = help_of(TrainVictim, TrainVictimShorthand, capsys)["stage"]
    stage = cli.parse(TrainVictim, [], shorthand=TrainVictimShorthand).stage
    assert f"(default: {stage}, " in said


def test_a_closed_standard_output_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it where the caller has closed the file
    cli.run(lambda argv: print("metrics"), [])


def test_a_working_folder_that_is_gone_is_one_line(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(SystemExit, match="2"):
        cli.run(lambda argv: None, [], name="mine")
    monkeypatch.chdir(tmp_path)
    assert capsys.readouterr().err == "mine: error: the current folder no longer exists; change to one that does\n"
