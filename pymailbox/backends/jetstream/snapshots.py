"""A mailbox's state as bytes, the same for everybody who has followed its log; and as it lies in the stream.

No payload is in it, only where each is.
"""

from __future__ import annotations

import gc
import hashlib
import json
import struct
import zlib
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from ...contract.errors import StorageCorruptError
from ...contract.ids import id_of
from ...core.page import DamagedError
from ...core.state import PRIORITIES, MailboxState
from ...core.store import Message
from .codec import RULES, Reference
from .state import LogState

_MAGIC: Final = b"\x93pms"
_HEAD: Final = struct.Struct("<4sHQQ32sI")
_MESSAGE: Final = struct.Struct("<Q16sqQiIIIH")
_SIZE: Final = struct.Struct("<I")


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


def encode(log: LogState) -> bytes:
    """A state, at a checkpoint."""
    store, state = log.store, log.store.state
    lanes = [
        b"".join(
            _MESSAGE.pack(
                number,
                message.id.bytes,
                message.created_at,
                (reference := cast(Reference, message.payload)).seq,
                reference.at,
                reference.sender,
                reference.payload,
                reference.headers,
                len(reference.parts),
            )
            + struct.pack(f"<{len(reference.parts)}Q", *reference.parts)
            for number, message in sorted(of_lane.items())
        )
        for of_lane in store.bodies.lanes
    ]
    rest = json.dumps(
        {
            "now": log.now,
            "checkpoint": log.checkpoint,
            "touched": log.touched,
            "applied": [[nonce.hex(), *last] for nonce, last in log.applied.items()],
            "fences": sorted(log.fences.items()),
            "uploads": sorted(log.uploads.items()),
            "errors": sorted([*place, error] for place, error in store.error_texts.items()),
            "remembered": sorted([known.hex, until] for known, until in store.known_ids.items()),
            "deaths": [[letter, *death.place, death.reason, death.died_at] for letter, death in store.deaths.items()],
        },
        separators=(",", ":"),
    ).encode()
    sections = [state.snapshot(), rest, *lanes]
    return b"".join(_SIZE.pack(len(section)) + section for section in sections)


def decode(data: bytes, seq: int) -> LogState:
    """What ``encode`` made.

    Raises:
        StorageCorruptError: it did not make this.
    """
    collects = gc.isenabled()
    gc.disable()  # which would go again and again over all that is made here, and find nothing
    try:
        return _decode(data, seq)
    except (DamagedError, ValueError, KeyError, TypeError, struct.error) as error:
        raise StorageCorruptError(f"a snapshot of a mailbox cannot be read ({error})") from error
    finally:
        if collects:
            gc.enable()


def _decode(data: bytes, seq: int) -> LogState:
    sections = []
    at = 0
    for _ in range(2 + PRIORITIES):
        (size,) = _SIZE.unpack_from(data, at)
        sections.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    log = LogState()
    store = log.store
    store.state = MailboxState.unpack(sections[0])
    rest = json.loads(sections[1])
    log.seq, log.now, log.checkpoint, log.touched = seq, rest["now"], rest["checkpoint"], rest["touched"]
    log.size = len(data)
    for nonce, number, time in rest["applied"]:
        log.applied[bytes.fromhex(nonce)] = number, time
    log.fences = dict(rest["fences"])
    log.uploads = dict(rest["uploads"])
    for lane, number, error in rest["errors"]:
        store.note_error(lane, number, error)
    for known, until in rest["remembered"]:
        store.remember(UUID(hex=known), until)
    for letter, lane, number, reason, died_at in rest["deaths"]:
        store.note_letter(letter, lane, number, reason, died_at)
    for lane, section in enumerate(sections[2:]):
        store.bodies.lanes[lane] = messages = _decode_lane(section)
        store.note_ids(lane, messages)
    return log


def _decode_lane(section: bytes) -> dict[int, Message]:
    lane: dict[int, Message] = {}
    at, end, size, new = 0, len(section), _MESSAGE.size, int.from_bytes
    unpack_from = _MESSAGE.unpack_from
    while at < end:
        number, message_id, created, seq, start, sender, payload, headers, count = unpack_from(section, at)
        at += size
        parts: tuple[int, ...] = ()
        if count:
            parts = struct.unpack_from(f"<{count}Q", section, at)
            at += 8 * count
        reference: Any = Reference(seq, start, sender, payload, headers, parts)
        lane[number] = Message(id_of(new(message_id, "big")), b"", reference, created)
    return lane


def digest_of(encoded: bytes) -> bytes:
    return hashlib.sha256(encoded).digest()


def pack(encoded: bytes) -> bytes:
    return zlib.compress(encoded, 1)


def unpack(packed: bytes, snapshot: Snapshot) -> bytes:
    """The encoded state of a snapshot.

    Raises:
        StorageCorruptError: it is damaged.
    """
    try:
        encoded = zlib.decompress(packed)
    except zlib.error as error:
        raise StorageCorruptError(f"a snapshot of a mailbox is damaged ({error})") from error
    if digest_of(encoded) != snapshot.digest:
        raise StorageCorruptError("a snapshot of a mailbox is damaged: its checksum is another one")
    return encoded


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
