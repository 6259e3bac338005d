"""Which waiters are woken: as many as there are messages, and none is forgotten."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from pymailbox import MailboxClosedError, MessagePriority, MessageRecord, MessageStatus, open_mailbox
from pymailbox.backends.notifier import ClaimAttempt, Listener, Notifier, claim_or_wait
from pymailbox.contract.moments import now_in_ms

NAME = "inbox"


def message(number: int) -> MessageRecord:
    epoch = datetime.fromtimestamp(0, UTC)
    return MessageRecord(UUID(int=number), b"", b"", MessagePriority.NORMAL, epoch, MessageStatus.INFLIGHT, 1)


class Queue:
    """The messages, and how often somebody has looked."""

    def __init__(self) -> None:
        self.notifier = Notifier()
        self.messages: list[MessageRecord] = []
        self.next_due: int | None = None
        self.looks = 0
        self.before_look: Callable[[], Awaitable[None]] | None = None

    def store(self, count: int = 1) -> None:
        self.messages += map(message, range(count))
        self.notifier.notify(NAME, None, count=count)

    def waiter(self, limit: int = 1, wait: float = math.inf) -> tuple[Listener, asyncio.Task[list[MessageRecord]]]:
        listener = Listener(asyncio.get_running_loop())

        async def look() -> ClaimAttempt:
            self.looks += 1
            if self.before_look is not None:
                await self.before_look()
            if self.next_due is not None and self.next_due <= now_in_ms():
                self.next_due = None
                self.messages.append(message(0))
            found, self.messages = self.messages[:limit], self.messages[limit:]
            return ClaimAttempt(found, self.next_due, more=bool(self.messages))

        return listener, asyncio.create_task(claim_or_wait(self.notifier, NAME, listener, look, wait))

    async def settle(self) -> None:
        """Lets everybody finish what they have to do."""
        for _ in range(200):
            await asyncio.sleep(0)


@pytest.fixture
def queue() -> Queue:
    return Queue()


async def cancel(tasks: list[asyncio.Task[list[MessageRecord]]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("limit", [1, 32])
async def test_a_message_wakes_one_of_many(queue: Queue, limit: int) -> None:
    tasks = [queue.waiter(limit)[1] for _ in range(50)]
    await queue.settle()
    looks = queue.looks
    for number in range(20):
        queue.store()
        await queue.settle()
        assert sum(task.done() for task in tasks) == number + 1
    assert queue.looks - looks <= 2 * 20
    await cancel(tasks)


async def test_a_batch_serves_as_many_as_it_has_messages_for(queue: Queue) -> None:
    tasks = [queue.waiter()[1] for _ in range(10)]
    await queue.settle()
    queue.store(4)
    await queue.settle()
    assert sum(task.done() for task in tasks) == 4
    await cancel(tasks)


async def test_messages_that_come_at_once_reach_everybody_who_waits(queue: Queue) -> None:
    tasks = [queue.waiter()[1] for _ in range(10)]
    await queue.settle()
    for _ in range(10):
        queue.store()
    await queue.settle()
    assert all(task.done() for task in tasks)


async def test_a_batch_that_is_cut_short_leaves_a_look_to_another(queue: Queue) -> None:
    """It may be, by its bytes or before a message that has to come alone."""
    tasks = [queue.waiter(limit=1)[1] for _ in range(4)]
    await queue.settle()
    queue.messages += map(message, range(3))
    queue.notifier.notify(NAME, None)  # that some have come back, but not how many
    await queue.settle()
    assert not queue.messages
    await cancel(tasks)


async def test_who_is_woken_and_cancelled_wakes_another(queue: Queue) -> None:
    tasks = [queue.waiter()[1] for _ in range(3)]
    await queue.settle()
    queue.store()
    tasks[0].cancel()  # before it could look
    await queue.settle()
    assert [task.done() for task in tasks] == [True, True, False]
    assert tasks[0].cancelled()
    await cancel(tasks)


async def test_who_is_woken_and_closed_wakes_another(queue: Queue) -> None:
    (listener, first), (_, second) = queue.waiter(), queue.waiter()
    await queue.settle()
    queue.store()
    listener.close()
    await queue.settle()
    with suppress(MailboxClosedError):
        await first  # or it was served before it learned of that
    assert second.done() is (first.exception() is not None)
    await cancel([second])


async def test_a_look_that_fails_is_made_by_another(queue: Queue) -> None:
    tasks = [queue.waiter()[1] for _ in range(2)]
    await queue.settle()

    async def fail() -> None:
        queue.before_look = None
        raise OSError

    queue.before_look = fail
    queue.store()
    await queue.settle()
    assert isinstance(tasks[0].exception(), OSError)
    assert len(tasks[1].result()) == 1


async def test_one_wakes_for_what_falls_due_and_another_when_that_one_leaves(queue: Queue) -> None:
    queue.next_due = now_in_ms() + 300
    tasks = [queue.waiter()[1] for _ in range(20)]
    await queue.settle()
    looks = queue.looks
    await cancel(tasks[:1])  # the one that kept the time
    async with asyncio.timeout(30):
        await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
    assert queue.looks - looks <= 5
    await cancel(tasks)


async def test_waiting_ends_in_time_though_others_wait(queue: Queue) -> None:
    tasks = [queue.waiter()[1], queue.waiter(wait=0.05)[1]]
    async with asyncio.timeout(30):
        assert await tasks[1] == []
    assert not tasks[0].done()
    await cancel(tasks)


async def test_nobody_is_left_over(queue: Queue) -> None:
    await cancel([queue.waiter()[1] for _ in range(10)])
    assert not queue.notifier.listening


class Depths(list[int]):
    def on_depth_change(self, queued_messages: int) -> None:
        self.append(queued_messages)


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
async def test_no_older_depth_comes_after_that_of_ones_own_enqueue(scheme: str, tmp_path: Path) -> None:
    location = f"memory://{uuid4()}" if scheme == "memory" else f"sqlite:///{tmp_path}/mail.db"
    async with open_mailbox(location) as mailbox, open_mailbox(location) as other:
        mailbox.set_depth_observer(depths := Depths())
        for queued in range(6, 37, 6):
            for _ in range(5):
                await other.enqueue(b"", b"")
            await mailbox.enqueue(b"", b"")
            assert depths[-1] == queued
            await asyncio.sleep(0.02)
            assert depths[-1] == queued, depths
            assert depths == sorted(depths)
