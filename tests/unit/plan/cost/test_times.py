"""Times of past jobs."""

import pytest

from gradleak.plan.cost.times import past_jobs
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.training import TrainVictim


def labels(seed: int) -> RestoreLabels:
    return RestoreLabels(dataset="mnist", model="fcn", batch_size=8, model_seed=seed)


def test_jobs_of_all_kinds_and_configurations_count(tmp_path, do):
    training = TrainVictim(dataset="mnist", model="fcn", stage="iter10")
    do(labels(1), 10)
    do(training, 4.5)
    times, said = past_jobs(tmp_path)
    assert times["seconds"].to_dict() == {labels(1).run_id: 10, training.run_id: 4.5}
    assert times["kind"].to_dict() == {labels(1).run_id: "labels", training.run_id: "train"}
    assert said == f"2 timed jobs on cpu in {tmp_path}"


def test_devices_are_not_mixed(tmp_path, do):
    do(labels(1), 10)
    do(labels(2), 12)
    do(labels(3), 1, device="cuda:0")
    assert past_jobs(tmp_path)[0]["seconds"].to_list() == [10, 12]
    assert past_jobs(tmp_path, "cuda")[0]["seconds"].to_list() == [1]
    assert past_jobs(tmp_path, "tpu")[1] == f"No timed jobs on tpu in {tmp_path}"


@pytest.mark.parametrize("text", ["", "s\n", "s\n-\n", "s\n0\n", "s\tt\n1\n", "t\n1\n"])
def test_benchmarks_without_a_time_are_counted(tmp_path, do, text):
    do(labels(1), 10)
    (do(labels(2), 10) / "benchmark.tsv").write_text(text)
    times, said = past_jobs(tmp_path)
    assert len(times) == 1
    assert said.endswith("; 1 more cannot be read")


def test_a_benchmark_without_the_record_of_a_finished_job_does_not_count(tmp_path, do):
    do(labels(1), 10, interrupted=True)
    (do(labels(2), 10) / "run.json").unlink()
    assert past_jobs(tmp_path)[1] == f"No timed jobs on any device in {tmp_path}; 2 more cannot be read"
