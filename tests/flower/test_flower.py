"""The updates of a run of Flower are stored as they were, on the server and on the client.

``make test-flower`` runs these tests with two releases of Flower.
"""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict  # pyright: ignore
from flwr.serverapp.strategy import FedAvg  # pyright: ignore
from torch import Tensor

from gradleak.capture import layout
from gradleak.capture.flower import CaptureMod, CaptureStrategy
from gradleak.errors import InputError

HERE = Path(__file__).parent
COUNTER = "norm.num_batches_tracked"
PLACES = [(number, client) for number in (1, 2) for client in (0, 1)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished simulation: two clients, two rounds."""
    if any(character.isspace() for character in sys.executable):
        pytest.skip("Ray's workers do not start from a path with spaces")
    folder = tmp_path_factory.mktemp("run")
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, str(HERE / "simulation.py"), str(folder)]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **quiet}, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def exactly(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return list(first) == list(second) and all(
        first[name].dtype == value.dtype and torch.equal(first[name], value) for name, value in second.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("where", ["strategy", "mod"])
def test_stored_updates_are_those_of_the_clients(run, where):
    updates = {(update.round, update.facts["metrics"]["client"]): update for update in layout.rounds(run / where)}
    assert sorted(updates) == PLACES
    for number, client in PLACES:
        update = updates[number, client]
        assert update.kind == "weights"
        assert update.before is not None
        before, after = torch.load(run / f"truth-{number}-{client}.pt")
        assert exactly(update.sent, after)
        # The mean that Flower sends from round 2 on has counters in float64; the client's model takes them as integers.
        assert (update.before[COUNTER].dtype == torch.int64) == (number == 1)
        assert exactly({**update.before, COUNTER: update.before[COUNTER].long()}, before)
        changed = {name for name, value in update.sent.items() if not torch.equal(value, update.before[name])}
        assert changed == {name for name in before if not name.startswith("frozen.")}
        assert update.sent[COUNTER].shape == ()


@pytest.mark.slow
def test_facts_of_a_run(run):
    facts = {"config": {"lr": 0.1, "server-round": 2}, "num_examples": 5, "lr": 0.1}
    for where, more in (("strategy", {"local_steps": 3}), ("mod", {})):
        last = list(layout.rounds(run / where))[-1]
        client = last.facts["metrics"]["client"]
        assert last.facts == {**facts, **more, "metrics": {"num-examples": 5, "loss": None, "client": client}}
        assert where != "mod" or last.client == str(client)


@pytest.mark.slow
def test_rounds_begin_with_the_aggregate_of_the_round_before(run):
    first, second = ([update for update in layout.rounds(run / "mod") if update.round == number] for number in (1, 2))
    mean = (first[0].sent["head.weight"] + first[1].sent["head.weight"]) / 2
    for update in second:
        torch.testing.assert_close((update.before or {})["head.weight"], mean)


# Without the simulation engine: the same objects, called as Flower calls them.


@pytest.fixture(autouse=True)
def _task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer releases note in the process which run its messages belong to."""
    if importlib.util.find_spec("flwr.supercore.task_identity") is not None:
        task = importlib.import_module("flwr.supercore.task_identity").TaskIdentity
        for name in ("_task_id", "_run_id", "_node_id"):
            monkeypatch.setattr(task, name, 1)


WEIGHTS = {"w": torch.tensor([1.0, 2.0]), "steps": torch.tensor(3)}


def training(node: int = 7, config: dict[str, Any] | None = None, kind: str = "train", **records: Any) -> Message:
    content = {"arrays": ArrayRecord(WEIGHTS), "config": ConfigRecord(config or {"server-round": 1}), **records}
    message = Message(RecordDict(content), dst_node_id=node, message_type=kind)
    message.metadata._message_id = "1"  # a reply needs one
    return message


def context(**config: Any) -> Context:
    return Context(run_id=1, node_id=7, node_config=config, state=RecordDict(), run_config={})


def reply(message: Message, change: float = 1.0, **metrics: Any) -> Message:
    arrays = {"w": WEIGHTS["w"] + change, "steps": WEIGHTS["steps"] + 1}
    metrics = {"num-examples": 1, **metrics}
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(metrics)}), reply_to=message)


def client(message: Message, _: Context) -> Message:
    return reply(message)


def failing(message: Message, _: Context) -> Message:
    return Message(Error(0, "out of memory"), reply_to=message)


def stored(folder: Path) -> list[layout.Captured]:
    return list(layout.rounds(folder))


def strategy(folder: Path, nodes: tuple[int, ...] = (7, 8), **options: Any) -> Callable[..., Any]:
    """Return a function that plays a round with clients and returns what the strategy makes of it."""
    made = CaptureStrategy(FedAvg(min_train_nodes=1, min_available_nodes=1), folder, **options)
    grid: Any = types.SimpleNamespace(get_node_ids=lambda: list(nodes))

    def play(number: int, answer: Callable[[Message, Context], Message] = client) -> Any:
        messages = list(made.configure_train(number, ArrayRecord(WEIGHTS), ConfigRecord({"lr": 0.5}), grid))
        for position, message in enumerate(messages):
            message.metadata._message_id = str(position)
        return made.aggregate_train(number, [answer(message, context()) for message in messages])

    return play


def test_the_strategy_aggregates_as_the_one_inside(tmp_path):
    arrays, _ = strategy(tmp_path / "updates")(1)
    assert arrays.to_torch_state_dict()["w"].tolist() == [2, 3]
    assert sorted(update.client for update in stored(tmp_path / "updates")) == ["7", "8"]


def test_a_strategy_started_again_continues_after_the_last_round(tmp_path):
    for _ in range(2):
        play = strategy(tmp_path / "updates", nodes=(7,))
        play(1)
        play(2)
    assert [update.round for update in stored(tmp_path / "updates")] == [1, 2, 3, 4]


def test_clients_that_fail_are_left_out(tmp_path):
    strategy(tmp_path / "updates")(1, failing)
    assert stored(tmp_path / "updates") == []
    CaptureMod(tmp_path / "mod")(training(), context(), failing)
    assert stored(tmp_path / "mod") == []


def test_facts_that_are_given_come_first(tmp_path):
    strategy(tmp_path / "updates", nodes=(7,), kind="delta", lr=0.25, batch_size=4)(1)
    (update,) = stored(tmp_path / "updates")
    assert update.kind == "delta"
    assert (update.facts["lr"], update.facts["batch_size"], update.facts["num_examples"]) == (0.25, 4, 1)
    assert update.facts["config"] == {"lr": 0.5, "server-round": 1}


@pytest.mark.parametrize("given", [{"lr": "fast"}, {"note": object()}])
def test_bad_facts_are_refused_before_the_run(tmp_path, given):
    for make in (CaptureMod, lambda *arguments, **facts: CaptureStrategy(FedAvg(), *arguments, **facts)):
        with pytest.raises(InputError, match=r"facts of the clients: (lr|note): "):
            make(tmp_path / "updates", **given)


def test_the_mod_names_a_client_by_its_partition(tmp_path):
    mod = CaptureMod(tmp_path / "updates")
    mod(training(), context(**{"partition-id": 0}), client)
    mod(training(), context(), client)
    assert [update.client for update in stored(tmp_path / "updates")] == ["0", "7"]


def test_the_mod_returns_the_reply_of_the_client(tmp_path):
    message = training()
    answer = reply(message)
    assert CaptureMod(tmp_path / "updates")(message, context(), lambda *_: answer) is answer


def test_only_training_is_stored(tmp_path):
    mod = CaptureMod(tmp_path / "updates")
    mod(training(kind="evaluate"), context(), client)
    assert stored(tmp_path / "updates") == []
    mod(training(kind="train.again"), context(), client)
    assert len(stored(tmp_path / "updates")) == 1


def test_a_second_run_needs_another_folder(tmp_path):
    mod = CaptureMod(tmp_path / "updates")
    mod(training(), context(), client)
    with pytest.raises(InputError, match="this client has sent in round 1 already; name another folder"):
        mod(training(), context(), client)


def test_a_message_without_a_round(tmp_path):
    with pytest.raises(InputError, match="client 7: the server's configuration has no 'server-round'"):
        CaptureMod(tmp_path / "updates")(training(config={"lr": 0.1}), context(), client)


def test_several_array_records(tmp_path):
    message = training(control=ArrayRecord({"c": torch.zeros(1)}))
    CaptureMod(tmp_path / "first")(message, context(), client)
    assert list(stored(tmp_path / "first")[0].before or {}) == ["w", "steps"]
    CaptureMod(tmp_path / "second", arrays="control")(message, context(), client)
    assert list(stored(tmp_path / "second")[0].before or {}) == ["c"]
    with pytest.raises(InputError, match=re.escape("no array record 'model' (there: arrays, control); set arrays=")):
        CaptureMod(tmp_path / "third", arrays="model")(message, context(), client)


@pytest.mark.parametrize(("mods", "clipped"), [("outside", True), ("inside", False)])
def test_the_first_mod_stores_what_leaves_the_client(tmp_path, mods, clipped):
    from flwr.clientapp.mod import LocalDpMod  # pyright: ignore

    private = LocalDpMod(clipping_norm=0.1, sensitivity=0.0, epsilon=1.0, delta=0.1)
    capture = CaptureMod(tmp_path / "updates")
    first, second = (capture, private) if mods == "outside" else (private, capture)
    first(training(), context(), lambda message, ctxt: second(message, ctxt, client))
    (update,) = stored(tmp_path / "updates")
    change = float((update.sent["w"] - (update.before or {})["w"]).norm())
    assert (change <= 0.1) == clipped


def test_the_lines_of_the_documentation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (HERE.parents[1] / "docs/capture.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "flwr" in block]
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert isinstance(names["strategy"].strategy, FedAvg)
    assert [mod.folder for mod in names["app"]._mods] == [tmp_path / "updates"]
