"""The victims that runs need, and which stage continues which."""

from typing import Any

from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.training import TrainVictim
from gradleak.plan.trainings import earlier_stages, victims_of

STAGES = ("iter300", "iter20", "iter100", "epoch1")


def trainings(**options: Any) -> dict[str, TrainVictim]:
    runs = [RestoreLabels(dataset="mnist", model="fcn", batch_size=4, stage=stage, **options) for stage in STAGES]
    return {victim.run_id: victim for victim in victims_of({run.run_id: run for run in runs}).values()}


def test_untrained_victims_need_no_training():
    assert len(trainings()) == 4
    run = RestoreLabels(dataset="mnist", model="fcn", batch_size=4)
    assert victims_of({run.run_id: run}) == {}


def test_stages_of_a_shared_training_follow_each_other():
    found = trainings(schedule="shared", length="iter300")
    names = {victim.stage: name for name, victim in found.items()}
    assert earlier_stages(found) == {
        names["iter100"]: names["iter20"],
        names["iter300"]: names["iter100"],
    }


def test_stages_of_their_own_length_do_not():
    assert earlier_stages(trainings()) == {}
