"""The lines of docs/capture.md run as they stand."""

import re
from pathlib import Path

import torch
from tests.workflow import ROOT
from torch import nn

BLOCKS = [
    block
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/capture.md").read_text(encoding="utf-8"), re.DOTALL)
    if "flwr" not in block
]


def test_a_loop_and_its_updates(tmp_path, monkeypatch, capsys):
    def train(model: nn.Linear, change: float) -> None:
        nn.init.constant_(model.bias, change)

    monkeypatch.chdir(tmp_path)
    model = nn.Linear(3, 2)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    names = {"clients": {"a": 1.0, "b": 2.0}, "model": model, "weights": weights, "train": train}
    loop, reading = BLOCKS
    exec(loop, names)
    exec(reading, names)
    facts = "{'lr': 0.1, 'training': True}"
    assert capsys.readouterr().out == f"1 a weights {facts}\n1 b weights {facts}\n"
    from gradleak.capture.layout import rounds

    changes = [update.sent["bias"] for update in rounds(Path("updates"))]
    assert [change.tolist() for change in changes] == [[1, 1], [2, 2]]
    assert all(
        update.before and torch.equal(update.before["bias"], weights["bias"]) for update in rounds(Path("updates"))
    )
