"""The state machine of ``pymailbox.core`` compared with one that keeps every message separately."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from zlib import crc32

import pytest

from pymailbox.core import delivery, state
from pymailbox.core.claims import Terms
from pymailbox.core.page import BURIED, DELAYED, HELD, QUEUED, DamagedError, Page, pack, unpack
from pymailbox.core.state import LaneRun, MailboxState

TERMS: Final = Terms(3, None)
HOLDERS: Final = (11, 22, 33)


class Row(NamedTuple):
    body: bytes
    queued: int
    due: int | None


class Rows:
    """Rows as in a database, but in a dictionary."""

    def __init__(self, stored: dict[tuple[int, int], Row], owner: MailboxState, priority: int) -> None:
        self._stored = stored
        self._owner = owner
        self._priority = priority

    def read(self, number: int) -> Page | None:
        row = self._stored.get((self._priority, number))
        if row is None:
            return None
        page = self._owner.decode_page(self._priority, number, unpack(row.body))
        page.has_row = True
        return page

    def ready(self, at: int, now: int) -> int | None:
        rows = ((number, self._stored[self._priority, number]) for number in self.numbers() if number >= at)
        return next((number for number, row in rows if row.queued or (row.due is not None and row.due <= now)), None)

    def waiting(self, at: int) -> int | None:
        rows = ((number, self._stored[self._priority, number]) for number in self.numbers() if number >= at)
        return next((number for number, row in rows if row.queued or row.due is not None), None)

    def dues(self) -> Iterator[tuple[int, int]]:
        rows = ((self._stored[self._priority, number].due, number) for number in self.numbers())
        return iter(sorted((due, number) for due, number in rows if due is not None))

    def after(self, number: int) -> int | None:
        return next((page for page in self.numbers() if page > number), None)

    def numbers(self) -> list[int]:
        return sorted(number for priority, number in self._stored if priority == self._priority)


class Database:
    """A head and rows, to be written and read again."""

    def __init__(self) -> None:
        self.head = b""
        self.rows: dict[tuple[int, int], Row] = {}

    def write(self, mailbox: MailboxState) -> None:
        self.head, written, deleted = mailbox.pack()
        for key in deleted:
            del self.rows[key]
        for priority, page in written:
            self.rows[priority, page.number] = Row(page.encode(), page.queued, page.due)
            page.has_row = True
        mailbox.trim()

    def read(self) -> MailboxState:
        return MailboxState.unpack(self.head, lambda owner, priority: Rows(self.rows, owner, priority))


@dataclass
class Message:
    where: int = QUEUED
    delivery: int = 0
    due: int = 0
    holder: int = 0


@dataclass
class Naive:
    """What the state machine should say, message by message."""

    lanes: list[dict[int, Message]] = field(default_factory=lambda: [{}, {}])

    def in_order(self) -> Iterator[tuple[int, int, Message]]:
        for priority in 1, 0:
            for number in sorted(self.lanes[priority]):
                yield priority, number, self.lanes[priority][number]

    def first_to_claim(self, limit: int, now: int) -> list[tuple[int, int, int]]:
        found: list[tuple[int, int, int]] = []
        for priority, number, message in self.in_order():
            if not (message.where == QUEUED or (message.where == DELAYED and message.due <= now)):
                continue
            if message.delivery & delivery.SUSPECT:
                return found or [(priority, number, message.delivery)]
            found.append((priority, number, message.delivery))
            if len(found) == limit:
                break
        return found


def each(runs: list[LaneRun]) -> list[tuple[int, int, int]]:
    return [(run.priority, number, run.delivery) for run in runs for number in range(run.first, run.end)]


class Program:
    """Random steps on both."""

    def __init__(self, seed: int, page_numbers: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.random = random.Random(seed)
        monkeypatch.setattr(state, "PAGES_IN_HEAD", self.random.choice([0, 200, 2048]))
        monkeypatch.setattr(state, "_PAGES_IN_MEMORY", self.random.choice([0, 2, 64]))
        self.database = Database()
        self.real = MailboxState(page_numbers=page_numbers)
        self.restart()
        self.naive = Naive()
        self.now = 1000
        for _ in range(steps):
            self.step()
            self.compare()

    def restart(self) -> None:
        self.database.write(self.real)
        self.real = self.database.read()

    def some(self, where: int | None = None) -> tuple[int, int, Message] | None:
        found = [entry for entry in self.naive.in_order() if where is None or entry[2].where == where]
        return self.random.choice(found) if found else None

    def step(self) -> None:
        steps = [self.append, self.append, self.claim, self.claim, self.remove, self.remove, self.nack, self.give_back]
        rare = [self.bury, self.purge, self.restart, self.restart, self.pass_time, self.skip, self.remove_range]
        self.random.choice(rare if self.random.random() < 0.3 else steps)()

    def append(self) -> None:
        priority, count = self.random.randrange(2), self.random.choice([1, 1, 2, 5, 20])
        custom = self.random.choice([0, 0, delivery.CUSTOM_ID])
        due = self.random.choice([0, 0, self.now + self.random.randrange(200)])
        lane = self.naive.lanes[priority]
        first = self.real.append(priority, count, custom, due)
        assert first == self.real.lanes[priority].next - count
        for number in range(first, first + count):
            lane[number] = Message(DELAYED if due else QUEUED, custom, due)

    def skip(self) -> None:
        self.real.skip(self.random.randrange(2), self.random.choice([1, 9]))

    def claim(self) -> None:
        holder, limit = self.random.choice(HOLDERS), self.random.choice([1, 1, 3, 50])
        runs = self.real.first_to_claim(limit, self.now)
        expected = self.naive.first_to_claim(limit, self.now)
        assert each(runs) == expected
        if not runs:
            return
        self.real.claim(holder, TERMS, 1, runs)
        for priority, number, before in expected:
            message = self.naive.lanes[priority][number]
            message.where, message.due, message.holder = HELD, 0, holder
            message.delivery = delivery.handed_out(before, len(expected) == 1)

    def remove(self) -> None:
        found = self.some()
        if found is None:
            return
        priority, number, message = found
        if self.random.random() < 0.5:
            (removed,) = self.real.remove(priority, number, number + 1)
        else:
            assert self.real.remove_one(priority, number, lambda *_: False) == []
            (removed,) = self.real.remove_one(priority, number, lambda *_: True)
        assert (removed.first, removed.end, removed.delivery) == (number, number + 1, message.delivery)
        del self.naive.lanes[priority][number]
        assert self.real.remove(priority, number, number + 1) == []

    def remove_range(self) -> None:
        priority = self.random.randrange(2)
        first = self.random.randrange(self.real.lanes[priority].next + 1)
        end = first + self.random.choice([3, 60])
        lane = self.naive.lanes[priority]
        doomed = [number for number in sorted(lane) if first <= number < end and lane[number].where != BURIED]
        removed = self.real.remove(priority, first, end, lambda where, _: where != BURIED) if end > first else []
        assert [number for _, number, _ in each(removed)] == doomed
        for number in doomed:
            del lane[number]

    def nack(self) -> None:
        found = self.some(HELD)
        if found is None:
            return
        priority, number, message = found
        slot = self.real.holders.by_number[message.holder].slot
        assert self.real.state_of(priority, number) == (HELD + slot, message.delivery, 0)
        message.delivery = delivery.failed(message.delivery)
        message.due = self.random.choice([0, self.now + self.random.randrange(300)])
        message.where = DELAYED if message.due else QUEUED
        self.real.move(priority, number, QUEUED, message.delivery, message.due)

    def bury(self) -> None:
        found = self.some(HELD)
        if found is not None:
            priority, number, message = found
            message.where = BURIED
            self.real.move(priority, number, BURIED, message.delivery)

    def give_back(self) -> None:
        holder = self.random.choice(HOLDERS)
        change = self.random.choice([delivery.undelivered, delivery.abandoned])
        before = each(self.real.requeue_all(holder, change))
        held = [m for m in self.naive.in_order() if m[2].where == HELD and m[2].holder == holder]
        assert sorted(before) == sorted((priority, number, message.delivery) for priority, number, message in held)
        for _, _, message in held:
            message.where, message.delivery = QUEUED, change(message.delivery)

    def purge(self) -> None:
        if self.random.random() < 0.3:
            queued = [(p, n) for p, n, message in self.naive.in_order() if message.where <= DELAYED]
            count, special = self.real.remove_queued()
            assert count == len(queued)
            mask = delivery.CUSTOM_ID | delivery.HAS_ERROR
            marked = {(p, n) for p, n in queued if self.naive.lanes[p][n].delivery & mask}
            assert {(p, n) for p, n, _ in each(special)} == marked
            for priority, number in queued:
                del self.naive.lanes[priority][number]

    def pass_time(self) -> None:
        self.now += self.random.randrange(150)

    def compare(self) -> None:
        real, messages = self.real, list(self.naive.in_order())
        for lane in real.lanes:
            ours = [message for priority, _, message in messages if priority == lane.priority]
            assert lane.queued == sum(message.where <= DELAYED for message in ours)
            assert lane.inflight == sum(message.where == HELD for message in ours)
            alive = list(real.living(lane.priority, 0, lane.next))
            assert [n for _, n, _ in each(alive)] == sorted(self.naive.lanes[lane.priority])
            some = self.random.randrange(lane.next + 1)
            row, message = real.state_of(lane.priority, some), self.naive.lanes[lane.priority].get(some)
            assert (row is None) == (message is None)
        assert real.custom_ids == sum(message.delivery & delivery.CUSTOM_ID for *_, message in messages)
        assert real.dead_letters == sum(message.where == BURIED for *_, message in messages)
        limit = self.random.choice([1, 5, 1000])
        due_now = [
            (p, n, m.delivery)
            for p, n, m in messages
            if m.where == QUEUED or (m.where == DELAYED and m.due <= self.now)
        ]
        assert each(real.first_queued(limit, self.now)) == due_now[:limit]
        later = sorted((m.due, -p, n) for p, n, m in messages if m.where == DELAYED and m.due > self.now)
        assert [(-p, n) for p, n, _ in each(real.first_delayed(limit, self.now))] == [(p, n) for _, p, n in later][
            :limit
        ]
        held = [(p, n) for p, n, m in messages if m.where == HELD]
        assert [(p, n) for p, n, _ in each(real.first_inflight(limit))] == held[:limit]
        for holder in HOLDERS:
            claims = real.holders.by_number.get(holder)
            assert (claims.count if claims else 0) == sum(m.where == HELD and m.holder == holder for *_, m in messages)
        future = min((m.due for *_, m in messages if m.where == DELAYED and m.due > self.now), default=None)
        # what is due already may have been queued, or not yet
        assert real.next_due == future or (real.next_due is not None and real.next_due <= self.now)


@pytest.mark.parametrize("page_numbers", [1, 4, 256])
@pytest.mark.parametrize("seed", range(5))
def test_random_programs(seed: int, page_numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    Program(seed, page_numbers, 120, monkeypatch)


def a_full_head(monkeypatch: pytest.MonkeyPatch) -> Database:
    """With fresh pages, rows, debris, holders, and pages in the head."""
    monkeypatch.setattr(state, "PAGES_IN_HEAD", 400)
    mailbox = MailboxState(page_numbers=8)
    mailbox.append(0, 100)
    mailbox.append(0, 1, delivery.CUSTOM_ID, due=77)
    for holder, limit in (11, 1), (22, 3), (11, 9):
        mailbox.claim(holder, TERMS, 5, mailbox.first_to_claim(limit, 0))
    for number in range(20, 60, 3):
        mailbox.remove(0, number, number + 1)
    mailbox.lanes[0].debris = [(20, 21), (23, 24)]
    mailbox.append(1, 3)
    database = Database()
    database.write(mailbox)
    assert database.rows
    assert mailbox.lanes[0].directory.fresh
    return database


def test_a_head_that_was_cut_or_changed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    database = a_full_head(monkeypatch)
    head = database.head
    assert database.read().pack()[0] == head
    for at in range(len(head)):
        for damaged in head[:at], head[:at] + bytes([head[at] ^ 0x41]) + head[at + 1 :], head + bytes(8):
            database.head = damaged
            with pytest.raises(DamagedError):
                database.read()


def with_sum(numbers: list[int]) -> bytes:
    body = pack(numbers)
    return pack([crc32(body)]) + body


@pytest.mark.parametrize("value", [-1, 0, 1, 7, 1 << 40, (1 << 63) - 1])
def test_no_number_in_a_head_can_do_harm(value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may write anything with a correct checksum: it is refused, or a working state."""
    database = a_full_head(monkeypatch)
    numbers = unpack(database.head)[1:]
    for at in range(len(numbers)):
        database.head = with_sum([*numbers[:at], value, *numbers[at + 1 :]])
        try:
            mailbox = database.read()
        except DamagedError:
            continue
        for lane in mailbox.lanes:
            assert 0 <= lane.frontier <= lane.next
        mailbox.first_to_claim(3, 100)
        mailbox.pack()


@pytest.mark.parametrize("value", [-1, 0, 3, 1 << 40])
def test_no_number_in_a_page_can_do_harm(value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    database = a_full_head(monkeypatch)
    (priority, number), row = next(iter(database.rows.items()))
    numbers = unpack(row.body)
    owner = database.read()
    for at in range(len(numbers)):
        changed = [*numbers[:at], value, *numbers[at + 1 :]]
        try:
            page = owner.decode_page(priority, number, changed)
        except DamagedError:
            continue
        first = number * owner.page_numbers
        assert all(first <= row[0] < row[1] <= first + owner.page_numbers for row in page.rows)
        assert [row[0] for row in page.rows] == sorted(row[0] for row in page.rows)
    for cut in range(1, len(numbers)):
        if cut % 5:
            with pytest.raises(DamagedError):
                owner.decode_page(priority, number, numbers[:cut])


def test_what_many_holders_have_and_many_holes_are_kept_in_a_small_head() -> None:
    mailbox = MailboxState()
    mailbox.append(0, 60_000)
    for first in range(0, 50_000, 100):
        mailbox.remove(0, first, first + 50)
    for holder in range(100):
        mailbox.claim(1000 + holder, TERMS, 1, mailbox.first_to_claim(1, 0))
    database = Database()
    database.write(mailbox)
    assert len(database.head) < 2048 + 100 * 80 + 1024
    mailbox = database.read()
    assert mailbox.queued == 60_000 - 25_000 - 100
    mailbox.remove(0, 30_050, 30_051)
    _, written, deleted = mailbox.pack()
    assert len(written) + len(deleted) <= 2
