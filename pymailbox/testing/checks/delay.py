"""``delay``: a message that is not handed out before its due time, and otherwise is like any queued one."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import timedelta
from uuid import uuid4

from ...contract.capabilities import Capability
from ...contract.values import MessagePriority, MessageStatus, NewMessage
from .._expect import expect, expect_equal
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check
from .nack import CLOCK_SLACK, LONG
from .waiting import expect_one_to_get

HIGH = MessagePriority.HIGH
SHORT = 0.08


async def _until_due(start: float) -> None:
    """Sleeps until a message with a ``SHORT`` delay is due, if its call returned by ``start``."""
    await asyncio.sleep(start + SHORT + CLOCK_SLACK - time.time())


@check(Capability.DELAY)
async def check_delayed_message_is_not_handed_out_before(sandbox: Sandbox) -> None:
    """A message with a delay is handed out when the delay is over, and not before."""
    mailbox = await sandbox.open()
    start = time.time()
    await mailbox.enqueue(b"sender", b"payload", delay=SHORT)
    records = await mailbox.dequeue(wait=60)
    expect(time.time() - start >= SHORT - CLOCK_SLACK, "it was handed out too early")
    expect_equal([(r.payload, r.delivery_count) for r in records], [(b"payload", 1)], "what came")
    await mailbox.enqueue(b"sender", b"far", delay=LONG)
    await mailbox.enqueue(b"sender", b"farther", delay=3e9)
    expect_equal(await mailbox.dequeue(wait=0.05), [], "what comes before its time")


@check(Capability.DELAY)
async def check_delayed_message_counts_as_queued(sandbox: Sandbox) -> None:
    """``status`` counts a delayed message as queued, in its priority."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload", HIGH, delay=LONG)
    await mailbox.enqueue(b"sender", b"payload", delay=LONG)
    stats = await mailbox.status()
    expect_equal((stats.queued_messages, stats.inflight_messages), (2, 0), "queued and inflight messages")
    expect_equal(dict(stats.queued_by_priority), {MessagePriority.NORMAL: 1, HIGH: 1}, "queued by priority")


@check(Capability.DELAY)
async def check_no_delay_is_no_delay(sandbox: Sandbox) -> None:
    """A delay of 0, as a number or a ``timedelta``, is no delay."""
    mailbox = await sandbox.open()
    for delay in (0, 0.0, timedelta(0)):
        await mailbox.enqueue(b"sender", b"payload", delay=delay)
        expect_equal(len(await mailbox.dequeue()), 1, f"messages handed out with delay={delay!r}")


@check(Capability.DELAY)
async def check_delay_may_be_a_timedelta(sandbox: Sandbox) -> None:
    """A ``timedelta`` is as good as seconds."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"far", delay=timedelta(hours=1))
    start = time.time()
    await mailbox.enqueue(b"sender", b"near", delay=timedelta(milliseconds=SHORT * 1000))
    expect_equal(payloads_of(await mailbox.dequeue(wait=60)), [b"near"], "payloads")
    expect(time.time() - start >= SHORT - CLOCK_SLACK, "it was handed out too early")


@check(Capability.DELAY)
async def check_due_message_has_its_old_place(sandbox: Sandbox) -> None:
    """When it is due a message is where its enqueue was committed: before later ones, behind every ``HIGH`` one."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"early")
    await mailbox.enqueue(b"sender", b"delayed", delay=SHORT)
    await mailbox.enqueue(b"sender", b"late")
    await mailbox.enqueue(b"sender", b"urgent", HIGH)
    await mailbox.enqueue(b"sender", b"delayed urgent", HIGH, delay=SHORT)
    await mailbox.enqueue(b"sender", b"late urgent", HIGH)
    await _until_due(time.time())
    wanted = [b"urgent", b"delayed urgent", b"late urgent", b"early", b"delayed", b"late"]
    if Capability.PEEK in mailbox.capabilities:
        expect_equal(payloads_of(await mailbox.peek()), wanted, "payloads that peek shows")
    expect_equal(payloads_of(await drain(mailbox)), wanted, "payloads")


@check(Capability.DELAY, Capability.ENQUEUE_MANY)
async def check_batch_with_delays(sandbox: Sandbox) -> None:
    """Messages of one batch may have different delays; those without one come at once."""
    mailbox = await sandbox.open()
    await mailbox.enqueue_many(
        [
            NewMessage(b"sender", b"now"),
            NewMessage(b"sender", b"far", delay=LONG),
            NewMessage(b"sender", b"also far", delay=timedelta(hours=1)),
            NewMessage(b"sender", b"also now", delay=0),
        ]
    )
    expect_equal((await mailbox.status()).queued_messages, 4, "queued messages")
    expect_equal(payloads_of(await mailbox.dequeue()), [b"now", b"also now"], "payloads that come at once")
    await mailbox.enqueue_many(NewMessage(b"sender", payload, delay=SHORT) for payload in numbered(3))
    await _until_due(time.time())
    expect_equal(payloads_of(await mailbox.dequeue()), numbered(3), "payloads that come when they are due")


@check(Capability.DELAY, Capability.PEEK)
async def check_peek_shows_delayed_messages_last(sandbox: Sandbox) -> None:
    """``peek`` shows delayed messages behind the other queued ones, by due time, and before those inflight."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"held")
    await mailbox.dequeue()
    await mailbox.enqueue(b"sender", b"third", HIGH, delay=3 * LONG)
    await mailbox.enqueue(b"sender", b"first", delay=LONG)
    await mailbox.enqueue(b"sender", b"second", HIGH, delay=2 * LONG)
    await mailbox.enqueue(b"sender", b"now")
    wanted = [b"now", b"first", b"second", b"third", b"held"]
    expect_equal(payloads_of(await mailbox.peek()), wanted, "payloads")
    for limit in range(1, 6):
        expect_equal(payloads_of(await mailbox.peek(limit)), wanted[:limit], f"payloads of peek({limit})")
    queued = await mailbox.peek(status=MessageStatus.QUEUED)
    expect_equal(payloads_of(queued), wanted[:4], "queued payloads")
    expect_equal({record.status for record in queued}, {MessageStatus.QUEUED}, "their status")
    expect_equal(payloads_of(await mailbox.peek(status=MessageStatus.INFLIGHT)), [b"held"], "payloads inflight")


@check(Capability.DELAY, Capability.PURGE)
async def check_purge_deletes_delayed_messages(sandbox: Sandbox) -> None:
    """``purge`` deletes delayed messages like other queued ones, and they do not come when they would be due."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2), delay=SHORT)
    await send(mailbox, numbered(1, "far"), delay=LONG)
    await send(mailbox, numbered(1, "now"))
    start = time.time()
    expect_equal(await mailbox.purge(), 4, "messages deleted")
    await _until_due(start)
    expect_equal(await mailbox.dequeue(), [], "what comes after the purge")
    expect_equal((await mailbox.status()).queued_messages, 0, "queued messages")


@check(Capability.DELAY)
async def check_ack_of_a_delayed_message_removes_it(sandbox: Sandbox) -> None:
    """A delayed message can be acked like any queued one, and does not come when it would be due."""
    mailbox = await sandbox.open()
    message_id = await mailbox.enqueue(b"sender", b"payload", delay=SHORT)
    start = time.time()
    expect_equal([await mailbox.ack(message_id), await mailbox.ack(message_id)], [True, False], "answers of ack")
    await _until_due(start)
    expect_equal(await mailbox.dequeue(), [], "what comes after the ack")


@check(Capability.DELAY, Capability.MESSAGE_ID)
async def check_id_of_a_delayed_message_is_known(sandbox: Sandbox) -> None:
    """While a message is delayed its id stores nothing again, and its due time stays."""
    mailbox = await sandbox.open()
    message_id = uuid4()
    await mailbox.enqueue(b"sender", b"delayed", message_id=message_id, delay=LONG)
    await mailbox.enqueue(b"sender", b"again", message_id=message_id)
    expect_equal(await mailbox.dequeue(), [], "what comes")
    expect_equal((await mailbox.status()).queued_messages, 1, "queued messages")


@check(Capability.DELAY)
async def check_delay_survives_reopening(sandbox: Sandbox) -> None:
    """A delayed message outlives the handle that sent it, and comes when it is due."""
    first = await sandbox.open()
    start = time.time()
    await first.enqueue(b"sender", b"near", delay=SHORT)
    await first.enqueue(b"sender", b"far", delay=LONG)
    await first.close()
    second = await sandbox.open()
    expect_equal((await second.status()).queued_messages, 2, "queued messages")
    expect_equal(payloads_of(await second.dequeue(wait=60)), [b"near"], "payloads")
    expect(time.time() - start >= SHORT - CLOCK_SLACK, "it was handed out too early")


@check(Capability.DELAY, Capability.WAIT)
async def check_wait_wakes_for_a_due_message(sandbox: Sandbox) -> None:
    """A dequeue that waits for ever returns when a message is due, even one that came later and is due earlier."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await mailbox.enqueue(b"sender", b"far", delay=LONG)
    for sender in (mailbox, other):
        waiting = asyncio.ensure_future(mailbox.dequeue(wait=math.inf))
        await asyncio.sleep(0.02)
        await sender.enqueue(b"sender", b"near", delay=0.03)
        expect_equal(payloads_of(await waiting), [b"near"], "payloads")


@check(Capability.DELAY, Capability.WAIT)
async def check_due_message_ends_one_wait(sandbox: Sandbox) -> None:
    """If several handles wait for a delayed message, one gets it when it is due."""
    handles = [await sandbox.open() for _ in range(3)]
    await handles[0].enqueue(b"sender", b"payload", delay=0.05)
    await expect_one_to_get(handles, b"payload")


@check(Capability.DELAY, Capability.DEPTH_OBSERVER)
async def check_observer_counts_delayed_messages(sandbox: Sandbox) -> None:
    """An enqueue with a delay is reported to the observer like any other, and counts; becoming due is not reported."""
    mailbox = await sandbox.open()
    depths: list[int] = []

    class Recorder:
        def on_depth_change(self, queued_messages: int) -> None:
            depths.append(queued_messages)

    recorder = Recorder()
    mailbox.set_depth_observer(recorder)
    await mailbox.enqueue(b"sender", b"payload", delay=SHORT)
    await mailbox.enqueue(b"sender", b"payload", delay=LONG)
    await _until_due(time.time())
    await mailbox.enqueue(b"sender", b"payload")
    expect_equal(depths, [1, 2, 3], "depths")
