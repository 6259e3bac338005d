"""Commits as they are in the stream: what each call asks for, in order.

A commit is one message: a head (who commits, and its how-manieth commit it is), and commands. A command is for the
mailbox that owns the subject, or, in a step from one mailbox to another, for the other one.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, cast
from uuid import UUID
from zlib import crc32

from ...contract.archive import Death, WholeMessage
from ...contract.arguments import PreparedMessage
from ...contract.companions import Unless
from ...contract.ids import id_of
from ...contract.values import MessagePriority
from ...core.state import PRIORITIES

RULES: Final = 1
"""The version of what commands do. A handle that meets a later one cannot go on."""

MAGIC: Final = b"\x93pmb"
_HEAD: Final = struct.Struct("<4sIBH8sQ")
_SUMMED_FROM: Final = 8
_COMMAND: Final = struct.Struct("<BBI")
_PLAIN_COMMAND: Final = struct.Struct("<BBI16xII")
"""One that stores: with how many parts, and messages, there are."""
_MESSAGE: Final = struct.Struct("<16sBQQIII")
_COUNT: Final = struct.Struct("<I")
_NUMBER: Final = struct.Struct("<Q")

HEAD_SIZE: Final = _HEAD.size
COMMAND_SIZE: Final = _COMMAND.size


class Op(IntEnum):
    """What a command asks for."""

    ENQUEUE = 1
    CLAIM = 2
    ACK = 3
    RELEASE = 4
    RELEASE_ALL = 5
    NACK = 6
    BURY = 7
    REDRIVE = 8
    DISCARD = 9
    PROMOTE = 10
    PURGE = 11
    MARK = 12
    BEAT = 13
    GONE = 14
    RESET = 15
    ADOPT = 16
    REMEMBER = 17
    CHECKPOINT = 18
    SETTLE = 19
    MOVE = 20
    MORE = 21
    """The beginning of the next command's body, which is too large for one stream message."""
    UPLOAD = 22
    """More parts come of those that begin at a stream message."""


PLAIN: Final = -1
"""Where the bytes of a message begin that any client has published: it is the stream message as it is."""


class Reference:
    """Where the bytes of a message are; in the state it stands for its payload."""

    __slots__ = ("at", "headers", "parts", "payload", "sender", "seq")

    def __init__(self, seq: int, at: int, sender: int, payload: int, headers: int, parts: tuple[int, ...] = ()) -> None:
        self.seq = seq
        """Of the stream message that they came with."""
        self.at = at
        """Where they begin in it, or in its parts taken together."""
        self.sender = sender
        self.payload = payload
        self.headers = headers
        """Bytes of each; they are there in this order."""
        self.parts = parts
        """Sequence numbers of the stream messages that hold them, if not that one."""

    def __len__(self) -> int:
        return self.payload

    @property
    def size(self) -> int:
        return self.sender + self.payload + self.headers

    @property
    def place(self) -> tuple[int, int, tuple[int, ...]]:
        """Where they are, to be compared with others."""
        return self.seq, self.at, self.parts

    @property
    def first(self) -> int:
        """The first stream message that is needed for them."""
        return self.parts[0] if self.parts else self.seq


class Command(NamedTuple):
    op: int
    for_target: bool
    body: bytes
    at: int
    """Where the body begins in the stream message."""


class Commit(NamedTuple):
    rules: int
    nonce: bytes
    number: int
    """Grows with each commit of a nonce's, and with each piece of it."""
    commands: list[Command]


class UnreadableError(ValueError):
    """This is not a commit."""


def encode_command(op: Op, body: bytes = b"", for_target: bool = False) -> bytes:
    return _COMMAND.pack(op, for_target, len(body)) + body


def encode_pieces(op: Op, body: bytes, room: int) -> list[bytes]:
    """A command of which one piece has room for so many bytes of body: itself is the last piece.

    It must not have bytes of messages in it.
    """
    pieces = [encode_command(Op.MORE, body[at : at + room]) for at in range(0, len(body) - room, room)]
    return [*pieces, encode_command(op, body[len(pieces) * room :])]


def encode(nonce: bytes, number: int, commands: Iterable[bytes], rules: int = RULES) -> bytes:
    """A commit."""
    rest = _HEAD.pack(MAGIC, 0, rules, 0, nonce, number)[_SUMMED_FROM:] + b"".join(commands)
    return MAGIC + struct.pack("<I", crc32(rest)) + rest


def decode(data: bytes) -> Commit:
    """Raises ``UnreadableError`` if somebody else wrote it, or a part of it is damaged."""
    if len(data) < _HEAD.size or data[:4] != MAGIC:
        raise UnreadableError
    _, checksum, rules, _, nonce, number = _HEAD.unpack_from(data)
    if checksum != crc32(memoryview(data)[_SUMMED_FROM:]):
        raise UnreadableError
    commands = []
    at = _HEAD.size
    while at < len(data) and rules <= RULES:
        op, for_target, size = _COMMAND.unpack_from(data, at)
        at += _COMMAND.size
        commands.append(Command(op, bool(for_target), data[at : at + size], at))
        at += size
    return Commit(rules, nonce, number, commands)


class PlainCommit(NamedTuple):
    """A commit of nothing but messages that are neither delayed nor in parts, and whose ids stay known no longer than
    they do.
    """

    nonce: bytes
    number: int
    messages: list[tuple[int, bytes, int, int, int, int]]
    """Of each its priority, its id, and as ``Reference`` has them: where its bytes begin, and how many they are."""


def decode_plain(data: bytes) -> PlainCommit | None:
    """As ``decode``, and quicker; None if it is not that."""
    if len(data) < _HEAD.size or data[:4] != MAGIC:
        return None
    _, checksum, rules, _, nonce, number = _HEAD.unpack_from(data)
    if rules > RULES or checksum != crc32(memoryview(data)[_SUMMED_FROM:]):
        return None
    messages = []
    at = _HEAD.size
    while at < len(data):
        if data[at] != Op.ENQUEUE or at + _PLAIN_COMMAND.size > len(data):
            return None
        _, for_target, size, parts, count = _PLAIN_COMMAND.unpack_from(data, at)
        heads = at + _PLAIN_COMMAND.size
        start = heads + count * _MESSAGE.size
        at += _COMMAND.size + size
        if for_target or parts or not start <= at <= len(data):
            return None
        for message_id, priority, delay, dedupe, sender, payload, headers in _MESSAGE.iter_unpack(data[heads:start]):
            if delay or dedupe or priority >= PRIORITIES:
                return None
            messages.append((priority, message_id, start, sender, payload, headers))
            start += sender + payload + headers
        if start > at:
            return None
    return PlainCommit(nonce, number, messages)


# -- messages ----------------------------------------------------------------------------------------------------------


def encode_messages(
    messages: Sequence[PreparedMessage], parts: Sequence[int] = (), sent_on: UUID | None = None
) -> bytes:
    """Messages with ids; their bytes too, unless they are in parts that were stored before."""
    heads: list[bytes] = []
    bodies: list[bytes] = []
    for sender, payload, priority, message_id, delay_ms, headers, dedupe_ms in messages:
        assert message_id is not None
        sizes = len(sender), len(payload), len(headers)
        heads.append(_MESSAGE.pack(message_id.int.to_bytes(16), priority, delay_ms, dedupe_ms, *sizes))
        bodies += (sender, payload, headers)
    if parts:
        bodies.clear()
    return b"".join(
        [
            b"\0" * 16 if sent_on is None else sent_on.bytes,
            _COUNT.pack(len(parts)),
            *map(_NUMBER.pack, parts),
            _COUNT.pack(len(messages)),
            *heads,
            *bodies,
        ]
    )


def bytes_of(messages: Iterable[PreparedMessage]) -> bytes:
    """What parts hold of messages."""
    return b"".join(part for message in messages for part in (message[0], message[1], message[5]))


def size_of(*messages: PreparedMessage) -> int:
    """Bytes that messages take in a commit."""
    return _MESSAGE.size * len(messages) + sum([len(each[0]) + len(each[1]) + len(each[5]) for each in messages])


def encode_moved(messages: Iterable[tuple[UUID, int, Sequence[bytes]]]) -> bytes:
    """Ids, the stream messages that their bytes came with, and the bytes anew: sender, payload and headers."""
    moved = list(messages)
    heads = [_MESSAGE.pack(message_id.bytes, 0, seq, 0, *map(len, body)) for message_id, seq, body in moved]
    return b"".join([b"\0" * 20, _COUNT.pack(len(moved)), *heads, *(part for _, _, body in moved for part in body)])


class Sent(NamedTuple):
    """A message as a commit has it."""

    id: UUID
    priority: int
    delay_ms: int
    dedupe_ms: int
    reference: Reference


def decode_messages(command: Command, seq: int) -> tuple[list[Sent], UUID | None]:
    """Messages, and the id that is sent on."""
    body = command.body
    sent_on = body[:16]
    (count,) = _COUNT.unpack_from(body, 16)
    parts = struct.unpack_from(f"<{count}Q", body, 20)
    at = 20 + 8 * count
    (messages,) = _COUNT.unpack_from(body, at)
    at += 4
    end = at + messages * _MESSAGE.size
    start = 0 if parts else command.at + end
    decoded = []
    from_bytes = int.from_bytes
    for message_id, priority, delay, dedupe, sender, payload, headers in _MESSAGE.iter_unpack(memoryview(body)[at:end]):
        reference = Reference(seq, start, sender, payload, headers, parts)
        start += sender + payload + headers
        decoded.append(Sent(id_of(from_bytes(message_id, "big")), priority, delay, dedupe, reference))
    return decoded, UUID(bytes=sent_on) if any(sent_on) else None


# -- ids ---------------------------------------------------------------------------------------------------------------


def encode_ids(ids: Iterable[UUID]) -> bytes:
    return b"".join(message_id.bytes for message_id in ids)


def decode_ids(data: bytes) -> list[UUID]:
    return [id_of(int.from_bytes(data[at : at + 16], "big")) for at in range(0, len(data), 16)]


# -- whole messages ----------------------------------------------------------------------------------------------------


def encode_whole(messages: Sequence[WholeMessage], parts: Sequence[int] = ()) -> bytes:
    """Messages with all that an archive knows of them."""
    heads = json.dumps(
        [
            list(parts),
            [
                [
                    whole.id.hex,
                    len(whole.sender),
                    len(whole.payload),
                    len(whole.headers),
                    int(whole.priority),
                    whole.created_at,
                    whole.delivery_count,
                    whole.due,
                    whole.failures,
                    whole.suspect,
                    whole.error,
                    None if whole.death is None else list(whole.death),
                ]
                for whole in messages
            ],
        ]
    ).encode()
    bodies = b"" if parts else bytes_of_whole(messages)
    return _COUNT.pack(len(heads)) + heads + bodies


def bytes_of_whole(messages: Iterable[WholeMessage]) -> bytes:
    return b"".join(part for whole in messages for part in (whole.sender, whole.payload, whole.headers))


def decode_whole(command: Command, seq: int) -> list[WholeMessage]:
    """With references for payloads."""
    (size,) = _COUNT.unpack_from(command.body)
    parts, heads = json.loads(command.body[4 : 4 + size])
    at = 0 if parts else command.at + 4 + size
    decoded = []
    for message_id, sender, payload, headers, priority, created, count, due, failures, suspect, error, death in heads:
        reference = Reference(seq, at, sender, payload, headers, tuple(parts))
        at += sender + payload + headers
        decoded.append(
            WholeMessage(
                UUID(hex=message_id),
                b"",
                cast(bytes, reference),
                MessagePriority(priority),
                created,
                count,
                due=due,
                failures=failures,
                suspect=suspect,
                error=error,
                death=None if death is None else Death(*death),
            )
        )
    return decoded


# -- bytes of a command ------------------------------------------------------------------------------------------------


class Fields:
    """What a command's body holds, one after the other."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def number(self) -> int:
        (number,) = struct.unpack_from("<q", self._body, self._at)
        self._at += 8
        return int(number)

    def id(self) -> UUID:
        self._at += 16
        return UUID(bytes=self._body[self._at - 16 : self._at])

    def text(self) -> str | None:
        size = self.number()
        if size < 0:
            return None
        self._at += size
        return self._body[self._at - size : self._at].decode()

    def ids(self) -> list[UUID]:
        """All that is left."""
        return decode_ids(self._body[self._at :])

    def unless(self) -> Unless | None:
        """If anything is left."""
        return Unless(self.id(), bool(self.number())) if self._at < len(self._body) else None


def pack_fields(*fields: int | UUID | str | None) -> bytes:
    """What ``Fields`` reads."""
    return b"".join(_pack(fields))


def _pack(fields: Iterable[int | UUID | str | None]) -> Iterator[bytes]:
    for field in fields:
        if isinstance(field, UUID):
            yield field.bytes
        elif isinstance(field, int):
            yield struct.pack("<q", field)
        elif field is None:
            yield struct.pack("<q", -1)
        else:
            data = field.encode()
            yield struct.pack("<q", len(data)) + data
