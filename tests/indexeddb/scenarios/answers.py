"""Whoever waited for the engine goes on as after any other wait."""

import asyncio

from pyodide.ffi import can_run_sync

from pymailbox import open_mailbox, run_sync


async def check_task_that_goes_on_can_be_suspended() -> None:
    async with await open_mailbox("suspended") as mailbox:
        await asyncio.sleep(0)
        expected = can_run_sync()

        async def call() -> None:
            await mailbox.enqueue(b"me", b"hello")
            assert can_run_sync() == expected
            (message,) = await mailbox.dequeue()
            assert can_run_sync() == expected
            if expected:
                assert run_sync(mailbox.status()).inflight_messages == 1
            await mailbox.ack(message.id)
            assert can_run_sync() == expected

        await asyncio.create_task(call())
        assert (await mailbox.status()).inflight_messages == 0


async def check_task_that_is_suspended_keeps_no_other_from_going_on() -> None:
    async with await open_mailbox("shared") as mailbox:
        await asyncio.sleep(0)
        if not can_run_sync():
            return
        others = asyncio.Event()

        async def first() -> None:
            await mailbox.enqueue(b"me", b"first")
            run_sync(others.wait())

        async def second() -> None:
            await mailbox.enqueue(b"me", b"second")
            others.set()

        async with asyncio.timeout(30):
            await asyncio.gather(first(), second())
        assert await mailbox.purge() == 2


async def check_cancelled_call_is_forgotten_and_done_all_the_same() -> None:
    async with await open_mailbox("cancelled") as mailbox:
        calls = [asyncio.ensure_future(mailbox.enqueue(b"me", bytes([i]))) for i in range(3)]
        await asyncio.sleep(0)
        calls[1].cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(results[1], asyncio.CancelledError)
        assert [message.payload for message in await mailbox.dequeue()] == [b"\0", b"\1", b"\2"]


async def check_nack_tells_a_consumer_whether_it_made_a_dead_letter() -> None:
    async with await open_mailbox("told", max_deliveries=2) as mailbox:
        message_id = await mailbox.enqueue(b"", b"x")
        await mailbox.dequeue()
        assert await mailbox._nack(message_id, error="first") is True
        await mailbox.dequeue()
        reason = await mailbox._nack(message_id, error="second")
        (letter,) = await mailbox.dead_letters()
        assert reason == letter.reason, reason
        assert await mailbox._nack(message_id) is False
