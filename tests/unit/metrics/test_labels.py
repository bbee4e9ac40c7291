from dataclasses import replace

import pytest
import torch
from torch import nn

from gradleak.attacks.labels.base import LabelGuess
from gradleak.clients.observation import BatchTruth
from gradleak.metrics.labels import floors, label_metrics


def truth_of(counts: list[int], dimension: int = 3) -> BatchTruth:
    """Return a truth with the given counts and random class means, 0 for absent classes."""
    generator = torch.Generator().manual_seed(0)
    C = len(counts)
    tensor = torch.tensor(counts)
    present = (tensor > 0).double()[:, None]
    means = [torch.rand(C, n, generator=generator).double() * present for n in (dimension, C, C)]
    return BatchTruth(tensor, *means)


def guess_of(counts: list[int]) -> LabelGuess:
    tensor = torch.tensor(counts)
    return LabelGuess(tensor > 0, tensor)


def test_a_perfect_guess():
    truth = truth_of([3, 0, 1, 0])
    head = nn.Linear(3, 4)
    W, b = head.weight.detach().double(), head.bias.detach().double()
    truth = replace(truth, logits=truth.embeddings @ W.T + b)
    guess = replace(guess_of([3, 0, 1, 0]), embeddings=7 * truth.embeddings, probabilities=truth.probabilities)
    values = label_metrics(guess, truth)
    assert values.pop("count_l1") == 0
    assert values == pytest.approx(dict.fromkeys(values, 1.0))
    assert set(values) == {
        "leacc", "f1", "lnacc", "irec", "exact_match", "embedding_cosine", "probability_cosine"
    }  # fmt: skip
    guess = replace(guess, embeddings=truth.embeddings)
    assert label_metrics(guess, truth, head=head)["output_cosine"] == pytest.approx(1.0)


def test_a_wrong_guess_by_hand():
    # Presence is right for classes 0, 2, 3 of 5, counts for 2 and 3; one extra class, one missed.
    values = label_metrics(guess_of([3, 2, 0, 1, 0]), truth_of([4, 0, 0, 1, 5]))
    assert values == pytest.approx(
        {
            "leacc": 3 / 5,
            "f1": 2 / 3,
            "lnacc": 2 / 5,
            "irec": 4 / 10,
            "count_l1": (1 + 2 + 5) / 10,
            "exact_match": 0.0,
        }
    )


def test_presence_only_guesses_have_no_counts_to_judge():
    values = label_metrics(LabelGuess(torch.tensor([True, True, False])), truth_of([2, 0, 0]))
    assert values == pytest.approx({"leacc": 2 / 3, "f1": 2 / 3})


def test_restricted_guesses_are_judged_on_their_classes():
    truth = truth_of([2, 0, 0, 1])
    restricted = replace(guess_of([1, 0, 0, 1]), restricted_to=truth.counts > 0)
    assert label_metrics(restricted, truth)["lnacc"] == 1 / 2
    assert label_metrics(guess_of([1, 0, 0, 1]), truth)["lnacc"] == 3 / 4


def test_cosines_are_means_over_the_classes_in_the_batch():
    truth = replace(
        truth_of([1, 0, 2], dimension=2),
        embeddings=torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]).double(),
        probabilities=torch.eye(3).double(),
        logits=torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).double(),
    )
    guess = replace(
        guess_of([1, 0, 2]),
        embeddings=torch.tensor([[3.0, 0.0], [9.0, -9.0], [2.0, 0.0]]).double(),
        probabilities=torch.tensor([[0.6, 0.8, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).double(),
    )
    head = nn.Linear(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        head.bias.copy_(torch.tensor([0.0, 4.0, 0.0]))
    values = label_metrics(guess, truth, head=head)
    assert values["embedding_cosine"] == pytest.approx((1 + 0) / 2)
    assert values["probability_cosine"] == pytest.approx((0.6 + 1) / 2)
    # Logits (3, 4, 0) against (1, 0, 0), and (2, 4, 0) against (0, 1, 0).
    assert values["output_cosine"] == pytest.approx((3 / 5 + 4 / 20**0.5) / 2)


def test_a_guess_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="over 2 classes and the truth over 3"):
        label_metrics(guess_of([1, 0]), truth_of([1, 0, 0]))


def test_a_blank_answer_scores_well():
    generator = torch.Generator().manual_seed(0)
    batches = torch.randint(100, (200, 24), generator=generator)
    blank = floors(24, 100)["floor-blank"]
    values = [label_metrics(blank, truth_of(torch.bincount(y, minlength=100).tolist())) for y in batches]
    assert sum(v["leacc"] for v in values) / 200 == pytest.approx(0.79, abs=0.01)
    assert all(v["f1"] == v["irec"] == v["exact_match"] == 0 for v in values)
    assert all(v["count_l1"] == 1 for v in values)


@pytest.mark.parametrize(("B", "C", "count"), [(24, 100, 0), (64, 10, 6), (25, 10, 2), (35, 10, 4), (1, 1, 1)])
def test_floors(B: int, C: int, count: int):
    answers = floors(B, C)
    assert list(answers) == ["floor-blank", "floor-uniform"]
    for name, expected in (("floor-blank", 0), ("floor-uniform", count)):
        guess = answers[name]
        assert guess.counts is not None
        assert guess.assignable_counts is not None
        assert guess.counts.tolist() == [expected] * C
        assert guess.presence.tolist() == [expected > 0] * C
        assert guess.assignable_counts.sum() == B
        assert guess.assignable_counts.max() - guess.assignable_counts.min() <= 1
