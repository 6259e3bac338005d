"""Handlers that take too long: which may have a ``timeout``, and how they may end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from typing import Any

import pytest

from pymailbox import Context, Mailbox, MessageRecord, Reject, Retry, RetryPolicy, open_mailbox
from pymailbox.actors import time_limit

AT_ONCE = RetryPolicy(first_delay=0.0)


class Asynchronous:
    async def __call__(self, message: MessageRecord) -> None:
        pass

    async def method(self, message: MessageRecord) -> None:
        pass


class Synchronous:
    def __call__(self, message: MessageRecord) -> None:
        pass

    def method(self, message: MessageRecord) -> None:
        pass


async def asynchronous(message: MessageRecord, *, flag: bool = False) -> None:
    pass


def synchronous(message: MessageRecord, *, flag: bool = False) -> None:
    pass


@functools.wraps(asynchronous)
async def decorated(*arguments: Any, **keywords: Any) -> None:
    await asynchronous(*arguments, **keywords)


@pytest.mark.parametrize(
    "handler",
    [
        asynchronous,
        decorated,
        functools.partial(functools.partial(asynchronous), flag=True),
        Asynchronous(),
        Asynchronous().method,
        functools.partial(Asynchronous()),
    ],
)
async def test_asynchronous_handler_may_have_one(handler: Any) -> None:
    async with open_mailbox("memory://") as mailbox:
        mailbox.consume(handler, timeout=1.0).close()


@pytest.mark.parametrize(
    "handler",
    [
        synchronous,
        print,
        lambda message: None,
        functools.partial(functools.partial(synchronous), flag=True),
        Synchronous(),
        Synchronous().method,
        functools.partial(Synchronous()),
    ],
)
async def test_synchronous_handler_may_not(handler: Any) -> None:
    async with open_mailbox("memory://") as mailbox:
        with pytest.raises(TypeError, match=r"^timeout needs a handler that is an async function"):
            mailbox.consume(handler, timeout=1.0)


async def failure_of(handler: Any) -> str:
    """The error of a message whose handler takes too long."""
    async with open_mailbox("memory://", max_deliveries=1) as mailbox:
        await mailbox.enqueue(b"", b"")
        consumer = mailbox.consume(handler, timeout=0.01, retry=AT_ONCE)
        task = asyncio.ensure_future(consumer)
        await settled(mailbox)
        consumer.stop()
        await task
        [letter] = await mailbox.dead_letters()
        return letter.error or letter.reason


async def settled(mailbox: Mailbox) -> None:
    for _ in range(10_000):
        stats = await mailbox.status()
        if stats.queued_messages + stats.inflight_messages == 0:
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"not all was handled: {stats}")


async def test_error_shows_where_the_handler_was_and_nothing_of_the_loop() -> None:
    async def handler(message: MessageRecord) -> None:
        await asyncio.sleep(60)

    error = await failure_of(handler)
    assert "asyncio.sleep(60)" in error
    assert error.endswith("TimeoutError: the handler took longer than 0.01 s and was cancelled")
    assert "pymailbox/actors" not in error


async def test_error_of_a_handler_that_answers_with_another() -> None:
    async def handler(message: MessageRecord) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError("could not clean up")

    error = await failure_of(handler)
    assert "OSError: could not clean up" in error
    assert error.endswith("TimeoutError: the handler took longer than 0.01 s and was cancelled")


async def test_handler_that_ends_as_if_nothing_had_happened_has_failed_and_sent_nothing() -> None:
    async with open_mailbox("memory://late-outbox") as outbox:

        async def handler(message: MessageRecord, context: Context) -> None:
            context.send(outbox, b"", b"")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

        async with open_mailbox("memory://late", max_deliveries=1) as mailbox:
            await mailbox.enqueue(b"", b"")
            consumer = mailbox.consume(handler, timeout=0.01, retry=AT_ONCE)
            task = asyncio.ensure_future(consumer)
            await settled(mailbox)
            consumer.stop()
            await task
            [letter] = await mailbox.dead_letters()
        assert (letter.error or "").startswith("TimeoutError")
        assert (await outbox.status()).queued_messages == 0


async def test_handler_may_answer_with_reject() -> None:
    async def handler(message: MessageRecord) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            raise Reject("it always takes too long") from error

    assert (await failure_of(handler)).startswith("it always takes too long")


async def test_handler_may_answer_with_retry_or_settle_its_message() -> None:
    counts: list[int] = []

    async with open_mailbox("memory://", max_deliveries=1) as mailbox:

        async def handler(message: MessageRecord) -> None:
            counts.append(message.delivery_count)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if len(counts) < 3:
                    raise Retry(0, failed=False) from None
                await mailbox.ack(message.id)

        await mailbox.enqueue(b"", b"")
        consumer = mailbox.consume(handler, timeout=0.01)
        task = asyncio.ensure_future(consumer)
        await settled(mailbox)
        consumer.stop()
        await task
        assert counts == [1, 1, 1]
        assert await mailbox.dead_letters() == []


@pytest.mark.parametrize("seconds", [0.01, 60.0])
async def test_second_cancellation_ends_a_handler_with_and_without_its_time_over(seconds: float) -> None:
    async with open_mailbox("memory://") as mailbox:
        await mailbox.enqueue(b"", b"x")
        cancelled = 0
        begun = asyncio.Event()

        async def handler(message: MessageRecord) -> None:
            nonlocal cancelled
            try:
                if seconds > 1:
                    begun.set()
                await asyncio.sleep(60)
            finally:
                cancelled += 1
                if seconds < 1:
                    begun.set()
                    await asyncio.sleep(60)

        task = asyncio.ensure_future(mailbox.consume(handler, timeout=seconds))
        await begun.wait()
        task.cancel()
        await asyncio.sleep(0.02)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        assert cancelled == 1
        assert [record.delivery_count for record in await mailbox.dequeue()] == [1]


async def test_log_tells_of_a_handler_that_does_not_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(time_limit, "OVERDUE", 0.0)
    async with open_mailbox("memory://") as mailbox:
        message_id = await mailbox.enqueue(b"", b"x")

        async def handler(message: MessageRecord, context: Context) -> None:
            context.stop()
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.02)

        await asyncio.wait_for(mailbox.consume(handler, timeout=0.01), 10)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert f"the handler of message {message_id} was cancelled after 0.01 s and has not ended" in warnings[0]


async def test_time_that_no_timer_can_wait_is_waited_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "LONGEST_TIMER", 0.001)
    async with open_mailbox("memory://", max_deliveries=1) as mailbox:
        await mailbox.enqueue(b"", b"x")

        async def handler(message: MessageRecord, context: Context) -> None:
            await asyncio.sleep(0.01)
            context.stop()

        await asyncio.wait_for(mailbox.consume(handler, timeout=30.0), 10)
        assert (await mailbox.status()).dead_letters == 0


async def test_time_that_is_over_when_the_timer_is_set_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer may fire a moment early, and the rest pass before it is set again."""
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def call_later_as_in_pyodide(delay: float, *arguments: Any) -> asyncio.TimerHandle:
        if delay < 0:
            raise ValueError("Can't schedule in the past")
        return call_later(delay, *arguments)

    monkeypatch.setattr(loop, "call_later", call_later_as_in_pyodide)
    limit = time_limit.TimeLimit(-0.001, lambda: None)
    with pytest.raises(asyncio.CancelledError), limit:
        await asyncio.sleep(10)
    assert limit.expired
