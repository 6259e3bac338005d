"""What the verbs do to a file. Each function runs inside a transaction that others may share.

Only ``store`` makes a mailbox; the others take one that is missing for an empty one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final
from uuid import UUID

from ..._arguments import PreparedMessage
from ..._handle import Enqueued
from ..._ids import id_at, location_of
from ..._values import MailboxStats, MessagePriority, MessageRecord, MessageStatus
from ...core import delivery as deliveries
from ...core.page import BURIED, HELD, QUEUED
from ...core.state import LaneRun
from .._clock import now_in_ms
from . import rows
from .bodies import Message
from .schema import OF_MAILBOX
from .session import DELETE_SEGMENTS, INSERT_ID, OpenMailbox, Session

_ALL: Final = 1 << 62
"""More than any number."""


def store(session: Session, name: str, messages: Sequence[PreparedMessage]) -> Enqueued:
    """Appends messages, but for those whose id is in the mailbox."""
    mailbox = session.mailbox_to_fill(name)
    if len(messages) == 1 and messages[0].message_id is None and not messages[0].delay_ms:
        return _store_one(session, mailbox, *messages[0][:3])
    given = {message.message_id for message in messages if message.message_id} if len(messages) > 1 else ()
    ids: list[UUID] = []
    now = now_in_ms()
    size = stored = 0
    for sender, payload, priority, message_id, delay_ms in messages:
        if message_id is None:
            number = next_number(mailbox, priority, given)
            message_id = id_at(mailbox.id_base, priority, number)
            delivery = deliveries.NEVER
        elif rows.find(mailbox, message_id):
            ids.append(message_id)
            continue
        else:
            delivery = deliveries.CUSTOM_ID
        append(
            mailbox, priority, Message(message_id, sender, payload, now), delivery, now + delay_ms if delay_ms else 0
        )
        size += len(sender) + len(payload)
        stored += 1
        ids.append(message_id)
    if not stored:
        return Enqueued(ids, None)
    session.take_room(size)
    session.stored[name] = mailbox.state.ever_queued
    return Enqueued(ids, mailbox.state.queued)


def _store_one(session: Session, mailbox: OpenMailbox, sender: bytes, payload: bytes, priority: int) -> Enqueued:
    """As ``store``, of one that is like most."""
    state = mailbox.state
    if state.may_collide:
        next_number(mailbox, priority)
    number = state.append(priority)
    message_id = id_at(mailbox.id_base, priority, number)
    mailbox.bodies.append(priority, number, Message(message_id, sender, payload, now_in_ms()), False)
    session.take_room(len(sender) + len(payload))
    session.stored[mailbox.name] = state.ever_queued
    return Enqueued([message_id], state.queued)


def append(
    mailbox: OpenMailbox, priority: int, message: Message, delivery: int, due: int = 0, where: int = QUEUED
) -> int:
    """Puts a message at the end of its lane; its number."""
    state = mailbox.state
    number = state.append(priority, 1, delivery, due, where)
    custom = bool(delivery & deliveries.CUSTOM_ID)
    if custom:
        mailbox.execute(INSERT_ID, (mailbox.key, message.id.bytes, priority, number))
        location = location_of(mailbox.id_base, message.id)
        if location is not None and location[0] < len(state.lanes) and location[1] >= state.lanes[location[0]].next:
            state.may_collide = True
    mailbox.bodies.append(priority, number, message, custom)
    return number


def next_number(mailbox: OpenMailbox, priority: int, given: Collection[UUID] = ()) -> int:
    """The number of a lane's next message, whose id no sender has given."""
    state = mailbox.state
    while given or state.may_collide:
        message_id = id_at(mailbox.id_base, priority, state.lanes[priority].next)
        if message_id not in given and not (
            state.may_collide and mailbox.execute(rows.SELECT_ID, (mailbox.key, message_id.bytes)).fetchone()
        ):
            break
        state.skip(priority)
    return state.lanes[priority].next


def remove(session: Session, name: str, holder: int, ids: Sequence[UUID]) -> int:
    """Deletes messages, whoever has them, but no dead letters."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else _remove(mailbox, ids, lambda where, _: where != BURIED)


def remove_held(session: Session, name: str, holder: int, ids: Sequence[UUID]) -> int:
    """Deletes those of the messages that are a holder's; how many were."""
    mailbox = session.mailbox(name)
    claims = None if mailbox is None else mailbox.state.holders.by_number.get(holder)
    if mailbox is None or claims is None:
        return 0
    held = HELD + claims.slot
    return _remove(mailbox, ids, lambda where, _: where == held)


def _remove(mailbox: OpenMailbox, ids: Sequence[UUID], only: Callable[[int, int], bool]) -> int:
    state = mailbox.state
    if len(ids) == 1 and not state.custom_ids:
        location = location_of(mailbox.id_base, ids[0])
        if location is None or location[0] >= len(state.lanes) or location[1] >= state.lanes[location[0]].next:
            return 0
        gone = state.remove_one(*location, only)
        mailbox.clear_away(gone)
        return len(gone)
    numbers: list[list[int]] = [[] for _ in state.lanes]
    if state.custom_ids:
        for message_id in ids:
            place = rows.find(mailbox, message_id)
            if place is not None:
                numbers[place.priority].append(place.number)
    else:  # then an id of this mailbox's own says where its message is
        for message_id in ids:
            location = location_of(mailbox.id_base, message_id)
            if location is not None and location[0] < len(numbers) and location[1] < state.lanes[location[0]].next:
                numbers[location[0]].append(location[1])
    removed: list[LaneRun] = []
    for priority, of_lane in enumerate(numbers):
        for first, end in _neighbours(of_lane):
            removed += state.remove(priority, first, end, only)
    mailbox.clear_away(removed)
    return sum(run.end - run.first for run in removed)


def _neighbours(numbers: list[int]) -> list[tuple[int, int]]:
    """Numbers as ranges."""
    if len(numbers) == 1:
        return [(numbers[0], numbers[0] + 1)]
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number:
            ranges[-1] = ranges[-1][0], number + 1
        else:
            ranges.append((number, number + 1))
    return ranges


def purge(session: Session, name: str) -> int:
    mailbox = session.mailbox(name)
    if mailbox is None:
        return 0
    state = mailbox.state
    count, special = state.remove_queued()
    if not count:
        return 0
    mask = deliveries.CUSTOM_ID | deliveries.HAS_ERROR
    if not state.custom_ids:
        mask &= ~deliveries.CUSTOM_ID
        mailbox.execute("DELETE FROM ids WHERE mailbox = ?", (mailbox.key,))
    if special and not state.inflight and not state.dead_letters:
        mask &= ~deliveries.HAS_ERROR
        mailbox.execute("DELETE FROM errors WHERE mailbox = ?", (mailbox.key,))
    mailbox.clear_away([run._replace(delivery=run.delivery & mask) for run in special if run.delivery & mask])
    mailbox.bodies.write_appended()  # by calls of the same commit
    mailbox.bodies.forget_kept()
    for lane in state.lanes:
        lane.debris.clear()
        dead_from = 0
        for run in [*state.living(lane.priority, 0, lane.next), None]:
            dead_until = _ALL if run is None else run.first
            if dead_from < dead_until:
                where = (mailbox.key, lane.priority, dead_from, dead_until, dead_from)
                mailbox.execute(DELETE_SEGMENTS, where)
            if run is not None:
                dead_from = run.end
    mailbox.loose = 0
    return count


def count(session: Session, name: str) -> MailboxStats:
    mailbox = session.mailbox(name)
    if mailbox is None:
        return MailboxStats(0, 0, dict.fromkeys(MessagePriority, 0))
    state = mailbox.state
    queued = {priority: state.lanes[priority].queued for priority in MessagePriority}
    return MailboxStats(state.queued, state.inflight, queued, state.dead_letters)


def peek(session: Session, name: str, limit: int, status: MessageStatus | None) -> list[MessageRecord]:
    """Raises ``UnreadableError`` where there is what is no message."""
    mailbox = session.mailbox(name)
    if mailbox is None:
        return []
    state, now = mailbox.state, now_in_ms()
    shown: list[MessageRecord] = []
    if status is not MessageStatus.INFLIGHT:
        runs = state.first_queued(limit, now)
        left = limit - sum(run.end - run.first for run in runs)
        if left and any(lane.delayed for lane in state.lanes):
            runs += state.first_delayed(left, now)
        shown += mailbox.bodies.records(runs, mailbox.id_base, MessageStatus.QUEUED)
    if status is not MessageStatus.QUEUED and len(shown) < limit and state.inflight:
        runs = state.first_inflight(limit - len(shown))
        shown += mailbox.bodies.records(runs, mailbox.id_base, MessageStatus.INFLIGHT)
    return shown


def last_stored(session: Session, name: str) -> int:
    """How many messages a mailbox ever got."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else mailbox.state.ever_queued


def mailbox_names(session: Session) -> list[str]:
    return sorted(name for (name,) in session.execute("SELECT name FROM mailboxes"))


def delete_mailbox(session: Session, name: str) -> bool:
    row = session.execute("SELECT mailbox FROM mailboxes WHERE name = ?", (name,)).fetchone()
    if row is None:
        return False
    for table in OF_MAILBOX:
        session.execute(f"DELETE FROM {table} WHERE mailbox = ?", row)
    session.forget_mailbox(name)
    return True
