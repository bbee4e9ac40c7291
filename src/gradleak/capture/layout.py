"""The folder that holds what clients sent, by round; written and read here.

::

    updates/capture.json                                the version of this layout
    updates/round-0001/before-<16 hex digits>.safetensors   weights that the server sent
    updates/round-0001/client-<name>.safetensors        what a client sent back

A client's file is complete by itself: its metadata name the client, the kind of content, the weights that it started
from and what else is known. So a run that is interrupted leaves whole clients, and clients of one round can be written
by several processes at once. Weights are named by their digest: a round has one such file, unless clients start from
different weights.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args
from urllib.parse import quote

import torch
from pydantic import JsonValue, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gradleak.capture.metadata import Client, Facts, Kind, Tensors, check_facts, reason
from gradleak.errors import InputError
from gradleak.records import whole_file

SCHEMA = 1
"""Version of the layout; raise it with every change that an older reader cannot read."""

_MARK = "capture.json"
_KEY = "gradleak"
_LONGEST = 100
"""Characters of a client's name; quoted, it is part of a file name."""

_ROUND = re.compile(r"round-(\d{4,})")
_BEFORE = re.compile(r"before-[0-9a-f]{16}\.safetensors")
_CLIENT = re.compile(r"client-.+\.safetensors")


@dataclass(frozen=True)
class Captured:
    """What one client sent in one round.

    Attributes:
        round: number of the round, from 1.
        client: name of the client.
        before: parameters and buffers that the client started from, by name; None if they are not known.
        sent: tensors that the client sent, by name, in their order and type.
        kind: what these are.
        facts: what else is known, see :class:`gradleak.capture.metadata.Facts`; entries of other names are kept as they
            were given.
    """

    round: int
    client: str
    before: dict[str, Tensor] | None = field(repr=False)
    sent: dict[str, Tensor] = field(repr=False)
    kind: Kind
    facts: dict[str, Any]


_Entry = TypeVar("_Entry", bound=Tensors)


def start(folder: Path) -> int:
    """Make a folder ready for writing and return the number of its last round, 0 if it has none.

    Raises:
        InputError: the folder holds other files or a capture of another version, or cannot be written to.
    """
    mark = folder / _MARK
    if mark.exists():
        _check(folder)
    else:
        if folder.is_dir() and any(not path.name.startswith(".") for path in _entries(folder)):
            raise InputError(f"{folder}: holds files that are not a capture; name an empty or new folder")
        with whole_file(mark, private=True) as temporary:
            temporary.write_text(json.dumps({"schema": SCHEMA}) + "\n", encoding="utf-8")
    return max((number for number, _ in _rounds(folder)), default=0)


def write(
    folder: Path,
    number: int,
    client: str,
    sent: Mapping[str, Tensor],
    *,
    kind: Kind,
    before: Mapping[str, Tensor] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Store what a client sent, for the owner of the folder only.

    Args:
        folder: as :func:`start` made it.
        number: the round, from 1.
        client: name of the client, unique within the round.
        sent: tensors on any device, of any layout that has values; tied or non-contiguous tensors are stored in full.
        kind: what they are.
        before: weights that the client started from.
        facts: see :class:`gradleak.capture.metadata.Facts`.

    Returns:
        The client's file.

    Raises:
        InputError: a bad argument, the client has sent in this round already, or a file cannot be written; one line.
    """
    path, known = check(folder, number, client, facts)
    if kind not in get_args(Kind):
        raise InputError(f"kind {kind!r}: must be one of {', '.join(get_args(Kind))}")
    if not sent:
        raise InputError(f"client {client!r}: sends no tensors, so there is nothing to store")
    start_file = None
    if before is not None:
        content = _serialised(before, Tensors(order=list(before)), "weights before training")
        start_file = f"before-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
        if not (path.parent / start_file).exists():
            _write(path.parent / start_file, content)
    entry = Client(order=list(sent), client=client, kind=kind, before=start_file, facts=known)
    _write(path, _serialised(sent, entry, f"client {client!r}"))
    return path


def check(folder: Path, number: int, client: str, facts: Mapping[str, Any] | None) -> tuple[Path, Facts]:
    """Check what :func:`write` is told beside tensors, before a client trains.

    Returns:
        The client's file, which does not exist yet, and the facts.

    Raises:
        InputError: as for :func:`write`.
    """
    path = client_file(folder, number, client)
    if path.exists():
        raise InputError(f"{path}: exists: this client has sent in round {number} already; name another folder")
    return path, check_facts(facts, f"client {client!r}")


def client_file(folder: Path, number: int, client: str) -> Path:
    """Return the file of a client in a round.

    Raises:
        InputError: the round is below 1, or the name is empty or too long for a file name.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise InputError(f"round {number!r}: must be a whole number from 1")
    name = quote(client, safe="", errors="replace")
    if not 0 < len(name) <= _LONGEST or not client.isprintable():
        raise InputError(f"client {client!r}: must have 1 to {_LONGEST} printable characters (fewer outside ASCII)")
    return folder / f"round-{number:04d}" / f"client-{name}.safetensors"


def rounds(folder: Path | str) -> Iterator[Captured]:
    """Read a captured folder, by round, then by the name of the client; one client in memory at a time.

    Args:
        folder: as :func:`write` made it. Files beside the rounds, and hidden files, are ignored.

    Raises:
        InputError: as for :func:`clients` and :func:`read`.
    """
    shared: dict[Path, dict[str, Tensor]] = {}
    for path in clients(Path(folder)):
        yield read(path, shared)


def clients(folder: Path) -> list[Path]:
    """Return the clients' files, by round, then by the name of the client.

    Raises:
        InputError: no such folder, not a capture, or a file in a round that is not part of the capture.
    """
    _check(folder)
    found = []
    for _, inside in _rounds(folder):
        files = sorted((path for path in _entries(inside) if not path.name.startswith(".")), key=_natural)
        for path in files:
            if not (_CLIENT.fullmatch(path.name) or _BEFORE.fullmatch(path.name)):
                raise InputError(f"{path}: is not part of a capture; move it out of {inside}")
        found += [path for path in files if _CLIENT.fullmatch(path.name)]
    return found


def read(path: Path, shared: dict[Path, dict[str, Tensor]]) -> Captured:
    """Read what one client sent.

    Args:
        path: one of :func:`clients`.
        shared: the weights that the client read before started from, by file; keep it between calls, since most clients
            of a round start from the same.

    Raises:
        InputError: a damaged, renamed or missing file; one line names it.
    """
    sent, entry = _read(path, Client)
    number = int(path.parent.name.removeprefix("round-"))
    if path != client_file(path.parent.parent, number, entry.client):
        raise InputError(f"{path}: holds what client {entry.client!r} sent; it was renamed or moved")
    before = None
    if entry.before is not None:
        start_file = path.parent / entry.before
        if start_file not in shared:
            weights = _read_before(start_file, path)
            shared.clear()
            shared[start_file] = weights
        before = shared[start_file]
    return Captured(number, entry.client, before, sent, entry.kind, entry.facts.model_dump(exclude_unset=True))


def _rounds(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for path in _entries(folder):
        if not path.name.startswith("round-"):
            continue
        match = _ROUND.fullmatch(path.name)
        if match is None or not path.is_dir():
            raise InputError(f"{path}: is not part of a capture, whose rounds are folders round-0001, round-0002, ...")
        found.append((int(match[1]), path))
    return sorted(found)


def _check(folder: Path) -> None:
    mark = folder / _MARK
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the folder given to gradleak.capture")
    try:
        schema = TypeAdapter(dict[str, JsonValue]).validate_json(mark.read_bytes()).get("schema")
    except FileNotFoundError:
        raise InputError(f"{folder}: has no {_MARK}, so it was not written by gradleak.capture") from None
    except (OSError, ValidationError) as error:
        raise InputError(f"{mark}: cannot be read ({reason(error)}); capture again") from None
    if schema != SCHEMA:
        raise InputError(f"{mark}: is of layout {schema}, this version reads layout {SCHEMA}; capture again")


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error


def _natural(path: Path) -> list[tuple[int, str]]:
    """Client 10 comes after client 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _read_before(path: Path, client: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: missing: the weights that {client.name} started from; capture again")
    tensors, _ = _read(path, Tensors)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    if path.name != f"before-{digest}.safetensors":
        raise InputError(f"{path}: was changed after it was written; capture again")
    return tensors


def _read(path: Path, kind: type[_Entry]) -> tuple[dict[str, Tensor], _Entry]:
    """Return tensors in their order, and the metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            if text is None:
                raise InputError(f"{path}: was not written by gradleak.capture; move it elsewhere")
            entry = kind.model_validate_json(text)
            if sorted(entry.order) != sorted(file.keys()):
                raise InputError(f"{path}: holds other tensors than it lists; capture again")
            return {name: file.get_tensor(name) for name in entry.order}, entry
    except (OSError, SafetensorError, ValidationError) as error:
        raise InputError(f"{path}: is damaged ({reason(error)}); capture again") from error


def _serialised(tensors: Mapping[str, Tensor], entry: Tensors, what: str) -> bytes:
    plain = {name: _plain(tensor, f"{what}: {name}") for name, tensor in tensors.items()}
    try:
        return save(plain, {_KEY: entry.model_dump_json(exclude_unset=True)})
    except SafetensorError as error:
        raise InputError(f"{what}: cannot be stored as safetensors ({reason(error)})") from error


def _plain(tensor: Tensor, what: str) -> Tensor:
    """Return a dense copy: safetensors refuses tensors that share memory, as tied weights do."""
    if tensor.is_meta:
        raise InputError(f"{what} has no values: it is on the device meta")
    if tensor.is_nested or tensor.is_quantized or tensor.dtype in (torch.complex32, torch.complex128):
        kind = "nested" if tensor.is_nested else str(tensor.dtype)
        raise InputError(f"{what} is {kind}, which safetensors does not store; convert it before")
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.to("cpu", copy=True).contiguous()


def _write(path: Path, content: bytes) -> None:
    with whole_file(path, private=True) as temporary:
        temporary.write_bytes(content)
