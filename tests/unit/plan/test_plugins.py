"""Plug-ins: what is read without running them, their part in run ids, and one line for every fault."""

import builtins
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from tests.plugin_state import forgotten
from tests.small_grid import expand

from gradleak.data import datasets
from gradleak.errors import InputError
from gradleak.plan import axes, catalogue, cli, plugins
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels

Write = Callable[..., str]

METHOD = '''
"""A method that says that nothing is there."""
import torch
from gradleak.attacks.labels.base import LabelGuess
FACTS = {"attacks": {"blank": {}}}

def blank(observation):
    """Docstring."""
    return LabelGuess(torch.zeros(len(observation.head_bias), dtype=torch.bool))
'''
DIGITS = {"num_classes": 10, "channels": 1, "image_size": 16, "mean": [0.5], "std": [0.2]}


def declaring(part: str, **kinds: object) -> str:
    """Return a plug-in that declares kinds without objects."""
    return f"FACTS = { ({part: kinds})!r}"


QUANTISE = declaring("defenses", quantise={"strength": "bits", "high": 16})


@pytest.fixture
def write(tmp_path, monkeypatch) -> Iterator[Write]:
    """Write a plug-in into the working directory; its kinds are removed after the test."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "mine.py") -> str:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
        return name

    with forgotten():
        yield write


def test_registering_does_not_run_the_file(write):
    path = write("raise SystemExit\n" + declaring("datasets", scans=DIGITS | {"sizes": {"train": 30, "val": 5}}))
    plugins.enter([path])
    plugins.enter([path, f"./{path}"])
    assert catalogue.find("datasets", "scans").sizes == {"train": 30, "val": 5, "all": 35}
    assert catalogue.stands_for("scans") == "scans"
    with pytest.raises(ValidationError, match="more than the 30 images"):
        RestoreLabels(dataset="scans", model="fcn", batch_size=31)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("def f(:", "mine.py:1: is not valid Python: invalid syntax"),
        ("x = 1", 'mine.py: has no FACTS; declare its kinds at module level, for example FACTS = {"attacks"'),
        ("x = 1\nFACTS = dict(attacks=1)", "mine.py:2: FACTS must be a literal"),
        ("FACTS = {}", "mine.py:1: FACTS declares no kind"),
        ('FACTS = {"atacks": {"a": {}}}', "mine.py: FACTS.atacks: Extra inputs are not permitted"),
        ('FACTS = {"attacks": ["a"]}', "mine.py: FACTS.attacks: Input should be a valid dictionary"),
        ('FACTS = {"attacks": {"ilrg": {}}}', "mine.py: FACTS.attacks.ilrg: gradleak already has this name"),
        ('FACTS = {"attacks": {"matching": {}}}', "FACTS.attacks.matching: gradleak already has this name"),
        ('FACTS = {"attacks": {"floor-mine": {}}}', "FACTS.attacks.floor-mine: gradleak already has this name"),
        ('FACTS = {"models": {"dnn": {}}}', "FACTS.models.dnn: gradleak already has this name"),
        ('FACTS = {"attacks": {"Mine": {}}}', "attacks.Mine: use lower-case letters and digits"),
        ('FACTS = {"defenses": {"a-b": {"strength": "s", "high": 1}}}', "defenses.a-b: use lower-case"),
        ('FACTS = {"defenses": {"a": {"strength": "s"}}}', "mine.py: FACTS.defenses.a.high: Field required"),
        ('FACTS = {"defenses": {"a": {"strength": "label", "high": 1}}}', "FACTS.defenses.a.strength: the name of"),
        ('FACTS = {"models": {"a": {"options": ["width"]}}}', "FACTS.models.a.options: unknown option 'width'"),
        (declaring("datasets", a=DIGITS | {"channels": 3}), "mean and std need 3 numbers each"),
        (declaring("datasets", a=DIGITS | {"mean": [127.5]}), "must be those of pixels from 0 (black) to 1 (white)"),
        (declaring("datasets", a=DIGITS | {"std": [0]}), "std must be above 0"),
        (declaring("models", a={"family": "A"}), "FACTS.models.a: family 'A' needs the option n_hidden or a whole"),
        (declaring("models", a={"family": "A", "arguments": {"depth": True}}), "needs the option n_hidden or a whole"),
        ('FACTS = {"attacks": {"a": {}},\n"attacks": {"b": {}}}', "mine.py:2: FACTS: 'attacks' appears twice"),
        ('FACTS = {"attacks": {"a": {},\n\n"a": {"side": []}}}', "mine.py:3: FACTS: 'a' appears twice"),
    ],
)
def test_every_wrong_declaration_is_one_line(write, text, fault):
    with pytest.raises(InputError, match=re.escape(fault)) as raised:
        plugins.enter([write(text)])
    assert "\n" not in str(raised.value)


def test_arguments_of_a_model_keep_their_types(write):
    declared = {"wide": True, "depth": 1, "rate": 1.0, "name": "1"}
    plugins.enter([write(declaring("models", a={"arguments": declared}))])
    kept = catalogue.find("models", "a").arguments
    assert [(name, type(value)) for name, value in kept.items()] == [(n, type(v)) for n, v in declared.items()]


def test_wrong_files_are_one_line(write):
    with pytest.raises(InputError, match=r"gone\.py: no such file"):
        plugins.enter(["gone.py"])
    with pytest.raises(InputError, match=r"notes\.txt: is not a plug-in"):
        plugins.enter([write(METHOD, "notes.txt")])
    with pytest.raises(InputError, match=r"gone\.py: no such file"):
        cli.parse(RestoreLabels, ["--modules", "gone.py"])


def test_validating_a_job_registers_nothing(write):
    path = write(METHOD)
    with pytest.raises(ValidationError, match=r"mine\.py: is not in the catalogue; call .*plugins\.enter first"):
        RestoreLabels(modules=(path,))
    with pytest.raises(ValidationError, match="unknown label method 'blank'"):
        RestoreLabels(methods=("blank",))


def test_two_plugins_cannot_have_one_name_and_a_refused_one_leaves_nothing(write):
    plugins.enter([write(METHOD)])
    both = write('FACTS = {"tables": {"new": {}}, "attacks": {"blank": {}}}', "other.py")
    with pytest.raises(InputError, match=r"other\.py: FACTS\.attacks\.blank: mine\.py already has this name"):
        plugins.enter([both])
    assert "new" not in catalogue.names("tables")


def test_the_code_that_runs_is_the_code_that_was_read(write):
    path = write("import builtins\nbuiltins.runs = getattr(builtins, 'runs', 0) + 1\n" + METHOD)
    plugins.enter([path])
    write("raise ValueError('edited since')")
    plugins.load([path])
    plugins.load([path])
    assert catalogue.load("attacks", "blank").__name__ == "blank"
    assert builtins.__dict__.pop("runs") == 1  # pyright: ignore[reportAttributeAccessIssue]


def test_an_object_may_have_a_name_of_its_own(write):
    plugins.load([write(METHOD.replace("{}", '{"object": "nothing"}').replace("def blank", "def nothing"))])
    assert catalogue.load("attacks", "blank").__name__ == "nothing"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (METHOD + "\nundefined\n", "mine.py:11: NameError: name 'undefined' is not defined"),
        (
            METHOD.replace("def blank", "def plain"),
            'FACTS.attacks.blank: blank does not exist; name the function or class with "o',
        ),
        (METHOD.replace("def blank", "blank = 1\ndef plain"), "FACTS.attacks.blank: blank is not a function or class"),
        ("import nowhere\n" + METHOD, "mine.py:1: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_a_plugin_that_fails_is_one_line(write, text, fault):
    with pytest.raises(InputError, match=re.escape(fault)) as raised:
        plugins.load([write(text)])
    assert "\n" not in str(raised.value)


def run_id(path: str, text: str | None = None) -> str:
    with forgotten():
        if text is not None:
            Path(path).write_text(text)
        plugins.enter([path])
        return RestoreLabels(methods=("blank",), modules=(path,)).run_id


def test_run_ids_depend_on_the_code_and_not_on_the_path(write):
    before = run_id(write(METHOD))
    assert run_id(write(METHOD, "elsewhere/other.py")) == before
    assert run_id("mine.py", METHOD.replace("Docstring.", "More words.") + "# A remark.\n") == before
    assert run_id("mine.py", METHOD.replace("zeros", "ones")) != before
    plain = RestoreLabels()
    assert "modules" not in plain.identity()
    assert plain.to_argv(identity_only=True) == []


def test_commands_rebuild_their_spec(write):
    plugins.enter([write(METHOD), write(QUANTISE, "other.py")])
    spec = RestoreLabels(modules=("other.py", "mine.py"), methods=("blank", "ilrg"), defenses=("quantise-4.0",))
    assert spec.defense_id == "quantise-4"
    assert cli.parse(RestoreLabels, spec.to_argv(identity_only=True)) == spec
    swapped = spec.model_copy(update={"modules": ("mine.py", "other.py")})
    assert swapped.run_id == spec.run_id


def test_a_training_depends_on_the_plugins_of_data_and_model_alone(write):
    modules = (write(METHOD), write(declaring("models", tiny={"options": ["n_dim"]}), "tiny.py"))
    plugins.enter(modules)
    run = RestoreLabels(modules=modules, model="tiny", n_dim=8, methods=("blank",), stage="iter10")
    victim = run.victim()
    assert victim is not None
    assert victim.modules == ("tiny.py",)


def test_a_model_has_the_options_and_the_images_that_it_declares(write):
    shape = {"options": ["activation"], "activations": ["relu", "silu"], "min_image_size": 30}
    plugins.enter([write(declaring("models", tiny=shape))])
    assert RestoreLabels(model="tiny", activation="silu").model_id == "tiny-silu"
    for options, message in (
        ({"activation": "sigmoid"}, "use one of relu, silu"),
        ({"n_dim": 8}, "does not apply"),
        ({"dataset": "mnist"}, "use at least 30"),
    ):
        with pytest.raises(ValidationError, match=message):
            RestoreLabels(**{"model": "tiny", **options})


def test_views_and_objectives_are_known(write):
    text = 'FACTS = {"figures": {"wall": {"needs": ["images"], "shows_images": True}}, "objectives": {"far": {}}}'
    path = write(text)
    plugins.enter([path])
    assert Reconstruct(modules=(path,), cost_fn="far").cost_fn == "far"
    wall = catalogue.find("figures", "wall")
    assert (wall.needs, wall.shows_images) == (("images",), True)
    with pytest.raises(ValidationError, match="unknown objective 'near'"):
        Reconstruct(cost_fn="near")


def test_the_grid_names_a_plugin_where_it_is_used_and_nowhere_else(write):
    write(METHOD)
    write(QUANTISE, "other.py")
    before = set(expand({}).runs)
    expanded = expand(
        {
            "attacks/blank": {"kind": "blank", "module": "mine.py", "label": "Blank"},
            "defenses/coarse": {"kind": "quantise", "module": "other.py", "bits": 4, "label": "4 bits"},
            "experiments/c": {
                "attacks": ["ilrg", "blank"],
                "axes": [{"dataset": "digits", "model": "fcn", "defense": ["none", "coarse"], "model_seed": 1}],
            },
        }
    )
    assert {name for name, run in expanded.runs.items() if not run.modules} == before
    plain, defended = (expanded.runs[name] for name in expanded.experiments["c"])
    assert plain.modules == ("mine.py",)
    assert (defended.modules, defended.defenses) == (("mine.py", "other.py"), ("quantise-4",))


def test_a_prior_on_the_data_of_a_plugin_names_it(write):
    write(declaring("datasets", scans=DIGITS))
    axis = {"dataset": "scans", "model": "fcn", "num_clients": 1, "model_seed": 1}
    expanded = expand(
        {
            "datasets/scans": {"kind": "scans", "module": "mine.py", "label": "Scans"},
            "priors/p": {"label": "prior", "options": {"dataset": "scans"}},
            "attacks/d": {"kind": "diffusion", "label": "D", "options": {"prior": "p"}},
            "experiments/c": {"kind": "images", "attacks": ["d"], "axes": [axis]},
        }
    )
    assert [prior.modules for prior in expanded.priors.values()] == [("mine.py",)]


def test_faults_of_the_configuration_are_reported_together(write):
    write(METHOD)
    write("x = 1", "empty.py")
    with pytest.raises(InputError) as raised:
        expand(
            {
                "attacks/a": {"kind": "blnk", "module": "mine.py", "label": "A"},
                "attacks/b": {"kind": "matching", "module": "mine.py", "label": "B", "options": {"cost_fn": "far"}},
                "models/m": {"kind": "m", "module": "empty.py", "label": "M"},
                "tables/v": {"kind": "v", "module": "gone.py", "experiments": ["a"]},
            }
        )
    lines = str(raised.value).splitlines()
    assert "my.yaml: attacks.a.kind: 'blnk' does not exist; FACTS.attacks in mine.py has blank" in lines
    assert "my.yaml: attacks.b.options.cost_fn: 'far' does not exist; FACTS.objectives in mine.py has nothing" in lines
    assert any(line.startswith("my.yaml: models.m.module: empty.py: has no FACTS") for line in lines)
    assert "my.yaml: tables.v.module: gone.py: no such file or directory; paths start at the project" in lines


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"kind": "clip", "clip_bound": 4, "colour": 1},
            "defenses.d: kind clip has one strength, clip_bound (given: clip_bound, colour)",
        ),
        ({"kind": "clip", "module": "other.py", "clip_bound": 4}, "FACTS.defenses in other.py has quantise"),
        ({"kind": "quantise", "module": "other.py", "noise_std": 4}, "kind quantise has one strength, bits"),
        ({"kind": "quantise", "module": "other.py", "bits": 17}, "above 0 and at most 16"),
        ({"kind": "quantise", "module": "other.py", "bits": "few"}, "defenses.d.bits: Input should be a valid number"),
    ],
)
def test_the_strength_of_a_plugin_is_checked(write, entry, message):
    write(QUANTISE, "other.py")
    with pytest.raises(InputError, match=re.escape(message)):
        expand({"defenses/d": {"label": "D", **entry}})


def test_plugins_cannot_be_an_axis():
    assert "modules" not in axes.axes_of(RestoreLabels)


def test_a_data_set_of_a_plugin_is_loaded(write):
    text = """
import torch
from gradleak.data.arrays import ArrayDataset
from gradleak.plan.catalogue import dataset_facts

def scans(split, root, download):
    pixels = torch.full((4, 1, 16, 16), 255, dtype=torch.uint8)
    return ArrayDataset("scans", dataset_facts("scans"), 10, torch.arange(4), pixels)
""" + declaring("datasets", scans=DIGITS)
    plugins.load([write(text)])
    assert datasets.load("scans").fetch(torch.tensor([1]))[0, 0, 0, 0] == pytest.approx(2.5)
