"""Attacks on one update: each within the time, none in the way of the others, compared with the truth."""

import time
from types import SimpleNamespace

import pytest
import torch
from tests.unit.audit.conftest import SIZE, B, Convolutional, batch, certified, gradient, network
from torch import nn

from gradleak.audit import audit_update, defenses, labels, matching, run, scale, simulated
from gradleak.audit.document import document, verdict
from gradleak.audit.runner import Runner
from gradleak.audit.time_limit import Clock, TimeUp, limited
from gradleak.errors import InputError


@pytest.fixture
def sent():
    model, (x, y) = network(), batch()
    return model, gradient(model, x, y), x, y


def statuses(result):
    return {attack.name: attack.status for attack in result.attacks}


def test_everything_that_applies_runs_and_is_measured(attack, sent):
    model, update, x, y = sent
    result = attack(model, update, images=x, labels=y, matching=True, minutes=0.1)
    assert statuses(result) == {
        "exact inversion": "ok",
        "consistency": "ok",
        "gi": "ok",
        "idlg": "ok",
        "ilrg": "ok",
        "ilrg-estimate": "ok",
        "rlg": "ok",
        "bias-sign": "ok",
        "gradient matching": "ok",
    }
    by_name = {each.name: each for each in result.attacks}
    assert by_name["consistency"].metrics["exact_match"] == 1
    assert by_name["gradient matching"].loss < 0.5
    assert result.metrics["falsely_certified_images"] == 0
    assert result.metrics["certified_input_error"] < 1e-4
    assert result.metrics["floor-blank_irec"] == 0
    assert [each.label for each in result.certified_images] == sorted(y.tolist())
    assert {each.name for each in result.pictures} == {"exact inversion", "gradient matching"}


def test_images_get_a_psnr_beside_its_floor(attack):
    model = Convolutional().eval()
    x, y = batch(2, (3, 8, 8))
    result = attack(
        model, gradient(model, x, y), images=x, labels=y, input_shape=(), matching=True, minutes=0.1, bn_eval=True
    )
    metrics = next(each.metrics for each in result.attacks if each.name == "gradient matching")
    assert metrics["psnr_worst"] <= metrics["psnr"] <= metrics["psnr_best"]
    blank = x.mean(0, keepdim=True)
    assert metrics["floor_psnr"] == pytest.approx(
        float(-10 * (x - blank).square().mean((1, 2, 3)).log10().mean()), rel=1e-4
    )


def test_certificates_that_the_truth_contradicts_are_counted(attack, sent):
    model, update, x, y = sent
    result = attack(model, update, images=1 - x, labels=(y + 1) % 20)
    assert result.metrics["falsely_certified_labels"] > 0
    assert result.metrics["falsely_certified_images"] == B
    assert "the truth is of another batch" in document(result, pictures="nowhere").summary[1][1]


def test_in_training_mode_features_are_compared_with_those_of_batch_statistics(attack):
    model = Convolutional()
    x, y = batch(shape=(3, 8, 8))
    update = gradient(model, x, y)
    result = attack(model, update, images=x, labels=y, input_shape=())
    assert result.images_are == "inputs of first.weight (36 numbers each)"
    assert result.metrics["falsely_certified_images"] == 0
    assert result.metrics["certified_input_error"] < 1e-4


def test_an_attack_that_raises_fails_alone(attack, sent, monkeypatch):
    def broken(observation):
        raise RuntimeError("out of\nmemory")

    model, update, _, y = sent
    monkeypatch.setattr(labels, "build", lambda name: broken)
    result = attack(model, update, batch_size=B)
    failed = [each for each in result.attacks if each.status == "failed"]
    assert {each.name for each in failed} == {"bias-sign", "gi", "idlg", "ilrg", "ilrg-estimate", "rlg"}
    assert failed[0].why == "RuntimeError: out of memory"
    assert result.certified_labels == certified(y)
    assert result.estimated_labels["consistency"] == certified(y)


def test_an_interrupt_keeps_what_there_is_and_skips_the_rest(attack, sent, monkeypatch):
    def stop(observation):
        raise KeyboardInterrupt

    model, update, _, y = sent
    build = labels.build
    monkeypatch.setattr(labels, "build", lambda name: stop if name == "rlg" else build(name))
    result = attack(model, update, batch_size=B, matching=True)
    assert result.interrupted
    assert statuses(result)["rlg"] == "interrupted"
    assert statuses(result)["gradient matching"] == "interrupted"
    assert result.certified_labels == certified(y)


def test_matching_keeps_to_the_time(sent):
    model, update, _, _ = sent
    began = time.perf_counter()
    result = audit_update(model, update, input_shape=(SIZE,), batch_size=B, minutes=0.05, defenses=False)
    assert time.perf_counter() - began < 10
    assert next(each.why for each in result.attacks if each.name == "gradient matching").split()[0].isdecimal()


class Branching(nn.Module):
    """Looks at its values, as ``torch.func.vmap`` forbids; its output is of another type."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x if x.mean().item() < 100 else x / 2).double()


def test_matching_of_a_model_that_looks_at_its_values(sent, attack):
    model, _, x, y = sent
    branching = Branching(model)
    result = attack(branching, gradient(branching, x, y), matching=True, minutes=0.1)
    matched = next(each for each in result.attacks if each.name == "gradient matching")
    assert (matched.status, matched.why.split(" from ")[1]) == ("ok", "1 start")
    assert result.certified_labels == certified(y)


def test_matching_without_time_for_an_iteration_is_out_of_time(sent, monkeypatch):
    def slow(problem, settings, **_):
        try:
            time.sleep(30)
        except KeyboardInterrupt:  # as gradient matching takes it
            return SimpleNamespace(loss=torch.tensor([torch.inf]), interrupted=True)

    model, update, _, _ = sent
    monkeypatch.setattr(matching, "reconstruct", slow)
    began = time.perf_counter()
    result = audit_update(model, update, input_shape=(SIZE,), batch_size=B, minutes=0.05, defenses=False)
    assert time.perf_counter() - began < 15
    assert statuses(result)["gradient matching"] == "out of time"
    assert not result.interrupted


def test_a_time_limit_ends_what_has_none():
    def forever():
        while True:
            time.sleep(0.01)

    with pytest.raises(TimeUp), limited(0.05) as limit:
        forever()
    assert limit.is_up
    with limited(0.05) as limit:
        pass
    time.sleep(0.1)  # the alarm is off again
    assert not limit.is_up


def test_a_model_that_ends_in_softmax_is_matched_on_its_logits():
    x = torch.rand(3, SIZE)
    own = torch.nn.Sequential(network(), torch.nn.Softmax(dim=1))
    wrapped = simulated._Classifier(own, (SIZE,), ends_in_softmax=True)
    logits = own[0](x)
    assert torch.allclose(wrapped(x[:, None, None]).log_softmax(1), logits.log_softmax(1), atol=1e-5)


def test_defenses_are_attacked_with_their_price(attack, sent):
    model, update, _, _ = sent
    result = attack(model, update, batch_size=B, defenses=True, minutes=0.5)
    clip = next(each for each in result.defenses if each.name.startswith("clip"))
    assert (clip.certified_labels, clip.certified_images) == (B, B)
    assert clip.change == pytest.approx(0.5, rel=0.01)
    assert clip.estimated == 1  # the scale is found again
    half = {each.name: each for each in result.defenses}["float16"]
    assert 0 < half.change < 1e-3
    assert half.certified_labels == B
    noise = [each for each in result.defenses if each.name.startswith("dp")]
    assert [round(each.change, 2) for each in noise] == [0.01, 0.1, 1.0]
    assert noise[-1].certified_labels in (0, None)


def test_the_price_of_a_defense_counts_entries_that_pass_unchanged():
    before = {"a": torch.tensor([3.0, 4.0, 0.0]), "b": torch.tensor([0.0, 12.0])}
    after = {"a": torch.tensor([3.0, 0.0, 0.0]), "b": torch.tensor([3.0, 12.0])}
    assert defenses.price(before, after) == (pytest.approx(5 / 13), pytest.approx(2 / 3))
    assert defenses.price(before, {"a": before["a"]}) == (pytest.approx(12 / 13), pytest.approx(2 / 3))


def test_entries_that_a_defense_of_the_client_let_through_are_counted(attack, sent):
    model, update, x, y = sent
    assert attack(model, update, images=x, labels=y, batch_size=B).metrics["unchanged"] == 1
    torch.manual_seed(0)
    noisy = {name: g + g.std() * torch.randn_like(g) if name == "0.weight" else g for name, g in update.items()}
    result = attack(model, noisy, images=x, labels=y, batch_size=B, update_is="gradient")
    entries = {name: int((g.abs() > 1e-7).sum()) for name, g in update.items()}
    others = 1 - entries["0.weight"] / sum(entries.values())
    assert result.metrics["unchanged"] == pytest.approx(others, abs=0.02)


@pytest.mark.parametrize("stop", [None, KeyboardInterrupt])
def test_the_scale_takes_no_more_than_the_time_and_ctrl_c_keeps_what_there_is(attack, sent, monkeypatch, stop):
    """With ten thousand classes the last layer needs minutes to tell it."""

    def last_layer(_head, gradients, _size):
        if not gradients:
            return
        if stop is not None:
            raise stop
        time.sleep(60)

    model, update, _, y = sent
    monkeypatch.setattr(scale, "by_last_layer", last_layer)
    monkeypatch.setattr(scale, "_by_pairings", lambda *_: None)
    began = time.perf_counter()
    result = attack(model, update, minutes=0.03)
    assert time.perf_counter() - began < 20
    assert result.scale_source == "assumed"
    assert result.certified_labels == certified(y)
    assert result.interrupted == (stop is not None)


def test_a_truth_in_the_type_of_the_model_is_compared(attack, sent):
    model, update, x, y = sent
    result = attack(model.double(), update, images=x.double(), labels=y, batch_size=B)
    assert result.metrics["falsely_certified_images"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": torch.ones(B, dtype=torch.bool)},
        {"labels": torch.ones(B, 1, dtype=torch.int64)},
        {"images": torch.full((B, SIZE), torch.nan)},
        {"images": torch.ones(B, SIZE, dtype=torch.uint8)},
    ],
)
def test_a_truth_that_cannot_be_one_is_refused(attack, sent, wrong):
    model, update, x, y = sent
    with pytest.raises(InputError, match=r"^truth: (labels|images) (are|have)"):
        attack(model, update, **{"images": x, "labels": y} | wrong)


def test_an_attack_that_did_not_finish_is_part_of_the_verdict(attack, sent, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    model, update, _, _ = sent
    monkeypatch.setattr(run, "exact", interrupted)
    result = attack(model, update, update_is="gradient")
    assert verdict(result) == "Nothing found; exact inversion was interrupted"


def test_without_time_the_sign_needs_more_of_it(attack, sent):
    model, update, _, _ = sent
    update |= {"6.bias": update["6.bias"].abs() * torch.tensor([1.0, -1.0]).repeat(10)}  # signs that tell nothing
    with pytest.raises(InputError, match=r"ran out of time, tell; .* or give more time with --minutes"):
        attack(model, update, minutes=1e-6)


def test_a_measurement_that_fails_says_so_and_ends_nothing(capsys):
    runner = Runner(Clock(60), progress=False)

    def fails():
        raise ValueError("one value per channel")

    assert runner.measured("a share", fails) is None
    assert runner.measured("another", lambda: 3) == 3
    assert capsys.readouterr().err == "note: a share could not be measured: ValueError: one value per channel\n"
    assert not runner.attacks
