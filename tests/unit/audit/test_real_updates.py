"""What real updates look like: each case comes from a public report, and works or is one clear line."""

import copy

import pytest
import torch
from tests.unit.audit.conftest import CLASSES, SIZE, B, Convolutional, batch, certified, gradient, network
from torch import nn
from torch.nn.functional import cross_entropy

from gradleak.errors import InputError


@pytest.fixture
def sent():
    model, (x, y) = network(), batch()
    return model, gradient(model, x, y), y


@pytest.mark.parametrize(
    ("factor", "meaning"),
    [
        (1, "a mean"),
        (B, f"a sum over the batch of {B}"),
        (1 / B, "divided by the batch size twice"),
        (2**16, "a mean times 2^16"),
        (B * 2**12, "a sum over the batch times 2^12"),
        (0.37, "neither a mean nor a sum"),
    ],
)
@pytest.mark.parametrize("told", [B, None])
def test_any_scale_is_found_and_named(attack, sent, factor, meaning, told):
    model, update, y = sent
    result = attack(model, {name: factor * g for name, g in update.items()}, batch_size=told, update_is="gradient")
    assert result.certified_labels == certified(y)
    assert result.scale == pytest.approx(factor, rel=1e-3)
    assert meaning in result.scale_meaning
    assert result.scale_source == "exact inversion"
    assert result.batch_size == B
    assert result.estimated_labels["ilrg"] == certified(y)


@pytest.mark.parametrize("factor", [1, B, 2**16, 0.37])
def test_the_last_layer_alone_tells_the_scale_where_exact_inversion_does_not_apply(attack, sent, factor):
    model, update, _ = sent
    update = {name: factor * update[name] for name in ("6.weight", "6.bias")}
    # Rounded to four bits, nothing is certified any more.
    update = {name: (16 * g / g.abs().max()).round() * g.abs().max() / 16 for name, g in update.items()}
    result = attack(model, update, batch_size=B, update_is="gradient")
    assert not result.certified_labels
    assert result.scale_source == "last layer"
    assert result.scale == pytest.approx(factor, rel=0.15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_read(attack, sent, dtype):
    model, update, y = sent
    result = attack(model, {name: g.to(dtype) for name, g in update.items()}, batch_size=B)
    assert result.estimated_labels["consistency"] == certified(y)
    named = [a.what for a in result.assumptions if "rounding" in a.what]
    assert bool(named) == (dtype != torch.float64)


def test_the_sign_of_a_gradient_and_of_a_delta_is_found(attack, sent):
    model, update, y = sent
    assert attack(model, update).kind == "gradient"
    moved = {name: -0.1 * g for name, g in update.items()}
    result = attack(model, moved, lr=0.1)
    assert (result.kind, result.certified_labels) == ("delta", certified(y))
    assert result.scale == 1.0
    assert attack(model, moved).scale == pytest.approx(0.1, rel=1e-3)


def test_an_update_that_is_told_with_the_wrong_sign_is_doubted(attack):
    model = network()
    update = gradient(model, *batch(2))

    def doubted(told):
        return "misses what it gives away" in " ".join(attack(model, update, update_is=told).remarks)

    assert doubted("delta")
    assert not doubted("gradient")


def test_the_sign_is_asked_for_where_nothing_tells(attack):
    torch.manual_seed(0)
    model = nn.Linear(SIZE, 2)
    x, y = batch()
    with pytest.raises(InputError, match="--update-is"):
        attack(model, gradient(model, x, y % 2))


def test_a_delta_without_a_learning_rate_gives_presence_but_no_counts_where_the_scale_is_not_known(attack, sent):
    model, update, _ = sent
    moved = {"6.bias": -0.1 * update["6.bias"]}
    result = attack(model, moved, batch_size=B, update_is="delta")
    assert set(result.estimated_labels) == {"bias-sign"}
    why = {a.name: a.why for a in result.attacks}
    assert "--lr" in why["ilrg-estimate"]


def test_steps_momentum_and_weight_decay_are_undone(attack):
    model, (x, y) = network(), batch()
    trained = copy.deepcopy(model)
    optimizer = torch.optim.SGD(trained.parameters(), lr=1e-5, momentum=0.9, weight_decay=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(trained.double()(x.double()), y).backward()
        optimizer.step()
    before = dict(model.double().named_parameters())
    moved = {name: (p - before[name]).detach() for name, p in trained.named_parameters()}
    told = {"lr": 1e-5, "momentum": 0.9, "local_steps": 3, "update_is": "delta", "batch_size": B}
    right = attack(model, moved, weight_decay=1e-2, **told)
    assert right.certified_labels == certified(y)
    assert right.scale == 1.0
    assert "weight decay 0.01 undone" in " ".join(a.what for a in right.assumptions)
    wrong = attack(model, moved, **told)
    assert wrong.certified_labels != certified(y)


def test_adam_leaves_the_signs(attack, sent):
    model, update, y = sent
    moved = {name: -1e-3 * g / (g.abs() + 1e-8) for name, g in update.items()}
    result = attack(model, moved, optimizer="adam", lr=1e-3, update_is="delta", batch_size=B)
    assert result.estimated_labels == {"bias-sign": dict.fromkeys(sorted(set(y.tolist())))}
    assert any("cannot be undone" in a.what for a in result.assumptions)
    assert not result.certified_labels


def test_names_with_prefixes_are_stripped_repeatedly(attack, sent):
    model, update, y = sent
    renamed = {f"_orig_mod.module._module.{name}": g for name, g in update.items()}
    assert attack(model, renamed).certified_labels == certified(y)
    assert attack(nn.DataParallel(model), update).certified_labels == certified(y)


def test_positional_lists_are_matched_by_shape_in_order(attack):
    model = Convolutional().eval()
    x, y = batch(shape=(3, 8, 8))
    state = dict(model.state_dict())
    update = {**{name: torch.zeros_like(t) for name, t in state.items()}, **gradient(model, x, y)}
    listed = {f"arr_{i}": update[name] for i, name in enumerate(state)}  # counters of shape () among them
    result = attack(model, listed, input_shape=(3, 8, 8))
    assert result.certified_labels == certified(y)
    assert any("shapes" in remark for remark in result.remarks)
    wrong = dict(reversed(listed.items()))
    with pytest.raises(InputError, match="do not tell which is which"):
        attack(model, wrong, input_shape=(3, 8, 8))


def test_counters_and_buffers_are_left_out_and_missing_ones_named(attack):
    model = Convolutional().eval()
    x, y = batch(shape=(3, 8, 8))
    update = {name: -0.1 * g for name, g in gradient(model, x, y).items()}
    whole = update | {"norm.num_batches_tracked": torch.tensor(1), "norm.running_mean": torch.rand(4)}
    for tensors in (update, whole):
        result = attack(model, tensors, input_shape=(3, 8, 8), update_is="delta")
        assert result.certified_labels == certified(y)


def test_parameters_that_are_not_the_models_are_named(attack, sent):
    model, update, _ = sent
    with pytest.raises(InputError, match=r"7\.weight .* is not a parameter of the model"):
        attack(model, {**update, "7.weight": torch.ones(2)})
    with pytest.raises(InputError, match=r"6\.bias has shape \[3\], in the model it has \[20\]"):
        attack(model, {**update, "6.bias": torch.ones(3)})


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.extra = network(), nn.Linear(2, 2)
        self.again = self.body  # tied: all parameters have two names
        self.body[0].weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def test_frozen_unused_and_tied_parameters_are_missing_knowledge(attack):
    model, (x, y) = Unused(), batch()
    result = attack(model, gradient(model, x, y), batch_size=B)
    assert result.certified_labels == certified(y)
    assert result.images_are.startswith("inputs of body.4.weight")
    still = {name: torch.zeros_like(p) for name, p in model.named_parameters()} | gradient(model, x, y)
    assert attack(model, still, batch_size=B).certified_labels == certified(y)


def test_tensors_that_are_not_contiguous_are_read(attack, sent):
    model, update, y = sent
    turned = {name: g.T.contiguous().T if g.ndim == 2 else g for name, g in update.items()}
    assert attack(model, turned).certified_labels == certified(y)


@pytest.mark.parametrize("kind", ["dropout", "norm"])
def test_in_training_mode_the_layers_after_dropout_and_batch_norm_hold(attack, kind):
    model, (x, y) = network(dropout=0.5 * (kind == "dropout"), norm=kind == "norm"), batch()
    start = copy.deepcopy(model)
    result = attack(start.eval(), gradient(model.train(), x, y), batch_size=B)
    assert result.certified_labels == certified(y)
    assert result.images_are.startswith("inputs of 4.weight")


def test_the_head_alone_gives_labels_and_features(attack, sent):
    model, update, y = sent
    result = attack(model, {name: update[name] for name in ("6.weight", "6.bias")}, batch_size=B)
    assert result.certified_labels == certified(y)
    assert result.images_are == "inputs of 6.weight (40 numbers each)"


def test_an_activation_in_place_is_made_out_of_place_on_a_copy(attack):
    model, (x, y) = network(inplace=True), batch()
    result = attack(model.train(), gradient(model, x, y), batch_size=B, matching=True, minutes=0.03)
    assert {a.name: a.status for a in result.attacks}["gradient matching"] == "ok"
    assert model[2].inplace
    assert model.training


def test_the_users_model_stays_as_it_was(attack):
    model = Convolutional()
    before = copy.deepcopy(model.state_dict())
    x, y = batch(shape=(3, 8, 8))
    update = gradient(copy.deepcopy(model), x, y)
    attack(model, update, input_shape=(3, 8, 8), batch_size=B, matching=True, minutes=0.05)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training


def test_another_norm_layer_is_named(attack):
    x, y = batch(shape=(3, 8, 8))
    theirs = Convolutional(nn.GroupNorm(2, 4))
    update = {name: -g for name, g in gradient(theirs, x, y).items()}
    result = attack(Convolutional(), update, input_shape=(3, 8, 8), update_is="delta")
    assert any("norm.running_mean" in remark and "another norm layer" in remark for remark in result.remarks)
    with pytest.raises(InputError, match=r"norm\.extra"):
        attack(Convolutional(), update | {"norm.extra": torch.ones(4)}, input_shape=(3, 8, 8))


def test_an_update_of_zeros_is_no_data(attack, sent):
    model, update, _ = sent
    result = attack(model, {name: torch.zeros_like(g) for name, g in update.items()})
    assert result.found == "no data"
    assert not result.fails("estimated")


def test_nan_is_named_with_its_parameter(attack, sent):
    model, update, _ = sent
    bad = update["4.bias"].clone()
    bad[3] = torch.nan
    with pytest.raises(InputError, match=r"update of 4\.bias has 1 NaN"):
        attack(model, {**update, "4.bias": bad})


@pytest.mark.parametrize("value", [-1, torch.nan])
def test_running_statistics_that_cannot_be_matter_to_a_client_that_used_them(attack, value):
    """As a client's Gaussian noise on all arrays leaves them."""
    model, (x, y) = Convolutional(nn.BatchNorm2d(4)), batch(shape=(3, 8, 8))
    update = gradient(model, x, y)
    model.get_buffer("norm.running_var")[2] = value
    result = attack(model, update, input_shape=(3, 8, 8), images=x, labels=y)
    assert result.certified_labels == certified(y)
    assert result.metrics["falsely_certified_images"] == 0
    assert any(remark.startswith("norm: its running statistics cannot be") for remark in result.remarks)
    with pytest.raises(InputError, match=r"norm\.running_var has (negative|NaN)"):
        attack(model, update, input_shape=(3, 8, 8), bn_eval=True)


@pytest.mark.parametrize("outside", [-1, CLASSES])
def test_class_ids_outside_the_head_are_named_early(attack, sent, outside):
    model, update, y = sent
    with pytest.raises(InputError, match=f"the class {outside}; .* 0 to {CLASSES - 1}"):
        attack(model, update, labels=torch.cat([y[1:], torch.tensor([outside])]))


def test_more_images_than_classes(attack):
    model, (x, y) = network(), batch(30)
    result = attack(model, gradient(model, x, y), batch_size=30, update_is="gradient", labels=y)
    assert result.metrics["falsely_certified_labels"] == 0
    assert sum(result.estimated_labels["ilrg"].values()) > 0


def test_a_short_last_batch_is_told(attack):
    model, (x, y) = network(), batch()
    update = gradient(model, x[:4], y[:4])
    result = attack(model, update, batch_size=B)
    assert result.certified_labels == certified(y[:4])
    assert "4 images, not the 6" in result.scale_meaning
    assert result.batch_size == 4


def test_the_rounding_of_weights_that_are_subtracted_does_not_hide_the_batch(attack):
    torch.manual_seed(0)
    body = [nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*body, nn.Linear(1352, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    x, y = torch.rand(8, 1, 28, 28), torch.randint(10, (8,))
    after = copy.deepcopy(model)
    for name, g in gradient(model, x, y).items():
        after.get_parameter(name).data -= 0.1 * g
    moved = {name: (p - model.get_parameter(name)).detach() for name, p in after.named_parameters()}
    result = attack(model, moved, update_is="delta", lr=0.1, input_shape=(1, 28, 28))
    assert result.certified_labels == certified(y)
    assert len(result.certified_images) == 8


def test_a_head_without_bias_leaves_the_methods_of_its_weight(attack):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(SIZE, 40), nn.ReLU(), nn.Linear(40, CLASSES, bias=False))
    x, y = batch()
    result = attack(model, gradient(model, x, y), update_is="gradient", batch_size=B, labels=y)
    ran = {each.name for each in result.attacks if each.status == "ok"}
    assert ran == {"gi", "idlg", "rlg"}
    assert result.estimated_labels["gi"].keys() == certified(y).keys()


def test_weights_in_place_of_an_update_are_refused(attack, sent):
    model, update, _ = sent
    after = {name: p.detach() - 0.1 * update[name] for name, p in model.named_parameters()}
    with pytest.raises(InputError, match=r"^update: holds weights, .* give --before and --after"):
        attack(model, after)


def test_a_single_output_has_no_classes(attack):
    model = nn.Sequential(nn.Linear(SIZE, 40), nn.ReLU(), nn.Linear(40, 1))
    update = {name: torch.ones_like(p) for name, p in model.named_parameters()}
    with pytest.raises(InputError, match="its last layer has 1 output"):
        attack(model, update)
