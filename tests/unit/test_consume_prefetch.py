"""The prefetch buffer of a consumer, against a list."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest

from pymailbox import MessagePriority, MessageRecord, MessageStatus
from pymailbox.actors.prefetch import PrefetchBuffer, SenderOrderedBuffer

NORMAL, HIGH = MessagePriority


def record(number: int, sender: bytes = b"", priority: MessagePriority = NORMAL) -> MessageRecord:
    return MessageRecord(UUID(int=number), sender, b"", priority, datetime.now(UTC), MessageStatus.INFLIGHT, 1)


def numbers(records: list[MessageRecord]) -> list[int]:
    return [record.id.int for record in records]


@pytest.mark.parametrize("buffer", [PrefetchBuffer(), SenderOrderedBuffer()])
def test_order_and_putting_back(buffer: PrefetchBuffer) -> None:
    buffer.add([record(1, b"a"), record(2, b"b"), record(3, b"c")])
    first = buffer.take()
    assert first is not None
    buffer.put_back(first)
    buffer.finished(first)
    assert len(buffer) == 3
    assert numbers([taken for _ in range(3) if (taken := buffer.take())]) == [1, 2, 3]
    assert buffer.take() is None


def test_without_order_nothing_waits_behind() -> None:
    buffer = PrefetchBuffer()
    buffer.add([record(1), record(2)])
    taken = buffer.take()
    assert taken is not None
    assert buffer.successors(taken) == buffer.take_successors(taken) == []
    assert numbers(buffer.take_all()) == [2]


@pytest.mark.parametrize(("buffer", "order"), [(PrefetchBuffer(), [3, 4, 1, 2]), (SenderOrderedBuffer(), [3, 4, 1])])
def test_high_priority_is_taken_first(buffer: PrefetchBuffer, order: list[int]) -> None:
    buffer.add([record(1, b"a"), record(2, b"b")])
    buffer.add([record(3, b"c", HIGH), record(4, b"b", HIGH)])
    assert numbers([taken for _ in range(4) if (taken := buffer.take())]) == order


def test_what_waits_for_a_handler_alone_can_be_taken_out() -> None:
    buffer = SenderOrderedBuffer()
    buffer.add([record(1, b"a"), record(2, b"a"), record(3, b"b"), record(4, b"b")])
    taken = buffer.take()
    assert taken is not None
    assert buffer.has_free
    assert numbers(buffer.take_free()) == [3, 4]
    assert (len(buffer), buffer.has_free, buffer.take()) == (1, False, None)
    buffer.finished(taken)
    assert buffer.has_free
    assert numbers(buffer.take_free()) == [2]


def test_what_waits_behind_can_be_taken_out() -> None:
    buffer = SenderOrderedBuffer()
    buffer.add([record(1, b"a"), record(2, b"a"), record(3, b"b"), record(4, b"a")])
    taken = buffer.take()
    assert taken is not None
    assert numbers(buffer.successors(taken)) == [2, 4]
    assert len(buffer) == 3
    assert numbers(buffer.take_successors(taken)) == [2, 4]
    assert buffer.successors(taken) == []
    assert len(buffer) == 1
    buffer.finished(taken)
    assert numbers(buffer.take_all()) == [3]
    assert buffer.take() is None


@pytest.mark.parametrize("seed", range(50))
def test_by_sender_agrees_with_a_list(seed: int) -> None:
    """The next one is always the first of its priority in the list whose sender has no message in work."""
    random = Random(seed)
    buffer = SenderOrderedBuffer()
    waiting: list[MessageRecord] = []
    taken: list[MessageRecord] = []
    count = 0
    for _ in range(300):
        step = random.random()
        if step < 0.3:
            records = [
                record(count + n, random.choice([b"a", b"b", b"c"]), random.choice([NORMAL, NORMAL, HIGH]))
                for n in range(random.randrange(4))
            ]
            count += len(records)
            buffer.add(records)
            waiting += records
        elif step < 0.65:
            busy = {one.sender for one in taken}
            in_order = sorted(waiting, key=lambda one: -one.priority)
            wanted = next((one for one in in_order if one.sender not in busy), None)
            assert buffer.take() is wanted
            if wanted is not None:
                waiting.remove(wanted)
                taken.append(wanted)
        elif step < 0.9 and taken:
            done = taken.pop(random.randrange(len(taken)))
            if random.random() < 0.3:
                buffer.put_back(done)
                waiting.insert(0, done)
            buffer.finished(done)
        elif step > 0.98:
            assert buffer.take_all() == sorted(waiting, key=lambda one: -one.priority)
            waiting.clear()
        elif step > 0.95 and taken:
            behind = [one for one in waiting if one.sender == taken[0].sender]
            behind.sort(key=lambda one: -one.priority)
            assert buffer.take_successors(taken[0]) == behind
            waiting = [one for one in waiting if one not in behind]
        assert len(buffer) == len(waiting)
