"""Handing messages out to holders, and taking them back. Each function runs inside a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from ..._handle import LARGEST_BATCH
from ..._values import MessagePriority, MessageRecord, MessageStatus
from .._clock import now_in_ms
from .._reasons import died_reason, failed_reason
from . import letters, rows, verbs
from .holders import Holder, Lives
from .schema import DELAYED, QUEUED
from .session import HolderRow, MailboxRow, Session, State, tally

MARK_NEXT: Final = f"""
    UPDATE messages SET hand = ?, delivery_count = delivery_count + 1
    WHERE mailbox = ? AND hand = {QUEUED} AND priority = ? AND number <= ?
"""
MARK_ONE: Final = "UPDATE messages SET hand = ?, delivery_count = ?, failures = ?, suspect = ? WHERE number = ?"
FALL_DUE: Final = f"UPDATE messages SET hand = {QUEUED}, due = NULL WHERE mailbox = ? AND due <= ?"
NEXT_DUE: Final = "SELECT min(due) FROM messages WHERE mailbox = ? AND due IS NOT NULL"
GIVE_BACK: Final = f"UPDATE messages SET hand = {QUEUED}, delivery_count = delivery_count - 1 WHERE number = ?"
FAIL: Final = """
    UPDATE messages SET hand = ?, due = ?, failures = ?, suspect = 0, error = coalesce(?, error) WHERE number = ?
"""
_SUSPECTS: Final = "SELECT number, hand, priority, failures FROM messages WHERE mailbox = ? AND hand = ?"
SELECT_WORN: Final = f"{_SUSPECTS} AND failures > 0 AND failures >= ?"
SELECT_ALL_WORN: Final = _SUSPECTS

RELEASE_ALL: Final = f"""
    UPDATE messages SET hand = {QUEUED}, delivery_count = delivery_count - 1 WHERE mailbox = ? AND hand IN (?, ?)
"""
SURVIVE_ALL: Final = f"""
    UPDATE messages SET hand = {QUEUED}, suspect = 1, failures = failures + (hand & 1)
    WHERE mailbox = ? AND hand IN (?, ?)
"""

_FEW: Final = 256
"""Messages that are put back one by one when their holder is gone."""

_MOST_LEFT: Final = 4
"""Holders that may leave more than that in their hands, as each claim has to look there."""


class Handed(NamedTuple):
    """What a look for messages found."""

    records: list[MessageRecord]
    next_due: int | None
    others_hold: bool
    returned: int
    """How many messages it took back from holders that are gone."""
    more: bool
    """Whether messages are left, delayed ones included."""
    acked: int
    """How many messages were acknowledged first."""


# -- out ---------------------------------------------------------------------------------------------------------------


def hand_out(
    session: Session, name: str, holder: Holder, limit: int, lives: Lives, look_around: bool, acked: int = 0
) -> Handed:
    """Claims the next batch, after ``acked`` messages were acknowledged.

    It looks for holders that are gone if it finds less than asked for, or is told to.
    """
    mailbox = session.mailbox(name)
    if mailbox is None:
        return Handed([], None, others_hold=False, returned=0, more=False, acked=acked)
    recovered = recover(session, name, holder.number, lives) if look_around else 0
    records = claim(session, name, mailbox, holder, limit)
    if len(records) < limit and not look_around:
        recovered = recover(session, name, holder.number, lives)
        if recovered and not records:
            records = claim(session, name, mailbox, holder, limit)
    others_hold = not records and len(mailbox.holders) > (holder.number in mailbox.holders)
    return Handed(records, mailbox.next_due, others_hold, recovered, mailbox.queued.total > 0, acked)


def claim(session: Session, name: str, mailbox: MailboxRow, holder: Holder, limit: int) -> list[MessageRecord]:
    """Hands the next batch to a holder. Rows that are no messages become dead letters."""
    _let_fall_due(session, mailbox)
    recounted = False
    while True:
        hands = rows.queued_hands(mailbox)
        try:
            batch, records = _next_batch(session, mailbox, hands, limit)
        except rows.UnreadableError as error:
            letters.salvage(session, name, error.number)
            continue
        if not batch:
            if mailbox.queued.total and mailbox.next_due is None and not recounted:
                session.recount(mailbox)
                recounted = True
                continue
            return records
        hand = 2 * _row_of(mailbox, holder).holder + (len(batch) == 1)
        if len(hands) == 1:
            _mark_run(session, mailbox, hand, records, batch)
        else:
            _mark_each(session, mailbox, hand, records, batch)
        return records


def _next_batch(
    session: Session, mailbox: MailboxRow, hands: list[int], limit: int
) -> tuple[list[rows.Row], list[MessageRecord]]:
    """A suspect comes alone, and nothing that is behind it comes before it."""
    batch: list[rows.Row] = []
    records: list[MessageRecord] = []
    size = 0
    fates = {hand: rows.fate_of(mailbox, hand) for hand in hands}
    with rows.in_order(session, mailbox, hands, limit) as in_order:
        for row in in_order:
            deliveries, _, becomes_suspect = fates[row[-1]]
            suspect = becomes_suspect or row[-2] == 1
            if records and suspect:
                break
            record = rows.record(mailbox, row, MessageStatus.INFLIGHT, deliveries + 1)
            size += len(record.payload)
            if records and size > LARGEST_BATCH:
                break
            batch.append(row)
            records.append(record)
            if suspect:
                break
    return batch, records


def _mark_run(
    session: Session, mailbox: MailboxRow, hand: int, records: list[MessageRecord], batch: list[rows.Row]
) -> None:
    """Moves the first messages of the queue into a hand."""
    last: dict[MessagePriority, int] = {}
    counts = dict.fromkeys(MessagePriority, 0)
    for record, row in zip(records, batch, strict=True):
        last[record.priority] = row[0]
        counts[record.priority] += 1
    for priority, number in last.items():
        session.execute(MARK_NEXT, (hand, mailbox.key, int(priority), number))
        mailbox.leave(QUEUED, priority, counts[priority])
        mailbox.leave(hand, priority, -counts[priority])


def _mark_each(
    session: Session, mailbox: MailboxRow, hand: int, records: list[MessageRecord], batch: list[rows.Row]
) -> None:
    """Moves messages from several hands into one; they learn what became of their last hand-out."""
    marks = []
    for record, row in zip(records, batch, strict=True):
        number, *_, failures, suspect, old_hand = row
        fate = rows.fate_of(mailbox, old_hand)
        marks.append((hand, record.delivery_count, failures + fate.failures, int(suspect or fate.suspect), number))
        mailbox.leave(old_hand, record.priority)
        mailbox.leave(hand, record.priority, -1)
    session.executemany(MARK_ONE, marks)


def _row_of(mailbox: MailboxRow, holder: Holder) -> HolderRow:
    row = mailbox.holders.get(holder.number)
    if row is None:
        left = mailbox.left.get(holder.number)
        if left is not None:  # others have taken it for dead, which its lease allows them to
            holder.become_another()
        holder.show_life()
        terms = holder.max_deliveries, holder.lease, holder.beats
        row = HolderRow(holder.number, State.HOLDS, *terms, tally(), tally())
        mailbox.add_holder(row)
    return row


def _let_fall_due(session: Session, mailbox: MailboxRow) -> None:
    now = now_in_ms()
    if mailbox.next_due is not None and mailbox.next_due <= now:
        session.execute(FALL_DUE, (mailbox.key, now))
        (mailbox.next_due,) = session.execute(NEXT_DUE, (mailbox.key,)).fetchone()
        mailbox.changed = True


# -- back --------------------------------------------------------------------------------------------------------------


def give_back(session: Session, name: str, holder: int, ids: Iterable[UUID]) -> int:
    """Takes back what a holder has of some messages, as if they had not been handed out; how many that were."""
    given_back = 0
    for message_id in ids:
        mailbox, found = _find_held(session, name, holder, message_id)
        if mailbox is None or found is None:
            continue
        session.execute(GIVE_BACK, (found.number,))
        mailbox.leave(found.hand, found.priority)
        mailbox.leave(QUEUED, found.priority, -1)
        given_back += 1
    return given_back


def give_back_all(session: Session, name: str, holder: int) -> int:
    """Takes back all that a holder has, as if it had not been handed out; how many messages that were."""
    mailbox = session.mailbox(name)
    row = None if mailbox is None else mailbox.holders.get(holder)
    return 0 if mailbox is None or row is None else _take_back(session, mailbox, row, State.RELEASED)


def recover(session: Session, name: str, me: int | None, lives: Lives) -> int:
    """Takes back what other holders had who are gone; returns how many messages that were."""
    mailbox = session.mailbox(name)
    if mailbox is None:
        return 0
    return sum(_recover_from(session, mailbox, row) for row in lives.gone_from(mailbox, me))


def recover_from(session: Session, name: str, holder: int) -> int:
    """Takes back what one holder had who is gone."""
    mailbox = session.mailbox(name)
    row = None if mailbox is None else mailbox.holders.get(holder)
    return 0 if mailbox is None or row is None else _recover_from(session, mailbox, row)


def _recover_from(session: Session, mailbox: MailboxRow, row: HolderRow) -> int:
    count = row.total
    most = row.max_deliveries
    if most is not None and row.alone.total:
        key = (mailbox.key, 2 * row.holder + 1)
        query, values = (SELECT_ALL_WORN, key) if most == 1 else (SELECT_WORN, (*key, most - 1))
        for found in map(rows.Found._make, session.execute(query, values).fetchall()):
            found = found._replace(priority=MessagePriority(found.priority == MessagePriority.HIGH))
            letters.bury(session, mailbox, found, found.failures + 1, died_reason(found.failures + 1, most))
    _take_back(session, mailbox, row, State.DIED)
    return count


def _take_back(session: Session, mailbox: MailboxRow, row: HolderRow, state: State) -> int:
    """Queues what a holder had. Much of it stays in its hands for now, which costs the same however much it is."""
    count = row.total
    mailbox.remove_holder(row)
    row.state, row.changed = state, True
    mailbox.queued.add_all(row.together)
    mailbox.queued.add_all(row.alone)
    mailbox.add_holder(row)
    left = [row for row in mailbox.left.values() if row.total]
    if count <= _FEW:
        _put_back(session, mailbox, row)
    elif len(left) > _MOST_LEFT:
        _put_back(session, mailbox, min(left, key=lambda row: row.total))
    return count


def _put_back(session: Session, mailbox: MailboxRow, row: HolderRow) -> None:
    """Moves what a holder left into the queue, and notes what became of it."""
    query = RELEASE_ALL if row.state is State.RELEASED else SURVIVE_ALL
    session.execute(query, (mailbox.key, 2 * row.holder, 2 * row.holder + 1))
    row.together.clear()
    row.alone.clear()
    mailbox.touched.add(row.holder)


def fail(session: Session, name: str, holder: Holder, message_id: UUID, delay_ms: int, error: str | None) -> bool | str:
    """Gives a message of a holder's back as a failed delivery; the reason if it has become a dead letter after that."""
    mailbox, found = _find_held(session, name, holder.number, message_id)
    if mailbox is None or found is None:
        return False
    failures, most = found.failures + 1, holder.max_deliveries
    too_many = most is not None and failures >= most
    hand, due = (DELAYED, now_in_ms() + delay_ms) if delay_ms and not too_many else (QUEUED, None)
    session.execute(FAIL, (hand, due, failures, error, found.number))
    mailbox.leave(found.hand, found.priority)
    mailbox.leave(hand, found.priority, -1)
    if most is not None and too_many:
        reason = failed_reason(failures, most)
        letters.bury(session, mailbox, found._replace(hand=hand), failures, reason)
        return reason
    if due is not None and (mailbox.next_due is None or due < mailbox.next_due):
        mailbox.next_due, mailbox.changed = due, True
    return True


def bury(session: Session, name: str, holder: int, message_id: UUID, reason: str) -> bool:
    """Makes a dead letter of a message of a holder's."""
    mailbox, found = _find_held(session, name, holder, message_id)
    if mailbox is None or found is None:
        return False
    letters.bury(session, mailbox, found, found.failures, reason)
    return True


def remove_held(session: Session, name: str, holder: int, message_id: UUID) -> bool:
    """Deletes a message of a holder's."""
    mailbox, found = _find_held(session, name, holder, message_id)
    if mailbox is None or found is None:
        return False
    session.execute(verbs.DELETE_ONE, (found.number,))
    mailbox.leave(found.hand, found.priority)
    return True


def remove_all_held(session: Session, name: str, holder: int, ids: Sequence[UUID]) -> int:
    """Deletes those of the messages that are a holder's; how many were."""
    mailbox = session.mailbox(name)
    if mailbox is None:
        return 0
    removed = verbs.remove_quickly(session, mailbox, holder, ids)
    if removed == len(ids):
        return removed
    return removed + sum(remove_held(session, name, holder, message_id) for message_id in ids)


def beat(session: Session, name: str, holder: Holder) -> None:
    """Shows that a holder lives, if it has something."""
    mailbox = session.mailbox(name)
    row = None if mailbox is None else mailbox.holders.get(holder.number)
    if mailbox is None or row is None:
        return
    holder.beats += 1
    row.beats, row.changed = holder.beats, True
    mailbox.touched.add(row.holder)


def _find_held(
    session: Session, name: str, holder: int, message_id: UUID
) -> tuple[MailboxRow | None, rows.Found | None]:
    mailbox = session.mailbox(name)
    if mailbox is None:
        return None, None
    found = rows.find(session, mailbox, message_id) if holder in mailbox.holders else None
    return mailbox, found if found and found.hand >> 1 == holder else None
