"""Every part of bench/gpu.sh at toy size on the CPU, and that it goes on where it was cut."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import gpu
import gpu_plan
import peers
from gradleak.errors import InputError
from gradleak.plan.jobs.training import TrainVictim
from gradleak.report import gpu as files
from gradleak.victims.training import plan


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["gpu.py", *arguments])
    monkeypatch.setenv("GRADLEAK_COMMIT", "abc")
    gpu.main()


@pytest.fixture
def part(monkeypatch, tmp_path, capsys):
    """Return ``part(name)``: runs it at toy size and returns what it prints and the file."""
    monkeypatch.setattr(peers, "install", lambda folder: False)

    def run(name: str, *more: str) -> tuple[str, dict[str, Any]]:
        call(monkeypatch, name, "--toy", "--results", str(tmp_path), *more)
        return capsys.readouterr().out, json.loads((tmp_path / "gpu.json").read_text())

    return run


def test_every_part_gives_its_lines_and_is_not_repeated(part, tmp_path):
    said, made = part("train")
    assert "train: 4 of 4 jobs done\n" in said
    lines = made["train"]
    assert [(line["model"], line["stage"]) for line in lines] == [
        ("lenet5", "iter1"),
        ("lenet5", "iter2"),
        ("cnn3", "iter2"),
        ("cnn3", "iter1"),
    ]
    assert {line["train_precision"] for line in lines} == {"bfloat16"}
    assert all(line["epochs_per_second"] > 0 for line in lines)

    said, made = part("rows")
    assert made["parts"]["rows"]["done"] == made["parts"]["rows"]["of"] == 8
    assert {row["defense"] for row in made["rows"]} == {"none", *(f"dp-{s}" for s in (0.0001, 0.001, 0.01))} | {
        f"sparse-{s}" for s in (10, 20, 80)
    }
    assert {row["stage_number"] for row in made["rows"]} == {2}
    assert {"leacc", "probability_cosine", "approx4_mse"} <= {row["metric"] for row in made["rows"]}

    said, made = part("exact")
    assert [(line["stage"], line["batch_size"]) for line in made["exact"]] == [("iter2", 2), ("iter1", 2)]
    assert all(line["false"] == 0 and line["ilrg_lnacc"] == 1 for line in made["exact"])

    said, made = part("images")
    (line,) = made["images"]
    assert (line["restarts"], line["breaching_ms"]) == (2, None)
    assert line["ms"] > 0

    assert len(made["made_on"]) == 1
    assert made["made_on"][0]["commit"] == "abc"
    assert made["made_on"][0]["jobs"] == 4 + 8 + 2 + 1
    assert all(each["seconds"] > 0 for each in made["parts"].values())
    with pytest.raises(InputError, match="of a trial run"):
        files.load(tmp_path / "gpu.json")

    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json") if path.name != "gpu.json"}
    for name in gpu.PARTS:
        said, _ = part(name)
        assert said.splitlines()[-1].startswith(f"{name}: ")
        assert len(said.splitlines()) == 1
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_a_part_that_attacks_victims_needs_them(part, capsys):
    with pytest.raises(SystemExit) as ended:
        part("rows")
    assert ended.value.code == 2
    assert "no victim is trained under" in capsys.readouterr().err


def test_without_a_gpu_only_a_trial_run_starts(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, "train", "--results", str(tmp_path))
    assert ended.value.code == 2
    assert "--device cuda: this machine has no usable GPU" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_the_script_starts_the_program_from_anywhere(tmp_path):
    script = Path(gpu.__file__).with_name("gpu.sh")
    done = subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "{train,rows,exact,images}" in done.stdout


def job(folder: Path, name: str, run=None, *, resumes: bool = False) -> gpu.Job:
    path = folder / f"{name}.json"

    def write() -> None:
        path.write_text('{"code": "1"}')

    return gpu.Job(name, path, "1", run or write, resumes=resumes)


def test_a_part_stops_after_its_time_and_goes_on_at_the_next_job(tmp_path):
    def slow() -> None:
        time.sleep(30)

    jobs = [job(tmp_path, "a"), job(tmp_path, "b", slow, resumes=True), job(tmp_path, "c")]
    gpu.go(jobs, 0.2 / 60)
    assert [each.result() is not None for each in jobs] == [True, False, False]
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    gpu.go([jobs[0], job(tmp_path, "b"), jobs[2]], 1)
    assert all(each.result() for each in jobs)


def test_a_result_of_a_job_that_hid_its_end_is_dropped(tmp_path):
    def hides() -> None:
        try:
            time.sleep(30)
        except KeyboardInterrupt:
            (tmp_path / "a.json").write_text('{"code": "1"}')

    jobs = [job(tmp_path, "a", hides), job(tmp_path, "b")]
    gpu.go(jobs, 0.2 / 60)
    assert [each.result() for each in jobs] == [None, None]


def test_no_job_begins_that_would_be_cut_and_cannot_go_on(tmp_path):
    def long() -> None:
        time.sleep(0.4)
        (tmp_path / "a.json").write_text('{"code": "1"}')

    jobs = [job(tmp_path, "a", long), job(tmp_path, "b"), job(tmp_path, "c", resumes=True)]
    gpu.go(jobs, 0.6 / 60)
    assert [each.result() is not None for each in jobs] == [True, False, False]


@pytest.mark.parametrize("error", [InputError("diverged: loss nan"), torch.OutOfMemoryError("CUDA\nout of memory")])
def test_a_job_that_fails_gets_a_line_and_the_others_are_done(tmp_path, capsys, error):
    def fails() -> None:
        raise error

    jobs = [job(tmp_path, "a", fails), job(tmp_path, "b")]
    gpu.go(jobs, 1)
    assert [each.result() is not None for each in jobs] == [False, True]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"a: {' '.join(str(error).split())}"


def test_a_result_of_other_code_is_no_result(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"code": "0"}')
    assert job(tmp_path, "a").result() is None


PLACE = gpu_plan.Place(Path("data"), Path("results"), "cuda")


def test_the_trainings_are_those_of_the_published_schedule_in_bfloat16():
    first, second, third, *others = gpu_plan.victims(gpu_plan.FULL, PLACE)
    assert [(spec.model, spec.stage, spec.seed) for spec in (first, second, third)] == [
        ("vgg16", f"epoch{n}", 1) for n in (10, 40, 100)
    ]
    assert (others[0].model, others[0].stage) == ("resnet18", "epoch100")
    published = TrainVictim(dataset="cifar100", model="vgg16", stage="epoch100", seed=1)
    assert third.identity() == {**published.identity(), "train_precision": "bfloat16"}
    assert plan(third, 50_000).total == 100 * (50_000 // 128)  # its own length
    assert len({spec.run_id for spec in (first, second, third, *others)}) == 3 + len(others)


def test_the_rows_cover_every_published_figure_of_a_victim_trained_for_epochs():
    figures: Any = gpu_plan.published.load(gpu_plan.PUBLISHED)
    logs = figures[figures["stage_unit"] == "epoch"]
    wanted = set(logs[[*gpu_plan.CELL]].itertuples(index=False, name=None))
    runs = gpu_plan.rows(gpu_plan.FULL, PLACE)
    for seed in (1, 2, 3):
        of_seed = [run for run in runs if run.victim_seed == seed]
        assert {gpu_plan.astuple(run.setting()) for run in of_seed} == wanted
    needed = {victim.run_id for victim in (run.victim() for run in runs) if victim is not None}
    assert needed <= {spec.run_id for spec in gpu_plan.victims(gpu_plan.FULL, PLACE)}
    assert {run.device for run in runs} == {"cuda"}


def test_exact_inversion_takes_the_stages_that_are_trained():
    specs = gpu_plan.exact(gpu_plan.FULL, PLACE)
    assert {(spec.stage, spec.batch_size) for spec in specs} == {
        (f"epoch{n}", size) for n in (10, 40, 100) for size in (24, 64, 256)
    }
    trained = {spec.run_id for spec in gpu_plan.victims(gpu_plan.FULL, PLACE)}
    assert {victim.run_id for victim in (spec.victim() for spec in specs) if victim is not None} <= trained


def test_rows_of_imagenet_are_those_that_its_images_can_fill():
    runs = gpu_plan.imagenet(gpu_plan.FULL, PLACE, 1000, "val")
    assert {(run.model, run.batch_size) for run in runs} >= {("vgg16", 24), ("resnet50", 24), ("resnet50", 512)}
    assert max(run.batch_size for run in runs) == 512
    assert {run.split for run in runs} == {"val"}


def test_images_are_timed_on_the_wall_on_a_gpu(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    device = torch.device("cuda", 0)
    seconds, _ = peers.timed(lambda: time.sleep(0.05) or torch.zeros(1), device)
    assert seconds >= 0.05  # CPU seconds would be 0
    assert waited == [device, device]
