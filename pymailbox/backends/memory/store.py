"""One mailbox in memory: the core's ``Store``, in dictionaries; and who holds something of it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Iterator
from functools import partial
from itertools import islice
from math import inf
from typing import NamedTuple, TypeAlias
from uuid import UUID

from ...contract.ids import new_id_base
from ...contract.moments import moment
from ...contract.values import MessageRecord, MessageStatus
from ...core import claiming, store
from ...core import delivery as deliveries
from ...core.records import LANE_PRIORITIES, record_of, records_of
from ...core.state import PRIORITIES, LaneRun, MailboxState
from ...core.store import Letter, Message

_Place: TypeAlias = tuple[int, int]
"""Of a message: its lane and its number."""


class Holder(store.Holder):
    """A handle as a consumer. It is gone when it is abandoned, or its event loop is closed."""

    def __init__(self, number: int, max_deliveries: int | None, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(number, max_deliveries)
        self.loop = loop
        self.abandoned: deque[Holder] = deque()
        """Where it adds itself when it is gone: a list of its mailbox, once it has claimed something."""

    def abandon(self) -> None:
        """Takes no lock: a finaliser may run while its thread has it."""
        self.abandoned.append(self)


class Bodies:
    """The messages themselves."""

    def __init__(self) -> None:
        self.lanes: list[dict[int, Message]] = [{} for _ in range(PRIORITIES)]
        """By priority and number."""

    def append(self, priority: int, number: int, message: Message, custom: bool) -> None:
        self.lanes[priority][number] = message

    def messages(self, run: LaneRun, id_base: int) -> Iterator[Message]:
        return map(self.lanes[run.priority].__getitem__, range(run.first, run.end))

    def records(
        self, runs: list[LaneRun], id_base: int, status: MessageStatus, hand_outs: int = 0, largest: float = inf
    ) -> list[MessageRecord]:
        if len(runs) == 1 and runs[0].end - runs[0].first == 1:  # which is quicker
            priority, number, _, delivery, _, _ = runs[0]
            message_id, sender, payload, created_at = self.lanes[priority][number]
            time, count = moment(created_at), deliveries.hand_outs(delivery) + hand_outs
            return [record_of(message_id, sender, payload, LANE_PRIORITIES[priority], time, status, count)]
        return records_of(runs, partial(self.messages, id_base=id_base), status, hand_outs, largest)


class _Death(NamedTuple):
    place: _Place
    reason: str
    died_at: int


class Store:
    """A mailbox. Its methods, and the rules on it, are called with the database's lock held."""

    def __init__(self) -> None:
        self.state = MailboxState()
        self.id_base = new_id_base()
        self.bodies = Bodies()
        self.known_live: set[int] = set()
        self._ids: dict[UUID, _Place] = {}
        self._errors: dict[_Place, str] = {}
        self._deaths: OrderedDict[int, _Death] = OrderedDict()
        """By the numbers of the dead letters; a plain dict would have to walk over the slots of those removed last."""
        self._letters: dict[_Place, int] = {}
        self._holders: dict[asyncio.AbstractEventLoop, dict[int, Holder]] = {}
        """Holders that have claimed something, by event loop: whether they live is checked once for each loop."""
        self._abandoned: deque[Holder] = deque()

    # -- as the rules want it ------------------------------------------------------------------------------------------

    def reserve(self, size: int) -> None:
        """There is room for as much as fits in memory."""

    def clear_away(self, runs: list[LaneRun]) -> None:
        for priority, first, end, delivery, _, _ in runs:
            lane = self.bodies.lanes[priority]
            if delivery & (deliveries.CUSTOM_ID | deliveries.HAS_ERROR):
                self._clear_special(priority, first, end, delivery)
            for number in range(first, end):
                del lane[number]

    def _clear_special(self, priority: int, first: int, end: int, delivery: int) -> None:
        for number in range(first, end):
            if delivery & deliveries.CUSTOM_ID:
                del self._ids[self.bodies.lanes[priority][number].id]
            if delivery & deliveries.HAS_ERROR:
                self._errors.pop((priority, number), None)

    def clear_queued(self, special: list[LaneRun]) -> None:
        for priority, first, end, delivery, _, _ in special:
            self._clear_special(priority, first, end, delivery)
        for lane in self.state.lanes:
            messages = self.bodies.lanes[lane.priority]
            living = self.state.living(lane.priority, 0, lane.next)
            self.bodies.lanes[lane.priority] = {
                number: messages[number] for run in living for number in range(run.first, run.end)
            }

    def note_id(self, message_id: UUID, priority: int, number: int) -> None:
        self._ids[message_id] = priority, number

    def find_id(self, message_id: UUID) -> tuple[int, int] | None:
        return self._ids.get(message_id)

    def note_error(self, priority: int, number: int, error: str) -> None:
        self._errors[priority, number] = error

    def errors(self, run: LaneRun) -> dict[int, str]:
        numbers = range(run.first, run.end)
        return {
            number: self._errors[run.priority, number] for number in numbers if (run.priority, number) in self._errors
        }

    def note_letter(self, letter: int, priority: int, number: int, reason: str, died_at: int) -> None:
        self._deaths[letter] = _Death((priority, number), reason, died_at)
        self._letters[priority, number] = letter

    def forget_letter(self, priority: int, number: int) -> None:
        del self._deaths[self._letters.pop((priority, number))]

    def newest_letters(self, limit: int) -> Iterator[Letter]:
        return map(self._letter, islice(reversed(self._deaths), limit))

    def letters(self, first: int, until: int, limit: int) -> Iterator[Letter]:
        numbers = list(self._deaths)
        at, end = bisect_left(numbers, first), bisect_left(numbers, until)
        return map(self._letter, numbers[at : min(at + limit, end)])

    def _letter(self, letter: int) -> Letter:
        (priority, number), reason, died_at = self._deaths[letter]
        (run,) = self.state.living(priority, number, number + 1)
        return Letter(letter, run, reason, self._errors.get((priority, number)), died_at)

    # -- holders -------------------------------------------------------------------------------------------------------

    def claim(self, holder: Holder, limit: int, now: int) -> list[MessageRecord]:
        """Hands the next batch to a holder."""
        if holder.abandoned is not self._abandoned:
            holder.abandoned = self._abandoned
            self._holders.setdefault(holder.loop, {})[holder.number] = holder
        return claiming.claim(self, holder, limit, now)

    def recover(self, me: Holder, now: int) -> int:
        """Takes back what other holders had that are gone; how many messages there were.

        Its cost depends on how many event loops there are, not on how many holders.
        """
        gone: list[Holder] = []
        while self._abandoned:
            gone.append(self._abandoned.popleft())
        for loop, holders in self._holders.items():
            if loop is not me.loop and loop.is_closed():
                gone += holders.values()
        if not gone:
            return 0
        return sum(claiming.recover_from(self, holder.number, now) for holder in gone if self._dismiss(holder))

    def release_all(self, holder: Holder) -> int:
        """Takes back everything from a holder that will claim nothing more; how many messages there were."""
        self._dismiss(holder)
        return claiming.release_all(self, holder.number)

    def _dismiss(self, holder: Holder) -> bool:
        """Forgets a holder; whether it was known."""
        of_its_loop = self._holders.get(holder.loop, {})
        known = of_its_loop.pop(holder.number, None) is not None
        if known and not of_its_loop:
            del self._holders[holder.loop]
        self.known_live.discard(holder.number)
        holder.abandoned = deque()
        return known
