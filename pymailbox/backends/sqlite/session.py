"""What a connection knows of its file: the states of its mailboxes, read once and written back with each transaction.

It stays true as long as no other connection commits and no transaction fails; the engine drops it then.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from ..._errors import StorageCorruptError
from ..._ids import new_id_base
from ...core import delivery as deliveries
from ...core.page import DamagedError
from ...core.state import LaneRun, MailboxState
from . import pages
from .bodies import SEGMENT_MESSAGES, Bodies, Kept
from .pages import PageRows

HANDLE_BITS: Final = 21
"""A holder's number is that of its process, and this many bits that tell the handles of that process apart."""

TOO_LARGE: Final = 1 << 47
"""No message has this number, nor any behind it; so there is room for as many new ones."""

MOST_LOOSE: Final = 64
"""Segments of a mailbox that lie behind all that its head knows of."""

_SWEEP: Final = 16
"""Messages that are dead when their segments are deleted."""

_LARGE: Final = 64 * 1024
"""Bytes of a segment that is deleted at once."""

_MOST_DEBRIS: Final = 8
"""Ranges of dead numbers that wait to be deleted."""

SELECT_MAILBOX: Final = "SELECT mailbox, id_base, head FROM mailboxes WHERE name = ?"
INSERT_MAILBOX: Final = "INSERT INTO mailboxes (name, id_base, head) VALUES (?, ?, ?)"
UPDATE_HEAD: Final = "UPDATE mailboxes SET head = ? WHERE mailbox = ?"
EXCHANGE_HEAD: Final = "UPDATE mailboxes SET head = ? WHERE mailbox = ? AND head = ? AND id_base = ?"
SELECT_LOOSE: Final = """
    SELECT last, first, length(body) FROM segments
    WHERE mailbox = ? AND lane = ? AND last >= ? AND typeof(last) = 'integer' ORDER BY last
"""
SELECT_KEYS: Final = """
    SELECT last, first FROM segments
    WHERE mailbox = ? AND lane = ? AND last >= ? AND last < ? AND typeof(last) = 'integer'
"""
DELETE_SEGMENTS: Final = "DELETE FROM segments WHERE mailbox = ? AND lane = ? AND last >= ? AND last < ? AND first >= ?"
INSERT_ID: Final = "INSERT OR REPLACE INTO ids VALUES (?, ?, ?, ?)"
DELETE_IDS: Final = "DELETE FROM ids WHERE mailbox = ? AND lane = ? AND number >= ? AND number < ?"
INSERT_ERROR: Final = "INSERT OR REPLACE INTO errors VALUES (?, ?, ?, ?)"
DELETE_ERRORS: Final = "DELETE FROM errors WHERE mailbox = ? AND lane = ? AND number >= ? AND number < ?"


class OutdatedError(Exception):
    """Another program has committed something since the session's last transaction."""


class OpenMailbox:
    """A mailbox as the connection knows it."""

    def __init__(
        self, session: Session, key: int, name: str, id_base: int, head: bytes, state: MailboxState, kept: Kept
    ) -> None:
        self._session = session
        self.execute = session.execute
        self.key = key
        self.name = name
        self.id_base = id_base
        self.head = head
        """As it was last written."""
        self.state = state
        self.bodies = Bodies(session.execute, key, kept)
        self.loose = 0
        """Segments that the head does not know of."""
        self.shown: set[int] = set()
        """Holders of this process whose locks tell that they live; while the session lasts the file is the same."""

    def clear_away(self, runs: Sequence[LaneRun]) -> None:
        """Deletes what there is elsewhere of messages that the state has been rid of; their bytes may stay a little."""
        for priority, first, end, delivery, _, _ in runs:
            if delivery & deliveries.CUSTOM_ID:
                self.execute(DELETE_IDS, (self.key, priority, first, end))
            if delivery & deliveries.HAS_ERROR:
                self.execute(DELETE_ERRORS, (self.key, priority, first, end))
            debris = self.state.lanes[priority].debris
            if debris and debris[-1][1] == first:
                debris[-1] = debris[-1][0], end
            else:
                debris.append((first, end))

    def sweep(self, everything: bool = False) -> None:
        """Deletes segments whose messages are all dead, if there are enough to be worth it."""
        state = self.state
        for lane in state.lanes:
            debris = lane.debris
            if not debris:
                continue
            if not (
                everything
                or len(debris) > _MOST_DEBRIS
                or lane.largest > _LARGE
                or debris[-1][1] - debris[-1][0] >= _SWEEP  # mostly there is no other one
                or (len(debris) > 1 and sum(end - first for first, end in debris) >= _SWEEP)
            ):
                continue
            ranges = _merged(debris)
            if len(ranges) <= _MOST_DEBRIS:
                for first, end in ranges:
                    low, high = state.dead_around(lane.priority, first, end, SEGMENT_MESSAGES)
                    self.execute(DELETE_SEGMENTS, (self.key, lane.priority, low, high, low))
            else:
                self._sweep_pages(lane.priority, ranges)
            debris.clear()
            if not (lane.queued or lane.inflight or state.dead_letters):
                lane.largest = 0
            state.changed = True

    def _sweep_pages(self, priority: int, ranges: list[tuple[int, int]]) -> None:
        """Looks at all segments of the pages in which some numbers are."""
        size = self.state.page_numbers
        numbers = {page for first, end in ranges for page in range(first // size, (end - 1) // size + 1)}
        for first, end in _merged([(number * size, (number + 1) * size) for number in numbers]):
            found = self.execute(SELECT_KEYS, (self.key, priority, first, end + SEGMENT_MESSAGES)).fetchall()
            for last, begins in found:
                if isinstance(begins, int) and not any(self.state.living(priority, begins, last + 1)):
                    self.execute(DELETE_SEGMENTS, (self.key, priority, last, last + 1, begins))

    def flush(self) -> None:
        """Writes what has changed."""
        state, bodies = self.state, self.bodies
        if bodies.appended or bodies.written:
            is_loose = len(bodies.appended) == 1 and not bodies.written
            bodies.write_appended()
            for priority, size in bodies.written.items():
                if size > state.lanes[priority].largest:
                    state.lanes[priority].largest = size
            bodies.written.clear()
            self._session.wrote = True
            self.loose += 1
            if not is_loose or self.loose >= MOST_LOOSE:
                state.changed = True
        if state.changed:
            self.sweep()
            head, written, deleted = state.pack()
            for priority, number in deleted:
                self.execute(pages.DELETE_PAGE, (self.key, priority, number))
            for priority, page in written:
                pages.write(self.execute, self.key, priority, page)
            if head != self.head:
                self._session.write_head(self, head)
                self.head = head
            self.loose = 0
        state.trim()


class Session:
    """What one connection knows; its ``flush`` comes before each commit."""

    def __init__(
        self, connection: sqlite3.Connection, take_room: Callable[[int], None], *, lacks_room: bool = False
    ) -> None:
        self._lacks_room = lacks_room
        """Whether all room that can be made is to be made."""
        self.take_room = take_room
        """Raises ``StorageFullError`` if storing so many bytes would leave too few for acknowledgements."""
        self._connection = connection
        self._cursor = connection.cursor()
        self.begin: Callable[[], None] | None = None
        """Begins the transaction, if that is left to the first statement that needs one."""
        self.wrote = False
        """Whether the file is sure to be another one after this transaction."""
        self.stored: dict[str, int] = {}
        """The mailboxes that got messages in this transaction, with how many they had ever got after it."""
        self._kept = Kept()
        self._mailboxes: dict[str, OpenMailbox] = {}
        self._used: dict[str, OpenMailbox] = {}
        """Those that this transaction has looked at."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Runs a statement within the transaction.

        Raises:
            OutdatedError: the transaction began with this statement, and the session is not true any more.
        """
        if self.begin is not None:
            begin, self.begin = self.begin, None
            begin()
        return self._connection.execute(sql, parameters)

    def write_head(self, mailbox: OpenMailbox, head: bytes) -> None:
        """Writes the head of a mailbox; where no transaction has begun, in one that is this statement alone.

        That names all that it rests on: the head before, and what the mailbox's ids are made with, since the number of
        one that was deleted is given to another, whose head may look the same.

        Raises:
            OutdatedError: the head is not what it was before; nothing was written.
        """
        if self.begin is None or len(self._used) > 1:
            self.execute(UPDATE_HEAD, (head, mailbox.key))
        elif (
            self._cursor.execute(
                EXCHANGE_HEAD, (head, mailbox.key, mailbox.head, mailbox.id_base.to_bytes(16, "big"))
            ).rowcount
            != 1
        ):
            raise OutdatedError
        self.wrote = True

    def mailbox(self, name: str) -> OpenMailbox | None:
        """The mailbox of that name; None if there is none."""
        found = self._used.get(name)
        if found is None:
            found = self._mailboxes.get(name) or self._read(name)
            if found is not None:
                self._mailboxes[name] = self._used[name] = found
                if self._lacks_room:
                    found.sweep(everything=True)
        return found

    def mailbox_to_fill(self, name: str) -> OpenMailbox:
        """The mailbox of that name, made if there is none."""
        found = self.mailbox(name)
        if found is None:
            id_base = new_id_base()
            head, _, _ = MailboxState().pack()
            self.execute(INSERT_MAILBOX, (name, id_base.to_bytes(16, "big"), head))
            found = self.mailbox(name)
            assert found is not None
        return found

    def _read(self, name: str) -> OpenMailbox | None:
        row = self.execute(SELECT_MAILBOX, (name,)).fetchone()
        if row is None:
            return None
        key, id_base, head = row
        try:
            if not (isinstance(id_base, bytes) and len(id_base) == 16 and isinstance(head, bytes)):
                raise DamagedError("a mailbox has no head")
            state = MailboxState.unpack(head, partial(PageRows, self.execute, key))
        except DamagedError as error:
            raise StorageCorruptError(
                f"the mailbox {name!r}: what its file says of it is damaged ({error}), and nothing of it was changed. "
                "Restore the file from a backup; or delete_mailbox() deletes this mailbox, and the others stay"
            ) from error
        found = OpenMailbox(self, key, name, int.from_bytes(id_base, "big"), head, state, self._kept)
        for lane in state.lanes:
            for last, first, size in self.execute(SELECT_LOOSE, (key, lane.priority, lane.next)).fetchall():
                # such as this library writes follow each other; what is missing between them, something has deleted
                first = lane.next if lane.next <= last < lane.next + MOST_LOOSE else first
                if not (isinstance(first, int) and max(lane.next, last - SEGMENT_MESSAGES) < first + 1 <= last + 1):
                    first = last
                if last >= TOO_LARGE:
                    break
                if first > lane.next:
                    state.skip(lane.priority, first - lane.next)
                state.append(lane.priority, last + 1 - first)
                lane.largest = max(lane.largest, size or 0)
                found.loose += 1
        state.changed = False
        return found

    def forget_mailbox(self, name: str) -> None:
        """After its rows were deleted: what is known of it is written nowhere."""
        self._mailboxes.pop(name, None)
        self._used.pop(name, None)
        self._kept.clear()  # another mailbox may get its key

    def knows_process(self, process: int) -> bool:
        """Whether a holder of that process has something, in any mailbox of the file."""
        for (head,) in self.execute("SELECT head FROM mailboxes").fetchall():
            try:
                state = MailboxState.unpack(head, partial(PageRows, self.execute, 0))
            except (DamagedError, TypeError):
                return True  # it cannot be told
            if any(number >> HANDLE_BITS == process for number in state.holders.by_number):
                return True
        return False

    def flush(self) -> None:
        """Writes what changed; the tables then agree with each other."""
        for mailbox in self._used.values():
            mailbox.flush()
        self._used.clear()


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, and neighbours together."""
    merged: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((first, end))
    return merged
