"""Upgrades files of older layouts to the present one: one function for each layout, in one transaction.

Layout 2 had no ids that stay known, and its heads did not count them.

Layout 1 had a row for each message in ``messages``, which changed with its state, and one for its bytes in ``bodies``.
A message named the *hand* that it was in; a holder had two hands, one for batches of several messages and one for
messages that came alone, and a row with its own state. Numbers grew over the whole file, so lanes made from it have
many numbers that no message ever had.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from typing import Any, Final

from ...contract.errors import StorageCorruptError
from ...contract.ids import id_at, id_of
from ...contract.moments import now_in_ms
from ...contract.reasons import unreadable_reason
from ...contract.values import MessagePriority
from ...core import dead_letters, verbs
from ...core import delivery as deliveries
from ...core.claims import Terms
from ...core.page import BURIED, HELD, QUEUED, DamagedError
from ...core.state import MailboxState, head_of, numbers_in
from ...core.store import Message
from . import mending, restored
from .bodies import Kept
from .layout import SCHEMA_VERSION, TABLES
from .pages import PageRows
from .session import INSERT_MAILBOX, TOO_LARGE, UPDATE_HEAD, Session
from .store import OpenMailbox

_LAYOUT_1: Final = (
    """
    CREATE TABLE mailboxes (
        mailbox INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        id_base BLOB NOT NULL, -- 16 bytes; with a priority and a number it makes a message's id
        queued_normal INTEGER NOT NULL DEFAULT 0, -- these two count delayed messages too, and what holders gave back
        queued_high INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0,
        last_stored INTEGER NOT NULL DEFAULT 0, -- the number of the message that was stored last
        next_due INTEGER, -- no delayed message is due before; milliseconds since 1970, UTC
        foreseen INTEGER NOT NULL DEFAULT 0 -- whether a sender ever gave an id that this mailbox may yet make
    )
    """,
    # a holder is a handle that holds something, or one that is gone and left much, which is still in its hands
    """
    CREATE TABLE holders (
        mailbox INTEGER NOT NULL,
        holder INTEGER NOT NULL,
        state INTEGER NOT NULL, -- 0: it has its messages; 1: it gave them back; 2: it died with them
        max_deliveries INTEGER,
        lease INTEGER, -- milliseconds; NULL if a lock on a file tells whether it lives
        beats INTEGER NOT NULL, -- with a lease: a number that changes while it lives and has something
        together_normal INTEGER NOT NULL, -- what it was handed in batches of several
        together_high INTEGER NOT NULL,
        alone_normal INTEGER NOT NULL, -- what it was handed in batches of one
        alone_high INTEGER NOT NULL,
        PRIMARY KEY (mailbox, holder)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE last_number (number INTEGER NOT NULL)",  # no message has a larger one
    "INSERT INTO last_number VALUES (0)",
    """
    CREATE TABLE messages (
        number INTEGER PRIMARY KEY,
        mailbox INTEGER NOT NULL,
        hand INTEGER NOT NULL, -- -1 dead, 0 queued, 1 delayed; else twice the holder's number, and one more if alone
        priority INTEGER NOT NULL,
        delivery_count INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0, -- how many of the deliveries failed
        suspect INTEGER NOT NULL DEFAULT 0, -- 1: a holder died with it, so it is handed out alone
        own_id BLOB, -- 16 bytes, of a message that came with an id; the others' is made from their number
        due INTEGER, -- of a delayed one: milliseconds since 1970, UTC
        error TEXT -- what the last nack said
    )
    """,
    # the order of dequeueing, for queued messages and for each hand: an index ends with the number
    "CREATE INDEX messages_in_order ON messages (mailbox, hand, priority DESC)",
    "CREATE UNIQUE INDEX messages_by_own_id ON messages (mailbox, own_id) WHERE own_id IS NOT NULL",
    "CREATE INDEX messages_by_due ON messages (mailbox, due) WHERE due IS NOT NULL",
    "CREATE INDEX messages_failed ON messages (mailbox, hand, failures) WHERE failures > 0",
    """
    CREATE TABLE bodies (
        number INTEGER PRIMARY KEY,
        sender BLOB NOT NULL,
        payload BLOB NOT NULL,
        created_at INTEGER NOT NULL -- milliseconds since 1970, UTC
    )
    """,
    """
    CREATE TRIGGER body_of_deleted_message AFTER DELETE ON messages
    BEGIN DELETE FROM bodies WHERE number = OLD.number; END
    """,
    # why a message is a dead letter
    """
    CREATE TABLE letters (
        letter INTEGER PRIMARY KEY, -- the newest has the largest
        mailbox INTEGER NOT NULL,
        number INTEGER NOT NULL UNIQUE, -- the message's
        reason TEXT NOT NULL,
        died_at INTEGER NOT NULL -- milliseconds since 1970, UTC
    )
    """,
    "CREATE INDEX letters_by_mailbox ON letters (mailbox)",
)

_APPEND_AT_ONCE: Final = 256

_DEAD: Final = -1
_DELAYED: Final = 1
_RELEASED: Final = 1
_DIED: Final = 2

_SELECT_MESSAGES: Final = """
    SELECT messages.number, hand, priority, delivery_count, failures, suspect, own_id, due, error, sender, payload,
        created_at, reason, died_at
    FROM messages LEFT JOIN bodies ON bodies.number = messages.number
    LEFT JOIN letters ON letters.number = messages.number
    WHERE messages.mailbox = ? ORDER BY messages.number
"""


_NEW_IN_3: Final = tuple(statement for statement in TABLES if "remembered" in statement)
_LAYOUT_2: Final = tuple(statement for statement in TABLES if statement not in _NEW_IN_3)

_NUMBERS_BEFORE_REMEMBERED: Final = 5
"""The part of a head before the count of known ids."""


def layout_of(version: int, found: dict[str, str]) -> int | None:
    """The older layout of the tables, as the file's header says or, in a dump without one, the tables show."""
    if 0 < version < SCHEMA_VERSION:
        return version
    if version == 0 and restored.is_ours(found, _LAYOUT_1) and "segments" not in found:
        return 1
    if version == 0 and restored.is_ours(found, _LAYOUT_2) and "remembered" not in found:
        return 2
    return None


def tables_of(layout: int) -> Iterable[str]:
    return {1: _LAYOUT_1, 2: _LAYOUT_2}[layout]


def upgrade(connection: sqlite3.Connection, layout: int, file: str) -> None:
    """Runs inside a transaction."""
    if layout == 1:
        _from_1(connection)
    else:
        _from_2(connection, file)


# -- from 2 ------------------------------------------------------------------------------------------------------------


def _from_2(connection: sqlite3.Connection, file: str) -> None:
    found = restored.definitions(connection)
    for statement in _NEW_IN_3:
        connection.execute(statement)
    for key, head in connection.execute("SELECT mailbox, head FROM mailboxes").fetchall():
        try:
            numbers = numbers_in(head)
        except DamagedError:
            continue  # using the mailbox reports it
        numbers.insert(_NUMBERS_BEFORE_REMEMBERED, 0)
        new_head = head_of(numbers)
        if not _is_sound(new_head) and _is_sound(head):  # a dump of layout 3 without one of its tables
            restored.missing(found, TABLES, file)
        connection.execute(UPDATE_HEAD, (new_head, key))


def _is_sound(head: bytes) -> bool:
    """Whether it is a head of the present layout."""
    try:
        MailboxState.unpack(head)
    except DamagedError:
        return False
    return True


# -- from 1 ------------------------------------------------------------------------------------------------------------


def _from_1(connection: sqlite3.Connection) -> None:
    execute = connection.execute
    execute("ALTER TABLE mailboxes RENAME TO mailboxes_1")
    execute("ALTER TABLE holders RENAME TO holders_1")
    for statement in TABLES:
        execute(statement)
    session, end = Session(connection, lambda _: None), 1
    for select in "SELECT number FROM last_number", "SELECT number FROM messages":
        (largest,) = execute(
            f"SELECT coalesce(max(number), 0) FROM ({select}) WHERE number < ?", (TOO_LARGE,)
        ).fetchone()
        end = max(end, largest + 1)
    for key, name, id_base, foreseen in execute("SELECT mailbox, name, id_base, foreseen FROM mailboxes_1").fetchall():
        head, _, _ = MailboxState().pack()
        if not (isinstance(id_base, bytes) and len(id_base) == 16):
            raise StorageCorruptError(
                f"the mailbox {name!r}: its head in the file is damaged, and the file, which an older pymailbox "
                "wrote, cannot be upgraded; nothing was changed. Restore the file from a backup; or delete "
                "this mailbox with the version that wrote it"
            )
        new_key = execute(INSERT_MAILBOX, (name, id_base, head)).lastrowid
        assert new_key is not None
        state = MailboxState.unpack(head, partial(PageRows, execute, new_key))
        state.may_collide = bool(foreseen)
        mailbox = OpenMailbox(session, new_key, name, int.from_bytes(id_base, "big"), head, state, Kept())
        _Filling(mailbox, end).fill(key)
    for table in "messages", "bodies", "letters", "holders_1", "last_number", "mailboxes_1":
        execute(f"DROP TABLE {table}")


class _Filling:
    """One mailbox being upgraded."""

    def __init__(self, mailbox: OpenMailbox, end: int) -> None:
        self._mailbox = mailbox
        self._end = end
        """A number that no message ever had, nor any higher one."""
        self._holders: dict[int, tuple[Any, ...]] = {}
        self._strays: list[bytes] = []
        """What is left of messages whose numbers are invalid."""

    def fill(self, old_key: int) -> None:
        mailbox = self._mailbox
        select = "SELECT holder, state, max_deliveries, lease, beats FROM holders_1 WHERE mailbox = ?"
        self._holders = {row[0]: row[1:] for row in mailbox.execute(select, (old_key,)).fetchall()}
        # closed even if this fails: while it is half read, its connection cannot be closed
        with closing(mailbox.execute(_SELECT_MESSAGES, (old_key,))) as rows:
            for row in rows:
                self._take(*row)
                if len(mailbox.bodies.appended) >= _APPEND_AT_ONCE:
                    mailbox.bodies.write_appended()
        self._order_letters()
        for priority in MessagePriority:
            self._go_to(priority, self._end)
        for remains in self._strays:
            mending.bury_remains(mailbox, remains)
        mailbox.state.changed = True
        mailbox.flush()

    def _go_to(self, priority: int, number: int) -> None:
        ahead = number - self._mailbox.state.lanes[priority].next
        if ahead:
            self._mailbox.state.skip(priority, ahead)

    def _take(
        self,
        number: int,
        hand: Any,
        priority: Any,
        count: Any,
        failures: Any,
        suspect: Any,
        own_id: Any,
        due: Any,
        error: Any,
        sender: Any,
        payload: Any,
        created_at: Any,
        reason: Any,
        died_at: Any,
    ) -> None:
        mailbox = self._mailbox
        counts = all(isinstance(each, int) and each >= 0 for each in (count, failures, suspect))
        bodies = isinstance(sender, bytes) and isinstance(payload, bytes) and isinstance(created_at, int)
        named = own_id is None or (isinstance(own_id, bytes) and len(own_id) == 16)
        in_range = 0 < number < TOO_LARGE
        if not (counts and bodies and named and priority in (0, 1) and isinstance(hand, int) and in_range):
            remains = payload if isinstance(payload, bytes) else str(payload or "").encode("utf-8", "surrogateescape")
            if not in_range:
                self._strays.append(remains)
                return
            self._append(0, number, None, deliveries.NEVER, BURIED, (b"", remains, now_in_ms()))
            dead_letters.note(mailbox, 0, number, unreadable_reason(1), now_in_ms())
            return
        where, alone = QUEUED, 0
        holder = self._holders.get(hand >> 1) if hand > _DELAYED else None
        if hand == _DEAD:
            where = BURIED
        elif holder is not None and holder[0] == _RELEASED:
            count = max(0, count - 1)
        elif holder is not None and holder[0] == _DIED:
            suspect, failures = 1, failures + (hand & 1)
        elif holder is not None:
            where, alone = HELD + self._slot(hand >> 1, *holder[1:]), hand & 1
        delivery = deliveries.restored(count, failures, suspect=bool(suspect), has_error=isinstance(error, str))
        delivery |= deliveries.SOLO if alone else 0
        if own_id is None:
            delivery &= ~deliveries.CUSTOM_ID
        due = due if hand == _DELAYED and isinstance(due, int) else 0
        self._append(priority, number, own_id, delivery, where, (sender, payload, created_at), due)
        if isinstance(error, str):
            mailbox.note_error(priority, number, error)
        if where == BURIED:
            dead_letters.note(
                mailbox,
                priority,
                number,
                reason if isinstance(reason, str) else unreadable_reason(1),
                died_at if isinstance(died_at, int) else now_in_ms(),
            )

    def _slot(self, number: int, most: Any, lease: Any, heartbeats: Any) -> int:
        holders = self._mailbox.state.holders
        terms = Terms(*(each if isinstance(each, int) and each > 0 else None for each in (most, lease)))
        count = heartbeats if isinstance(heartbeats, int) else 0
        claims = holders.by_number.get(number) or holders.admit(number, terms, count)
        return claims.slot

    def _append(
        self,
        priority: int,
        number: int,
        own_id: bytes | None,
        delivery: int,
        where: int,
        content: tuple[bytes, bytes, int],
        due: int = 0,
    ) -> None:
        self._go_to(priority, number)
        message_id = id_at(self._mailbox.id_base, priority, number)
        if own_id is not None:
            message_id = id_of(int.from_bytes(own_id, "big"))
        verbs.append(self._mailbox, priority, Message(message_id, *content), delivery, due, where)

    def _order_letters(self) -> None:
        """The newest dead letters get the largest numbers; so far they are in the order in which they were stored."""
        mailbox = self._mailbox
        select = """
            SELECT lane, dead_letters.number, dead_letters.reason, dead_letters.died_at
            FROM dead_letters LEFT JOIN letters ON letters.number = dead_letters.number
            WHERE dead_letters.mailbox = ? ORDER BY letters.letter IS NULL, letters.letter
        """
        found = mailbox.execute(select, (mailbox.key,)).fetchall()
        mailbox.execute("DELETE FROM dead_letters WHERE mailbox = ?", (mailbox.key,))
        for row in found:
            dead_letters.note(mailbox, *row)
