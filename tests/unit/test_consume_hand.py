"""The hand of a consumer, against a list."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest

from pymailbox import MessagePriority, MessageRecord, MessageStatus
from pymailbox.actors.hand import Hand, HandBySender

NORMAL, HIGH = MessagePriority


def record(number: int, sender: bytes = b"", priority: MessagePriority = NORMAL) -> MessageRecord:
    return MessageRecord(UUID(int=number), sender, b"", priority, datetime.now(UTC), MessageStatus.INFLIGHT, 1)


def numbers(records: list[MessageRecord]) -> list[int]:
    return [record.id.int for record in records]


@pytest.mark.parametrize("hand", [Hand(), HandBySender()])
def test_order_and_putting_back(hand: Hand) -> None:
    hand.add([record(1, b"a"), record(2, b"b"), record(3, b"c")])
    first = hand.take()
    assert first is not None
    hand.put_back(first)
    hand.finished(first)
    assert len(hand) == 3
    assert numbers([taken for _ in range(3) if (taken := hand.take())]) == [1, 2, 3]
    assert hand.take() is None


def test_without_order_nothing_waits_behind() -> None:
    hand = Hand()
    hand.add([record(1), record(2)])
    taken = hand.take()
    assert taken is not None
    assert hand.behind(taken) == hand.take_behind(taken) == []
    assert numbers(hand.take_all()) == [2]


@pytest.mark.parametrize(("hand", "order"), [(Hand(), [3, 4, 1, 2]), (HandBySender(), [3, 4, 1])])
def test_high_priority_is_taken_first(hand: Hand, order: list[int]) -> None:
    hand.add([record(1, b"a"), record(2, b"b")])
    hand.add([record(3, b"c", HIGH), record(4, b"b", HIGH)])
    assert numbers([taken for _ in range(4) if (taken := hand.take())]) == order


def test_what_waits_for_a_handler_alone_can_be_taken_out() -> None:
    hand = HandBySender()
    hand.add([record(1, b"a"), record(2, b"a"), record(3, b"b"), record(4, b"b")])
    taken = hand.take()
    assert taken is not None
    assert numbers(hand.take_free()) == [3, 4]
    assert (len(hand), hand.take()) == (1, None)
    hand.finished(taken)
    assert numbers(hand.take_free()) == [2]


def test_what_waits_behind_can_be_taken_out() -> None:
    hand = HandBySender()
    hand.add([record(1, b"a"), record(2, b"a"), record(3, b"b"), record(4, b"a")])
    taken = hand.take()
    assert taken is not None
    assert numbers(hand.behind(taken)) == [2, 4]
    assert len(hand) == 3
    assert numbers(hand.take_behind(taken)) == [2, 4]
    assert hand.behind(taken) == []
    assert len(hand) == 1
    hand.finished(taken)
    assert numbers(hand.take_all()) == [3]
    assert hand.take() is None


@pytest.mark.parametrize("seed", range(50))
def test_by_sender_agrees_with_a_list(seed: int) -> None:
    """The next one is always the first of its priority in the list whose sender has nothing in hand."""
    random = Random(seed)
    hand = HandBySender()
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
            hand.add(records)
            waiting += records
        elif step < 0.65:
            busy = {one.sender for one in taken}
            in_order = sorted(waiting, key=lambda one: -one.priority)
            wanted = next((one for one in in_order if one.sender not in busy), None)
            assert hand.take() is wanted
            if wanted is not None:
                waiting.remove(wanted)
                taken.append(wanted)
        elif step < 0.9 and taken:
            done = taken.pop(random.randrange(len(taken)))
            if random.random() < 0.3:
                hand.put_back(done)
                waiting.insert(0, done)
            hand.finished(done)
        elif step > 0.98:
            assert hand.take_all() == sorted(waiting, key=lambda one: -one.priority)
            waiting.clear()
        elif step > 0.95 and taken:
            behind = [one for one in waiting if one.sender == taken[0].sender]
            behind.sort(key=lambda one: -one.priority)
            assert hand.take_behind(taken[0]) == behind
            waiting = [one for one in waiting if one not in behind]
        assert len(hand) == len(waiting)
