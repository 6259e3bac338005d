"""When the actor loop acknowledges, and which handlers follow each other at once."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pymailbox import (
    ConnectionLostError,
    Context,
    Mailbox,
    MessageRecord,
    NewMessage,
    Reject,
    RetryPolicy,
    open_mailbox,
    set_suspendable,
    sync,
)
from pymailbox.actors import consumer as consumer_module
from pymailbox.actors import retrying as storage_module
from pymailbox.actors.pace import Pace
from tests.unit.staged_mailboxes import StagedMailbox

NEVER = 1000.0
"""Seconds."""


@pytest.fixture(autouse=True)
def whole_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim takes everything, nothing goes back, and no acknowledgement stops waiting by itself."""
    monkeypatch.setattr(Pace, "soon", lambda pace: 100)
    monkeypatch.setattr(consumer_module, "SOON", NEVER)
    monkeypatch.setattr(consumer_module, "LINGER", NEVER)
    monkeypatch.setattr(storage_module, "_PAUSES", RetryPolicy(first_delay=0.001, longest_delay=0.002))


async def until(seen: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not seen():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def fill(mailbox: Mailbox, count: int) -> None:
    await mailbox.enqueue_many([NewMessage(b"sender", b"%d" % number) for number in range(count)])


def numbers(records: list[MessageRecord]) -> list[int]:
    return sorted(int(record.payload) for record in records)


class Gated:
    """A handler that is quick up to a message, which it works on until it may end."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.reached = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self, message: MessageRecord) -> None:
        if int(message.payload) == self.number:
            self.reached.set()
            await self.may_end.wait()


# -- what waits for the next claim -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suspends", [True, False])
async def test_quick_handlers_of_a_batch_are_acknowledged_with_the_next_claim(suspends: bool) -> None:
    async with StagedMailbox() as mailbox:
        await fill(mailbox, 10)

        async def handler(message: MessageRecord) -> None:
            if suspends:
                await asyncio.sleep(0)

        consumer = mailbox.consume(handler)
        task = asyncio.ensure_future(consumer)
        await until(lambda: mailbox.events.count("claim begins") == 2)
        # a stop would repeat an acknowledgement that is under way
        await until(lambda: not any(mailbox._namespace.store(mailbox.name).bodies.lanes))
        consumer.stop()
        await task
        # while the last handler runs nothing more can begin, so its acknowledgement may be separate
        assert mailbox.events.count("ack begins") <= 2
        # one call, and so one transaction
        second_claim = mailbox.events.index("claim begins", mailbox.events.index("claim ends"))
        assert mailbox.events[second_claim - 1] == "ack begins"
        assert await mailbox.peek(10) == []


async def test_acks_do_not_wait_for_a_slow_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "LINGER", 0.0)
    async with StagedMailbox() as mailbox:
        await fill(mailbox, 5)
        handler = Gated(3)
        consumer = mailbox.consume(handler)
        task = asyncio.ensure_future(consumer)
        await handler.reached.wait()
        await until(lambda: not consumer._handled and not consumer._acks)
        assert numbers(await mailbox.peek(10)) == [3, 4]
        handler.may_end.set()
        consumer.stop()
        await task


async def test_acks_do_not_wait_for_a_synchronous_handler() -> None:
    async with StagedMailbox() as mailbox:
        await fill(mailbox, 10)
        begun: list[bool] = []

        def handler(message: MessageRecord, context: Context) -> None:
            begun.append("ack begins" in mailbox.events)
            if len(begun) == 5:
                context.stop()

        await mailbox.consume(handler)
        assert begun[0] is False
        assert begun[4] is True


async def test_acks_do_not_wait_for_what_is_sent_apart() -> None:
    async with StagedMailbox() as mailbox, StagedMailbox() as target:
        await fill(mailbox, 2)
        target.held_up["enqueue"] = asyncio.Event()

        async def handler(message: MessageRecord, context: Context) -> None:
            if message.payload == b"0":
                context.send(target, b"", b"")
                await mailbox.ack(message.id)
            else:
                await until(lambda: "enqueue begins" in target.events)

        consumer = mailbox.consume(handler, concurrency=3)
        task = asyncio.ensure_future(consumer)
        await until(lambda: mailbox.events.count("ack ends") == 2)
        assert await mailbox.peek(10) == []
        target.held_up["enqueue"].set()
        consumer.stop()
        await task
        assert len(await target.peek(10)) == 1


# -- what they come before ---------------------------------------------------------------------------------------------


class Observed(StagedMailbox):
    """Records what is stored when a single message is settled."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[list[int]] = []

    async def _look(self, call: Awaitable[Any]) -> Any:
        self.stored.append(numbers(await self.peek(10)))
        return await call

    async def _ack(self, ids: list[UUID]) -> Any:
        return await self._look(super()._ack(ids))

    async def _ack_and_send(self, *given: Any) -> Any:
        return await self._look(super()._ack_and_send(*given))

    async def _nack(self, *given: Any) -> Any:
        return await self._look(super()._nack(*given))

    async def _bury(self, *given: Any) -> Any:
        return await self._look(super()._bury(*given))


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("by_sender", [False, True])
@pytest.mark.parametrize("how", ["send", "raise", "reject", "ack", "nack"])
async def test_earlier_messages_are_acknowledged_before_a_later_one_is_settled(
    how: str, by_sender: bool, fails: bool
) -> None:
    async with Observed() as mailbox, StagedMailbox() as target:
        await fill(mailbox, 6)
        if fails:
            mailbox.fail_next("ack", ConnectionLostError("planned"))

        async def handler(message: MessageRecord, context: Context) -> None:
            if message.payload != b"3" or message.delivery_count > 1:
                return
            assert "ack begins" not in mailbox.events
            if how == "send":
                context.send(target, b"", b"")
            elif how == "raise":
                raise ValueError
            elif how == "reject":
                raise Reject("no")
            else:
                await getattr(mailbox, how)(message.id)

        consumer = mailbox.consume(handler, ordered_by_sender=by_sender, retry=RetryPolicy(first_delay=0.0))
        task = asyncio.ensure_future(consumer)
        await until(lambda: mailbox.stored)
        consumer.stop()
        await task
        assert mailbox.stored[0] == [3, 4, 5]


async def test_settling_that_is_cancelled_before_it_begins_leaves_nothing() -> None:
    async with StagedMailbox() as mailbox:
        await fill(mailbox, 3)
        mailbox.held_up["ack"] = asyncio.Event()

        async def handler(message: MessageRecord) -> None:
            if message.payload == b"1":
                settling = asyncio.ensure_future(mailbox.nack(message.id))
                await until(lambda: "ack begins" in mailbox.events)
                settling.cancel()
                await asyncio.wait([settling])
                mailbox.held_up["ack"].set()

        consumer = mailbox.consume(handler, ordered_by_sender=True)
        task = asyncio.ensure_future(consumer)
        await until(lambda: not any(mailbox._namespace.store(mailbox.name).bodies.lanes))
        consumer.stop()
        await task
        assert "nack begins" not in mailbox.events


# -- how it ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["staged", "memory", "sqlite"])
async def test_closing_acknowledges_what_is_handled(backend: str, tmp_path: Path) -> None:
    def opened() -> Any:
        location = f"sqlite:///{tmp_path}/inbox.db" if backend == "sqlite" else f"memory://{tmp_path.name}"
        return StagedMailbox(tmp_path.name) if backend == "staged" else open_mailbox(location)

    async with opened() as mailbox, opened() as other:
        await fill(mailbox, 6)
        handler = Gated(4)
        task = asyncio.ensure_future(mailbox.consume(handler))
        await handler.reached.wait()
        await mailbox.close()
        assert numbers(await other.peek(10)) == [4, 5]
        handler.may_end.set()
        await task


@pytest.mark.parametrize("stops", [True, False])
def test_synchronous_closing_acknowledges_what_is_handled(tmp_path: Path, stops: bool) -> None:
    reached, may_end = threading.Event(), threading.Event()

    def handler(message: MessageRecord) -> None:
        if message.payload == b"4":
            reached.set()
            may_end.wait()

    with sync.open_mailbox(f"sqlite:///{tmp_path}/inbox.db") as mailbox:
        mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(6)])
        thread = threading.Thread(target=mailbox.consume, args=(handler,))
        thread.start()
        reached.wait()
        if stops:
            mailbox.stop_consuming()
        mailbox.close()
        may_end.set()
        thread.join()
    with sync.open_mailbox(f"sqlite:///{tmp_path}/inbox.db") as again:
        assert numbers(again.peek(10)) == [4, 5]


async def test_page_that_is_left_begins_to_acknowledge_at_once() -> None:
    async with StagedMailbox() as mailbox:
        await fill(mailbox, 4)
        handler = Gated(2)
        consumer = mailbox.consume(handler)
        task = asyncio.ensure_future(consumer)
        await handler.reached.wait()
        mailbox.leave_page()
        assert consumer._writes
        assert not consumer._handled_late
        await until(lambda: not consumer._writes)
        assert numbers(await mailbox.peek(10)) == [2, 3]
        handler.may_end.set()
        consumer.stop()
        await task


# -- handlers that follow each other at once ---------------------------------------------------------------------------


@pytest.fixture
def suspendable() -> Iterator[None]:
    set_suspendable(True)
    yield
    set_suspendable(None)


def is_begun_by_the_loop() -> bool:
    """Whether nothing of the consumer is on the stack below the running task."""
    frame: Any = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_start_handlers":
        frame = frame.f_back
    return frame is None


async def stacks(asynchronous: bool) -> list[bool]:
    async with open_mailbox("memory://") as mailbox:
        await fill(mailbox, 20)
        seen: list[bool] = []

        def handle(message: MessageRecord, context: Context) -> None:
            seen.append(is_begun_by_the_loop())
            if len(seen) == 20:
                context.stop()

        async def handle_async(message: MessageRecord, context: Context) -> None:
            handle(message, context)

        await mailbox.consume(handle_async if asynchronous else handle, concurrency=4)
        return seen


async def test_synchronous_handlers_have_a_stack_of_their_own() -> None:
    """Which ``run_sync`` can suspend without the others."""
    assert all(await stacks(asynchronous=False))


@pytest.mark.usefixtures("suspendable")
async def test_handlers_that_may_be_suspended_have_a_stack_of_their_own() -> None:
    assert all(await stacks(asynchronous=True))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has no eager tasks")
async def test_handlers_that_do_not_suspend_follow_each_other_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "AT_ONCE", NEVER)
    assert sum(await stacks(asynchronous=True)) <= 1


async def test_time_for_handlers_that_follow_each_other_is_that_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "AT_ONCE", 0.005)
    async with open_mailbox("memory://") as mailbox:
        await fill(mailbox, 80)
        handled = 0
        at_turns: list[int] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            nonlocal handled
            handled += 1
            time.sleep(0.002)  # noqa: ASYNC251
            if handled == 80:
                context.stop()

        async def look() -> None:
            while handled < 80:
                at_turns.append(handled)
                await asyncio.sleep(0)

        await asyncio.gather(mailbox.consume(handler, concurrency=8), look())
        # those with a turn of their own, and what follows one of them
        assert max(after - before for before, after in pairwise(at_turns)) <= 16
