"""What is written is read back, and anything else in a folder has a line of its own."""

import json
import os
import re
import stat
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from gradleak.capture import layout
from gradleak.errors import InputError

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name != "__metadata__"
)
CLIENTS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
TYPES = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool])
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "num_examples": st.integers(0, 2**40),
        "batch_size": st.none() | st.integers(0, 9),
        "local_steps": st.integers(1, 9),
        "lr": st.floats(0, 1e3),
        "training": st.booleans(),
        "note": st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(), st.lists, max_leaves=4),
    },
)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Draw tensors with zero elements, without axes, non-contiguous, or with NaN."""
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    values = torch.rand(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    if draw(st.booleans()) and values.dim() > 1:
        values = values.transpose(0, -1)
    if draw(st.booleans()):
        values = values.clone().masked_fill_(values < 0.3, float("nan"))
    return values.to(draw(TYPES))


STATES = st.dictionaries(NAMES, tensors(), min_size=1, max_size=4)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return list(first) == list(second) and all(
        value.dtype == second[name].dtype
        and value.shape == second[name].shape
        and torch.equal(
            value.contiguous().view(-1).view(torch.uint8), second[name].contiguous().view(-1).view(torch.uint8)
        )
        for name, value in first.items()
    )


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(1, 10**6),
    sent=st.dictionaries(CLIENTS, st.tuples(STATES, st.none() | STATES, FACTS), min_size=1, max_size=3),
    kind=st.sampled_from(["weights", "gradient", "delta"]),
)
def test_what_is_written_is_read_back(tmp_path_factory, number, sent, kind):
    folder = tmp_path_factory.mktemp("updates") / "new"
    layout.start(folder)
    for client, (tensors, before, facts) in sent.items():
        layout.write(folder, number, client, tensors, kind=kind, before=before, facts=facts)
    assert layout.start(folder) == number
    read = {captured.client: captured for captured in layout.rounds(folder)}
    assert read.keys() == sent.keys()
    for client, (tensors, before, facts) in sent.items():
        captured = read[client]
        assert (captured.round, captured.kind) == (number, kind)
        assert captured.facts == facts
        assert same(captured.sent, tensors)
        assert (captured.before is None) if before is None else same(captured.before or {}, before)


def state(value: float = 1.0) -> dict[str, Tensor]:
    return {"weight": torch.full((2, 3), value), "bias": torch.zeros(2)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    layout.start(tmp_path / "updates")
    for number in (1, 2):
        for client in ("2", "10"):
            layout.write(tmp_path / "updates", number, client, state(number), kind="weights", before=state(0))
    return tmp_path / "updates"


def test_order_of_rounds_and_clients(folder):
    layout.write(folder, 10, "a", state(), kind="weights")
    assert [(captured.round, captured.client) for captured in layout.rounds(folder)] == [
        *((number, client) for number in (1, 2) for client in ("2", "10")),
        (10, "a"),
    ]


def test_clients_with_equal_weights_share_one_file_and_others_have_their_own(folder):
    assert len(list(folder.glob("round-0001/before-*"))) == 1
    layout.write(folder, 1, "personal", state(), kind="weights", before=state(5))
    starts = {captured.client: captured.before for captured in layout.rounds(folder) if captured.round == 1}
    assert {client: float(before["weight"][0, 0]) for client, before in starts.items() if before} == {
        "2": 0,
        "10": 0,
        "personal": 5,
    }


def test_only_the_owner_can_read(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 7
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_tied_and_sparse_tensors_are_stored_in_full(folder):
    weight = torch.rand(3, 3)
    sent = {
        "a": weight,
        "b": weight,
        "row": weight[0],
        "wide": weight[:1].expand(4, 3),
        "sparse": torch.eye(2).to_sparse(),
    }
    layout.write(folder, 3, "1", sent, kind="delta")
    read = list(layout.rounds(folder))[-1].sent
    assert all(torch.equal(read[name], value.to_dense()) for name, value in sent.items())


def _write_clients(folder: Path, first: int) -> None:
    for client in range(first, first + 20):
        layout.write(folder, 1, str(client), state(client), kind="weights", before=state(client % 3))


def test_processes_write_into_one_round(tmp_path):
    layout.start(tmp_path)
    context = get_context("fork")
    processes = [context.Process(target=_write_clients, args=(tmp_path, first)) for first in (0, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    read = list(layout.rounds(tmp_path))
    assert [captured.client for captured in read] == [str(client) for client in range(40)]
    for captured in read:
        assert same(captured.sent, state(int(captured.client)))
        assert same(captured.before or {}, state(int(captured.client) % 3))


def test_a_write_that_fails_leaves_nothing(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = sorted(folder.rglob("*"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        layout.write(folder, 3, "1", state(), kind="weights")
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"number": 0}, "round 0: must be a whole number from 1"),
        ({"number": True}, "round True: must be a whole number from 1"),
        ({"client": ""}, "client '': must have 1 to 100 printable characters"),
        ({"client": "ü" * 40}, "must have 1 to 100 printable characters"),
        ({"client": "a\nb"}, "must have 1 to 100 printable characters"),
        ({"client": "2", "number": 1}, "this client has sent in round 1 already; name another folder"),
        ({"kind": "update"}, "kind 'update': must be one of weights, gradient, delta"),
        ({"sent": {}}, "sends no tensors"),
        ({"sent": {"a": torch.empty(2, device="meta")}}, "client '1': a has no values: it is on the device meta"),
        ({"sent": {"a": torch.zeros(2, dtype=torch.complex128)}}, "a is torch.complex128, which safetensors does not"),
        ({"facts": {"lr": -0.1}}, "lr: Input should be greater than or equal to 0"),
        ({"facts": {"local_steps": 0}}, "local_steps: Input should be greater than 0"),
        ({"facts": {"num_examples": True}}, "num_examples: Input should be a valid integer"),
        ({"facts": {"note": object()}}, "note: input was not a valid JSON value"),
        ({"facts": {"note": float("nan")}}, "note: float: Input should be a finite number"),
    ],
)
def test_bad_arguments(folder, arguments, line):
    before = sorted(folder.rglob("*"))
    given = {"number": 3, "client": "1", "sent": state(), "kind": "weights", "facts": {}, **arguments}
    with pytest.raises(InputError, match=re.escape(line)) as error:
        layout.write(folder, given["number"], given["client"], given["sent"], kind=given["kind"], facts=given["facts"])
    assert "\n" not in str(error.value)
    assert sorted(folder.rglob("*")) == before


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5)


def _metadata(path: Path, **changes: object) -> None:
    """Write the file of a client anew, with other metadata."""
    entry = {"order": ["weight", "bias"], "client": "2", "kind": "weights", "before": None, "facts": {}, **changes}
    save_file(load_file(path), path, {"gradleak": json.dumps(entry)})


def _foreign(path: Path) -> None:
    save_file(state(), path)


CLIENT = "round-0001/client-2.safetensors"


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda folder: _truncate(folder / CLIENT), f"{CLIENT}: is damaged"),
        (lambda folder: (folder / CLIENT).write_bytes(b""), f"{CLIENT}: is damaged"),
        (lambda folder: _foreign(folder / CLIENT), f"{CLIENT}: was not written by gradleak.capture"),
        (lambda folder: _metadata(folder / CLIENT, kind="new"), f"{CLIENT}: is damaged (kind: Input should be"),
        (lambda folder: _metadata(folder / CLIENT, order=["weight"]), f"{CLIENT}: holds other tensors than it lists"),
        (
            lambda folder: (folder / CLIENT).rename(folder / "round-0001/client-3.safetensors"),
            "client-3.safetensors: holds what client '2' sent; it was renamed or moved",
        ),
        (lambda folder: (folder / "round-0001/notes.txt").touch(), "notes.txt: is not part of a capture"),
        (lambda folder: (folder / "round-1").mkdir(), "round-1: is not part of a capture"),
        (lambda folder: (folder / "round-0003").touch(), "round-0003: is not part of a capture"),
        (lambda folder: next(folder.glob("round-0001/before-*")).unlink(), "missing: the weights that client-2"),
        (lambda folder: _truncate(next(folder.glob("round-0001/before-*"))), "is damaged"),
        (
            lambda folder: save_file(
                state(), next(folder.glob("round-0001/before-*")), {"gradleak": '{"order":["weight","bias"]}'}
            ),
            "was changed after it was written",
        ),
        (lambda folder: (folder / "capture.json").unlink(), "updates: has no capture.json"),
        (lambda folder: (folder / "capture.json").write_text("{"), "capture.json: cannot be read"),
        (
            lambda folder: (folder / "capture.json").write_text('{"schema": 2}'),
            "is of layout 2, this version reads layout 1",
        ),
        (lambda folder: folder.rename(folder.with_name("moved")), "updates: no such folder"),
    ],
)
def test_damaged_and_foreign_files(folder, damage, line):
    assert len(list(layout.rounds(folder))) == 4
    damage(folder)
    with pytest.raises(InputError, match=re.escape(line)) as error:
        list(layout.rounds(folder))
    assert "\n" not in str(error.value)


def test_other_files_beside_the_rounds_and_hidden_files_are_ignored(folder):
    (folder / "audit").mkdir()
    (folder / "notes.txt").touch()
    (folder / "round-0001" / ".x.part").touch()  # of a writer that was killed
    assert len(list(layout.rounds(folder))) == 4


def test_a_folder_of_other_files_is_not_written_to(tmp_path):
    (tmp_path / "model.py").touch()
    with pytest.raises(InputError, match="holds files that are not a capture; name an empty or new folder"):
        layout.start(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        layout.start(tmp_path / "model.py")
    assert [path.name for path in tmp_path.iterdir()] == ["model.py"]
