"""Whether an attack applies to what clients sent: batches that it can match, and rows for those that it cannot."""

from collections.abc import Iterator

import torch

from gradleak.clients.client import Client
from gradleak.clients.rounds import Batch, Round
from gradleak.notes import note
from gradleak.plan import catalogue
from gradleak.plan.jobs.images import ImageAttack, Reconstruct
from gradleak.plan.metric_facts import IMAGE_METRICS, INVERSION_METRICS
from gradleak.records import Row, Setting
from gradleak.runs.image_results import Reconstruction, rows_of


def is_applicable(spec: ImageAttack, batch: Batch) -> bool:
    """Whether a batch can be attacked: it has the gradients that the attack and its labels need; prints why not."""
    if not batch.observation.gradients:
        note(f"{spec.attack} is not applicable: no gradient is sent")
        return False
    for part, method in spec.kinds():
        lacking = batch.observation.lacks(catalogue.find("attacks", method).needs) if part == "attacks" else []
        if lacking:
            who = f"labels by {method} need" if method == spec.labels else f"method {method} needs"
            note(f"{spec.attack} is not applicable: {who} the gradient of {' and '.join(lacking)}, which is not sent")
            return False
    return True


def alike(batches: list[Batch], client: Client) -> Iterator[tuple[list[Batch], Client]]:
    """Group batches by the set of gradients that were sent, with the client that sends these."""
    groups: dict[frozenset[str], list[Batch]] = {}
    for batch in batches:
        groups.setdefault(frozenset(batch.observation.gradients), []).append(batch)
    for names, group in groups.items():
        yield group, client.sending(list(names))


def not_applicable(
    spec: ImageAttack, setting: Setting, round_: Round, batch: Batch
) -> tuple[Reconstruction, list[Row]]:
    """Return a placeholder for a batch that cannot be attacked: grey images, and rows that are all NaN.

    Args:
        spec: the run.
        setting: the setting of a single client.
        round_: the round of the batch.
        batch: the batch.
    """
    truth = round_.pixels(batch.images.cpu())
    metrics = [*IMAGE_METRICS, "recovered", *(["lpips"] if spec.lpips_weights else []), *spec.metrics]
    if isinstance(spec, Reconstruct) and spec.method == "consistency":
        metrics += INVERSION_METRICS
    made = Reconstruction(
        trial=batch.trial,
        client=batch.client,
        truth=truth,
        guess=torch.full_like(truth, 0.5),
        true_labels=batch.labels,
        labels=torch.full_like(batch.labels, -1),
        metrics={name: torch.full((len(truth),), torch.nan) for name in metrics},
        loss=torch.nan,
        trace=torch.empty(0, 0),
        snapshots={},
        diverged=0,
    )
    return made, rows_of(spec, setting, made, torch.nan)
