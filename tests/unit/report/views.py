"""The views of an artificial grid, and the numbers that it gives the prose."""

from gradleak.plan.catalogue import IMAGES, find, names
from gradleak.report import numbers as quoted
from gradleak.report.tables.base import Labels

LABELS = Labels({"mnist-sample": "MNIST (5k sample)"}, {"fcn": "FCN-3"}, {"ilrg": "iLRG"})
_ANALYSED = ("error_analysis", "soteria_embedding", "training_stage", "defenses", "extreme_distribution")


def _experiments(kind: str, needs: tuple[str, ...]) -> list[str]:
    """Return the artificial experiments that a view shows."""
    if kind == "denoising_path":
        return ["guided images"]
    if IMAGES in needs:
        return ["defended images"] if "defenses" in kind else ["images"]
    if kind in names("figures"):
        return ["two"] if "batch" in kind else ["stages"]
    return ["stages"] if kind in _ANALYSED else ["one", "two"]


TABLES = {
    name: {"kind": name, "experiments": _experiments(name, find("tables", name).needs), "caption": None}
    for name in names("tables")
}
TABLES["more_images"] = {"kind": "reconstruction", "experiments": ["defended images"], "caption": None}
FIGURES = {
    name: {
        "kind": name,
        "experiments": _experiments(name, find("figures", name).needs),
        "caption": "At 95 %" if "batch" in name else None,
    }
    for name in names("figures")
}
OF_IMAGES = [kind for part in ("tables", "figures") for kind in names(part) if IMAGES in find(part, kind).needs]


def sidecar(**more) -> dict:
    return {
        "identity": {"kind": "labels"},
        "commit": "0123456789abcdef",
        "dirty": False,
        "packages": {"python": "3.11.2", "torch": "2.12.0"},
        "device": "cpu",
        "hardware": {"processor": "Some CPU @ 3 GHz", "cores": 2, "host": "h"},
        "seconds": 90.0,
        "peak_memory_mb": 700.0,
        **more,
    }


def gather(frames, sources, sidecars=None, tables=TABLES, figures=FIGURES):
    tables, figures = (
        {name: view for name, view in views.items() if set(view["experiments"]) <= set(frames)}
        for views in (tables, figures)
    )
    restored, rerun, images = sources
    runs = sidecars or [sidecar()]
    return quoted.gather(frames, restored, rerun, runs, tables=tables, figures=figures, labels=LABELS, images=images)


def image_sidecar(iterations: int, restarts: int, **more) -> dict:
    spec = {"iterations": iterations, "restarts": restarts, "bn_eval": True, "local_steps": 1, "median": 0}
    return sidecar(run="images/mnist/fcn/x", identity={"kind": "images"}, spec={**spec, **more})
