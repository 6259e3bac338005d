"""What a connection knows of its file: counters and holders, read once and written back with each transaction.

It stays true as long as no other connection commits and no transaction fails; the engine drops it then.
"""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ..._ids import SEQUENCE_BITS, id_at, new_id_base
from ..._values import MessagePriority
from .schema import DEAD, DELAYED, QUEUED

HANDLE_BITS: Final = 21
"""A holder's number is that of its process, and this many bits that tell the handles of that process apart."""

NUMBERS_AT_A_TIME: Final = 256
"""Message numbers are reserved in blocks, so that most commits write no row for it. Others go on after the block."""

SELECT_MAILBOX: Final = """
    SELECT mailbox, id_base, queued_normal, queued_high, dead, last_stored, next_due, foreseen
    FROM mailboxes WHERE name = ?
"""
UPDATE_MAILBOX: Final = """
    UPDATE mailboxes SET queued_normal = ?, queued_high = ?, dead = ?, last_stored = ?, next_due = ?, foreseen = ?
    WHERE mailbox = ?
"""
SELECT_HOLDERS: Final = """
    SELECT holder, state, max_deliveries, lease, beats, together_normal, together_high, alone_normal, alone_high
    FROM holders WHERE mailbox = ?
"""
SELECT_PROCESS: Final = "SELECT 1 FROM holders WHERE holder BETWEEN ? AND ? LIMIT 1"
SELECT_IDS_AHEAD: Final = "SELECT own_id FROM messages WHERE mailbox = ? AND own_id BETWEEN ? AND ?"
COUNT_ALL: Final = "SELECT hand, priority = 1, count(*) FROM messages WHERE mailbox = ? GROUP BY 1, 2"

WRITE_HOLDER: Final = "INSERT OR REPLACE INTO holders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
QUEUE_HAND: Final = f"UPDATE messages SET hand = {QUEUED} WHERE mailbox = ? AND hand = ?"


class State(enum.IntEnum):
    """What became of a holder."""

    HOLDS = 0
    RELEASED = 1
    """It gave everything back; the hand-outs are undone."""
    DIED = 2


@dataclass(slots=True)
class Tally:
    """How many messages there are in one place, by priority."""

    counts: dict[MessagePriority, int]
    changed: bool = False

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def wrong(self) -> bool:
        """Whether there cannot be so many: another program has changed rows."""
        return self.changed and min(self.counts.values()) < 0

    def add(self, priority: MessagePriority, count: int) -> None:
        if count:
            self.counts[priority] += count
            self.changed = True

    def add_all(self, other: Tally) -> None:
        for priority, count in other.counts.items():
            self.add(priority, count)

    def clear(self) -> None:
        for priority, count in self.counts.items():
            self.add(priority, -count)


@dataclass(slots=True)
class HolderRow:
    """A holder as the file knows it: one that has something, or had it and left it in its hands."""

    holder: int
    state: State
    max_deliveries: int | None
    lease: int | None
    """Milliseconds; None if the locks of its process tell whether it lives."""
    beats: int
    together: Tally
    alone: Tally
    changed: bool = False

    @property
    def process(self) -> int:
        return self.holder >> HANDLE_BITS

    @property
    def total(self) -> int:
        return self.together.total + self.alone.total

    @property
    def hands(self) -> Iterator[tuple[int, Tally]]:
        """Those that have something."""
        for hand, tally in (2 * self.holder, self.together), (2 * self.holder + 1, self.alone):
            if tally.total:
                yield hand, tally

    def tally(self, hand: int) -> Tally:
        return self.alone if hand & 1 else self.together


@dataclass(slots=True)
class MailboxRow:
    """A mailbox as the file knows it."""

    key: int
    id_base: int
    queued: Tally
    """All that waits: delayed messages too, and what is in the hands of holders that are gone."""
    dead: int
    last_stored: int
    next_due: int | None
    foreseen: bool
    holders: dict[int, HolderRow] = field(default_factory=dict)
    """Those that hold something."""
    by_process: dict[int, dict[int, HolderRow]] = field(default_factory=dict)
    """The same, by process."""
    left: dict[int, HolderRow] = field(default_factory=dict)
    """Those that are gone, and left much: it is still in their hands, and counts as queued."""
    touched: set[int] = field(default_factory=set)
    """Holders whose row may have changed in this transaction."""
    ids_ahead: set[bytes] = field(default_factory=set)
    """Ids of this mailbox's own making that senders gave, and that the next numbers must not make again."""
    changed: bool = False

    def add_holder(self, row: HolderRow) -> None:
        (self.holders if row.state is State.HOLDS else self.left)[row.holder] = row
        if row.state is State.HOLDS:
            self.by_process.setdefault(row.process, {})[row.holder] = row
        self.touched.add(row.holder)

    def remove_holder(self, row: HolderRow) -> None:
        """Of those that hold something, or of those that left something."""
        self.left.pop(row.holder, None)
        if self.holders.pop(row.holder, None) is None:
            return
        others = self.by_process[row.process]
        del others[row.holder]
        if not others:
            del self.by_process[row.process]

    def holder_of(self, hand: int) -> HolderRow | None:
        return (self.holders.get(hand >> 1) or self.left.get(hand >> 1)) if hand > 1 else None

    def leave(self, hand: int, priority: MessagePriority, count: int = 1) -> None:
        """Counts messages out of a hand that they are no longer in."""
        holder = self.holder_of(hand)
        if holder is not None:
            holder.tally(hand).add(priority, -count)
            self.touched.add(holder.holder)
        if hand != DEAD and (holder is None or holder.state is not State.HOLDS):
            self.queued.add(priority, -count)

    @property
    def miscounted(self) -> bool:
        """Whether the counters cannot be right: another program has changed rows."""
        if self.queued.wrong or self.dead < 0:
            return True
        return any(row.together.wrong or row.alone.wrong for row in self.touched_rows())

    def touched_rows(self) -> list[HolderRow]:
        return [row for number in self.touched if (row := self.holder_of(2 * number))]

    def all_holders(self) -> list[HolderRow]:
        return [*self.holders.values(), *self.left.values()]


class Session:
    """What one connection knows; its ``flush`` comes before each commit."""

    def __init__(self, connection: sqlite3.Connection, take_room: Callable[[int], None]) -> None:
        self.take_room = take_room
        """Raises ``StorageFullError`` if storing so many bytes would leave too few for acknowledgements."""
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.stored: dict[str, int] = {}
        """The mailboxes that got messages in this transaction, with the number of the last one."""
        self._mailboxes: dict[str, MailboxRow] = {}
        self._used: dict[str, MailboxRow] = {}
        """Those that this transaction has looked at."""
        self._number: int | None = None
        self._reserved = 0
        self._reserved_more = False

    def mailbox(self, name: str) -> MailboxRow | None:
        """The mailbox of that name; None if there is none."""
        found = self._used.get(name)
        if found is None:
            found = self._mailboxes.get(name) or self._read(name)
            if found is not None:
                self._mailboxes[name] = self._used[name] = found
        return found

    def mailbox_to_fill(self, name: str) -> MailboxRow:
        """The mailbox of that name, made if there is none."""
        found = self.mailbox(name)
        if found is None:
            id_base = new_id_base().to_bytes(16, "big")
            self.execute("INSERT INTO mailboxes (name, id_base) VALUES (?, ?)", (name, id_base))
            found = self.mailbox(name)
            assert found is not None
        return found

    def _read(self, name: str) -> MailboxRow | None:
        row = self.execute(SELECT_MAILBOX, (name,)).fetchone()
        if row is None:
            return None
        key, id_base, normal, high, dead, last_stored, next_due, foreseen = row
        mailbox = MailboxRow(
            key, int.from_bytes(id_base, "big"), tally(normal, high), dead, last_stored, next_due, bool(foreseen)
        )
        for holder, state, most, lease, beats, *counts in self.execute(SELECT_HOLDERS, (key,)):
            together, alone = tally(*counts[:2]), tally(*counts[2:])
            mailbox.add_holder(HolderRow(holder, State(state), most, lease, beats, together, alone))
        mailbox.touched.clear()
        if foreseen:
            first, last = self.next_number(), (1 << SEQUENCE_BITS) - 1
            for priority in MessagePriority:
                border = (id_at(mailbox.id_base, priority, number).bytes for number in (first, last))
                mailbox.ids_ahead.update(own_id for (own_id,) in self.execute(SELECT_IDS_AHEAD, (key, *border)))
        return mailbox

    def forget_mailbox(self, name: str) -> None:
        """After its rows were deleted: what was counted in it is written nowhere."""
        self._mailboxes.pop(name, None)
        self._used.pop(name, None)

    def knows_process(self, process: int) -> bool:
        """Whether a holder of that process has something, in any mailbox of the file."""
        first, last = process << HANDLE_BITS, ((process + 1) << HANDLE_BITS) - 1
        return self.execute(SELECT_PROCESS, (first, last)).fetchone() is not None

    def next_number(self) -> int:
        """The number that the next message of this file gets."""
        if self._number is None:
            (self._number,) = self.execute("SELECT number FROM last_number").fetchone()
            self._reserved = self._number
        return self._number + 1

    def number_taken(self, number: int) -> None:
        """Notes the last number that was given to a message."""
        self._number = number
        if number > self._reserved:
            self._reserved = number + NUMBERS_AT_A_TIME
            self._reserved_more = True

    def recount(self, mailbox: MailboxRow) -> None:
        """Counts the rows of a mailbox, after another program has changed them; what is in nobody's hand is queued."""
        holders = mailbox.all_holders()
        places = [mailbox.queued, *(hand for row in holders for hand in (row.together, row.alone))]
        for place in places:
            place.clear()
        mailbox.dead = 0
        for hand, high, count in self.execute(COUNT_ALL, (mailbox.key,)).fetchall():
            if hand == DEAD:
                mailbox.dead += count
                continue
            if hand not in (QUEUED, DELAYED) and not (isinstance(hand, int) and mailbox.holder_of(hand)):
                self.execute(QUEUE_HAND, (mailbox.key, hand))
                hand = QUEUED
            mailbox.leave(hand, MessagePriority(high or 0), -count)
        mailbox.touched.update(row.holder for row in holders)
        mailbox.changed = True

    def flush(self) -> None:
        """Writes what changed; the tables then agree with each other."""
        if self._reserved_more:
            self.execute("UPDATE last_number SET number = ?", (self._reserved,))
            self._reserved_more = False
        for mailbox in self._used.values():
            self._flush(mailbox)
        self._used.clear()

    def _flush(self, mailbox: MailboxRow) -> None:
        if mailbox.miscounted:
            self.recount(mailbox)
        if mailbox.changed or mailbox.queued.changed:
            values = (mailbox.dead, mailbox.last_stored, mailbox.next_due, mailbox.foreseen)
            self.execute(UPDATE_MAILBOX, (*_columns(mailbox.queued), *values, mailbox.key))
            mailbox.changed = mailbox.queued.changed = False
        for row in mailbox.touched_rows():
            key = (mailbox.key, row.holder)
            if not row.total:
                self.execute("DELETE FROM holders WHERE mailbox = ? AND holder = ?", key)
                mailbox.remove_holder(row)
            elif row.changed or row.together.changed or row.alone.changed:
                terms = (int(row.state), row.max_deliveries, row.lease, row.beats)
                self.execute(WRITE_HOLDER, (*key, *terms, *_columns(row.together), *_columns(row.alone)))
            row.changed = row.together.changed = row.alone.changed = False
        mailbox.touched.clear()


def tally(normal: int = 0, high: int = 0) -> Tally:
    return Tally({MessagePriority.NORMAL: normal, MessagePriority.HIGH: high})


def _columns(counted: Tally) -> tuple[int, int]:
    return counted.counts[MessagePriority.NORMAL], counted.counts[MessagePriority.HIGH]
