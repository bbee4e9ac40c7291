"""What a program that reconstructs images does after its attack."""

import json
from dataclasses import replace

import pytest

from gradleak import run_table
from gradleak.errors import InputError
from gradleak.image_spec import Reconstruct
from gradleak.images.experiment import Result, run
from gradleak.images.job import execute


def test_an_interrupted_run_keeps_its_results_but_is_no_success(tmp_path, capsys):
    output = tmp_path / "metrics.csv"
    spec = Reconstruct(dataset="mnist-sample", num_clients=1, iterations=1, output=output, progress=False)

    def interrupted(spec: Reconstruct) -> Result:
        return replace(run(spec), interrupted=True)

    with pytest.raises(SystemExit) as raised:
        execute(spec, interrupted)
    assert raised.value.code == 130
    assert "interrupted: these are the best reconstructions so far" in capsys.readouterr().err
    assert output.is_file()
    assert (tmp_path / "contact.png").is_file()
    assert json.loads((tmp_path / "run.json").read_text())["interrupted"]
    with pytest.raises(InputError, match="was interrupted"):
        run_table.read_run(tmp_path)
