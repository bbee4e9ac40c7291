"""Measure on a GPU what takes too long on CPUs, part by part: train, rows, exact, images.

bench/gpu.sh train --data-root data

Every part stops after its minutes; the same command goes on where it stopped. Finished jobs are kept under --results,
and all of them together are written as one JSON, which the agreement table of the workflow shows in columns of its own.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import gpu_plan
import peers
from exact_inversion import attack
from gpu_plan import FULL, PUBLISHED, TOY, Place, Size
from gradleak import provenance
from gradleak.audit.time_limit import Clock, TimeUp, limited
from gradleak.commands import restore_labels, train_model
from gradleak.data import datasets
from gradleak.devices import choose_device
from gradleak.errors import InputError
from gradleak.plan.code import code_of
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.jobs.labels import RestoreLabels
from gradleak.plan.jobs.training import TrainVictim, steps_to
from gradleak.records import write_text
from gradleak.report import gpu
from gradleak.report.frames import concatenate, read_run
from gradleak.sidecars import read_sidecar

PARTS = ("train", "rows", "exact", "images")


@dataclass(frozen=True)
class Job:
    """One step of a part, which is done as a whole or not at all.

    Attributes:
        name: for the list of what is done.
        record: the file that it writes last.
        code: digest of its code; a result of other code is not its result.
        run: does it.
        resumes: whether it goes on where it was cut.
    """

    name: str
    record: Path
    code: str
    run: Callable[[], object]
    resumes: bool = False

    def result(self) -> dict[str, Any] | None:
        """Return the record, or None if the job is not done."""
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if record.get("code") == self.code else None


def training(spec: TrainVictim) -> Job:
    """Return the training of a victim; one that was cut goes on from its last saved state."""

    def run() -> None:
        spec.sidecar.unlink(missing_ok=True)  # of other code
        train_model.main(spec.to_argv())

    return Job(spec.run_id, spec.sidecar, code_of(spec), run, resumes=True)


def row(spec: RestoreLabels, place: Place) -> Job:
    """Return a label run."""
    folder = place.results / "runs" / spec.run_id
    argv = [*spec.to_argv(), "--output", str(folder / "metrics.csv")]
    return Job(spec.run_id, folder / "run.json", code_of(spec), lambda: restore_labels.main(argv))


def inversion(spec: RestoreLabels, trial: int, place: Place) -> Job:
    """Return the exact inversion of one batch."""
    path = place.results / "exact" / spec.run_id / f"{trial}.json"
    about = {"model": spec.model, "stage": spec.stage, "batch_size": spec.batch_size, "model_seed": spec.victim_seed}

    def run() -> None:
        clock = provenance.Clock(code_of(spec))
        for line in attack(spec, [trial], head=False):
            _write(path, {**about, **line}, clock, str(choose_device(spec.device)))

    return Job(f"{spec.run_id} {trial}", path, code_of(spec), run)


def reconstructions(size: Size, place: Place, beside: Callable[[], bool]) -> list[Job]:
    """Return the pairs of reconstructions; ``beside`` tells, at the last moment, whether ``breaching`` is there."""
    spec = Reconstruct(dataset=size.dataset, model=size.resnet, batch_size=size.image_batch, cost_fn="sim")
    code = code_of(spec)

    def pair(number: int) -> Job:
        path = place.results / "images" / f"{number}.json"

        def run() -> None:
            device, clock = choose_device(place.device), provenance.Clock(code)
            data = datasets.load(size.dataset, root=place.data_root)
            attacked = peers.Attack(size.resnet, size.image_batch, size.restarts, size.iterations, data, device)
            about = {name: getattr(attacked, name) for name in ("model", "batch", "restarts", "iterations")}
            for line in peers.reconstructed(attacked, [number], beside=beside()):
                _write(path, {**about, **line}, clock, str(device))

        return Job(f"images {number}", path, code, run)

    return [pair(number) for number in range(size.pairs)]


def _write(path: Path, line: dict[str, Any], clock: provenance.Clock, device: str) -> None:
    record = {
        "line": line,
        "code": clock.code,
        "seconds": round(clock.seconds(), 3),
        "device": device,
        **provenance.commit(),
        "packages": provenance.packages(),
        "hardware": provenance.hardware(device),
    }
    write_text(path, json.dumps(record, indent=1) + "\n")


def jobs_of(part: str, size: Size, place: Place, beside: Callable[[], bool] = lambda: False) -> list[Job]:
    """Return the jobs of a part, the most valuable first; those that attack a victim only if it is trained."""
    trained = [(spec, training(spec)) for spec in gpu_plan.victims(size, place)]
    if part == "train":
        return [job for _, job in trained]
    there = {spec.run_id for spec, job in trained if job.result() is not None}
    if part == "rows":
        labels = [spec for spec in gpu_plan.rows(size, place) if _victim(spec) in there]
        return [row(spec, place) for spec in [*labels, *_imagenet(size, place)]]
    if part == "exact":
        cells = [spec for spec in gpu_plan.exact(size, place) if _victim(spec) in there]
        return [inversion(spec, trial, place) for trial in range(size.exact_tries) for spec in cells]
    return reconstructions(size, place, beside)


def _victim(spec: RestoreLabels) -> str:
    victim = spec.victim()
    assert victim is not None
    return victim.run_id


def _imagenet(size: Size, place: Place) -> list[RestoreLabels]:
    """Return the rows of ImageNet that the images under the root can fill; the train split if it is there."""
    for split in ("train", "val") if size is FULL else ():
        try:
            data = datasets.load("imagenet", split=split, root=place.data_root)
        except InputError:
            continue
        return gpu_plan.imagenet(size, place, len(data), split)
    return []


def document(size: Size, place: Place) -> gpu.Document:
    """Return everything that is done so far, of all parts."""
    jobs = {part: jobs_of(part, size, place) for part in PARTS}
    results = {part: [each for each in (job.result() for job in jobs[part]) if each is not None] for part in PARTS}
    frames = [read_run(job.record.with_name("metrics.csv"), job.record)[0] for job in jobs["rows"] if job.result()]
    return gpu.Document(
        made_on=gpu.makers([record for records in results.values() for record in records]),
        parts={
            part: {
                "done": len(results[part]),
                "of": len(jobs[part]),
                "seconds": round(sum(each["seconds"] for each in results[part]), 1),
            }
            for part in PARTS
        },
        train=[_trained(job.record) for job in jobs["train"] if job.result()],
        rows=gpu.summary_of(concatenate(frames)),
        exact=[record["line"] for record in results["exact"]],
        images=[record["line"] for record in results["images"]],
    )


def _trained(sidecar: Path) -> dict[str, Any]:
    """Return a line for a victim; the speed is that of the process that ended the training."""
    record = read_sidecar(sidecar, numbers=("accuracy", "loss"))
    spec = TrainVictim(**{name: value for name, value in record["spec"].items() if name != "device"})
    images = datasets.load(spec.dataset, split="train", root=spec.data_root)
    steps = record["steps"] - record["resumed_from"]
    epochs = steps / steps_to("epoch1", len(images), spec.train_batch_size)
    line = {name: getattr(spec, name) for name in ("model", "stage", "train_precision")}
    line |= {"model_seed": spec.seed, "epochs_per_second": epochs / record["seconds"]}
    return line | {name: record[name] for name in ("steps", "accuracy", "loss", "seconds", "resumed_from")}


def go(jobs: Iterable[Job], minutes: float) -> None:
    """Do the jobs that are not done, until the time is up.

    A job that could not go on where it is cut is not begun if the one before took longer than the time that is left.
    One that fails, such as a training that diverges, gets a line.
    """
    clock, last = Clock(60 * minutes), 0.0
    with limited(60 * minutes) as limit:
        try:
            for job in jobs:
                if job.result() is not None:
                    continue
                if limit.is_up or (not job.resumes and last > clock.left):
                    return
                print(job.name, flush=True)
                begun = clock.spent
                try:
                    job.run()
                except (InputError, torch.OutOfMemoryError) as error:  # the others are no worse for it
                    print(f"{job.name}: {' '.join(str(error).split())}", file=sys.stderr)
                last = clock.spent - begun
                if limit.is_up:  # the job has hidden that it was cut
                    job.record.unlink(missing_ok=True)
        except TimeUp:
            return


def main() -> None:
    """Run a part for its minutes, write the JSON, and say what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the full data sets")
    parser.add_argument("--results", type=Path, help="folder of finished jobs (default: results/gpu)")
    parser.add_argument("--json", type=Path, help="the file of all results (default: paper/published/gpu.json)")
    parser.add_argument("--minutes", type=float, default=7.7, help="time of the part without Python's start")
    parser.add_argument("--peers", type=Path, help="folder with breaching, or to install it into")
    parser.add_argument("--toy", action="store_true", help="a trial run: seconds, packaged images, any device")
    options = parser.parse_args()
    size, results = (TOY, Path("results/gpu-toy")) if options.toy else (FULL, Path("results/gpu"))
    results = options.results or results
    place = Place(options.data_root, results, "auto" if options.toy else "cuda")
    path = options.json or (results / "gpu.json" if options.toy else PUBLISHED.with_name("gpu.json"))
    os.environ.setdefault("GRADLEAK_COMMIT", provenance.stamp())
    try:
        choose_device(place.device)
        jobs = jobs_of(options.part, size, place, lambda: _install(options.peers or results / "peers"))
        if not jobs:
            raise InputError(f"no victim is trained under {results}; run bench/gpu.sh train first")
        go(jobs, options.minutes)
    except InputError as error:
        parser.exit(2, f"gpu.py: {error}\n")
    gpu.write(path, document(size, place))
    done = sum(job.result() is not None for job in jobs)
    print(f"{options.part}: {done} of {len(jobs)} jobs done{'' if done == len(jobs) else '; run it again to go on'}")
    print(f"results: {path}", file=sys.stderr)


def _install(folder: Path) -> bool:
    """Whether ``breaching`` is there or can be installed; a line says so where it cannot."""
    there = peers.install(folder)
    if not there:
        shutil.rmtree(folder, ignore_errors=True)  # what is half installed
        print(f"breaching cannot be installed into {folder}: gradleak is measured alone", file=sys.stderr)
    return there


if __name__ == "__main__":
    torch.set_num_threads(min(8, os.cpu_count() or 1))
    main()
