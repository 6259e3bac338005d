"""A mailbox's state as bytes, the same for everybody who has followed its log; and as it lies in the stream.

No payload is in it, only where each is.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from ...contract.errors import StorageCorruptError
from ...core.dictionaries import Burial
from ...core.page import DamagedError
from ...core.state import MailboxState
from .codec import RULES
from .state import LogState

_MAGIC: Final = b"\x93pms"
_HEAD: Final = struct.Struct("<4sHQQ32sI")
_COUNT: Final = struct.Struct("<I")
_LOG: Final = struct.Struct("<3Q?")
_APPLIED: Final = struct.Struct("<8s2Q")
_PAIR: Final = struct.Struct("<2Q")
_REMEMBERED: Final = struct.Struct("<16sq")
_ERROR: Final = struct.Struct("<BQI")
_DEATH: Final = struct.Struct("<QBQqI")

_IN_A_PIECE: Final = 1000
"""Entries of a table that are encoded at once."""

_PIECE: Final = 1 << 16
"""Bytes of a piece, where it is cut from something larger."""

_UNPACKED_AT_ONCE: Final = 1 << 18

_IN_A_STEP: Final = 64
"""Entries after which the time is looked at."""

_SLICE: Final = 0.003
"""Seconds for which the event loop is taken at once."""

T = TypeVar("T")


class Snapshot(NamedTuple):
    """What a stream message says of a state."""

    rules: int
    checkpoint: int
    """The number of the checkpoint whose state it is."""
    seq: int
    """Of that checkpoint's commit."""
    digest: bytes
    """Of the encoded state."""
    parts: tuple[int, ...]
    """The stream messages that hold the state, if this one does not."""
    packed: bytes


class Capture:
    """A state at one moment, which is encoded piece by piece while the log goes on."""

    def __init__(self, log: LogState) -> None:
        store = log.store
        self._log = log.now, log.age, log.checkpoint, log.touched
        self._state = store.state.snapshot()
        self._applied = list(log.applied.items())
        self._fences = sorted(log.fences.items())
        self._uploads = sorted(log.uploads.items())
        self._remembered = list(store.known_ids.items())
        self._errors = list(store.error_texts.items())
        self._deaths = list(store.deaths.items())
        self._messages = store.bodies.capture()

    def pieces(self) -> Iterator[bytes]:
        """Each takes a millisecond or so."""
        yield _LOG.pack(*self._log)
        yield _COUNT.pack(len(self._state))
        for at in range(0, len(self._state), _PIECE):
            yield self._state[at : at + _PIECE]
        yield from _table(self._applied, lambda each: _APPLIED.pack(each[0], *each[1]))
        yield from _table(self._fences, lambda each: _PAIR.pack(*each))
        yield from _table(self._uploads, lambda each: _PAIR.pack(*each))
        yield from _table(self._remembered, lambda each: _REMEMBERED.pack(each[0].bytes, each[1]))
        yield from _table(self._errors, _encode_error)
        yield from _table(self._deaths, _encode_death)
        yield from self._messages


def encode(log: LogState) -> bytes:
    """A state, at a checkpoint."""
    return b"".join(Capture(log).pieces())


class _Slices:
    """Leaves the event loop to others after every few milliseconds of work."""

    def __init__(self) -> None:
        self._end = perf_counter() + _SLICE

    async def step(self) -> None:
        """To be called between two pieces of work."""
        if perf_counter() > self._end:
            await asyncio.sleep(0)
            self._end = perf_counter() + _SLICE

    async def between(self, entries: Iterable[T]) -> AsyncIterator[T]:
        """Steps after every few entries."""
        for count, entry in enumerate(entries):
            yield entry
            if not count % _IN_A_STEP:
                await self.step()


async def take(capture: Capture, *, pack: bool) -> tuple[bytes, bytes]:
    """The digest of a state, and itself packed if that is wanted."""
    digest, packer, packed, slices = hashlib.sha256(), zlib.compressobj(1), [], _Slices()
    for piece in capture.pieces():
        digest.update(piece)
        if pack:
            packed.append(packer.compress(piece))
        await slices.step()
    return digest.digest(), b"".join([*packed, packer.flush()]) if pack else b""


async def unpack(packed: bytes, snapshot: Snapshot) -> bytes:
    """The encoded state of a snapshot.

    Raises:
        StorageCorruptError: it is damaged.
    """
    digest, unpacker, slices = hashlib.sha256(), zlib.decompressobj(), _Slices()
    pieces: list[bytes] = []
    try:
        left = packed
        while left and not unpacker.eof:
            piece = unpacker.decompress(left, _UNPACKED_AT_ONCE)
            left = unpacker.unconsumed_tail
            digest.update(piece)
            pieces.append(piece)
            await slices.step()
    except zlib.error as error:
        raise StorageCorruptError(f"a snapshot of a mailbox is damaged ({error})") from error
    if digest.digest() != snapshot.digest:
        raise StorageCorruptError("a snapshot of a mailbox is damaged: its checksum does not match")
    return b"".join(pieces)


def _table(entries: Sequence[T], encode: Any) -> Iterator[bytes]:
    yield _COUNT.pack(len(entries))
    remaining = iter(entries)
    while piece := b"".join(map(encode, islice(remaining, _IN_A_PIECE))):
        yield piece


def _encode_error(entry: tuple[tuple[int, int], str]) -> bytes:
    place, text = entry
    data = text.encode()
    return _ERROR.pack(*place, len(data)) + data


def _encode_death(entry: tuple[int, Burial]) -> bytes:
    letter, (place, reason, died_at) = entry
    data = reason.encode()
    return _DEATH.pack(letter, *place, died_at, len(data)) + data


async def decode(data: bytes, seq: int) -> LogState:
    """What ``encode`` made, a few milliseconds at a time.

    Raises:
        StorageCorruptError: it did not make this.
    """
    try:
        return await _decode(_Reader(data), seq)
    except (DamagedError, ValueError, TypeError, struct.error) as error:
        raise StorageCorruptError(f"a snapshot of a mailbox cannot be read ({error})") from error


class _Reader:
    """What was encoded, from the beginning to the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def fields(self, kind: struct.Struct) -> tuple[Any, ...]:
        self.at += kind.size
        return kind.unpack_from(self.data, self.at - kind.size)

    def count(self) -> int:
        count: int = self.fields(_COUNT)[0]
        return count

    def next(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def table(self, kind: struct.Struct) -> Iterable[tuple[Any, ...]]:
        return kind.iter_unpack(self.next(self.count() * kind.size))

    def texts(self, kind: struct.Struct) -> Iterator[tuple[Any, ...]]:
        """As ``table``, of entries that end with a text."""
        for _ in range(self.count()):
            *fields, size = self.fields(kind)
            yield *fields, self.next(size).decode()


async def _decode(reader: _Reader, seq: int) -> LogState:
    log, slices = LogState(), _Slices()
    store = log.store
    log.seq = seq
    log.now, log.age, log.checkpoint, log.touched = reader.fields(_LOG)
    store.state = MailboxState.unpack(reader.next(reader.count()))
    for nonce, number, age in reader.table(_APPLIED):
        log.applied[nonce] = number, age
    log.fences.update(reader.table(_PAIR))
    log.uploads.update(reader.table(_PAIR))
    async for known, until in slices.between(reader.table(_REMEMBERED)):
        store.remember(UUID(bytes=known), until)
    async for lane, number, error in slices.between(reader.texts(_ERROR)):
        store.note_error(lane, number, error)
    async for letter, lane, number, died_at, reason in slices.between(reader.texts(_DEATH)):
        store.note_letter(letter, lane, number, reason, died_at)
    end = reader.at
    for end in store.bodies.restore(reader.data, reader.at):  # noqa: B007  the last one is wanted
        await slices.step()
    if end != len(reader.data):
        raise DamagedError("its end does not match")
    log.size = log.weight
    return log


def encode_snapshot(checkpoint: int, seq: int, digest: bytes, packed: bytes, parts: tuple[int, ...] = ()) -> bytes:
    """A snapshot as it lies in the stream; ``parts`` hold it if ``packed`` is empty."""
    head = _HEAD.pack(_MAGIC, RULES, checkpoint, seq, digest, len(parts))
    return head + struct.pack(f"<{len(parts)}Q", *parts) + packed


def decode_snapshot(data: bytes) -> Snapshot | None:
    """None if it is none."""
    if len(data) < _HEAD.size or data[:4] != _MAGIC:
        return None
    _, rules, checkpoint, seq, digest, count = _HEAD.unpack_from(data)
    at = _HEAD.size + 8 * count
    if len(data) < at:
        return None
    return Snapshot(rules, checkpoint, seq, digest, struct.unpack_from(f"<{count}Q", data, _HEAD.size), data[at:])
