"""A mailbox's state: which messages wait, and who holds which. Pure data and arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush, merge
from itertools import islice
from math import inf
from struct import Struct
from typing import Any, Final, NamedTuple
from zlib import crc32

from ..contract.limits import LATEST
from . import delivery as deliveries
from .claims import Claims, Holders, Terms
from .directory import MOST_FRESH, Directory, NoRows, Rows
from .page import DELAYED, HELD, QUEUED, Change, DamagedError, Page, State, pack, unpack

PRIORITIES: Final = 2

PAGE_NUMBERS: Final = 128
"""How many numbers a page covers."""

PAGES_IN_HEAD: Final = 2048
"""Bytes of pages that travel in the head."""

_PAGES_IN_MEMORY: Final = 64
"""Pages that stay in memory between two transactions, beside those in the head."""

_LARGEST_NUMBER: Final = (1 << 48) - 1

_FIXED: Final = Struct(f"<{8 + 9 * PRIORITIES}q")
_PAGE: Final = Struct("<3q")
_SUM: Final = Struct("<Q")


class LaneRun(NamedTuple):
    """Neighbouring messages of a lane in the same delivery state."""

    priority: int
    first: int
    end: int
    """Exclusive."""
    delivery: int
    where: int = QUEUED
    due: int = 0


class Lane:
    """The messages of one priority."""

    __slots__ = ("debris", "delayed", "directory", "frontier", "inflight", "largest", "next", "priority", "queued")

    def __init__(self, priority: int, rows: Rows) -> None:
        self.priority = priority
        self.next = 0
        """The number that its next message gets."""
        self.frontier = 0
        """All from here on are fresh."""
        self.queued = 0
        """Delayed messages included."""
        self.delayed = 0
        self.inflight = 0
        self.largest = 0
        """Bytes of its largest segment since it was last empty."""
        self.debris: list[tuple[int, int]] = []
        """Dead numbers whose bytes are not deleted yet, in a backend that does so later: first and end (exclusive)."""
        self.directory = Directory(rows)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing that is queued lies before the frontier."""
        return self.queued == self.next - self.frontier


class MailboxState:
    """What the verbs do to the messages of one mailbox, known by their lanes and numbers."""

    def __init__(self, rows: Callable[[int], Rows] = lambda _: NoRows(), page_numbers: int | None = None) -> None:
        self.page_numbers = page_numbers or PAGE_NUMBERS
        self.lanes = [Lane(priority, rows(priority)) for priority in range(PRIORITIES)]
        self.holders = Holders()
        self.custom_ids = 0
        """Messages whose id was given by their sender, dead letters included."""
        self.may_collide = False
        """Whether a sender ever gave an id that this mailbox may still generate."""
        self.dead_letters = 0
        self.next_letter = 1
        """The number of the next dead letter."""
        self.remembered = 0
        """Records of ids that stay known whatever becomes of their messages; some may be over."""
        self.changed = False
        """Whether it has changed since it was last packed; messages that were only appended do not count."""
        self._touched: dict[tuple[int, int], Page] = {}
        """The pages that have changed since then."""
        self._in_head: dict[tuple[int, int], Page] = {}
        self._uses = 0

    # -- counting ------------------------------------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Delayed messages included."""
        return self.lanes[0].queued + self.lanes[1].queued

    @property
    def inflight(self) -> int:
        return self.lanes[0].inflight + self.lanes[1].inflight

    @property
    def ever_queued(self) -> int:
        """A number that grows with each message that comes into the queue."""
        return self.lanes[0].next + self.lanes[1].next

    def delayed(self, now: int) -> int:
        """How many messages are delayed and not due yet."""
        count = sum(lane.delayed for lane in self.lanes)
        for lane in self.lanes if count else ():
            for due, number in lane.directory.dues():
                if due > now:
                    break
                page = lane.directory.find(number)
                for first, end, where, _, due_at in [] if page is None else page.rows:
                    if where == DELAYED and due_at <= now:
                        count -= end - first
        return count

    def heads_of_queue(self) -> list[LaneRun]:
        """The first queued message of each lane that has one, delayed or not."""
        return [run for lane in self.lanes if lane.queued and (run := self._head_of_queue(lane)) is not None]

    def _head_of_queue(self, lane: Lane) -> LaneRun | None:
        number = None if lane.is_fresh else lane.directory.first_waiting()
        if number is None:
            return LaneRun(lane.priority, lane.frontier, lane.next, 0) if lane.frontier < lane.next else None
        page = lane.directory.find(number)
        if page is None:
            return LaneRun(lane.priority, number * self.page_numbers, (number + 1) * self.page_numbers, 0)
        return next(LaneRun(lane.priority, row[0], row[1], row[3]) for row in page.rows if row[2] <= DELAYED)

    @property
    def next_due(self) -> int | None:
        """When the first delayed message is due, milliseconds since 1970."""
        dues = [lane.directory.next_due for lane in self.lanes if lane.delayed]
        return min((due for due in dues if due is not None), default=None)

    def others_hold(self, number: int) -> bool:
        """Whether anybody but this holder has something."""
        return len(self.holders.by_number) > (number in self.holders.by_number)

    # -- coming in -----------------------------------------------------------------------------------------------------

    def append(self, priority: int, count: int = 1, delivery: int = 0, due: int = 0, where: int = QUEUED) -> int:
        """Appends messages to a lane; the number of the first."""
        lane = self.lanes[priority]
        first = lane.next
        lane.next = first + count
        if not (delivery or due or where):
            lane.queued += count
            return first
        self._advance(lane, first)
        lane.frontier = lane.next
        if due:
            where, due = DELAYED, min(max(1, due), LATEST)
        self._put(lane, first, lane.next, where, delivery, due)
        return first

    def skip(self, priority: int, count: int = 1) -> None:
        """Skips a lane's next numbers."""
        lane = self.lanes[priority]
        self._advance(lane, lane.next)
        lane.next += count
        lane.frontier = lane.next
        self.changed = True

    # -- handing out ---------------------------------------------------------------------------------------------------

    def first_to_claim(self, limit: int, now: int) -> list[LaneRun]:
        """The messages to be handed out next, in order. In the pages that it looks at, it queues what is due.

        A suspect comes alone, and nothing behind it overtakes it.
        """
        found: list[LaneRun] = []
        left = limit
        for lane in reversed(self.lanes):
            if not lane.queued:
                continue
            if lane.queued != lane.next - lane.frontier:  # else all that is queued is fresh
                for first, end, delivery in self._ready(lane, now):
                    if delivery & deliveries.SUSPECT:
                        if not found:
                            found.append(LaneRun(lane.priority, first, first + 1, delivery))
                        return found
                    end = min(end, first + left)
                    found.append(LaneRun(lane.priority, first, end, delivery))
                    left -= end - first
                    if not left:
                        return found
            if lane.frontier < lane.next:
                end = min(lane.next, lane.frontier + left)
                found.append(LaneRun(lane.priority, lane.frontier, end, 0))
                left -= end - lane.frontier
                if not left:
                    return found
        return found

    def _ready(self, lane: Lane, now: int) -> Iterator[tuple[int, int, int]]:
        """First, end and delivery state of what can be handed out and lies before the frontier."""
        for page, first, end in self._ready_pages(lane, now):
            if page is None:
                yield first, end, 0
                continue
            if page.delayed:
                delayed = page.delayed
                if page.promote_due(now):
                    lane.delayed += page.delayed - delayed
                    self._touch(lane, page)
            for row in page.rows:
                if row[2] == QUEUED:
                    yield row[0], row[1], row[3]

    def _ready_pages(self, lane: Lane, now: int) -> Iterator[tuple[Page | None, int, int]]:
        """Pages with something to hand out, including those that are due, each with its numbers (the end is exclusive);
        neighbouring fresh pages come as one, as None.
        """
        size, at = self.page_numbers, 0
        while (number := lane.directory.ready(at, now)) is not None:
            at = number + 1
            page = lane.directory.find(number)
            if page is None:
                fresh = lane.directory.fresh_range(number)
                if fresh is None:
                    continue
                at = fresh[1]
            yield page, number * size, at * size

    def claim(self, holder: int, terms: Terms, heartbeats: int, runs: list[LaneRun]) -> Claims:
        """Hands out what ``first_to_claim`` has found, or the first part of it."""
        claims = self.holders.by_number.get(holder) or self.holders.admit(holder, terms, heartbeats)
        where = HELD + claims.slot
        solo = len(runs) == 1 and runs[0].end - runs[0].first == 1
        for priority, first, end, delivery, _, _ in runs:
            lane = self.lanes[priority]
            handed = deliveries.handed_out(delivery, solo)
            if first >= lane.frontier:
                lane.frontier = end
                lane.queued -= end - first
                self._put(lane, first, end, where, handed, 0)
            else:
                self._assign(lane, first, end, lambda *_, state=(where, handed, 0): state)
        return claims

    # -- giving back ---------------------------------------------------------------------------------------------------

    def move(self, priority: int, number: int, where: int, delivery: int, due: int = 0) -> None:
        """Moves a living message."""
        if due:
            where, due = DELAYED, min(max(1, due), LATEST)
        self._assign(self.lanes[priority], number, number + 1, lambda *_: (where, delivery, due))

    def requeue_all(self, holder: int, change: Callable[[int], int]) -> list[LaneRun]:
        """Queues all that a holder has, with its delivery states changed; what they were before."""
        claims = self.holders.by_number.get(holder)
        if claims is None:
            return []
        where, size = HELD + claims.slot, self.page_numbers

        def give_back(stands: int, delivery: int, due: int) -> tuple[int, int, int]:
            return (QUEUED, change(delivery), 0) if stands == where else (stands, delivery, due)

        given = []
        for priority, number in sorted(claims.pages):
            moved = self._assign(self.lanes[priority], number * size, (number + 1) * size, give_back)
            given += [LaneRun(priority, row[0], row[1], row[3]) for row, _ in moved]
        return given

    def promote_all(self, now: int) -> int:
        """Queues all delayed messages; how many of them were not due yet."""
        promoted = self.delayed(now)
        for lane in self.lanes:
            for _, number in list(lane.directory.dues()):
                page = lane.directory.find(number)
                if page is not None:
                    delayed = page.delayed
                    page.promote_due(LATEST)
                    lane.delayed += page.delayed - delayed
                    self._touch(lane, page)
        return promoted

    def heartbeat(self, holder: int, heartbeats: int) -> bool:
        """A sign of life of a holder's; False if it has nothing."""
        claims = self.holders.by_number.get(holder)
        if claims is None:
            return False
        claims.heartbeats, claims.bytes, self.changed = heartbeats, None, True
        return True

    # -- going ---------------------------------------------------------------------------------------------------------

    def remove(
        self, priority: int, first: int, end: int, only: Callable[[int, int], bool] | None = None
    ) -> list[LaneRun]:
        """Removes messages: those that ``only`` accepts, by where they stand and their delivery state."""

        def take_out(where: int, delivery: int, due: int) -> State | None:
            return None if only is None or only(where, delivery) else (where, delivery, due)

        moved = self._assign(self.lanes[priority], first, min(end, self.lanes[priority].next), take_out)
        return [LaneRun(priority, row[0], row[1], row[3], row[2], row[4]) for row, _ in moved]

    def remove_one(self, priority: int, number: int, only: Callable[[int, int], bool]) -> list[LaneRun]:
        """As ``remove``, for one message; quicker if a page has it as a run of its own, as it usually does."""
        lane = self.lanes[priority]
        page_number = number // self.page_numbers
        page = lane.directory.pages.get(page_number)
        row = None if page is None else page.run_of(number)
        if page is None or row is None or row[1] - row[0] > 1:
            return self.remove(priority, number, number + 1, only)
        if not only(row[2], row[3]):
            return []
        page.take(row)
        self._count(lane, page_number, row[2], row[3], -1)
        self._touch(lane, page)
        return [LaneRun(priority, number, number + 1, row[3], row[2], row[4])]

    def remove_queued(self) -> tuple[int, list[LaneRun]]:
        """Removes everything queued: how many messages there were, and those with a custom id or an error."""
        count, special = self.queued, []
        mask = deliveries.CUSTOM_ID | deliveries.HAS_ERROR

        def take_out(where: int, delivery: int, due: int) -> tuple[int, int, int] | None:
            return None if where <= DELAYED else (where, delivery, due)

        size = self.page_numbers
        for lane in self.lanes:
            for number in lane.directory.numbers():
                for row, _ in self._assign(lane, number * size, (number + 1) * size, take_out, beyond=False):
                    if row[3] & mask:
                        special.append(LaneRun(lane.priority, row[0], row[1], row[3]))
            lane.directory.fresh.clear()
            lane.frontier, lane.queued = lane.next, 0
        self.changed = True
        return count, special

    # -- looking -------------------------------------------------------------------------------------------------------

    def state_of(self, priority: int, number: int) -> tuple[int, int, int] | None:
        """Where a message stands, its delivery state and when it is due; None if it is dead or never was."""
        row = self._row_of(priority, number)
        return None if row is None else row[2:]

    def _row_of(self, priority: int, number: int) -> tuple[int, int, int, int, int] | None:
        if not 0 <= priority < PRIORITIES:
            return None
        lane = self.lanes[priority]
        if number >= lane.frontier:
            return (number, lane.next, QUEUED, 0, 0) if number < lane.next else None
        page = lane.directory.find(number // self.page_numbers)
        if page is not None:
            return page.run_of(number)
        fresh = lane.directory.fresh_range(number // self.page_numbers)
        return None if fresh is None else (number, fresh[1] * self.page_numbers, QUEUED, 0, 0)

    def living(self, priority: int, first: int, end: int) -> Iterator[LaneRun]:
        """The living messages of a lane, in order, dead letters included."""
        lane, size = self.lanes[priority], self.page_numbers
        at, frontier = first, min(end, lane.frontier)
        while at < frontier:
            number = at // size
            stop = min(frontier, (number + 1) * size)
            page = lane.directory.find(number)
            if page is not None:
                for row in page.between(at, stop):
                    yield LaneRun(priority, row[0], row[1], row[3], row[2], row[4])
            else:
                fresh = lane.directory.fresh_range(number)
                if fresh is not None:
                    stop = min(frontier, fresh[1] * size)
                    yield LaneRun(priority, at, stop, 0)
                else:
                    following = lane.directory.after(number)
                    stop = frontier if following is None else following * size
            at = stop
        at, end = max(first, lane.frontier), min(end, lane.next)
        if at < end:
            yield LaneRun(priority, at, end, 0)

    def first_queued(self, limit: int, now: int) -> list[LaneRun]:
        """Messages in the order in which they would be handed out, including delayed ones that are due."""
        found: list[LaneRun] = []
        left = limit
        for lane in reversed(self.lanes):
            for run in self._queued(lane, now):
                if left <= 0:
                    return found
                found.append(run._replace(end=min(run.end, run.first + left)))
                left -= run.end - run.first
        return found

    def _queued(self, lane: Lane, now: int) -> Iterator[LaneRun]:
        if not lane.is_fresh:
            for page, start, stop in self._ready_pages(lane, now):
                if page is None:
                    yield LaneRun(lane.priority, start, stop, 0)
                    continue
                for first, end, where, delivery, due in page.rows:
                    if where == QUEUED or (where == DELAYED and due <= now):
                        yield LaneRun(lane.priority, first, end, delivery)
        if lane.frontier < lane.next:
            yield LaneRun(lane.priority, lane.frontier, lane.next, 0)

    def first_delayed(self, limit: int, now: int) -> list[LaneRun]:
        """Delayed messages that are not yet due, by their due times."""
        found: list[LaneRun] = []
        pending: list[tuple[int, int, int, int, int]] = []
        """When it is due, the lane's number below zero, first, end and delivery state of a run: a heap."""
        entries = merge(*(_dues(lane) for lane in self.lanes))
        entry = next(entries, None)
        while entry is not None:
            _, minus, number = entry
            entry = next(entries, None)
            page = self.lanes[-minus].directory.find(number)
            for first, end, where, delivery, due in [] if page is None else page.rows:
                if where == DELAYED and due > now:
                    heappush(pending, (due, minus, first, end, delivery))
            # what is due before the first message of the next page is known without that page
            until = LATEST + 1 if entry is None else entry[0]
            while pending and pending[0][0] < until:
                due, minus, first, end, delivery = heappop(pending)
                found.append(LaneRun(-minus, first, min(end, first + limit), delivery, DELAYED, due))
                limit -= end - first
                if limit <= 0:
                    return found
        return found

    def first_inflight(self, limit: int) -> list[LaneRun]:
        """Messages that are held, in the order of the queue."""
        found: list[LaneRun] = []
        pages = {key for claims in self.holders.by_number.values() for key in claims.pages}
        for priority, number in sorted(pages, key=lambda key: (-key[0], key[1])):
            page = self.lanes[priority].directory.find(number)
            for first, end, where, delivery, _ in [] if page is None else page.rows:
                if where >= HELD:
                    found.append(LaneRun(priority, first, min(end, first + limit), delivery, where))
                    limit -= end - first
                    if limit <= 0:
                        return found
        return found

    def dead_around(self, priority: int, first: int, end: int, reach: int) -> tuple[int, int]:
        """Dead numbers, with the dead ones next to them, within a certain reach."""
        low, high = max(0, first - reach), min(end + reach, self.lanes[priority].next)
        for run in self.living(priority, low, high):
            if run.end <= first:
                low = run.end
            elif run.first >= end:
                return low, run.first
        return low, high

    # -- inside --------------------------------------------------------------------------------------------------------

    def _assign(
        self, lane: Lane, first: int, end: int, change: Change, *, beyond: bool = True
    ) -> list[tuple[tuple[int, int, int, int, int], tuple[int, int, int] | None]]:
        """The one way in which living messages move."""
        if beyond and end > lane.frontier:
            self._advance(lane, min(end, lane.next))
        moved: list[tuple[tuple[int, int, int, int, int], tuple[int, int, int] | None]] = []
        size = self.page_numbers
        number: int | None = first // size
        while number is not None and number * size < end:
            at, number = number, number + 1
            page = self._own(lane, at)
            if page is None:
                number = lane.directory.after(at) if number * size < end else None
                continue
            changed = page.change(first, end, change)
            if not changed:
                continue
            for row, state in changed:
                count = row[1] - row[0]
                if state is not None:  # first, so that a holder never seems to have nothing
                    self._count(lane, at, state[0], state[1], count)
                self._count(lane, at, row[2], row[3], -count)
            moved += changed
            self._touch(lane, page)
        return moved

    def _put(self, lane: Lane, first: int, end: int, where: int, delivery: int, due: int) -> None:
        """Puts messages that were in no page into pages."""
        size = self.page_numbers
        while first < end:
            number = first // size
            stop = min(end, (number + 1) * size)
            page = lane.directory.pages.get(number) or self._page(lane, number)
            page.add((first, stop, where, delivery, due))
            self._count(lane, number, where, delivery, stop - first)
            self._touch(lane, page)
            first = stop

    def _advance(self, lane: Lane, to: int) -> None:
        """Advances a lane's frontier: what was fresh before the new one is in pages from now on."""
        size, first = self.page_numbers, lane.frontier
        if first >= to:
            return
        while first < to:
            number = first // size
            if first == number * size and to - first >= size:
                lane.directory.add_fresh(number, to // size)
                self._limit_fresh(lane)
                first = to // size * size
                continue
            stop = min(to, (number + 1) * size)
            page = self._page(lane, number)
            page.add((first, stop, QUEUED, 0, 0))
            self._touch(lane, page)
            first = stop
        lane.frontier = to
        self.changed = True

    def _limit_fresh(self, lane: Lane) -> None:
        """Keeps the ranges of fresh pages few, so that the head stays small."""
        while len(lane.directory.fresh) > MOST_FRESH:
            first, end = min(lane.directory.fresh, key=lambda pages: pages[1] - pages[0])
            for number in range(first, end):
                self._own(lane, number)

    def _page(self, lane: Lane, number: int) -> Page:
        """A page, made if it is not there."""
        page = lane.directory.find(number)
        if page is None:
            page = Page(number)
            page.has_row = number in lane.directory.gone
            lane.directory.gone.discard(number)
            lane.directory.keep(page)
        return page

    def _own(self, lane: Lane, number: int) -> Page | None:
        """A page of its own, if it was fresh; None if there is none."""
        page = lane.directory.find(number)
        if page is None and lane.directory.fresh_range(number) is not None:
            lane.directory.take_fresh(number, number + 1)
            page = self._page(lane, number)
            page.add((number * self.page_numbers, (number + 1) * self.page_numbers, QUEUED, 0, 0))
            self._touch(lane, page)
            self._limit_fresh(lane)
        return page

    def _count(self, lane: Lane, number: int, where: int, delivery: int, count: int) -> None:
        if delivery & deliveries.CUSTOM_ID:
            self.custom_ids += count
        if where == QUEUED:
            lane.queued += count
        elif where >= HELD:
            lane.inflight += count
            self.holders.count(where - HELD, lane.priority, number, count)
        elif where == DELAYED:
            lane.queued += count
            lane.delayed += count
        else:
            self.dead_letters += count

    def _touch(self, lane: Lane, page: Page) -> None:
        """To be called when a page has changed."""
        self.changed = True
        self._uses += 1
        page.changed, page.bytes, page.in_head_as, page.used = True, None, None, self._uses
        key = lane.priority, page.number
        if page.rows:
            self._touched[key] = page
            if (page.queued > 0) is not page.listed_ready or page.delayed or page.listed_due is not None:
                lane.directory.note(page)
        else:
            self._touched.pop(key, None)
            self._in_head.pop(key, None)
            lane.directory.remove(page)

    def lose_page(self, priority: int, number: int) -> None:
        """Gives up a page whose row cannot be read; ``recount`` comes after it."""
        self.lanes[priority].directory.gone.add(number)
        self.changed = True

    def revive(self, priority: int, number: int, where: int, delivery: int) -> None:
        """Makes a message live that no page mentions; ``recount`` comes after it."""
        lane = self.lanes[priority]
        page = self._page(lane, number // self.page_numbers)
        page.add((number, number + 1, where, delivery, 0))
        self._touch(lane, page)

    def recount(self) -> None:
        """Counts again what the pages say; for a mailbox that has lost one."""
        self.custom_ids = self.dead_letters = 0
        for claims in list(self.holders.by_number.values()):
            claims.pages.clear()
            claims.count, claims.bytes = 0, None
        size = self.page_numbers
        for lane in self.lanes:
            lane.queued = lane.next - lane.frontier + sum((end - first) * size for first, end in lane.directory.fresh)
            lane.delayed = lane.inflight = 0
            for number in lane.directory.numbers():
                page = lane.directory.find(number)
                for first, end, where, delivery, _ in [] if page is None else page.rows:
                    self._count(lane, number, where, delivery, end - first)
        for claims in list(self.holders.by_number.values()):
            if not claims.pages:
                del self.holders.by_number[claims.number], self.holders.by_slot[claims.slot]
        self.changed = True

    # -- as it is stored -----------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """All of it as one head, which is the same after the same calls; for backends without rows for pages."""
        self._lay_out(inf)
        return self.pack()[0]

    def pack(self) -> tuple[bytes, list[tuple[int, Page]], list[tuple[int, int]]]:
        """The head; the pages that get rows of their own, with their lanes; and those whose rows are to be deleted."""
        written = self._lay_out(PAGES_IN_HEAD) if self._touched else []
        deleted: list[tuple[int, int]] = []
        numbers = [
            self.page_numbers,
            self.may_collide,
            self.custom_ids,
            self.dead_letters,
            self.next_letter,
            self.remembered,
            len(self.holders.by_number),
            len(self._in_head),
        ]
        ranges: list[int] = []
        for lane in self.lanes:
            directory, debris = lane.directory, lane.debris
            if directory.gone:
                deleted += [(lane.priority, number) for number in directory.gone]
                directory.rows_count -= len(directory.gone)
                directory.gone.clear()
            numbers += (
                lane.next,
                lane.frontier,
                lane.queued,
                lane.delayed,
                lane.inflight,
                lane.largest,
                directory.rows_count,
                len(directory.fresh),
                len(debris),
            )
            for pair in directory.fresh:
                ranges += pair
            for pair in debris:
                ranges += pair
        body = _FIXED.pack(*numbers)
        if ranges:
            body += pack(ranges)
        for claims in self.holders.by_number.values():
            body += claims.bytes or claims.encode()
        for (priority, number), page in self._in_head.items():
            if page.in_head_as is None:
                encoded = page.bytes or page.encode()
                page.in_head_as = _PAGE.pack(priority, number, len(encoded) // 8) + encoded
            body += page.in_head_as
        self.changed = False
        return _with_sum(body), written, deleted

    def _lay_out(self, most: float) -> list[tuple[int, Page]]:
        """Decides which pages the head holds: the small ones last used, as many as fit into that many bytes."""
        rows: list[tuple[int, Page]] = []
        in_head = self._in_head
        for key, page in self._touched.items():
            if page.in_head:
                continue
            directory = self.lanes[key[0]].directory
            if page.has_row and 4 * len(page.encode()) > most:
                rows.append((key[0], page))
                page.changed = False
                continue
            if page.has_row:
                directory.gone.add(page.number)
                page.has_row, page.row_columns = False, None
            page.in_head = True
            in_head[key] = page
        self._touched.clear()
        size = 0
        for page in in_head.values():
            size += len(page.bytes or page.encode())
            page.changed = False
        if size > most:
            for key, page in sorted(in_head.items(), key=lambda entry: entry[1].used):
                directory = self.lanes[key[0]].directory
                page.in_head = False
                if page.number in directory.gone:
                    directory.gone.discard(page.number)
                else:
                    directory.rows_count += 1
                page.has_row = True
                del in_head[key]
                rows.append((key[0], page))
                size -= len(page.encode())
                if size <= most:
                    break
        return rows

    def trim(self) -> None:
        """Drops pages from memory that also lie elsewhere, except those last used."""
        for lane in self.lanes:
            directory = lane.directory
            if not directory.rows_count or len(directory.pages) - len(self._in_head) <= _PAGES_IN_MEMORY:
                continue
            outside = sorted(
                (page for page in directory.pages.values() if page.has_row and not page.in_head),
                key=lambda page: -page.used,
            )
            for page in outside[_PAGES_IN_MEMORY // 2 :]:
                directory.forget(page)

    @classmethod
    def unpack(cls, head: bytes, rows: Callable[[MailboxState, int], Rows] = lambda *_: NoRows()) -> MailboxState:
        """What ``pack`` or ``snapshot`` gave.

        Raises:
            DamagedError: it is not a head.
        """
        numbers = numbers_in(head)
        if len(numbers) < _FIXED.size // 8:
            raise DamagedError("this is not the head of a mailbox")
        try:
            return cls._unpack(numbers, rows)
        except DamagedError:
            raise
        except (StopIteration, ValueError):
            raise DamagedError("a head was cut short") from None

    @classmethod
    def _unpack(cls, values: list[int], rows: Callable[[MailboxState, int], Rows]) -> MailboxState:
        numbers = iter(values)
        state = cls(page_numbers=next(numbers))
        if not 0 < state.page_numbers <= 1 << 20:
            raise DamagedError("the size of pages is impossible")
        may_collide, state.custom_ids, state.dead_letters, state.next_letter = islice(numbers, 4)
        state.remembered, holders, pages = islice(numbers, 3)
        state.may_collide = bool(may_collide)
        size = state.page_numbers
        counts = []
        for lane in state.lanes:
            lane.directory = Directory(rows(state, lane.priority))
            lane.next, lane.frontier, lane.queued, lane.delayed, lane.inflight, lane.largest = islice(numbers, 6)
            lane.directory.rows_count, fresh, debris = islice(numbers, 3)
            counts.append((fresh, debris))
            least = min(lane.queued, lane.delayed, lane.inflight, lane.largest, lane.directory.rows_count)
            if not 0 <= lane.frontier <= lane.next <= _LARGEST_NUMBER or least < 0:
                raise DamagedError("the counts of a lane are impossible")
        for lane, (fresh, debris) in zip(state.lanes, counts, strict=True):
            lane.directory.fresh = _ranges(numbers, fresh, lane.frontier // size)
            lane.debris = _ranges(numbers, debris, lane.next, in_order=False)
        if state.next_letter < 1 or min(state.custom_ids, state.dead_letters, state.remembered, holders, pages) < 0:
            raise DamagedError("the counts of a head are impossible")
        for _ in range(holders):
            state.holders.add(Claims.decode(numbers, PRIORITIES))
        for _ in range(pages):
            priority, number, length = islice(numbers, 3)
            if not 0 <= priority < PRIORITIES or (priority, number) in state._in_head or length < 1:
                raise DamagedError("a page belongs to no lane")
            page = state.decode_page(priority, number, list(islice(numbers, length)))
            page.in_head = True
            state._in_head[priority, number] = page
            state.lanes[priority].directory.keep(page)
        if next(numbers, None) is not None:
            raise DamagedError("a head is too long")
        return state

    def decode_page(self, priority: int, number: int, values: list[int]) -> Page:
        """Raises ``DamagedError`` if it is not a page of this mailbox."""
        first = number * self.page_numbers
        end = min(first + self.page_numbers, self.lanes[priority].frontier)
        page = Page.decode(number, values, first, end, self.holders.by_slot)
        self._uses += 1
        page.used = self._uses
        return page


def numbers_in(head: Any) -> list[int]:
    """The numbers of a head.

    Raises:
        DamagedError: the bytes are not numbers.
    """
    if not isinstance(head, bytes) or len(head) < _SUM.size or _SUM.unpack_from(head)[0] != crc32(head[_SUM.size :]):
        raise DamagedError("this is not the head of a mailbox")
    return unpack(head[_SUM.size :])


def head_of(numbers: Sequence[int]) -> bytes:
    """A head of numbers."""
    return _with_sum(pack(numbers))


def _with_sum(body: bytes) -> bytes:
    return _SUM.pack(crc32(body)) + body


def _ranges(numbers: Iterator[int], count: int, limit: int, *, in_order: bool = True) -> list[tuple[int, int]]:
    """Raises ``DamagedError`` if they are not valid."""
    if count < 0:
        raise DamagedError("the number of ranges is negative")
    ranges = []
    border = 0
    for _ in range(count):
        first, end = next(numbers), next(numbers)
        if not border <= first < end <= limit:
            raise DamagedError("ranges are out of order")
        border = end if in_order else 0
        ranges.append((first, end))
    return ranges


def _dues(lane: Lane) -> Iterator[tuple[int, int, int]]:
    return ((due, -lane.priority, number) for due, number in lane.directory.dues())
