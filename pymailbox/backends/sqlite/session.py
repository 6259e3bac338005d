"""What a connection knows about its file: the states of its mailboxes, read once, written back by each transaction.

It is valid until another connection commits or a transaction fails; the engine then drops it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from ...contract.errors import StorageCorruptError
from ...contract.ids import new_id_base
from ...core.page import DamagedError
from ...core.state import MailboxState
from .bodies import SEGMENT_MESSAGES, Kept
from .pages import PageRows
from .store import MOST_LOOSE, OpenMailbox

HANDLE_BITS: Final = 21
"""A holder's number is its process's number, followed by this many bits that distinguish that process's handles."""

TOO_LARGE: Final = 1 << 47
"""No message has this number or a higher one, so there is room for as many new ones."""

SELECT_MAILBOX: Final = "SELECT mailbox, id_base, head FROM mailboxes WHERE name = ?"
INSERT_MAILBOX: Final = "INSERT INTO mailboxes (name, id_base, head) VALUES (?, ?, ?)"
UPDATE_HEAD: Final = "UPDATE mailboxes SET head = ? WHERE mailbox = ?"
EXCHANGE_HEAD: Final = "UPDATE mailboxes SET head = ? WHERE mailbox = ? AND head = ? AND id_base = ?"
SELECT_LOOSE: Final = """
    SELECT last, first, length(body) FROM segments
    WHERE mailbox = ? AND lane = ? AND last >= ? AND typeof(last) = 'integer' ORDER BY last
"""


class OutdatedError(Exception):
    """Another program has committed something since the session's last transaction."""


class Session:
    """What one connection knows; its ``flush`` must precede each commit."""

    def __init__(
        self, connection: sqlite3.Connection, reserve: Callable[[int], None], *, lacks_headroom: bool = False
    ) -> None:
        self._lacks_headroom = lacks_headroom
        """Whether to make as much room as possible."""
        self.reserve = reserve
        """Raises ``StorageFullError`` if storing that many bytes would leave too few for acknowledgements."""
        self._connection = connection
        self.begin: Callable[[], None] | None = None
        """Begins the transaction, if that was left to the first statement that needs one."""
        self.wrote = False
        """Whether this transaction certainly changes the file."""
        self.changed: list[str] = []
        """The mailboxes that this transaction has changed."""
        self.stored: dict[str, int] = {}
        """The mailboxes that got messages in this transaction, with how many they have ever got."""
        self._kept = Kept()
        self._mailboxes: dict[str, OpenMailbox] = {}
        self._used: dict[str, OpenMailbox] = {}
        """The mailboxes that this transaction has used."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Runs a statement within the transaction.

        Raises:
            OutdatedError: the transaction began with this statement, and the session is no longer valid.
        """
        if self.begin is not None:
            begin, self.begin = self.begin, None
            begin()
        return self._connection.execute(sql, parameters)

    def write_head(self, mailbox: OpenMailbox, head: bytes) -> None:
        """Writes the head of a mailbox; if no transaction has begun, in one of this statement alone.

        The statement names everything that it relies on: the previous head, and the base of the mailbox's ids, since
        the number of a deleted mailbox is given to another, whose head may look the same.

        Raises:
            OutdatedError: the head is not what it was before; nothing was written.
        """
        if self.begin is None or len(self._used) > 1:
            self.execute(UPDATE_HEAD, (head, mailbox.key))
        else:
            # a kept cursor holds on to a statement that failed, and then the connection cannot close (CPython 3.11)
            known = mailbox.id_base.to_bytes(16, "big")
            if self._connection.execute(EXCHANGE_HEAD, (head, mailbox.key, mailbox.head, known)).rowcount != 1:
                raise OutdatedError
        self.wrote = True

    def mailbox(self, name: str) -> OpenMailbox | None:
        """The mailbox with that name; None if there is none."""
        found = self._used.get(name)
        if found is None:
            found = self._mailboxes.get(name) or self._read(name)
            if found is not None:
                self._mailboxes[name] = self._used[name] = found
                if self._lacks_headroom:
                    found.sweep(everything=True)
        return found

    def mailbox_to_fill(self, name: str) -> OpenMailbox:
        """The mailbox with that name, made if there is none."""
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
                f"the mailbox {name!r}: its head in the file is damaged ({error}), and nothing was changed. "
                "Restore the file from a backup; or delete_mailbox() deletes this mailbox, and the others stay"
            ) from error
        found = OpenMailbox(self, key, name, int.from_bytes(id_base, "big"), head, state, self._kept)
        for lane in state.lanes:
            for last, first, size in self.execute(SELECT_LOOSE, (key, lane.priority, lane.next)).fetchall():
                # this library writes them in sequence; another program deleted what is missing in between
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
        """To be called when its rows were deleted: what is known about it is not written."""
        self._mailboxes.pop(name, None)
        self._used.pop(name, None)
        self.changed.append(name)
        self._kept.clear()  # another mailbox may get its key

    def knows_process(self, process: int) -> bool:
        """Whether a holder of that process has something, in any mailbox of the file."""
        for (head,) in self.execute("SELECT head FROM mailboxes").fetchall():
            try:
                state = MailboxState.unpack(head, partial(PageRows, self.execute, 0))
            except (DamagedError, TypeError):
                return True  # it may have
            if any(number >> HANDLE_BITS == process for number in state.holders.by_number):
                return True
        return False

    def flush(self) -> None:
        """Writes what changed; the tables then agree with each other."""
        for mailbox in self._used.values():
            mailbox.flush()
        self._used.clear()
