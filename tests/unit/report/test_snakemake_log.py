"""Parameters of the workflow's scripts, and how they report faults."""

import logging

import pytest

from gradleak.errors import InputError
from gradleak.report.snakemake_log import logged, packed, unpacked


def test_parameters_of_rules_are_safe_in_scripts_of_the_report():
    value = {"caption": "a </script> <!-- b", "names": ["<"], "draft": False, "none": None}
    assert "<" not in packed(value)
    assert unpacked(packed(value)) == value


def test_a_fault_is_one_line_in_log_and_on_standard_error(tmp_path, capsys):
    def job() -> None:
        with logged(tmp_path / "sub" / "log.txt", "job") as log:
            log.info("started")
            raise InputError("no rows")

    with pytest.raises(SystemExit) as caught:
        job()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "job: error: no rows\n"
    assert (tmp_path / "sub" / "log.txt").read_text() == "INFO: started\nERROR: no rows\n"
    assert not logging.getLogger("gradleak.job").handlers
