"""Messages as bytes, as segments hold them.

A frame is one message. Frames follow one another without gaps; numbers are little-endian.

    offset  size
         0     1  flags: bit 0 set if an id follows the header
         1     1  priority
         2     2  length of the headers
         4     4  length of the sender
         8     4  length of the payload
        12     8  creation time, float64, milliseconds since 1970
        20    16  the id that its sender gave it, if flagged
         …        headers as ``pack_headers`` makes them, sender, payload
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any, Final, NamedTuple

from ...contract.headers import unpack_headers
from ...contract.limits import EARLIEST, LATEST
from ...core.store import Message

_HEADER: Final = Struct("<BBHIId")
_HAS_ID: Final = 1
_ID_BYTES: Final = 16


class Frame(NamedTuple):
    """A message as it was stored."""

    id: bytes | None
    """Set if it is a custom id."""
    sender: bytes
    payload: bytes
    created_at: int
    """Milliseconds since 1970."""
    headers: bytes


def pack(
    priority: int, id_bytes: bytes | None, sender: bytes, payload: bytes, created_at: int, headers: bytes = b""
) -> bytes:
    if id_bytes is None and not headers:
        return _HEADER.pack(0, priority, 0, len(sender), len(payload), created_at) + sender + payload
    flags = 0 if id_bytes is None else _HAS_ID
    header = _HEADER.pack(flags, priority, len(headers), len(sender), len(payload), created_at)
    return b"".join((header, id_bytes or b"", headers, sender, payload))


def size(message: Message) -> int:
    """Bytes of a frame without an id in it."""
    return _HEADER.size + message.size


class Segment:
    """Neighbouring messages of a lane that were committed together, as far as they can be read."""

    __slots__ = ("_offsets", "body", "first", "last", "priority", "readable")

    def __init__(self, priority: int, last: Any, first: Any, body: Any) -> None:
        self.body: Any = body
        self.last: int = last
        self.first: int = first if isinstance(first, int) and first <= last else last
        self.priority = priority
        self._offsets: list[int] = []
        self.readable = 0
        """Where the readable part ends."""
        if isinstance(body, bytes):
            self._offsets = list(self._find_frames(body))

    def __len__(self) -> int:
        return len(self._offsets)

    def _find_frames(self, body: bytes) -> Iterator[int]:
        offset, size, left = 0, len(body), self.last - self.first + 1
        while left and offset + _HEADER.size <= size:
            flags, priority, headers, sender, payload, created_at = _HEADER.unpack_from(body, offset)
            headers_at = offset + _HEADER.size + (_ID_BYTES if flags else 0)
            end = headers_at + headers + sender + payload
            if flags > _HAS_ID or priority != self.priority or not EARLIEST <= created_at <= LATEST:
                return
            if end > size or (headers and not _are_headers(body[headers_at : headers_at + headers])):
                return
            yield offset
            offset = self.readable = end
            left -= 1

    def frame(self, number: int) -> Frame | None:
        """The message with a number; None if it cannot be read."""
        index = number - self.first
        if not 0 <= index < len(self._offsets):
            return None
        at = self._offsets[index]
        flags, _, headers, sender, payload, created_at = _HEADER.unpack_from(self.body, at)
        at += _HEADER.size
        id_bytes = None
        if flags:
            id_bytes = self.body[at : at + _ID_BYTES]
            at += _ID_BYTES
        packed = self.body[at : at + headers]
        at += headers
        middle = at + sender
        return Frame(id_bytes, self.body[at:middle], self.body[middle : middle + payload], int(created_at), packed)

    @property
    def remains(self) -> bytes:
        """The bytes that cannot be read."""
        if isinstance(self.body, bytes):
            return self.body[self.readable :]
        return b"" if self.body is None else str(self.body).encode("utf-8", "surrogateescape")


def _are_headers(packed: bytes) -> bool:
    try:
        unpack_headers(packed)
    except ValueError:
        return False
    return True
