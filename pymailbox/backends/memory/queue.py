"""One mailbox's messages, and what the verbs do to them."""

from __future__ import annotations

import asyncio
import enum
import heapq
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from ..._archive import Death, Section, WholeMessage
from ..._arguments import PreparedMessage
from ..._handle import Enqueued
from ..._ids import SEQUENCE_BITS, id_at, new_id_base
from ..._values import DeadLetter, MailboxStats, MessagePriority, MessageRecord, MessageStatus
from ...core.claiming import LARGEST_BATCH
from ...core.moments import milliseconds, moment
from ...core.reasons import died_reason, failed_reason
from .._clock import now_in_ms
from .line import Counts, Line, Message

_LEAST_TIDY = 64


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
    """The identity of a handle as a consumer. It is gone when it is abandoned, or its event loop is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_deliveries: int | None) -> None:
        self.max_deliveries = max_deliveries
        self.loop = loop
        self.heirs: deque[Holder] = deque()
        """Where those enter themselves who are gone: its queue's, once it has been handed something."""

    def abandon(self) -> None:
        """Takes no lock: a finaliser may run while its thread has it."""
        self.heirs.append(self)


class Held(NamedTuple):
    """What a holder has."""

    together: Line
    """Handed out in batches of several."""
    alone: Line
    """Each handed out in a batch of its own."""

    @property
    def total(self) -> int:
        return len(self.together) + len(self.alone)


class Returned:
    """What holders gave back, or died with: queued messages that have yet to learn it."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._heap: list[tuple[int, int, Line, Fate]] = []
        """By the place of each line's first message, or of one that was before it: lines only get shorter."""
        self._added = 0
        self._tidy_at = 0

    def __bool__(self) -> bool:
        return bool(self._heap)

    def __iter__(self) -> Iterator[Line]:
        return (line for *_, line, _ in self._heap)

    def add(self, line: Line, fate: Fate) -> None:
        line.count_with(self._counts)
        if len(self._heap) >= self._tidy_at:
            self._heap = [entry for entry in self._heap if entry[2]]
            heapq.heapify(self._heap)
            self._tidy_at = 2 * len(self._heap) + _LEAST_TIDY
        if first := line.first():
            self._added += 1
            heapq.heappush(self._heap, (first.place, self._added, line, fate))

    def take(self, limit: int, border: Message | None) -> Iterator[Message]:
        """Takes out the first so many messages, as long as they are before ``border``; each has learned its fate."""
        while self._heap and limit and (border is None or self._heap[0][0] < border.place):
            place, number, line, fate = self._heap[0]
            first = line.first()
            if first is None:
                heapq.heappop(self._heap)
            elif first.place > place:
                heapq.heapreplace(self._heap, (first.place, number, line, fate))
            else:
                line.remove(first)
                fate.apply(first)
                yield first
                limit -= 1


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
        self._waiting = dict.fromkeys(MessagePriority, 0)
        """How many there are that nobody holds."""
        self._queued = Line(self._waiting)
        self._delayed = Line(self._waiting)
        self._returned = Returned(self._waiting)
        self._held: dict[Holder, Held] = {}
        """Those who have been handed something; some hold nothing any more."""
        self._holders: defaultdict[asyncio.AbstractEventLoop, set[Holder]] = defaultdict(set)
        """The same, by event loop: to see who lives costs a look at each loop."""
        self._abandoned: deque[Holder] = deque()
        self._dead: OrderedDict[UUID, _Letter] = OrderedDict()
        """The newest last; where the newest were removed, a plain dict would walk over their places."""

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
        message.due = due
        (self._delayed if due else self._queued).add(message)

    # -- handing out ---------------------------------------------------------------------------------------------------

    def claim(self, limit: int, holder: Holder) -> list[MessageRecord]:
        batch = self._next_batch(limit)
        if not batch:
            return []
        held = self._held.get(holder) or self._admit(holder)
        line = held.alone if len(batch) == 1 else held.together
        for message in batch:
            self._queued.remove(message)
            line.add(message)
            message.delivery_count += 1
        return [message.record(MessageStatus.INFLIGHT) for message in batch]

    def _admit(self, holder: Holder) -> Held:
        """Makes the holder one of this queue's."""
        held = self._held[holder] = Held(Line(), Line())
        self._holders[holder.loop].add(holder)
        holder.heirs = self._abandoned
        return held

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
        while (message := self._delayed.first()) and message.due <= now:
            self._delayed.remove(message)
            self._put(message, 0)
        if self._returned:
            border = next(islice(self._queued, limit - 1, None), None)
            for message in self._returned.take(limit, border):
                self._queued.add(message)

    @property
    def next_due(self) -> int | None:
        """When the next delayed message is due, milliseconds since 1970."""
        message = self._delayed.first()
        return message.due if message else None

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
        held = self._dismiss(holder)
        if held is None or not held.total:
            return False
        for line in held:
            self._returned.add(line, Fate.RELEASED)
        return True

    def recover(self, me: Holder) -> int:
        """Takes back what other holders had who are gone; returns how many messages that were.

        Its cost depends on how many event loops there are, not on how many holders.
        """
        gone: list[Holder] = []
        while self._abandoned:
            gone.append(self._abandoned.popleft())
        for loop in [loop for loop in self._holders if loop is not me.loop and loop.is_closed()]:
            gone += self._holders[loop]
        return sum(map(self._recover_from, gone))

    def _recover_from(self, holder: Holder) -> int:
        held = self._dismiss(holder)
        if held is None:
            return 0
        together, alone = held
        count = held.total
        most = holder.max_deliveries
        if most is not None:
            for message in [message for message in alone if message.failures + 1 >= most]:
                alone.remove(message)
                Fate.FAILED.apply(message)
                self._bury(message, died_reason(message.failures, most))
        self._returned.add(together, Fate.SUSPECTED)
        self._returned.add(alone, Fate.FAILED)
        return count

    def _dismiss(self, holder: Holder) -> Held | None:
        """What the holder has, which is no longer its own; None if it has not been handed anything."""
        held = self._held.pop(holder, None)
        if held is not None:
            of_its_loop = self._holders[holder.loop]
            of_its_loop.discard(holder)
            if not of_its_loop:
                del self._holders[holder.loop]
        return held

    def others_hold(self, me: Holder) -> bool:
        mine = self._held.get(me)
        return len(self._messages) - self.depth > (mine.total if mine else 0)

    def fail(self, holder: Holder, message_id: UUID, delay_ms: int, error: str | None) -> bool | str:
        """Gives back as failed what the holder has; the reason if that made a dead letter."""
        message = self._held_by(holder, message_id)
        if message is None:
            return False
        message.line.remove(message)
        message.failures += 1
        message.suspect = False  # it did not kill its holder
        if error is not None:
            message.error = error
        if holder.max_deliveries is not None and message.failures >= holder.max_deliveries:
            reason = failed_reason(message.failures, holder.max_deliveries)
            self._bury(message, reason)
            return reason
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
        lines = [self._queued, self._delayed, *self._returned]
        return self.remove([message.id for line in lines for message in line])

    def discard(self, message_id: UUID) -> bool:
        return self._dead.pop(message_id, None) is not None

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        return sum(self._waiting.values())

    def count(self) -> MailboxStats:
        return MailboxStats(self.depth, len(self._messages) - self.depth, dict(self._waiting), len(self._dead))

    def peek(self, limit: int, status: MessageStatus | None) -> list[MessageRecord]:
        records: list[MessageRecord] = []
        if status is not MessageStatus.INFLIGHT:
            self._bring_up(limit)
            records += (message.record(MessageStatus.QUEUED) for message in islice(self._queued, limit))
            later = islice(self._delayed, limit - len(records))
            records += (message.record(MessageStatus.QUEUED) for message in later)
        if status is not MessageStatus.QUEUED and len(records) < limit:
            room = limit - len(records)
            lines = heapq.nsmallest(room, self._held_lines(), key=_first_place)  # the others begin too late
            in_order = heapq.merge(*lines, key=lambda message: message.place)
            records += (message.record(MessageStatus.INFLIGHT) for message in islice(in_order, room))
        return records

    def _held_lines(self) -> list[Line]:
        """What is inflight; whoever holds nothing is asked once, and then no more until it is handed something."""
        for holder in [holder for holder, held in self._held.items() if not held.total]:
            self._dismiss(holder)
        return [line for held in self._held.values() for line in held if line]

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
        inflight = set(map(id, self._held_lines()))
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


def _first_place(line: Line) -> int:
    first = line.first()
    return first.place if first else 0
