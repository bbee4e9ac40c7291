"""The digest of LPIPS weights depends on their content, and applies to runs that measure LPIPS."""

import shutil

import pytest
from tests.small_grid import expand

from gradleak.errors import InputError
from gradleak.plan.jobs.images import Reconstruct
from gradleak.plan.lpips_files import FILES, weights_digest


def test_the_digest_is_that_of_the_content(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file in FILES:
            (tmp_path / name / file).write_bytes(file.encode())
    digest = weights_digest(tmp_path / "a")
    assert digest == weights_digest(tmp_path / "b")
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    (tmp_path / "c" / FILES[1]).write_bytes(b"other")
    assert weights_digest(tmp_path / "c") != digest
    assert weights_digest(None) is None


def test_images_that_are_too_small_use_no_weights(tmp_path):
    assert Reconstruct(dataset="mnist", lpips=tmp_path).lpips_weights is None
    assert Reconstruct(dataset="cifar100", lpips=tmp_path).lpips_weights == tmp_path
    assert Reconstruct(dataset="cifar100").lpips_weights is None


@pytest.mark.parametrize("dataset", ["cifar100-sample", "mnist-sample"])
def test_weights_that_are_missing_are_refused_where_a_run_needs_them(tmp_path, dataset):
    changes = {
        "data": {"lpips": str(tmp_path)},
        "datasets/d": {"kind": dataset, "label": "d"},
        "models/lenet": {"kind": "lenet", "label": "LeNet"},
        "attacks/dlg": {"kind": "matching", "label": "DLG"},
        "experiments/c": {"kind": "images", "attacks": ["dlg"], "axes": [{"dataset": "d", "model": "lenet"}]},
    }
    if dataset == "mnist-sample":
        assert expand(changes).experiments["c"]
        return
    with pytest.raises(InputError, match=f"my.yaml: data.lpips: {tmp_path}/{FILES[0]}: no such file"):
        expand(changes)
