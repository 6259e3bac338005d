"""The verbs on a file, by the rules of the core. Each function runs inside a transaction that others may share.

Only verbs that store something create a mailbox; the others treat a missing one as empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ...contract.archive import Page, Remembered, Section, WholeMessage
from ...contract.arguments import PreparedMessage
from ...contract.companions import Unless
from ...contract.moments import now_in_ms
from ...contract.values import DeadLetter, MailboxStats, MessagePriority, MessageRecord, MessageStatus
from ...core import archive, dead_letters, verbs
from ..base import Enqueued
from .layout import OF_MAILBOX
from .session import Session

# -- in ----------------------------------------------------------------------------------------------------------------


def enqueue(session: Session, name: str, messages: Sequence[PreparedMessage], sent_on: UUID | None = None) -> Enqueued:
    """Appends messages, except those whose id is in the mailbox or remembered; ``sent_on`` as in the core."""
    mailbox = session.mailbox_to_fill(name)
    if len(messages) == 1 and messages[0].is_plain:
        sender, payload, priority, *_ = messages[0]
        message_id = verbs.enqueue_plain(mailbox, sender, payload, priority, now_in_ms())
        session.reserve(len(sender) + len(payload))
        session.stored[name] = mailbox.state.ever_queued
        return Enqueued([message_id], mailbox.state.queued)
    ids, depth = verbs.enqueue(mailbox, messages, now_in_ms(), sent_on)
    if depth is not None:
        session.stored[name] = mailbox.state.ever_queued
    return Enqueued(ids, depth)


def redrive(session: Session, name: str, message_id: UUID) -> int | None:
    """Puts a dead letter at the end of its priority, as new; returns the queued count after it, or None."""
    mailbox = session.mailbox(name)
    depth = None if mailbox is None else dead_letters.redrive(mailbox, message_id)
    if mailbox is not None and depth is not None:
        session.stored[name] = mailbox.state.ever_queued
    return depth


def adopt(session: Session, name: str, messages: Sequence[WholeMessage]) -> tuple[list[bool], int | None]:
    """Appends messages and dead letters whose ids are not there yet; returns which ones, and the depth if it grew."""
    mailbox = session.mailbox_to_fill(name)
    stored, depth = archive.adopt(mailbox, messages, now_in_ms())
    if depth is not None:
        session.stored[name] = mailbox.state.ever_queued
    return stored, depth


def remember(session: Session, name: str, ids: Sequence[Remembered]) -> None:
    """Keeps ids known."""
    archive.remember(session.mailbox_to_fill(name), ids, now_in_ms())


# -- out ---------------------------------------------------------------------------------------------------------------


def ack(session: Session, name: str, ids: Sequence[UUID]) -> int:
    """Deletes messages, whoever holds them, but not dead letters."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else verbs.ack(mailbox, ids)


def ack_held(session: Session, name: str, holder: int, ids: Sequence[UUID]) -> int:
    """Deletes those of the messages that a holder holds; returns how many there were."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else verbs.ack_held(mailbox, holder, ids)


def discard(session: Session, name: str, message_id: UUID) -> bool:
    mailbox = session.mailbox(name)
    return mailbox is not None and dead_letters.discard(mailbox, message_id)


def promote(session: Session, name: str, ids: Sequence[UUID] | None) -> int:
    """Queues delayed messages; returns how many were not due yet."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else verbs.promote(mailbox, ids, now_in_ms())


def purge(session: Session, name: str) -> int:
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else verbs.purge(mailbox)


def delete_mailbox(session: Session, name: str, unless: Unless | None = None) -> bool:
    row = session.execute("SELECT mailbox FROM mailboxes WHERE name = ?", (name,)).fetchone()
    if row is None:
        return False
    if unless is not None and (mailbox := session.mailbox(name)) and verbs.is_kept(mailbox, unless):
        return False
    for table in OF_MAILBOX:
        session.execute(f"DELETE FROM {table} WHERE mailbox = ?", row)
    session.forget_mailbox(name)
    return True


# -- looking; each raises ``UnreadableError`` where something is not a message ----------------------------------------


def count(session: Session, name: str) -> MailboxStats:
    mailbox = session.mailbox(name)
    if mailbox is None:
        return MailboxStats(0, 0, dict.fromkeys(MessagePriority, 0))
    return verbs.count(mailbox, now_in_ms())


def next_due(session: Session, name: str) -> int | None:
    mailbox = session.mailbox(name)
    return None if mailbox is None else mailbox.state.next_due


def peek(session: Session, name: str, limit: int, status: MessageStatus | None, offset: int) -> list[MessageRecord]:
    mailbox = session.mailbox(name)
    return [] if mailbox is None else verbs.peek(mailbox, limit, status, offset, now_in_ms())


def get(session: Session, name: str, message_id: UUID) -> MessageRecord | DeadLetter | None:
    mailbox = session.mailbox(name)
    return None if mailbox is None else verbs.get(mailbox, message_id, now_in_ms())


def list_dead_letters(session: Session, name: str, limit: int, offset: int) -> list[DeadLetter]:
    mailbox = session.mailbox(name)
    return [] if mailbox is None else dead_letters.list_dead_letters(mailbox, limit, offset)


def read_section(session: Session, name: str, section: Section, after: int, until: int | None) -> Page:
    mailbox = session.mailbox(name)
    return Page([], 0, 0) if mailbox is None else archive.read_section(mailbox, section, after, until)


def read_remembered(session: Session, name: str, after: UUID | None) -> list[Remembered]:
    mailbox = session.mailbox(name)
    return [] if mailbox is None else archive.read_remembered(mailbox, after)


def last_stored(session: Session, name: str) -> int:
    """How many messages a mailbox has ever got."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else mailbox.state.ever_queued


def mailbox_names(session: Session) -> list[str]:
    return sorted(name for (name,) in session.execute("SELECT name FROM mailboxes"))
