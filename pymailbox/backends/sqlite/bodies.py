"""The messages themselves: appends them and finds them again."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from typing import Final

from ...contract.headers import NO_HEADERS, unpack_headers
from ...contract.ids import id_at, id_of
from ...contract.moments import moment
from ...contract.values import MessageRecord, MessageStatus
from ...core import delivery as deliveries
from ...core.records import LANE_PRIORITIES, record_of, records_of
from ...core.state import PRIORITIES, LaneRun
from ...core.store import Message
from . import frames
from .frames import Segment
from .rows import UnreadableMessageError

SEGMENT_MESSAGES: Final = 128
SEGMENT_BYTES: Final = 48 * 1024
"""The most bytes of a segment, unless it is a single larger message."""

_KEPT_BYTES: Final = 8 * 1024 * 1024
"""Bytes of recently stored messages that are kept in memory, so that handing them out needs no read."""

_KEPT_SEGMENTS: Final = 4
"""How many recently read segments of several messages are kept."""

INSERT_SEGMENT: Final = "INSERT INTO segments VALUES (?, ?, ?, ?, ?)"
SELECT_SEGMENTS: Final = """
    SELECT last, first, body FROM segments
    WHERE mailbox = ? AND lane = ? AND last >= ? AND typeof(last) = 'integer' ORDER BY last
"""


class Kept:
    """Recently stored messages of a file's mailboxes, by mailbox, lane and number."""

    def __init__(self) -> None:
        self.messages: dict[tuple[int, int, int], Message] = {}
        self._bytes = 0

    def add(self, place: tuple[int, int, int], message: Message) -> None:
        self.messages[place] = message
        self._bytes += frames.size(message)

    def pop(self, place: tuple[int, int, int]) -> Message | None:
        message = self.messages.pop(place, None)
        if message is not None:
            self._bytes -= frames.size(message)
        return message

    @property
    def is_large(self) -> bool:
        return self._bytes > _KEPT_BYTES

    def limit(self) -> None:
        """Drops the oldest if there are too many."""
        while self._bytes > _KEPT_BYTES:
            self.pop(next(iter(self.messages)))

    def clear(self) -> None:
        self.messages.clear()
        self._bytes = 0


class Bodies:
    """The messages of one mailbox."""

    def __init__(self, execute: Callable[..., sqlite3.Cursor], key: int, kept: Kept) -> None:
        self._execute = execute
        self._key = key
        self._kept = kept
        self.appended: list[tuple[int, int, bytes]] = []
        """Lane, number and frame of messages that are not written yet; each lane's are in order."""
        self.written: dict[int, int] = {}
        """The lanes that got segments in this transaction, with the size of the largest."""
        self._segments: deque[Segment] = deque(maxlen=_KEPT_SEGMENTS)

    def append(self, priority: int, number: int, message: Message, custom: bool) -> None:
        message_id, sender, payload, created_at, headers = message
        frame = frames.pack(priority, message_id.bytes if custom else None, sender, payload, created_at, headers)
        self.appended.append((priority, number, frame))
        self._kept.add((self._key, priority, number), message)

    def write_appended(self) -> None:
        """Writes what was appended."""
        if len(self.appended) == 1:  # the usual case
            ((priority, number, body),) = self.appended
            self._execute(INSERT_SEGMENT, (self._key, priority, number, number, body))
            self.written[priority] = max(len(body), self.written.get(priority, 0))
            self.appended.clear()
            if self._kept.is_large:
                self._kept.limit()
            return
        for priority, last, first, body in _segments(self.appended):
            self._execute(INSERT_SEGMENT, (self._key, priority, last, first, body))
            self.written[priority] = max(len(body), self.written.get(priority, 0))
        self.appended.clear()
        self._kept.limit()

    def messages(self, run: LaneRun, id_base: int, *, last_use: bool = False) -> Iterator[Message]:
        """The messages of a run; with ``last_use``, they are dropped from memory.

        Raises:
            UnreadableMessageError: one of them is not a message.
        """
        priority, number, end = run.priority, run.first, run.end
        while number < end:
            place = self._key, priority, number
            message = self._kept.pop(place) if last_use else self._kept.messages.get(place)
            if message is not None:
                yield message
                number += 1
                continue
            segment = self.segment(priority, number)
            frame = None if segment is None else segment.frame(number)
            custom = bool(run.delivery & deliveries.CUSTOM_ID)
            if frame is None or (frame.id is not None) is not custom:
                raise UnreadableMessageError(priority, number)
            own_id = id_at(id_base, priority, number) if frame.id is None else id_of(int.from_bytes(frame.id, "big"))
            yield Message(own_id, frame.sender, frame.payload, frame.created_at, frame.headers)
            number += 1

    def segment(self, priority: int, number: int) -> Segment | None:
        """The segment that a message is in; None if there is none."""
        if self.appended:  # it may be among these
            self.write_appended()
        for segment in self._segments:
            if segment.first <= number <= segment.last and segment.priority == priority:
                return segment
        row = self._execute(f"{SELECT_SEGMENTS} LIMIT 1", (self._key, priority, number)).fetchone()
        if row is None:
            return None
        segment = Segment(priority, *row)
        if segment.first > number:
            return None
        if segment.first < segment.last and isinstance(segment.body, bytes) and len(segment.body) <= 2 * SEGMENT_BYTES:
            self._segments.append(segment)
        return segment

    def forget_kept(self) -> None:
        """To be called after deleting messages that may have been kept."""
        self._kept.clear()

    def forget_segments(self) -> None:
        """To be called after some were changed."""
        self._segments.clear()

    def records(
        self,
        runs: list[LaneRun],
        id_base: int,
        status: MessageStatus,
        hand_outs: int = 0,
        largest: float = inf,
    ) -> list[MessageRecord]:
        """As ``records_of``."""
        if hand_outs and len(runs) == 1 and runs[0].end - runs[0].first == 1:  # the usual case, done more quickly
            (run,) = runs
            message = self._kept.pop((self._key, run.priority, run.first))
            if message is not None:
                time, count = moment(message.created_at), deliveries.hand_outs(run.delivery) + hand_outs
                headers = unpack_headers(message.headers) if message.headers else NO_HEADERS
                return [record_of(*message[:3], LANE_PRIORITIES[run.priority], time, status, count, headers, None)]
        messages = partial(self.messages, id_base=id_base, last_use=hand_outs > 0)
        return records_of(runs, messages, status, hand_outs, largest)


def _segments(appended: list[tuple[int, int, bytes]]) -> Iterator[tuple[int, int, int, bytes]]:
    """Lane, last and first number, and body; neighbours in a lane go together."""
    for lane in range(PRIORITIES):
        first = number = size = 0
        parts: list[bytes] = []
        for priority, at, frame in appended:
            if priority != lane:
                continue
            if parts and (at != number or len(parts) == SEGMENT_MESSAGES or size + len(frame) > SEGMENT_BYTES):
                yield lane, number - 1, first, b"".join(parts)
                parts, size = [], 0
            if not parts:
                first = at
            parts.append(frame)
            size += len(frame)
            number = at + 1
        if parts:
            yield lane, number - 1, first, b"".join(parts)
