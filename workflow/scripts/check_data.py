"""Check a full data set once, before the jobs that need it: download it if allowed, count images, write a report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, model_validator

from gradleak.plan import catalogue, cli, plugins
from gradleak.plan.jobs.spec import Names


class CheckData(BaseModel):
    """Options of this program."""

    dataset: str = Field(description=f"data set: {', '.join(catalogue.names('datasets'))}")
    splits: Names = Field(("train",), description="comma-separated: train, val, all")
    data_root: Path = Field(Path("data"), description="folder of the data sets")
    download: bool = Field(False, description="let torchvision download a missing data set")
    modules: Names = Field((), description="plug-in that brings the data set, if one does")
    output: Path = Field(description="JSON file for the report")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not self.splits:
            raise ValueError("--splits is empty; use one or more of train, val, all")
        if self.output.is_dir():
            raise ValueError(f"--output {self.output}: is a folder; name a file in it")
        return self


def main(argv: Sequence[str]) -> None:
    """Check the data set that ``argv`` names."""
    options = cli.parse(CheckData, argv, description=__doc__)
    import torch

    from gradleak.data import datasets
    from gradleak.records import write_text

    plugins.load(options.modules)
    found = {}
    for split in options.splits:
        data = datasets.load(options.dataset, split=split, root=options.data_root, download=options.download)
        data.fetch(torch.tensor([0, len(data) - 1]))  # decodes the first and the last file
        found[split] = {"images": len(data), "classes": data.num_classes}
    record = {"dataset": options.dataset, "root": str(options.data_root), "splits": found}
    write_text(options.output, json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    cli.run(main)
