"""Messages that come in, are looked at, and go out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from uuid import UUID

from ..contract.arguments import PreparedMessage
from ..contract.ids import id_at, location_of
from ..contract.values import MailboxStats, MessagePriority, MessageRecord, MessageStatus
from . import delivery as deliveries
from .page import BURIED, HELD, QUEUED
from .state import LaneRun
from .store import Message, Store, find

# -- in ----------------------------------------------------------------------------------------------------------------


def enqueue(store: Store, messages: Sequence[PreparedMessage], now: int) -> tuple[list[UUID], int | None]:
    """Appends messages, except those whose id is in the mailbox; all ids, in order, and the depth if it grew."""
    if len(messages) == 1 and messages[0].message_id is None and not messages[0].delay_ms:
        sender, payload, priority, _, _ = messages[0]
        ids = [enqueue_plain(store, sender, payload, priority, now)]
        store.reserve(len(sender) + len(payload))
        return ids, store.state.queued
    given = {message.message_id for message in messages if message.message_id} if len(messages) > 1 else ()
    ids = []
    size = stored = 0
    for sender, payload, priority, message_id, delay_ms in messages:
        if message_id is None:
            number = next_number(store, priority, given)
            message_id = id_at(store.id_base, priority, number)
            delivery = deliveries.NEVER
        elif find(store, message_id):
            ids.append(message_id)
            continue
        else:
            delivery = deliveries.CUSTOM_ID
        append(store, priority, Message(message_id, sender, payload, now), delivery, now + delay_ms if delay_ms else 0)
        size += len(sender) + len(payload)
        stored += 1
        ids.append(message_id)
    if not stored:
        return ids, None
    store.reserve(size)
    return ids, store.state.queued


def enqueue_plain(store: Store, sender: bytes, payload: bytes, priority: int, now: int) -> UUID:
    """As ``enqueue``, but quicker, for one message without an id or a delay; ``reserve`` is left to the caller."""
    state = store.state
    if state.may_collide:
        next_number(store, priority)
    number = state.append(priority)
    message_id = id_at(store.id_base, priority, number)
    store.bodies.append(priority, number, Message(message_id, sender, payload, now), False)
    return message_id


def append(store: Store, priority: int, message: Message, delivery: int, due: int = 0, where: int = QUEUED) -> int:
    """Puts a message at the end of its lane; its number."""
    state = store.state
    number = state.append(priority, 1, delivery, due, where)
    custom = bool(delivery & deliveries.CUSTOM_ID)
    if custom:
        store.note_id(message.id, priority, number)
        location = location_of(store.id_base, message.id)
        if location is not None and location[0] < len(state.lanes) and location[1] >= state.lanes[location[0]].next:
            state.may_collide = True
    store.bodies.append(priority, number, message, custom)
    return number


def next_number(store: Store, priority: int, given: Collection[UUID] = ()) -> int:
    """The number of a lane's next message; no sender has given the id that it makes."""
    state = store.state
    while given or state.may_collide:
        message_id = id_at(store.id_base, priority, state.lanes[priority].next)
        if message_id not in given and not (state.may_collide and store.find_id(message_id)):
            break
        state.skip(priority)
    return state.lanes[priority].next


# -- out ---------------------------------------------------------------------------------------------------------------


def _lives(where: int, delivery: int) -> bool:
    return where != BURIED


def ack(store: Store, ids: Sequence[UUID], only: Callable[[int, int], bool] = _lives) -> int:
    """Deletes messages, whoever holds them, but not dead letters; how many there were.

    ``only`` says which of them, by where they stand and their delivery state.
    """
    state = store.state
    if len(ids) == 1:
        if state.custom_ids:
            place = find(store, ids[0])
            location = None if place is None else place[:2]
        else:  # then an id of this mailbox's own says where its message is
            location = location_of(store.id_base, ids[0])
        if location is None or location[0] >= len(state.lanes) or location[1] >= state.lanes[location[0]].next:
            return 0
        gone = state.remove_one(*location, only)
        store.clear_away(gone)
        return len(gone)
    numbers: list[list[int]] = [[] for _ in state.lanes]
    if state.custom_ids:
        for message_id in ids:
            place = find(store, message_id)
            if place is not None:
                numbers[place.priority].append(place.number)
    else:
        for message_id in ids:
            location = location_of(store.id_base, message_id)
            if location is not None and location[0] < len(numbers) and location[1] < state.lanes[location[0]].next:
                numbers[location[0]].append(location[1])
    removed: list[LaneRun] = []
    for priority, of_lane in enumerate(numbers):
        for first, end in _neighbours(of_lane):
            if end - first == 1:
                removed += state.remove_one(priority, first, only)
            else:
                removed += state.remove(priority, first, end, only)
    store.clear_away(removed)
    return sum(run.end - run.first for run in removed)


def ack_held(store: Store, holder: int, ids: Sequence[UUID]) -> int:
    """Deletes those of the messages that a holder holds; how many there were."""
    claims = store.state.holders.by_number.get(holder)
    if claims is None:
        return 0
    held = HELD + claims.slot
    return ack(store, ids, lambda where, _: where == held)


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


def purge(store: Store) -> int:
    """Deletes everything queued; how many messages there were."""
    count, special = store.state.remove_queued()
    if count:
        store.clear_queued(special)
    return count


# -- looking -----------------------------------------------------------------------------------------------------------


def count(store: Store) -> MailboxStats:
    state = store.state
    queued = {priority: state.lanes[priority].queued for priority in MessagePriority}
    return MailboxStats(state.queued, state.inflight, queued, state.dead_letters)


def peek(store: Store, limit: int, status: MessageStatus | None, now: int) -> list[MessageRecord]:
    """Changes nothing."""
    state = store.state
    shown: list[MessageRecord] = []
    if status is not MessageStatus.INFLIGHT:
        runs = state.first_queued(limit, now)
        left = limit - sum(run.end - run.first for run in runs)
        if left and any(lane.delayed for lane in state.lanes):
            runs += state.first_delayed(left, now)
        shown += store.bodies.records(runs, store.id_base, MessageStatus.QUEUED)
    if status is not MessageStatus.QUEUED and len(shown) < limit and state.inflight:
        runs = state.first_inflight(limit - len(shown))
        shown += store.bodies.records(runs, store.id_base, MessageStatus.INFLIGHT)
    return shown
