"""One mailbox's messages, and what the verbs do to them."""

from __future__ import annotations

import asyncio
import enum
import heapq
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from ..._archive import Death, Section, WholeMessage
from ..._arguments import PreparedMessage
from ..._handle import LARGEST_BATCH, Enqueued
from ..._ids import SEQUENCE_BITS, id_at, new_id_base
from ..._values import DeadLetter, MailboxStats, MessagePriority, MessageRecord, MessageStatus
from .._clock import milliseconds, moment, now_in_ms
from .._reasons import died_reason, failed_reason
from .line import STALE_ALLOWED, Line, Message


class Fate(enum.Enum):
    """What became of messages that a holder had. Each of them learns it when it is next looked at, so that giving back
    ten thousand costs what giving back ten costs.
    """

    RELEASED = enum.auto()
    """Their hand-out is taken back."""
    SUSPECTED = enum.auto()
    """Their holder died with several of them in a batch."""
    FAILED = enum.auto()
    """Their holder died, and each was in a batch of its own."""

    def apply(self, message: Message) -> None:
        if self is Fate.RELEASED:
            message.delivery_count -= 1
        else:
            message.suspect = True
            message.failures += self is Fate.FAILED


class Holder:
    """The identity of a handle as a consumer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_deliveries: int | None) -> None:
        self.max_deliveries = max_deliveries
        self.abandoned = False
        self._loop = loop

    @property
    def gone(self) -> bool:
        return self.abandoned or self._loop.is_closed()


class Held(NamedTuple):
    """What a holder has."""

    together: Line
    """Handed out in batches of several."""
    alone: Line
    """Each handed out in a batch of its own."""

    def __bool__(self) -> bool:
        return bool(self.together or self.alone)


class _Letter(NamedTuple):
    """A dead letter."""

    message: Message
    reason: str
    died_at: datetime


class Queue:
    """One mailbox's messages. Its methods are called with the database's lock held."""

    def __init__(self) -> None:
        self._id_base = new_id_base()
        self._sequence = 0
        self._messages: dict[UUID, Message] = {}
        """All but the dead letters."""
        self._queued = Line()
        self._delayed = Line()
        self._due: list[tuple[int, int]] = []
        """A heap of due times and places; those of messages that are no longer delayed so are passed over."""
        self._held: dict[Holder, Held] = {}
        self._returned: dict[Line, Fate] = {}
        """What holders gave back, or died with: queued messages that have yet to learn it."""
        self._dead: dict[UUID, _Letter] = {}
        """The newest last."""

    # -- enqueueing ----------------------------------------------------------------------------------------------------

    def store(self, messages: Iterable[PreparedMessage]) -> Enqueued:
        now = now_in_ms()
        before = len(self._messages)
        ids = [self._store_one(message, now) for message in messages]
        return Enqueued(ids, self.depth if len(self._messages) > before else None)

    def _store_one(self, new: PreparedMessage, now: int) -> UUID:
        if new.message_id is not None and self._has(new.message_id):
            return new.message_id
        place = self._next_place(new.priority)
        message_id = new.message_id or id_at(self._id_base, new.priority, self._sequence)
        while new.message_id is None and self._has(message_id):
            # some caller's own id foresaw this one: take the next
            place = self._next_place(new.priority)
            message_id = id_at(self._id_base, new.priority, self._sequence)
        message = Message(message_id, new.sender, new.payload, new.priority, moment(now), place, self._queued)
        self._messages[message_id] = message
        self._put(message, now + new.delay_ms if new.delay_ms else 0)
        return message_id

    def redrive(self, message_id: UUID) -> int | None:
        letter = self._dead.pop(message_id, None)
        if letter is None:
            return None
        old = letter.message
        place = self._next_place(old.priority)
        message = Message(old.id, old.sender, old.payload, old.priority, old.created_at, place, self._queued)
        self._messages[message_id] = message
        self._put(message, 0)
        return self.depth

    def _has(self, message_id: UUID) -> bool:
        return message_id in self._messages or message_id in self._dead

    def _next_place(self, priority: MessagePriority) -> int:
        self._sequence += 1
        return (MessagePriority.HIGH - priority) << SEQUENCE_BITS | self._sequence

    def _put(self, message: Message, due: int) -> None:
        """Queues a message, for at once if ``due`` is 0."""
        if not due:
            self._queued.add(message)
            return
        message.due = due
        self._delayed.add(message)
        heapq.heappush(self._due, (due, message.place))
        if len(self._due) > 2 * len(self._delayed) + STALE_ALLOWED:
            self._due = sorted((message.due, message.place) for message in self._delayed)

    # -- handing out ---------------------------------------------------------------------------------------------------

    def claim(self, limit: int, holder: Holder) -> list[MessageRecord]:
        batch = self._next_batch(limit)
        if not batch:
            return []
        held = self._held.setdefault(holder, Held(Line(), Line()))
        line = held.alone if len(batch) == 1 else held.together
        for message in batch:
            self._queued.remove(message)
            line.add(message)
            message.delivery_count += 1
        return [message.record(MessageStatus.INFLIGHT) for message in batch]

    def _next_batch(self, limit: int) -> list[Message]:
        """A suspect comes alone, and nothing that is behind it comes before it."""
        self._bring_up(limit)
        batch: list[Message] = []
        size = 0
        for message in islice(self._queued, limit):
            size += len(message.payload)
            if batch and (message.suspect or size > LARGEST_BATCH):
                break
            batch.append(message)
            if message.suspect:
                break
        return batch

    def _bring_up(self, limit: int) -> None:
        """Sees to it that the first so many messages that can be handed out are in ``_queued``."""
        now = now_in_ms()
        while self._due and self._due[0][0] <= now:
            message = self._delayed.at(heapq.heappop(self._due)[1])
            if message and message.due <= now:
                self._delayed.remove(message)
                self._queued.add(message)
        for line, fate in list(self._returned.items()):
            for message in list(islice(line, limit)):
                line.remove(message)
                fate.apply(message)
                self._queued.add(message)
            if not line:
                del self._returned[line]

    @property
    def next_due(self) -> int | None:
        """When the next delayed message is due, milliseconds since 1970."""
        while self._due:
            due, place = self._due[0]
            message = self._delayed.at(place)
            if message and message.due == due:
                return due
            heapq.heappop(self._due)
        return None

    # -- giving back ---------------------------------------------------------------------------------------------------

    def release(self, holder: Holder, ids: Iterable[UUID]) -> bool:
        """Takes back some of what the holder was handed, as if it had not been; False if it holds none of it."""
        found = [message for message_id in ids if (message := self._held_by(holder, message_id))]
        for message in found:
            message.line.remove(message)
            Fate.RELEASED.apply(message)
            self._queued.add(message)
        return bool(found)

    def release_all(self, holder: Holder) -> bool:
        """Takes back all that the holder was handed, as if it had not been; False if it holds nothing."""
        held = self._held.pop(holder, None)
        if not held:
            return False
        self._returned |= dict.fromkeys(held, Fate.RELEASED)
        return True

    def recover(self, me: Holder) -> int:
        """Takes back what other holders had who are gone; returns how many messages that were."""
        return sum(self._recover_from(holder) for holder in list(self._held) if holder is not me and holder.gone)

    def _recover_from(self, holder: Holder) -> int:
        together, alone = self._held.pop(holder)
        count = len(together) + len(alone)
        self._returned |= {together: Fate.SUSPECTED, alone: Fate.FAILED}
        most = holder.max_deliveries
        if most is not None:
            for message in [message for message in alone if message.failures + 1 >= most]:
                alone.remove(message)
                Fate.FAILED.apply(message)
                self._bury(message, died_reason(message.failures, most))
        return count

    def others_hold(self, me: Holder) -> bool:
        return any(holder is not me and held for holder, held in self._held.items())

    def fail(self, holder: Holder, message_id: UUID, delay_ms: int, error: str | None) -> bool:
        message = self._held_by(holder, message_id)
        if message is None:
            return False
        message.line.remove(message)
        message.failures += 1
        message.suspect = False  # it did not kill its holder
        if error is not None:
            message.error = error
        if holder.max_deliveries is not None and message.failures >= holder.max_deliveries:
            self._bury(message, failed_reason(message.failures, holder.max_deliveries))
        else:
            self._put(message, now_in_ms() + delay_ms if delay_ms else 0)
        return True

    def bury(self, holder: Holder, message_id: UUID, reason: str) -> bool:
        message = self._held_by(holder, message_id)
        if message is None:
            return False
        message.line.remove(message)
        self._bury(message, reason)
        return True

    def _held_by(self, holder: Holder, message_id: UUID) -> Message | None:
        message = self._messages.get(message_id)
        return message if message and message.line in self._held.get(holder, ()) else None

    def _bury(self, message: Message, reason: str) -> None:
        """Makes a dead letter of a message that was taken out of its line."""
        del self._messages[message.id]
        self._dead[message.id] = _Letter(message, reason, moment(now_in_ms()))

    # -- deleting ------------------------------------------------------------------------------------------------------

    def remove(self, ids: Iterable[UUID]) -> int:
        found = [message for message_id in ids if (message := self._messages.pop(message_id, None))]
        for message in found:
            message.line.remove(message)
        return len(found)

    def remove_held(self, holder: Holder, message_id: UUID) -> bool:
        return self._held_by(holder, message_id) is not None and self.remove([message_id]) == 1

    def purge(self) -> int:
        return self.remove([message.id for line in self._waiting_lines() for message in line])

    def discard(self, message_id: UUID) -> bool:
        return self._dead.pop(message_id, None) is not None

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        return sum(map(len, self._waiting_lines()))

    def count(self) -> MailboxStats:
        by_priority = {
            priority: sum(line.counts[priority] for line in self._waiting_lines()) for priority in MessagePriority
        }
        return MailboxStats(self.depth, len(self._messages) - self.depth, by_priority, len(self._dead))

    def peek(self, limit: int, status: MessageStatus | None) -> list[MessageRecord]:
        records: list[MessageRecord] = []
        if status is not MessageStatus.INFLIGHT:
            self._bring_up(limit)
            records += (message.record(MessageStatus.QUEUED) for message in islice(self._queued, limit))
            later = heapq.nsmallest(limit - len(records), self._delayed, key=lambda message: message.due)
            records += (message.record(MessageStatus.QUEUED) for message in later)
        if status is not MessageStatus.QUEUED:
            lines = [line for held in self._held.values() for line in held]
            in_order = heapq.merge(*lines, key=lambda message: message.place)
            records += (message.record(MessageStatus.INFLIGHT) for message in islice(in_order, limit - len(records)))
        return records

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        return [
            DeadLetter(message.record(MessageStatus.INFLIGHT), reason, message.error, died_at)
            for message, reason, died_at in islice(reversed(self._dead.values()), limit)
        ]

    # -- as a whole ----------------------------------------------------------------------------------------------------

    def read_section(self, section: Section) -> list[WholeMessage]:
        """All messages of a priority in their order, or all dead letters, the oldest first."""
        if section is None:
            return [
                self._whole(message, MessageStatus.INFLIGHT, Death(reason, milliseconds(died_at)))
                for message, reason, died_at in self._dead.values()
            ]
        self._bring_up(len(self._messages))
        inflight = {id(line) for held in self._held.values() for line in held}
        statuses = MessageStatus.QUEUED, MessageStatus.INFLIGHT
        # new ones are appended, redriven ones too: they are in the order of their places
        return [
            self._whole(message, statuses[id(message.line) in inflight], None)
            for message in self._messages.values()
            if message.priority is section
        ]

    def _whole(self, message: Message, status: MessageStatus, death: Death | None) -> WholeMessage:
        return WholeMessage(
            message.id,
            message.sender,
            message.payload,
            message.priority,
            milliseconds(message.created_at),
            message.delivery_count,
            status,
            message.due if message.line is self._delayed else None,
            message.failures,
            message.suspect,
            message.error,
            death,
        )

    def adopt(self, messages: Iterable[WholeMessage]) -> tuple[list[bool], int | None]:
        """Stores messages as they are, but for those whose id is there; which ones, and the depth if it grew."""
        now = now_in_ms()
        before = len(self._messages)
        stored = [self._adopt_one(message, now) for message in messages]
        return stored, self.depth if len(self._messages) > before else None

    def _adopt_one(self, whole: WholeMessage, now: int) -> bool:
        if self._has(whole.id):
            return False
        place = self._next_place(whole.priority)
        message = Message(
            whole.id,
            whole.sender,
            whole.payload,
            whole.priority,
            moment(whole.created_at),
            place,
            self._queued,
            whole.delivery_count,
            whole.failures,
            whole.suspect,
            whole.error,
        )
        if whole.death is not None:
            self._dead[whole.id] = _Letter(message, whole.death.reason, moment(whole.death.died_at))
            return True
        self._messages[whole.id] = message
        self._put(message, whole.due if whole.due is not None and whole.due > now else 0)
        return True

    def _waiting_lines(self) -> tuple[Line, ...]:
        return (self._queued, self._delayed, *self._returned)
