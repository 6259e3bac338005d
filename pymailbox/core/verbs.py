"""Messages that come in, are looked at, and go out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final
from uuid import UUID

from ..contract.arguments import PreparedMessage
from ..contract.companions import Unless
from ..contract.ids import id_at, location_of
from ..contract.limits import LATEST
from ..contract.moments import moment
from ..contract.values import DeadLetter, MailboxStats, MessagePriority, MessageRecord, MessageStatus
from . import delivery as deliveries
from .page import BURIED, DELAYED, HELD, QUEUED
from .state import LaneRun
from .store import Letter, Message, Store, find

_FORGOTTEN_AT_ONCE: Final = 100
"""The most ids that are forgotten with one that is remembered, so that each call stays quick."""

# -- in ----------------------------------------------------------------------------------------------------------------


def enqueue(
    store: Store, messages: Sequence[PreparedMessage], now: int, sent_on: UUID | None = None
) -> tuple[list[UUID], int | None]:
    """Appends messages, except those whose id is in the mailbox or remembered; all ids, in order, and the depth if it
    grew.

    ``sent_on`` is the id of a message of this mailbox that has just been acknowledged in order to go on: that it is
    remembered keeps nothing out.
    """
    if len(messages) == 1 and messages[0].is_plain:
        sender, payload, priority, *_ = messages[0]
        ids = [enqueue_plain(store, sender, payload, priority, now)]
        store.reserve(len(sender) + len(payload))
        return ids, store.state.queued
    given = {message.message_id for message in messages if message.message_id} if len(messages) > 1 else ()
    ids = []
    size = stored = 0
    for sender, payload, priority, message_id, delay_ms, headers, dedupe_ms in messages:
        if message_id is None:
            number = next_number(store, priority, given)
            message_id = id_at(store.id_base, priority, number)
            delivery = deliveries.NEVER
        elif find(store, message_id) or (message_id != sent_on and is_remembered(store, message_id, now)):
            ids.append(message_id)
            continue
        else:
            delivery = deliveries.CUSTOM_ID
            if dedupe_ms:
                remember(store, message_id, now + dedupe_ms, now)
        message = Message(message_id, sender, payload, now, headers)
        append(store, priority, message, delivery, now + delay_ms if delay_ms else 0)
        size += message.size
        stored += 1
        ids.append(message_id)
    if not stored:
        return ids, None
    store.reserve(size)
    return ids, store.state.queued


def enqueue_plain(store: Store, sender: bytes, payload: bytes, priority: int, now: int) -> UUID:
    """As ``enqueue``, but quicker, for one plain message; ``reserve`` is left to the caller."""
    state = store.state
    if state.may_collide:
        next_number(store, priority)
    number = state.append(priority)
    message_id = id_at(store.id_base, priority, number)
    store.bodies.append(priority, number, Message(message_id, sender, payload, now), False)
    return message_id


def append(store: Store, priority: int, message: Message, delivery: int, due: int = 0, where: int = QUEUED) -> int:
    """Puts a message at the end of its lane; its number."""
    number = store.state.append(priority, 1, delivery, due, where)
    _keep(store, priority, number, message, bool(delivery & deliveries.CUSTOM_ID))
    return number


def append_all(store: Store, priority: int, messages: Sequence[Message]) -> None:
    """As ``append``, in one step, of messages whose ids were given and are new."""
    first = store.state.append(priority, len(messages), deliveries.CUSTOM_ID)
    for number, message in enumerate(messages, first):
        _keep(store, priority, number, message, True)


def _keep(store: Store, priority: int, number: int, message: Message, custom: bool) -> None:
    state = store.state
    if custom:
        store.note_id(message.id, priority, number)
        location = location_of(store.id_base, message.id)
        if location is not None and location[0] < len(state.lanes) and location[1] >= state.lanes[location[0]].next:
            state.may_collide = True
    store.bodies.append(priority, number, message, custom)


def next_number(store: Store, priority: int, given: Collection[UUID] = ()) -> int:
    """The number of a lane's next message; no sender has given the id that it makes."""
    state = store.state
    while given or state.may_collide:
        message_id = id_at(store.id_base, priority, state.lanes[priority].next)
        if message_id not in given and not (state.may_collide and store.find_id(message_id)):
            break
        state.skip(priority)
    return state.lanes[priority].next


def is_kept(store: Store, unless: Unless | None) -> bool:
    """Whether a message keeps a mailbox from being deleted."""
    if unless is None:
        return False
    place = find(store, unless.message_id)
    return place is not None and (place.where >= HELD or not unless.held_only)


# -- ids that stay known -----------------------------------------------------------------------------------------------


def is_remembered(store: Store, message_id: UUID, now: int) -> bool:
    """Whether an id is known, although its message may be gone."""
    if not store.state.remembered:
        return False
    until = store.remembered_until(message_id)
    return until is not None and until > now


def remember(store: Store, message_id: UUID, until: int, now: int) -> None:
    """Keeps an id known until then, or for as long as it is already, whatever becomes of its message; forgets some for
    which it is over.
    """
    state = store.state
    if state.remembered:
        state.remembered = max(0, state.remembered - store.forget_remembered(now, _FORGOTTEN_AT_ONCE))
        known_until = store.remembered_until(message_id)
        if known_until is not None:
            state.remembered -= 1
            until = max(until, known_until)
    store.remember(message_id, min(until, LATEST))
    state.remembered += 1
    state.changed = True


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


def promote(store: Store, ids: Sequence[UUID] | None, now: int) -> int:
    """Queues delayed messages, those of ``ids`` or all; how many of them were not due yet."""
    state = store.state
    if ids is None:
        return state.promote_all(now)
    promoted = 0
    for message_id in ids:
        place = find(store, message_id)
        if place is not None and place.where == DELAYED:
            state.move(place.priority, place.number, QUEUED, place.delivery)
            promoted += place.due > now
    return promoted


def purge(store: Store) -> int:
    """Deletes everything queued; how many messages there were."""
    count, special = store.state.remove_queued()
    if count:
        store.clear_queued(special)
    return count


# -- looking -----------------------------------------------------------------------------------------------------------


def count(store: Store, now: int) -> MailboxStats:
    state = store.state
    queued = {priority: state.lanes[priority].queued for priority in MessagePriority}
    oldest = min((_created_at(store, run) for run in state.heads_of_queue()), default=None)
    return MailboxStats(
        state.queued,
        state.inflight,
        queued,
        state.dead_letters,
        state.delayed(now),
        None if oldest is None else moment(oldest),
        state.ever_queued,
    )


def _created_at(store: Store, run: LaneRun) -> int:
    """Of the first message of a run."""
    return next(iter(store.bodies.messages(run._replace(end=run.first + 1), store.id_base))).created_at


def peek(store: Store, limit: int, status: MessageStatus | None, offset: int, now: int) -> list[MessageRecord]:
    """Changes nothing."""
    state = store.state
    limit += offset
    queued: list[LaneRun] = []
    inflight: list[LaneRun] = []
    if status is not MessageStatus.INFLIGHT:
        queued = state.first_queued(limit, now)
        left = limit - _count(queued)
        if left and any(lane.delayed for lane in state.lanes):
            queued += state.first_delayed(left, now)
    if status is not MessageStatus.QUEUED and _count(queued) < limit and state.inflight:
        inflight = state.first_inflight(limit - _count(queued))
    if offset:
        inflight = _after(inflight, max(0, offset - _count(queued)))
        queued = _after(queued, offset)
    shown = store.bodies.records(queued, store.id_base, MessageStatus.QUEUED)
    if inflight:
        shown += store.bodies.records(inflight, store.id_base, MessageStatus.INFLIGHT)
    return shown


def get(store: Store, message_id: UUID, now: int) -> MessageRecord | DeadLetter | None:
    """Changes nothing."""
    place = find(store, message_id)
    if place is None:
        return None
    priority, number, where, delivery, due = place
    if where == BURIED:
        letter = store.letter_of(priority, number)
        return None if letter is None else dead_letter_of(store, letter)
    run = LaneRun(priority, number, number + 1, delivery, where, due)
    status = MessageStatus.INFLIGHT if where >= HELD else MessageStatus.QUEUED
    if where == DELAYED and due <= now:
        run = run._replace(where=QUEUED, due=0)
    (record,) = store.bodies.records([run], store.id_base, status)
    return record


def dead_letter_of(store: Store, letter: Letter) -> DeadLetter:
    (record,) = store.bodies.records([letter.run], store.id_base, MessageStatus.INFLIGHT)
    return DeadLetter(record, letter.reason, letter.error, moment(letter.died_at))


def _count(runs: Sequence[LaneRun]) -> int:
    return sum(run.end - run.first for run in runs)


def _after(runs: Sequence[LaneRun], count: int) -> list[LaneRun]:
    """Runs without their first ``count`` messages."""
    rest = []
    for run in runs:
        passed_over = min(count, run.end - run.first)
        count -= passed_over
        if run.first + passed_over < run.end:
            rest.append(run._replace(first=run.first + passed_over))
    return rest
