"""Artificial rows of the long schema, for tests of tables, figures and the paper."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.cells import columns
from tests.workflow import ROOT

from gradleak.plan.catalogue import dataset_facts
from gradleak.plan.metric_facts import SNAPSHOT
from gradleak.records import COLUMNS
from gradleak.report import published, published_images
from gradleak.report.tables.error_analysis import QUANTITIES

_COUNTED = ("leacc", "lnacc", "irec", "f1", "exact_match")
_COSINES = ("embedding_cosine", "output_cosine", "probability_cosine")
_ERRORS = tuple(f"{name}_{error}" for name in (*QUANTITIES, "soteria_embedding") for error in ("mse", "mre"))
Rows = Callable[..., pd.DataFrame]


def _rows(
    dataset: str,
    model: str,
    batch_size: int,
    *,
    model_seeds: tuple[int, ...] = (1, 2, 3),
    tries: int = 4,
    methods: tuple[str, ...] = ("ilrg", "idlg", "gi", "rlg"),
    level: float = 0.9,
    experiment: str = "made_up",
    stage: str = "untrained",
    distribution: str = "random",
    defense: str = "none",
    analysis: bool = False,
    full: tuple[str, ...] = ("ilrg", "ilrg-simplified", "ilrg-estimate"),
    more: Mapping[str, float] | None = None,
    values: Mapping[tuple[str, str], float] | None = None,
) -> pd.DataFrame:
    """Rows of one setting.

    Methods in ``full`` restore counts and embeddings, others only presence; ``more`` are further metrics of all
    methods; ``values`` fixes the value of a (method, metric) everywhere.
    """
    values = values or {}
    classes = dataset_facts(dataset).num_classes
    rng = np.random.default_rng(batch_size)
    rows: list[dict[str, Any]] = []
    for seed in model_seeds:
        shift = 0.01 * (seed - 2)
        cell = {
            "run": f"labels/{dataset}/{model}/{stage}-{distribution}-B{batch_size}-seed{seed}-{defense}",
            "kind": "labels",
            **columns(dataset, model, batch_size, stage=stage, distribution=distribution, defense=defense),
            "model_seed": seed,
            "seed": 12,
            "image": -1,
            "iteration": -1,
            "status": "ok",
            "experiment": experiment,
        }

        def put(method: str, metric: str, trial: int, value: float, cell: dict[str, Any] = cell) -> None:
            value = values.get((method, metric), value)
            at = {"method": method, "metric": metric, "trial": trial, "client": min(trial, 0)}
            rows.append({**cell, **at, "value": value})

        for trial in range(tries):
            noise = 0.004 * rng.standard_normal()
            share = float(np.clip(level + shift + noise, 0, 1))
            for method in methods:
                names = (*_COUNTED, "count_l1", *_COSINES) if method in full else ("leacc", "f1")
                for metric in names:
                    put(method, metric, trial, 2 * (1 - share) if metric == "count_l1" else share)
                put(method, "seconds", trial, 0.01)
                for metric, value in (more or {}).items():
                    put(method, metric, trial, value)
            for method in (name for name in methods if name in full):
                if analysis:
                    for metric in _ERRORS:
                        put(method, metric, trial, 1e-5 * share)
                    put(method, "soteria_embedding_cosine", trial, -share)
                if distribution.startswith("custom"):
                    for c, count in ((0, 1), (18, batch_size - 2), (92, 1)):
                        put(method, f"restored_class_{c}", trial, count)
            absent = (1 - 1 / classes) ** batch_size
            for floor, height in (("floor-blank", absent), ("floor-uniform", absent / 2)):
                for metric in ("leacc", "lnacc", "irec"):
                    put(floor, metric, trial, 0.0 if metric == "irec" and floor == "floor-blank" else height)
        if stage != "untrained":
            put("victim", "accuracy", -1, 0.9 + shift)
            put("victim", "loss", -1, 0.3)
        put("job", "seconds", -1, 3.2)
        put("job", "peak_memory_mb", -1, 700.0)
    return pd.DataFrame(rows, columns=[*COLUMNS, "experiment"])


@pytest.fixture(scope="session")
def made_up() -> Rows:
    """The function that makes the rows of a setting."""
    return _rows


def _image_rows(
    dataset: str,
    model: str,
    batch_size: int,
    *,
    method: str = "ig",
    model_seeds: tuple[int, ...] = (1,),
    rounds: int = 1,
    clients: int = 1,
    aggregated: bool = False,
    distribution: str = "random",
    defense: str = "none",
    psnr: float = 18.0,
    iterations: tuple[int, ...] = (1, 100, 200),
    diverged: tuple[int, ...] = (),
    more: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Rows of one setting of image reconstruction, as its jobs write them.

    Image i of client c has a PSNR of ``psnr`` + i + c; clients in ``diverged`` do not count; ``more`` are further
    metrics of images.
    """
    rows: list[dict[str, Any]] = []
    for seed in model_seeds:
        folder = f"images/{dataset}/{model}"
        cell = {
            "run": f"{folder}/{distribution}-B{batch_size}-seed{seed}-{defense}-{clients}clients-{method}",
            "kind": "images",
            **columns(dataset, model, batch_size, distribution=distribution, defense=defense),
            "model_seed": seed,
            "seed": 12,
            "client": -1,
            "image": -1,
            "iteration": -1,
            "status": "ok",
            "experiment": "made_up",
        }
        at = {**cell, "method": method, "aggregated": clients if aggregated else 0}
        for trial in range(rounds):
            for client in range(1 if aggregated else clients):
                status = "diverged" if client in diverged else "ok"
                who = {**at, "trial": trial, "client": -1 if aggregated else client, "status": status}
                for image in range(batch_size):
                    level = psnr + image + client + 0.01 * seed
                    of_image = {"psnr": level, "mse": 10 ** (-level / 10), "ssim": 0.5, "feature_cosine": 0.9}
                    of_image |= {"label_accuracy": float(image > 0), **(more or {})}
                    for metric, value in of_image.items():
                        value = value if status == "ok" else np.nan
                        rows.append({**who, "image": image, "metric": metric, "value": value})
                whole = {"seconds": 2.5, "matching_loss": 1e-3, "diverged_restarts": 2.0 if status != "ok" else 0.0}
                rows += [{**who, "metric": metric, "value": value} for metric, value in whole.items()]
                for each in iterations:
                    rows.append({**who, "iteration": each, "metric": SNAPSHOT, "value": psnr - 5 + each / 100})
        # The job's own values have the clients' batch size even if only the aggregate is attacked.
        clients_own = batch_size // clients if aggregated else batch_size
        job = {**cell, "method": "job", "batch_size": clients_own, "trial": -1}
        rows.append({**job, "metric": "seconds", "value": 3.2})
    return pd.DataFrame(rows, columns=[*COLUMNS, "experiment"])


@pytest.fixture(scope="session")
def made_up_images() -> Rows:
    """The function that makes the rows of a setting of image reconstruction."""
    return _image_rows


@pytest.fixture(scope="session")
def write_archive() -> Callable[..., Path]:
    """The function that writes the images of a run: random originals by ``seed``, and darker guesses."""

    def write(
        folder: Path, clients: Sequence[int], *, size: int = 6, channels: int = 1, seed: int = 0, name: str = "images"
    ) -> Path:
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 256, (len(clients), size, size, channels), dtype=np.uint8)
        labels = np.arange(len(clients))
        path = folder / f"{name}.npz"
        np.savez_compressed(
            path,
            truth=truth,
            guess=truth // 2,
            true_labels=labels,
            labels=labels,
            trial=np.zeros(len(clients), dtype=int),
            client=np.asarray(clients),
            path=np.stack([truth[0] // step for step in (5, 4, 3)]),
            path_at=np.array([1, 10, 20]),
        )
        return path

    return write


@pytest.fixture(scope="session")
def paper_folder() -> Path:
    """The hand-written part of the paper."""
    return ROOT / "paper"


@pytest.fixture(scope="session")
def frames(made_up) -> dict[str, pd.DataFrame]:
    return {
        "one": made_up("mnist-sample", "fcn", 24),
        "two": pd.concat([made_up("mnist-sample", "fcn", size) for size in (8, 32, 128)]),
    }


@pytest.fixture(scope="session")
def with_stages(frames, made_up) -> dict[str, pd.DataFrame]:
    settings = ({"stage": "iter100"}, {"defense": "clip-4+dp-0.01"}, {})
    parts = [made_up("mnist-sample", "fcn", 8, analysis=True, **setting) for setting in settings]
    return {**frames, "stages": pd.concat(parts)}


@pytest.fixture(scope="session")
def of_images(made_up_images) -> dict[str, pd.DataFrame]:
    """DLG on clients and their aggregate, IG with labels optimised, restored and given; and DLG under defenses."""
    levels = {"ig": 17.0, "ig-ilrg": 18.8, "ig-truth": 19.5}
    exact = {"certified": 0.5, "recovered": 0.5, "predicted_psnr": 50.0}  # what figures of exact inversion show
    at = {"model_seeds": (1, 2, 3), "iterations": (1, 4000, 8000), "more": exact}
    parts = [made_up_images("mnist-sample", "fcn", 50, method=m, psnr=p - 24.5, **at) for m, p in levels.items()]
    for method, level in (("dlg", 20.0), ("dlg-ilrg", 19.0)):
        parts.append(made_up_images("cifar100-sample", "lenet-sigmoid", 1, method=method, clients=3, psnr=level))
        whole = {"clients": 3, "aggregated": True, "psnr": level - 10}
        parts.append(made_up_images("cifar100-sample", "lenet-sigmoid", 3, method=method, **whole))
    strengths = {"none": 40.0, "dp-0.01@all": 20.0, "sparse-80@all": 9.0}
    defended = [
        made_up_images("mnist-sample", "lenet-sigmoid", 1, clients=4, defense=name, psnr=level, diverged=(3,))
        for name, level in strengths.items()
    ]
    return {"images": pd.concat(parts), "defended images": pd.concat(defended)}


@pytest.fixture(scope="session")
def guided(made_up_images) -> dict[str, pd.DataFrame]:
    """The same with a diffusion prior."""
    rows = made_up_images("mnist-sample", "lenet-sigmoid", 1, clients=2, method="diffusion")
    return {"guided images": rows.assign(kind="diffusion")}


@pytest.fixture(scope="session")
def sources(paper_folder):
    folder = paper_folder / "published"
    reconstructed = published_images.load(folder / "images.csv")
    return published.load(folder / "ilrg.csv"), published.load_rerun(folder / "rerun.csv"), reconstructed


@pytest.fixture(scope="session")
def everything(with_stages, of_images, guided) -> dict[str, pd.DataFrame]:
    return {**with_stages, **of_images, **guided}
