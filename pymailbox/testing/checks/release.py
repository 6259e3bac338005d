"""What a handle gives back when it is closed or a ``dequeue`` is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from ...contract.capabilities import Capability
from ...contract.errors import MailboxClosedError
from ...contract.mailbox import Mailbox
from ...contract.values import MessagePriority, MessageRecord, NewMessage
from .._expect import eventually, expect_equal, expect_error, expect_no_repeats
from .._sandbox import Sandbox, drain, numbered, outcome_of, payloads_of, send
from .._suite import check


async def _inflight(mailbox: Mailbox) -> int:
    return (await mailbox.status()).inflight_messages


@check(Capability.RELEASE)
async def check_close_gives_back_what_is_held(sandbox: Sandbox) -> None:
    """After ``close`` what the handle held is queued again, at its old place and for others to take."""
    holder, other = await sandbox.open(), await sandbox.open()
    await send(holder, numbered(3))
    await send(holder, numbered(2, "high"), priority=MessagePriority.HIGH)
    held = await drain(holder)
    await send(other, numbered(1, "later"))
    await send(other, numbered(1, "later-high"), priority=MessagePriority.HIGH)
    await holder.ack(held[3].id)
    await holder.close()
    stats = await other.status()
    expect_equal((stats.queued_messages, stats.inflight_messages), (6, 0), "queued and inflight messages")
    records = await drain(other)
    wanted = [b"high0", b"high1", b"later-high0", b"m0", b"m2", b"later0"]
    expect_equal(payloads_of(records), wanted, "payloads")


@check(Capability.RELEASE)
async def check_release_takes_the_hand_out_back(sandbox: Sandbox) -> None:
    """A message that was given back counts as never handed out: its delivery_count is 1 the next time."""
    watcher = await sandbox.open()
    ids = [await watcher.enqueue(b"sender", payload) for payload in numbered(3)]
    for _ in range(3):
        mailbox = await sandbox.open()
        records = await drain(mailbox)
        expect_equal([record.id for record in records], ids, "ids")
        expect_equal([record.delivery_count for record in records], [1, 1, 1], "delivery counts")
        await mailbox.close()
        if Capability.PEEK in watcher.capabilities:
            shown = await watcher.peek()
            expect_equal([record.delivery_count for record in shown], [0, 0, 0], "delivery counts of what is queued")


@check(Capability.RELEASE, Capability.NACK)
async def check_release_keeps_earlier_deliveries(sandbox: Sandbox) -> None:
    """A release undoes only its own hand-out: earlier deliveries still count."""
    watcher = await sandbox.open()
    await watcher.enqueue(b"sender", b"payload")
    for _ in range(2):
        [record] = await watcher.dequeue()
        await watcher.nack(record.id)
    for _ in range(2):
        holder = await sandbox.open()
        expect_equal([record.delivery_count for record in await drain(holder)], [3], "delivery counts")
        await holder.close()
    expect_equal([record.delivery_count for record in await drain(watcher)], [3], "delivery counts at last")


@check(Capability.RELEASE)
async def check_release_leaves_others_alone(sandbox: Sandbox) -> None:
    """Closing gives back only what this handle held."""
    first, second = await sandbox.open(), await sandbox.open()
    await send(first, numbered(2, "first"))
    await drain(first)
    await send(second, numbered(3, "second"))
    kept = await drain(second)
    await first.close()
    expect_equal(payloads_of(await drain(second)), numbered(2, "first"), "what was given back")
    expect_equal([await second.ack(record.id) for record in kept], [True] * 3, "acks of what the other handle held")


@check(Capability.RELEASE)
async def check_release_never_brings_back_an_acked_message(sandbox: Sandbox) -> None:
    """A message that is acked before or while its holder closes stays gone."""
    for _ in range(5):
        holder, other = await sandbox.open(), await sandbox.open()
        ids = [await holder.enqueue(b"sender", payload) for payload in numbered(4)]
        await drain(holder)
        await other.ack(ids[0])
        answers = await asyncio.gather(other.ack(ids[1]), holder.close(), other.ack(ids[2]))
        expect_equal(answers, [True, None, True], "acks beside close")
        records = await drain(other)
        expect_equal(payloads_of(records), [b"m3"], "payloads")
        expect_equal(await other.ack(records[0].id), True, "ack of the one that is left")
        await other.close()


@check(Capability.RELEASE)
async def check_calls_before_close_see_what_is_held(sandbox: Sandbox) -> None:
    """Calls made before ``close`` run before the release: for them the handle still holds its messages."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(5))
    await drain(mailbox)
    # the enqueue gives a backend that shares commits a reason to let the close overtake the status
    _, stats, _ = await asyncio.gather(mailbox.enqueue(b"sender", b"late"), mailbox.status(), mailbox.close())
    expect_equal(stats.inflight_messages, 5, "inflight messages, seen by a call before close")
    expect_equal(await _inflight(other), 0, "inflight messages after close")


@check(Capability.RELEASE)
async def check_close_during_a_dequeue_strands_nothing(sandbox: Sandbox) -> None:
    """What a dequeue takes while its handle is being closed goes back."""
    for steps in range(5):
        label = f"-{steps}"
        mailbox = await sandbox.open(label)
        await send(mailbox, numbered(5))
        call = asyncio.ensure_future(outcome_of(mailbox.dequeue()))
        for _ in range(steps):
            await asyncio.sleep(0)
        await mailbox.close()
        outcome = await call
        if isinstance(outcome, Exception) and not isinstance(outcome, MailboxClosedError):
            raise outcome
        records = await drain(await sandbox.open(label))
        expect_equal(payloads_of(records), numbered(5), "payloads")
        expect_equal([record.delivery_count for record in records], [1] * 5, "delivery counts")


@check(Capability.RELEASE)
async def check_cancelled_dequeue_hands_nothing_out(sandbox: Sandbox) -> None:
    """A dequeue that is cancelled at any moment leaves its messages queued, as if it had not been called."""
    mailbox = await sandbox.open()
    for steps in range(8):
        await send(mailbox, numbered(5))
        call = asyncio.ensure_future(mailbox.dequeue())
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        records: list[MessageRecord] = []
        try:
            # too late to cancel it: then it handed out what it returned
            records = await call
        except asyncio.CancelledError:
            await eventually(partial(_inflight, mailbox), 0, f"inflight messages, cancelled after {steps} steps")
        records += await drain(mailbox)
        expect_equal(payloads_of(records), numbered(5), f"payloads, cancelled after {steps} steps")
        expect_equal([record.delivery_count for record in records], [1] * 5, "delivery counts")
        for record in records:
            await mailbox.ack(record.id)


@check(Capability.RELEASE, Capability.ENQUEUE_MANY, needs_limit=True)
async def check_cancelled_loop_of_dequeues_strands_nothing(sandbox: Sandbox) -> None:
    """A loop of dequeues that is cancelled as soon as it lets others run keeps what it got; the rest stays queued."""
    mailbox = await sandbox.open(batch_size=2000)
    payloads = numbered(6000)
    await mailbox.enqueue_many([NewMessage(b"sender", payload) for payload in payloads])
    taken: list[bytes] = []

    async def take_one_by_one() -> None:
        while records := await mailbox.dequeue(1):
            taken.extend(payloads_of(records))

    loop = asyncio.ensure_future(take_one_by_one())
    await asyncio.sleep(0)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    await eventually(partial(_inflight, mailbox), len(taken), "inflight messages")
    expect_equal(taken, payloads[: len(taken)], "payloads of the loop")
    rest = await drain(mailbox)
    expect_equal(payloads_of(rest), payloads[len(taken) :], "payloads after the loop")
    expect_equal({record.delivery_count for record in rest}, {1}, "delivery counts")


@check(Capability.RELEASE)
async def check_cancelled_dequeue_beside_others(sandbox: Sandbox) -> None:
    """If some of several simultaneous dequeues are cancelled, only those hand nothing out."""
    for steps in range(5):
        mailbox = await sandbox.open(f"-{steps}")
        await send(mailbox, numbered(70))
        calls = [asyncio.ensure_future(mailbox.dequeue()) for _ in range(4)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        batches = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        handed_out = [payload for batch in batches for payload in payloads_of(batch)]
        await eventually(partial(_inflight, mailbox), len(handed_out), f"inflight messages after {steps} steps")
        rest = payloads_of(await drain(mailbox))
        expect_no_repeats(handed_out + rest, "payloads")
        expect_equal(sorted(handed_out + rest), sorted(numbered(70)), "all payloads")


async def _leave_after_two(mailbox: Mailbox, leave: Callable[[], Awaitable[None]]) -> None:
    """Two turns of a loop over ``messages()``; the second leaves it."""
    turns = 0
    async for record in mailbox.messages():
        turns += 1
        if turns == 1:
            await mailbox.ack(record.id)
        else:
            await leave()
            break


async def _leave_by_break(mailbox: Mailbox) -> None:
    async def nothing() -> None:
        pass

    await _leave_after_two(mailbox, nothing)


async def _leave_by_an_error(mailbox: Mailbox) -> None:
    async def fail() -> None:
        raise KeyError("on purpose")

    await expect_error(KeyError, _leave_after_two, mailbox, fail)


async def _leave_by_cancelling(mailbox: Mailbox) -> None:
    inside = asyncio.Event()

    async def wait() -> None:
        inside.set()
        await asyncio.sleep(1000)

    loop = asyncio.ensure_future(_leave_after_two(mailbox, wait))
    await inside.wait()
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def _leave_by_aclose(mailbox: Mailbox) -> None:
    messages: Any = mailbox.messages()
    async with aclosing(messages):
        await mailbox.ack((await anext(messages)).id)
        await anext(messages)
    expect_equal([record async for record in messages], [], "what comes after aclose()")


@check(Capability.RELEASE, needs_limit=True)
async def check_messages_gives_back_what_it_did_not_yield(sandbox: Sandbox) -> None:
    """However a loop over ``messages()`` is left, what it had claimed and not yielded is queued again as before."""
    for number, leave in enumerate((_leave_by_break, _leave_by_an_error, _leave_by_cancelling, _leave_by_aclose)):
        mailbox = await sandbox.open(f"-{number}")
        await send(mailbox, numbered(6))
        await leave(mailbox)
        # the second message was yielded: it stays with the handle until that decides
        await eventually(partial(_inflight, mailbox), 1, f"inflight messages, {leave.__name__}")
        records = await drain(mailbox)
        expect_equal(payloads_of(records), numbered(6)[2:], f"payloads, {leave.__name__}")
        expect_equal([record.delivery_count for record in records], [1] * 4, f"delivery counts, {leave.__name__}")


@check(Capability.RELEASE, needs_limit=True)
async def check_close_inside_messages_gives_everything_back(sandbox: Sandbox) -> None:
    """Closing the handle inside a loop over ``messages()`` ends the loop; what it had goes back, yielded or not."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(6))
    seen = []
    async for record in mailbox.messages():
        seen.append(record.payload)
        if len(seen) == 2:
            await mailbox.close()
    expect_equal(seen, numbered(2), "payloads that the loop saw")
    records = await drain(other)
    expect_equal(payloads_of(records), numbered(6), "payloads")
    expect_equal([record.delivery_count for record in records], [1] * 6, "delivery counts")


@check(Capability.RELEASE)
async def check_cancelled_wait_strands_nothing(sandbox: Sandbox) -> None:
    """A waiting dequeue that is cancelled at any moment, just as messages come, leaves them to the next one."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    for steps in range(10):
        call = asyncio.ensure_future(mailbox.dequeue(wait=1e9))
        await asyncio.sleep(0.005)
        enqueue = asyncio.ensure_future(other.enqueue(b"sender", b"payload"))
        if steps:
            await enqueue
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        records: list[MessageRecord] = []
        try:
            records = await call
        except asyncio.CancelledError:
            await enqueue
            await eventually(partial(_inflight, mailbox), 0, f"inflight messages, cancelled after {steps} steps")
        records += await drain(mailbox)
        expect_equal([(r.payload, r.delivery_count) for r in records], [(b"payload", 1)], f"after {steps} steps")
        await mailbox.ack(records[0].id)
