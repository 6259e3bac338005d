"""One mailbox of a file, as the connection knows it: the core's ``Store``, in rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final
from uuid import UUID

from ...contract.ids import id_of
from ...contract.limits import EARLIEST, LATEST
from ...core import delivery as deliveries
from ...core.page import BURIED
from ...core.state import LaneRun, MailboxState
from ...core.store import Letter
from . import pages, rows
from .bodies import SEGMENT_MESSAGES, Bodies, Kept

if TYPE_CHECKING:
    from .session import Session

MOST_LOOSE: Final = 64
"""Segments of a mailbox beyond everything that its head knows."""

_SWEEP: Final = 16
"""How many dead messages it takes for their segments to be deleted."""

_LARGE: Final = 64 * 1024
"""A segment of this many bytes is deleted at once."""

_MOST_DEBRIS: Final = 8
"""How many ranges of dead numbers may wait to be deleted."""

_ALL: Final = 1 << 62
"""Higher than any number."""

SELECT_KEYS: Final = """
    SELECT last, first FROM segments
    WHERE mailbox = ? AND lane = ? AND last >= ? AND last < ? AND typeof(last) = 'integer'
"""
DELETE_SEGMENTS: Final = "DELETE FROM segments WHERE mailbox = ? AND lane = ? AND last >= ? AND last < ? AND first >= ?"
SELECT_ID: Final = "SELECT lane, number FROM ids WHERE mailbox = ? AND id = ?"
INSERT_ID: Final = "INSERT OR REPLACE INTO ids VALUES (?, ?, ?, ?)"
DELETE_IDS: Final = "DELETE FROM ids WHERE mailbox = ? AND lane = ? AND number >= ? AND number < ?"
SELECT_ERRORS: Final = "SELECT number, error FROM errors WHERE mailbox = ? AND lane = ? AND number >= ? AND number < ?"
INSERT_ERROR: Final = "INSERT OR REPLACE INTO errors VALUES (?, ?, ?, ?)"
DELETE_ERRORS: Final = "DELETE FROM errors WHERE mailbox = ? AND lane = ? AND number >= ? AND number < ?"
_SELECT_LETTERS: Final = """
    SELECT letter, lane, number, reason, error, died_at FROM dead_letters LEFT JOIN errors USING (mailbox, lane, number)
    WHERE mailbox = ?
"""
NEWEST_LETTERS: Final = f"{_SELECT_LETTERS} ORDER BY letter DESC LIMIT ? OFFSET ?"
SELECT_LETTER_OF: Final = f"{_SELECT_LETTERS} AND lane = ? AND number = ?"
SELECT_LETTERS: Final = f"{_SELECT_LETTERS} AND letter >= ? AND letter < ? ORDER BY letter LIMIT ?"
INSERT_LETTER: Final = "INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?, ?, ?)"
DELETE_LETTER: Final = "DELETE FROM dead_letters WHERE mailbox = ? AND lane = ? AND number = ?"
INSERT_REMEMBERED: Final = "INSERT OR REPLACE INTO remembered VALUES (?, ?, ?)"
SELECT_REMEMBERED: Final = "SELECT until FROM remembered WHERE mailbox = ? AND id = ?"
DELETE_REMEMBERED: Final = """
    DELETE FROM remembered WHERE (mailbox, id) IN
    (SELECT mailbox, id FROM remembered INDEXED BY remembered_until WHERE mailbox = ? AND until <= ? LIMIT ?)
"""
REMEMBERED_FROM: Final = "SELECT id, until FROM remembered WHERE mailbox = ? AND id > ? ORDER BY id LIMIT ?"


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
        """Segments that the head does not know."""
        self.known_live: set[int] = set()
        """Holders of this process whose locks show that they live; while the session lasts the file is the same."""

    # -- as the rules want it ------------------------------------------------------------------------------------------

    def reserve(self, size: int) -> None:
        self._session.reserve(size)

    def note_id(self, message_id: UUID, priority: int, number: int) -> None:
        self.execute(INSERT_ID, (self.key, message_id.bytes, priority, number))

    def find_id(self, message_id: UUID) -> tuple[int, int] | None:
        found = self.execute(SELECT_ID, (self.key, message_id.bytes)).fetchone()
        if found is None or not isinstance(found[0], int) or not isinstance(found[1], int):
            return None
        return found[0], found[1]

    def remember(self, message_id: UUID, until: int) -> None:
        self.execute(INSERT_REMEMBERED, (self.key, message_id.bytes, until))

    def remembered_until(self, message_id: UUID) -> int | None:
        found = self.execute(SELECT_REMEMBERED, (self.key, message_id.bytes)).fetchone()
        return found[0] if found is not None and isinstance(found[0], int) else None

    def forget_remembered(self, until: int, most: int) -> int:
        return self.execute(DELETE_REMEMBERED, (self.key, until, most)).rowcount

    def remembered(self, after: UUID | None, most: int) -> list[tuple[UUID, int]]:
        behind = b"" if after is None else after.bytes
        found = self.execute(REMEMBERED_FROM, (self.key, behind, most)).fetchall()
        return [
            (id_of(int.from_bytes(id_bytes, "big")), until)
            for id_bytes, until in found
            if isinstance(id_bytes, bytes) and len(id_bytes) == 16 and isinstance(until, int)
        ]

    def note_error(self, priority: int, number: int, error: str) -> None:
        self.execute(INSERT_ERROR, (self.key, priority, number, error))

    def errors(self, run: LaneRun) -> dict[int, str]:
        found = self.execute(SELECT_ERRORS, (self.key, run.priority, run.first, run.end)).fetchall()
        return {number: error for number, error in found if isinstance(error, str)}

    def note_letter(self, letter: int, priority: int, number: int, reason: str, died_at: int) -> None:
        self.execute(INSERT_LETTER, (self.key, letter, priority, number, reason, died_at))

    def forget_letter(self, priority: int, number: int) -> None:
        self.execute(DELETE_LETTER, (self.key, priority, number))

    def newest_letters(self, limit: int, offset: int) -> Iterator[Letter]:
        """Raises ``UnreadableError`` if a row is not a dead letter or there are too few."""
        found = self.execute(NEWEST_LETTERS, (self.key, limit, offset)).fetchall()
        for row in found:
            yield self._checked(*row)
        if len(found) != min(limit, max(0, self.state.dead_letters - offset)):
            raise rows.MissingLettersError

    def letter_of(self, priority: int, number: int) -> Letter:
        """Raises ``UnreadableError`` if its row is missing or is not a dead letter."""
        found = self.execute(SELECT_LETTER_OF, (self.key, priority, number)).fetchone()
        if found is None:
            raise rows.MissingLettersError
        return self._checked(*found)

    def letters(self, first: int, until: int, limit: int) -> Iterator[Letter]:
        """Raises ``UnreadableError`` if a row is not a dead letter."""
        for row in self.execute(SELECT_LETTERS, (self.key, first, until, limit)).fetchall():
            yield self._checked(*row)

    def _checked(
        self, letter: object, lane: object, number: object, reason: object, error: object, died_at: object
    ) -> Letter:
        run = self.buried(lane, number)
        if run is None or type(letter) is not int or type(reason) is not str or not isinstance(error, str | None):
            raise rows.UnreadableLetterError(letter)
        if type(died_at) is not int or not EARLIEST <= died_at <= LATEST:
            raise rows.UnreadableLetterError(letter)
        return Letter(letter, run, reason, error, died_at)

    def buried(self, lane: object, number: object) -> LaneRun | None:
        """What the state says about a dead letter; None if there is none in that place."""
        if type(lane) is not int or type(number) is not int:
            return None
        state = self.state.state_of(lane, number)
        return LaneRun(lane, number, number + 1, state[1]) if state is not None and state[0] == BURIED else None

    def clear_queued(self, special: list[LaneRun]) -> None:
        state = self.state
        mask = deliveries.CUSTOM_ID | deliveries.HAS_ERROR
        if not state.custom_ids:
            mask &= ~deliveries.CUSTOM_ID
            self.execute("DELETE FROM ids WHERE mailbox = ?", (self.key,))
        if special and not state.inflight and not state.dead_letters:
            mask &= ~deliveries.HAS_ERROR
            self.execute("DELETE FROM errors WHERE mailbox = ?", (self.key,))
        self.clear_away([run._replace(delivery=run.delivery & mask) for run in special if run.delivery & mask])
        self.bodies.write_appended()  # by calls of the same commit
        self.bodies.forget_kept()
        for lane in state.lanes:
            lane.debris.clear()
            dead_from = 0
            for run in [*state.living(lane.priority, 0, lane.next), None]:
                dead_until = _ALL if run is None else run.first
                if dead_from < dead_until:
                    where = (self.key, lane.priority, dead_from, dead_until, dead_from)
                    self.execute(DELETE_SEGMENTS, where)
                if run is not None:
                    dead_from = run.end
        self.loose = 0

    def clear_away(self, runs: Sequence[LaneRun]) -> None:
        """Deletes what other tables have about messages that left the state; their bytes may stay a little longer."""
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

    # -- what is dead, and what has changed ----------------------------------------------------------------------------

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
        """Checks all segments of the pages that contain some numbers."""
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
        if state.changed or bodies.appended or bodies.written:
            self._session.changed.append(self.name)
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


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, with neighbours merged."""
    merged: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((first, end))
    return merged
