"""Messages as bytes, for the crossing between Python and JavaScript; ``js/model/frames.js`` describes the form.

One buffer for each verb, however many messages: a crossing costs more than its bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from struct import Struct
from typing import Any, Final
from uuid import UUID

from ...contract.archive import Death, Remembered, WholeMessage
from ...contract.arguments import PreparedMessage
from ...contract.headers import NO_HEADERS, unpack_headers
from ...contract.ids import id_of
from ...contract.moments import moment
from ...contract.values import DeadLetter, MessagePriority, MessageRecord, MessageStatus
from ...core.records import record_of

_HEADER: Final = Struct("<BBHIId")
_HAS_ID: Final = 1
_HAS_DUE: Final = 2
_HAS_UNTIL: Final = 4

_COUNT: Final = Struct("<I")
_ENTRY: Final = Struct("<16sII")
_TIME: Final = Struct("<d")
_REMEMBERED: Final = Struct("<16sd")
_ID_BYTES: Final = 16

_FLAGGED_BYTES: Final = tuple(
    sum(size for flag, size in ((_HAS_ID, _ID_BYTES), (_HAS_DUE, _TIME.size), (_HAS_UNTIL, _TIME.size)) if flags & flag)
    for flags in range(8)
)
"""How many bytes follow the fixed part of a frame, by its flags."""

_EPOCH: Final = moment(0)

_PRIORITIES: Final = tuple(MessagePriority)
_DELAYED: Final = 2
_STATUSES: Final = (MessageStatus.QUEUED, MessageStatus.INFLIGHT, MessageStatus.QUEUED)


def pack_message(message: PreparedMessage) -> bytes:
    """The frame of a message that is enqueued now."""
    sender, payload, priority, message_id, delay_ms, headers, _ = message
    if message_id is not None or delay_ms or headers:
        return pack_messages((message,))
    created_at = float(time.time_ns() // 1_000_000)
    return _HEADER.pack(0, priority, 0, len(sender), len(payload), created_at) + sender + payload


def pack_messages(messages: Iterable[PreparedMessage]) -> bytes:
    """The frames of messages that are enqueued now."""
    created_at = float(time.time_ns() // 1_000_000)
    parts: list[bytes] = []
    for sender, payload, priority, message_id, delay_ms, headers, dedupe_ms in messages:
        flags = 0
        if message_id is not None:
            flags = _HAS_ID | (_HAS_UNTIL if dedupe_ms else 0)
        if delay_ms:
            flags |= _HAS_DUE
        parts.append(_HEADER.pack(flags, priority, len(headers), len(sender), len(payload), created_at))
        if message_id is not None:
            parts.append(message_id.bytes)
        if delay_ms:
            parts.append(_TIME.pack(created_at + delay_ms))
        if dedupe_ms:
            parts.append(_TIME.pack(created_at + dedupe_ms))
        if headers:
            parts.append(headers)
        parts.append(sender)
        parts.append(payload)
    return b"".join(parts)


def pack_whole(messages: Iterable[WholeMessage]) -> tuple[bytes, str]:
    """The frames of imported messages, and JSON of what frames lack; see ``js/engine/archive.js``."""
    parts: list[bytes] = []
    details: list[list[Any]] = []
    for message in messages:
        flags = _HAS_ID | (0 if message.due is None else _HAS_DUE)
        lengths = len(message.headers), len(message.sender), len(message.payload)
        parts.append(_HEADER.pack(flags, message.priority, *lengths, float(message.created_at)))
        parts.append(message.id.bytes)
        if message.due is not None:
            parts.append(_TIME.pack(float(message.due)))
        parts += message.headers, message.sender, message.payload
        death = (None, None) if message.death is None else message.death
        details.append([message.delivery_count, message.failures, message.suspect, message.error, *death])
    return b"".join(parts), json.dumps(details)


def unpack_whole(batch: bytes, details: str) -> list[WholeMessage]:
    """The messages of a page; see ``Page`` in ``js/model/types.d.ts``."""
    return [
        WholeMessage.of(
            record,
            due=None if due is None else int(due),
            failures=failures,
            suspect=suspect,
            error=error,
            death=Death(death[0], int(death[1])) if death else None,
        )
        for record, (due, failures, suspect, error, *death) in zip(
            unpack_batch(batch), json.loads(details), strict=True
        )
    ]


def pack_remembered(ids: Iterable[Remembered]) -> bytes:
    """Ids that stay known, for ``js/engine/remembered-ids.js``."""
    return b"".join(_REMEMBERED.pack(known.id.bytes, float(known.until)) for known in ids)


def unpack_remembered(data: bytes) -> list[Remembered]:
    return [Remembered(UUID(bytes=id_bytes), int(until)) for id_bytes, until in _REMEMBERED.iter_unpack(data)]


def unpack_ids(data: bytes) -> list[UUID]:
    return [id_of(int.from_bytes(data[at : at + _ID_BYTES])) for at in range(0, len(data), _ID_BYTES)]


def pack_ids(ids: Iterable[UUID]) -> bytes:
    return b"".join([message_id.int.to_bytes(_ID_BYTES) for message_id in ids])


def unpack_batch(batch: bytes) -> list[MessageRecord]:
    (count,) = _COUNT.unpack_from(batch)
    at = _COUNT.size + count * _ENTRY.size
    records: list[MessageRecord] = []
    created_last, time_of_last = 0.0, _EPOCH
    headers: Mapping[str, str] = NO_HEADERS
    entries = batch[_COUNT.size : at]
    for id_bytes, delivery_count, status in _ENTRY.iter_unpack(entries):
        flags, priority, headers_bytes, sender_bytes, payload_bytes, created_at = _HEADER.unpack_from(batch, at)
        sender_at = at + _HEADER.size
        if flags:
            sender_at += _FLAGGED_BYTES[flags]
        if headers_bytes:
            sender_at += headers_bytes
            headers = unpack_headers(batch[sender_at - headers_bytes : sender_at])
        elif headers is not NO_HEADERS:
            headers = NO_HEADERS
        payload_at = sender_at + sender_bytes
        at = payload_at + payload_bytes
        if created_at != created_last:
            created_last, time_of_last = created_at, moment(int(created_at))
        records.append(
            record_of(
                id_of(int.from_bytes(id_bytes)),
                batch[sender_at:payload_at],
                batch[payload_at:at],
                _PRIORITIES[priority],
                time_of_last,
                _STATUSES[status],
                delivery_count,
                headers,
                None,
            )
        )
    if at < len(batch):  # followed by when the delayed ones are due
        delayed = [i for i, (_, _, status) in enumerate(_ENTRY.iter_unpack(entries)) if status == _DELAYED]
        for i, (due,) in zip(delayed, _TIME.iter_unpack(batch[at:]), strict=True):
            records[i] = replace(records[i], due_at=moment(int(due)))
    return records


def unpack_dead_letters(batch: bytes, deaths: str) -> list[DeadLetter]:
    """Dead letters of their messages, and of JSON with ``[reason, error, died_at]`` of each."""
    return [
        DeadLetter(record, reason, error, moment(int(died_at)))
        for record, (reason, error, died_at) in zip(unpack_batch(batch), json.loads(deaths), strict=True)
    ]
