"""Gather the metrics of an experiment's runs into one CSV, in the order of the runs."""

import sys
from pathlib import Path

from snakemake.script import snakemake

from gradleak.errors import InputError
from gradleak.records import concatenate, read_frame, whole_file

try:
    frame = concatenate(read_frame(Path(path)) for path in snakemake.input)
except InputError as error:
    Path(snakemake.log[0]).write_text(f"{error}\n", encoding="utf-8")
    sys.exit(f"collect: error: {error}")
with whole_file(Path(snakemake.output[0])) as temporary:
    frame.assign(experiment=snakemake.wildcards.experiment).to_csv(temporary, index=False, lineterminator="\n")
