"""``dequeue(wait=...)`` and ``messages()``: what callers see, however a backend learns of new messages."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from ...contract.capabilities import Capability
from ...contract.errors import MailboxClosedError
from ...contract.mailbox import Mailbox
from .._expect import expect, expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, outcome_of, payloads_of, send
from .._suite import check


@check()
async def check_wait_ends_with_nothing(sandbox: Sandbox) -> None:
    """An empty mailbox gives ``[]`` once the wait is over."""
    mailbox = await sandbox.open()
    for seconds in (0, 0.0, 0.03):
        expect_equal(await mailbox.dequeue(wait=seconds), [], f"dequeue(wait={seconds!r})")


@check()
async def check_wait_does_not_hold_back_messages(sandbox: Sandbox) -> None:
    """Messages that are already there come at once, however long the wait."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(3))
    for _ in range(3):
        payloads = payloads_of(await mailbox.dequeue(wait=math.inf))
        if b"m2" in payloads:
            return
    raise AssertionError("three waits did not bring three messages")


@check()
async def check_wait_is_ended_by_an_enqueue(sandbox: Sandbox) -> None:
    """A dequeue that waits for ever returns when a message comes, from its own handle or another."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    for sender, payload in ((mailbox, b"own"), (other, b"other's")):
        waiting = asyncio.ensure_future(mailbox.dequeue(wait=math.inf))
        await asyncio.sleep(0.02)
        await sender.enqueue(b"sender", payload)
        expect_equal(payloads_of(await waiting), [payload], "payloads")


@check()
async def check_one_message_ends_one_wait(sandbox: Sandbox) -> None:
    """If several handles wait for one message, exactly one gets it."""
    handles = [await sandbox.open() for _ in range(3)]

    async def enqueue_later() -> None:
        await asyncio.sleep(0.02)
        await handles[0].enqueue(b"sender", b"payload")

    later = asyncio.ensure_future(enqueue_later())
    await expect_one_to_get(handles, b"payload")
    await later


async def expect_one_to_get(handles: list[Mailbox], payload: bytes) -> None:
    """If all these handles wait for ever in a dequeue, one gets the message and the others keep waiting."""
    waiting = [asyncio.ensure_future(handle.dequeue(wait=math.inf)) for handle in handles]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.1)  # time for another one to get it too
        batches = [payloads_of(call.result()) for call in waiting if call.done()]
        expect_equal(batches, [[payload]], "what the handles got")
    finally:
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@check()
async def check_cancelled_wait_takes_nothing(sandbox: Sandbox) -> None:
    """A cancelled wait does not get the message that comes next."""
    mailbox = await sandbox.open()
    waiting = asyncio.ensure_future(mailbox.dequeue(wait=math.inf))
    await asyncio.sleep(0.02)
    waiting.cancel()
    await expect_error(asyncio.CancelledError, lambda: waiting)
    await mailbox.enqueue(b"sender", b"payload")
    await asyncio.sleep(0.1)  # time for a wait that might go on without its caller to take the message
    records = await drain(mailbox)
    expect_equal([(record.payload, record.delivery_count) for record in records], [(b"payload", 1)], "what came")


@check(Capability.RELEASE)
async def check_wait_is_cancelled_as_a_message_comes(sandbox: Sandbox) -> None:
    """If a wait is cancelled at any moment of an enqueue, it has the message or the next dequeue gets it as new."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    for steps in (0, 1, 2, 4, 8, 16):
        payload = b"after %d steps" % steps
        waiting = asyncio.ensure_future(mailbox.dequeue(wait=math.inf))
        await asyncio.sleep(0.02)
        enqueueing = asyncio.ensure_future(other.enqueue(b"sender", payload))
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting, enqueueing])
        await enqueueing
        await asyncio.sleep(0.05)  # time for a wait that might go on without its caller to take the message
        records = await other.dequeue(wait=5) if waiting.cancelled() else await waiting
        expect_equal([(one.payload, one.delivery_count) for one in records], [(payload, 1)], "what came")
        expect_equal(await other.ack(records[0].id), True, "the ack")


@check(Capability.RELEASE)
async def check_waiting_handle_is_closed_as_a_message_comes(sandbox: Sandbox) -> None:
    """If a waiting handle is closed at any moment of an enqueue, the message is there afterwards, as new."""
    other = await sandbox.open()
    for steps in (0, 1, 2, 4, 8, 16):
        payload = b"after %d steps" % steps
        mailbox = await sandbox.open()
        waiting = asyncio.ensure_future(outcome_of(mailbox.dequeue(wait=math.inf)))
        await asyncio.sleep(0.02)
        enqueueing = asyncio.ensure_future(other.enqueue(b"sender", payload))
        for _ in range(steps):
            await asyncio.sleep(0)
        await mailbox.close()
        await enqueueing
        outcome = await waiting
        if not isinstance(outcome, MailboxClosedError):
            expect(not isinstance(outcome, Exception), f"the waiting dequeue ended with {outcome!r}")
        records = await other.dequeue(wait=5)
        expect_equal([(one.payload, one.delivery_count) for one in records], [(payload, 1)], "what came")
        expect_equal(await other.ack(records[0].id), True, "the ack")


@check()
async def check_wait_ends_when_the_handle_is_closed(sandbox: Sandbox) -> None:
    """A waiting dequeue ends with ``MailboxClosedError`` when its handle is closed."""
    mailbox = await sandbox.open()
    waiting = asyncio.ensure_future(outcome_of(mailbox.dequeue(wait=math.inf)))
    await asyncio.sleep(0.02)
    await mailbox.close()
    outcome = await waiting
    expect(isinstance(outcome, MailboxClosedError), f"the waiting dequeue ended with {outcome!r}")


@check()
async def check_messages_come_one_by_one_until_closed(sandbox: Sandbox) -> None:
    """``messages()`` gives each message once, in order, as it comes, and ends when the handle is closed."""
    mailbox = await sandbox.open()
    seen: list[bytes] = []
    all_seen = asyncio.Event()

    async def consume() -> None:
        async for record in mailbox.messages():
            seen.append(record.payload)
            await mailbox.ack(record.id)
            if len(seen) == 6:
                all_seen.set()

    consumer = asyncio.ensure_future(consume())
    await send(mailbox, numbered(3, "early"))
    await asyncio.sleep(0.02)
    await send(mailbox, numbered(3, "late"))
    await all_seen.wait()
    expect_equal(seen, numbered(3, "early") + numbered(3, "late"), "payloads")
    await mailbox.close()
    await consumer


async def _wakes(waiter: Mailbox, by: Callable[[], Awaitable[object]], wanted: list[bytes], what: str) -> None:
    """A dequeue of ``waiter`` that waits for ever returns with ``wanted`` after ``by``, and not before."""
    waiting = asyncio.ensure_future(waiter.dequeue(wait=math.inf))
    await asyncio.sleep(0.03)
    expect(not waiting.done(), f"the wait was over before {what}")
    await by()
    records = await waiting
    expect_equal(payloads_of(records), wanted, f"payloads after {what}")
    for record in records:
        await waiter.ack(record.id)


@check(Capability.WAIT)
async def check_wait_is_ended_by_what_comes_back(sandbox: Sandbox) -> None:
    """A dequeue that waits for ever returns when another handle gives messages back: by ``nack`` or ``close``."""
    waiter, holder = await sandbox.open(), await sandbox.open()
    if Capability.NACK in waiter.capabilities:
        message_id = await holder.enqueue(b"sender", b"nacked")
        await holder.dequeue()
        await _wakes(waiter, lambda: holder.nack(message_id), [b"nacked"], "a nack")
    if Capability.RELEASE in waiter.capabilities:
        await send(holder, numbered(2))
        await holder.dequeue()
        await _wakes(waiter, holder.close, numbered(2), "the close of another handle")


@check(Capability.WAIT, Capability.DEAD_LETTERS)
async def check_wait_is_ended_by_a_redrive(sandbox: Sandbox) -> None:
    """A dequeue that waits for ever returns with a dead letter that its own handle or another redrives."""
    waiter, other = await sandbox.open(), await sandbox.open()
    for handle in (waiter, other):
        message_id = await handle.enqueue(b"sender", b"redriven")
        await handle.dequeue()
        await handle.dead_letter(message_id, "on purpose")
        await _wakes(waiter, partial(handle.redrive, message_id), [b"redriven"], "a redrive")


@check(Capability.WAIT, Capability.RELEASE, needs_limit=True)
async def check_wait_is_ended_by_a_loop_that_is_left(sandbox: Sandbox) -> None:
    """A dequeue that waits for ever returns with what a loop over ``messages()`` gives back when it is left."""
    waiter, other = await sandbox.open(), await sandbox.open()

    await send(other, numbered(3))
    messages: Any = other.messages()
    expect_equal((await anext(messages)).payload, b"m0", "payload of the loop")
    await _wakes(waiter, messages.aclose, numbered(3)[1:], "a loop that was left")


@check(Capability.WAIT, needs_limit=True)
async def check_many_wait_and_each_message_comes_once(sandbox: Sandbox) -> None:
    """If many dequeues of several handles wait at once, each message goes to one of them, and every one returns."""
    handles = [await sandbox.open() for _ in range(3)]
    waiting = [asyncio.ensure_future(handle.dequeue(1, wait=math.inf)) for handle in handles for _ in range(4)]
    await asyncio.sleep(0.02)
    payloads = numbered(12)
    await send(handles[0], payloads[:5])
    await asyncio.gather(*(handles[number % 3].enqueue(b"sender", payloads[number]) for number in range(5, 12)))
    batches = await asyncio.gather(*waiting)
    expect_equal(sorted(payload for batch in batches for payload in payloads_of(batch)), sorted(payloads), "payloads")


@check(Capability.WAIT, Capability.DELAY, needs_limit=True)
async def check_each_due_message_ends_a_wait(sandbox: Sandbox) -> None:
    """If several dequeues wait while messages become due one by one, each message ends one wait without a new call."""
    mailbox = await sandbox.open()
    waiting = [asyncio.ensure_future(mailbox.dequeue(1, wait=math.inf)) for _ in range(3)]
    await asyncio.sleep(0.02)
    for number in range(3):
        await mailbox.enqueue(b"sender", b"m%d" % number, delay=0.1 * (number + 1))
    batches = await asyncio.gather(*waiting)
    expect_equal(sorted(payload for batch in batches for payload in payloads_of(batch)), numbered(3), "payloads")


@check(Capability.WAIT)
async def check_one_wait_is_cancelled_and_others_go_on(sandbox: Sandbox) -> None:
    """Cancelling one of a handle's waits leaves the others waiting; they get what comes."""
    mailbox = await sandbox.open()
    waiting = [asyncio.ensure_future(mailbox.dequeue(wait=math.inf)) for _ in range(3)]
    await asyncio.sleep(0.02)
    waiting[0].cancel()
    waiting[2].cancel()
    await asyncio.gather(waiting[0], waiting[2], return_exceptions=True)
    expect(not waiting[1].done(), "a wait ended because another was cancelled")
    await mailbox.enqueue(b"sender", b"payload")
    expect_equal(payloads_of(await waiting[1]), [b"payload"], "payloads")


@check()
async def check_two_loops_share_the_messages(sandbox: Sandbox) -> None:
    """Loops over ``messages()`` of two handles see each message once between them."""
    handles = [await sandbox.open(), await sandbox.open()]
    seen: list[bytes] = []
    all_seen = asyncio.Event()

    async def consume(mailbox: Mailbox) -> None:
        async for record in mailbox.messages():
            seen.append(record.payload)
            await mailbox.ack(record.id)
            if len(seen) == 40:
                all_seen.set()

    consumers = [asyncio.ensure_future(consume(handle)) for handle in handles]
    sender = await sandbox.open()
    await send(sender, numbered(40))
    await all_seen.wait()
    for handle in handles:
        await handle.close()
    await asyncio.gather(*consumers)
    expect_equal(sorted(seen), sorted(numbered(40)), "payloads")
    stats = await sender.status()
    expect_equal((stats.queued_messages, stats.inflight_messages), (0, 0), "queued and inflight messages")
