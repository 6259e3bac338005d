"""A mailbox in dictionaries, for backends that keep everything in memory: the rules' ``Store``."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from heapq import heappop, heappush, nsmallest
from itertools import islice
from math import inf
from typing import NamedTuple, TypeAlias
from uuid import UUID

from ..contract.headers import NO_HEADERS, unpack_headers
from ..contract.ids import new_id_base
from ..contract.moments import moment
from ..contract.values import MessageRecord, MessageStatus
from . import delivery as deliveries
from .page import DELAYED
from .records import LANE_PRIORITIES, record_of, records_of
from .state import PRIORITIES, LaneRun, MailboxState
from .store import Letter, Message

_Place: TypeAlias = tuple[int, int]
"""Of a message: its lane and its number."""


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
            priority, number, _, delivery, where, due = runs[0]
            message_id, sender, payload, created_at, headers = self.lanes[priority][number]
            time, count = moment(created_at), deliveries.hand_outs(delivery) + hand_outs
            texts, due_at = (
                unpack_headers(headers) if headers else NO_HEADERS,
                moment(due) if where == DELAYED else None,
            )
            return [
                record_of(message_id, sender, payload, LANE_PRIORITIES[priority], time, status, count, texts, due_at)
            ]
        return records_of(runs, partial(self.messages, id_base=id_base), status, hand_outs, largest)


class Burial(NamedTuple):
    """Why a message is a dead letter."""

    place: _Place
    reason: str
    died_at: int


class Notes:
    """What there is of a mailbox beside its messages: half of a ``Store``."""

    def __init__(self) -> None:
        self.state = MailboxState()
        self.known_live: set[int] = set()
        self.error_texts: dict[_Place, str] = {}
        self.known_ids: dict[UUID, int] = {}
        self._remembered_until: list[tuple[int, UUID]] = []
        """The same by their times, some of them outdated: a heap."""
        self.deaths: OrderedDict[int, Burial] = OrderedDict()
        """By the numbers of the dead letters; a plain dict would have to walk over the slots of those removed last."""
        self._letters: dict[_Place, int] = {}

    def reserve(self, size: int) -> None:
        """There is room for as much as fits in memory."""

    def remember(self, message_id: UUID, until: int) -> None:
        self.known_ids[message_id] = until
        heappush(self._remembered_until, (until, message_id))

    def remembered_until(self, message_id: UUID) -> int | None:
        return self.known_ids.get(message_id)

    def forget_remembered(self, until: int, most: int) -> int:
        forgotten = 0
        while forgotten < most and self._remembered_until and self._remembered_until[0][0] <= until:
            recorded, message_id = heappop(self._remembered_until)
            if self.known_ids.get(message_id) == recorded:  # else there is a later record
                del self.known_ids[message_id]
                forgotten += 1
        return forgotten

    def remembered(self, after: UUID | None, most: int) -> list[tuple[UUID, int]]:
        behind = (known for known in self.known_ids.items() if after is None or known[0] > after)
        return nsmallest(most, behind)

    def note_error(self, priority: int, number: int, error: str) -> None:
        self.error_texts[priority, number] = error

    def forget_errors(self, priority: int, first: int, end: int) -> None:
        """Those from one number to just before another."""
        for number in range(first, end):
            self.error_texts.pop((priority, number), None)

    def errors(self, run: LaneRun) -> dict[int, str]:
        numbers = range(run.first, run.end)
        return {
            number: self.error_texts[run.priority, number]
            for number in numbers
            if (run.priority, number) in self.error_texts
        }

    def note_letter(self, letter: int, priority: int, number: int, reason: str, died_at: int) -> None:
        self.deaths[letter] = Burial((priority, number), reason, died_at)
        self._letters[priority, number] = letter

    def forget_letter(self, priority: int, number: int) -> None:
        del self.deaths[self._letters.pop((priority, number))]

    def newest_letters(self, limit: int, offset: int) -> Iterator[Letter]:
        return map(self._letter, islice(reversed(self.deaths), offset, offset + limit))

    def letter_of(self, priority: int, number: int) -> Letter:
        return self._letter(self._letters[priority, number])

    def letters(self, first: int, until: int, limit: int) -> Iterator[Letter]:
        numbers = list(self.deaths)
        at, end = bisect_left(numbers, first), bisect_left(numbers, until)
        return map(self._letter, numbers[at : min(at + limit, end)])

    def _letter(self, letter: int) -> Letter:
        (priority, number), reason, died_at = self.deaths[letter]
        (run,) = self.state.living(priority, number, number + 1)
        return Letter(letter, run, reason, self.error_texts.get((priority, number)), died_at)


class DictionaryStore(Notes):
    """The ``Store`` of one mailbox."""

    def __init__(self) -> None:
        super().__init__()
        self.id_base = new_id_base()
        self.bodies = Bodies()
        self._ids: dict[UUID, _Place] = {}

    def clear_away(self, runs: list[LaneRun]) -> None:
        for priority, first, end, delivery, _, _ in runs:
            lane = self.bodies.lanes[priority]
            if delivery & (deliveries.CUSTOM_ID | deliveries.HAS_ERROR):
                self._clear_special(priority, first, end, delivery)
            for number in range(first, end):
                del lane[number]

    def _clear_special(self, priority: int, first: int, end: int, delivery: int) -> None:
        if delivery & deliveries.CUSTOM_ID:
            for number in range(first, end):
                del self._ids[self.bodies.lanes[priority][number].id]
        if delivery & deliveries.HAS_ERROR:
            self.forget_errors(priority, first, end)

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
