"""``nack``: a message that could not be handled goes back, and that counts against it."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any
from uuid import uuid4

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import MessagePriority
from .._expect import expect, expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check

LONG = 1000.0
"""Seconds: longer than any check."""

CLOCK_SLACK = 0.02
"""Seconds by which two clocks of one machine may differ."""


async def _counts(mailbox: Mailbox) -> tuple[int, int]:
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages


@check(Capability.NACK)
async def check_nacked_message_has_its_old_place(sandbox: Sandbox) -> None:
    """A message that was given back comes again at its old place in its priority, to any handle."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(3))
    await send(mailbox, numbered(2, "high"), priority=MessagePriority.HIGH)
    held = {record.payload: record.id for record in await drain(mailbox)}
    await send(mailbox, numbered(2, "later"))
    await send(mailbox, [b"later high"], priority=MessagePriority.HIGH)
    for payload in (b"m2", b"high1", b"m0"):
        expect(await mailbox.nack(held[payload]) is True, f"nack of {payload!r} is not True")
    expect_equal(await _counts(mailbox), (6, 2), "queued and inflight messages")
    wanted = [b"high1", b"later high", b"m0", b"m2", *numbered(2, "later")]
    expect_equal(payloads_of(await drain(other)), wanted, "payloads")


@check(Capability.NACK)
async def check_nack_counts_as_a_delivery(sandbox: Sandbox) -> None:
    """The hand-out of a message that was given back still counts in ``delivery_count``."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload")
    for number in range(1, 5):
        [record] = await mailbox.dequeue()
        expect_equal(record.delivery_count, number, "delivery count")
        await mailbox.nack(record.id, error="on purpose")


@check(Capability.NACK)
async def check_nack_of_what_is_not_held_is_false(sandbox: Sandbox) -> None:
    """A ``nack`` of a message that is queued, held by another handle, acked or unknown is False and changes nothing."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await mailbox.enqueue(b"sender", b"acked")
    [acked] = await mailbox.dequeue()
    await mailbox.ack(acked.id)
    await mailbox.enqueue(b"sender", b"another's")
    [others] = await other.dequeue()
    queued = await mailbox.enqueue(b"sender", b"queued")
    for message_id in (acked.id, others.id, queued, uuid4()):
        expect(await mailbox.nack(message_id, error="on purpose") is False, "nack of what is not held is not False")
    expect_equal(await _counts(mailbox), (1, 1), "queued and inflight messages")
    [record] = await mailbox.dequeue()
    expect_equal((record.payload, record.delivery_count), (b"queued", 1), "what came next")
    expect_equal(await other.ack(others.id), True, "ack of the other handle's message")


@check(Capability.NACK)
async def check_second_nack_is_false(sandbox: Sandbox) -> None:
    """A message is given back once, even by simultaneous calls."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(3))
    for record in await drain(mailbox):
        answers = await asyncio.gather(*(mailbox.nack(record.id) for _ in range(3)))
        expect_equal(sorted(answers), [False, False, True], "answers of three calls")
        expect_equal(await mailbox.nack(record.id), False, "one more nack")
    expect_equal([record.delivery_count for record in await drain(mailbox)], [2, 2, 2], "delivery counts")


@check(Capability.NACK)
async def check_nack_against_ack(sandbox: Sandbox) -> None:
    """If an ``ack`` and a ``nack`` run at once, the ``ack`` always counts; the message never comes back after it."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(6))
    for number, record in enumerate(await drain(mailbox)):
        calls = [mailbox.ack(record.id), mailbox.nack(record.id)]
        answers = await asyncio.gather(*(calls if number % 2 else reversed(calls)))
        expect_equal(answers[0 if number % 2 else 1], True, "the ack")
    expect_equal(await _counts(mailbox), (0, 0), "queued and inflight messages")


@check(Capability.NACK)
async def check_nack_of_what_another_has_since_is_false(sandbox: Sandbox) -> None:
    """A message that a handle gave back and another has taken since can only be given back by the other."""
    holder, other = await sandbox.open(), await sandbox.open()
    await holder.enqueue(b"sender", b"payload")
    [record] = await holder.dequeue()
    await holder.nack(record.id)
    [record] = await other.dequeue()
    expect_equal(await holder.nack(record.id), False, "nack of what another handle has taken since")
    expect_equal(await _counts(other), (0, 1), "queued and inflight messages")


@check(Capability.NACK, Capability.DELAY)
async def check_nack_with_a_delay(sandbox: Sandbox) -> None:
    """With ``delay`` a message counts as queued but is not handed out before it is due; others are."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    first, second = await drain(mailbox)
    await mailbox.nack(first.id, delay=LONG)
    await mailbox.enqueue(b"sender", b"other")
    expect_equal(await _counts(mailbox), (2, 1), "queued and inflight messages")
    [other] = await mailbox.dequeue()
    expect_equal(other.payload, b"other", "what is handed out at once")
    start = time.time()
    await mailbox.nack(second.id, delay=0.08)
    [again] = await mailbox.dequeue(wait=60)
    expect(time.time() - start >= 0.08 - CLOCK_SLACK, "it was handed out too early")
    expect_equal((again.payload, again.delivery_count), (b"m1", 2), "what is handed out when it is due")
    expect_equal(await mailbox.dequeue(), [], "what is handed out before the long delay is over")


@check(Capability.NACK)
async def check_cancelled_nack_can_be_repeated(sandbox: Sandbox) -> None:
    """A ``nack`` that is cancelled at any moment happened or did not; repeated, the message is queued once."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload")
    for steps in range(8):
        [record] = await mailbox.dequeue()
        call = asyncio.ensure_future(mailbox.nack(record.id))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await mailbox.nack(record.id)
        expect_equal(await _counts(mailbox), (1, 0), f"queued and inflight messages, cancelled after {steps} steps")


@check(Capability.NACK)
async def check_nack_that_is_no_failure(sandbox: Sandbox) -> None:
    """With ``failed=False`` the hand-out is undone, as in a release, and the message is at its old place."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(3))
    first, second, _ = await drain(mailbox)
    expect_equal(await mailbox.nack(second.id, failed=False), True, "nack")
    expect_equal(await mailbox.nack(first.id, failed=False), True, "nack")
    expect_equal(await mailbox.nack(first.id, failed=False), False, "a second nack")
    again = await drain(mailbox)
    expect_equal([(r.payload, r.delivery_count) for r in again], [(b"m0", 1), (b"m1", 1)], "what is handed out again")
    await mailbox.nack(first.id)
    await mailbox.nack(second.id, failed=True)
    expect_equal([r.delivery_count for r in await drain(mailbox)], [2, 2], "delivery counts after failures")


@check(Capability.NACK, Capability.DEAD_LETTERS)
async def check_nack_that_is_no_failure_gives_nothing_up(sandbox: Sandbox) -> None:
    """However often it goes back with ``failed=False``, a message does not die; its last error is kept."""
    mailbox = await sandbox.open(max_deliveries=1)
    await mailbox.enqueue(b"sender", b"payload")
    for number in range(3):
        [record] = await mailbox.dequeue()
        expect_equal(record.delivery_count, 1, "delivery_count")
        await mailbox.nack(record.id, failed=False, error=f"not now {number}")
    [record] = await mailbox.dequeue()
    expect_equal(await mailbox.nack(record.id), True, "the first failure")
    [letter] = await mailbox.dead_letters()
    expect_equal((letter.record.delivery_count, letter.error), (1, "not now 2"), "delivery_count and error")


@check(Capability.NACK, Capability.DELAY)
async def check_nack_that_is_no_failure_with_a_delay(sandbox: Sandbox) -> None:
    """The delay also works with ``failed=False``."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload")
    [record] = await mailbox.dequeue()
    await mailbox.nack(record.id, delay=LONG, failed=False)
    expect_equal(await mailbox.dequeue(), [], "what is handed out before the delay is over")
    await mailbox.enqueue(b"sender", b"other")
    [record] = await mailbox.dequeue()
    start = time.time()
    await mailbox.nack(record.id, delay=0.08, failed=False)
    [again] = await mailbox.dequeue(wait=60)
    expect(time.time() - start >= 0.08 - CLOCK_SLACK, "it was handed out too early")
    expect_equal((again.payload, again.delivery_count), (b"other", 1), "what is handed out when it is due")


@check(Capability.NACK)
async def check_failed_must_be_a_bool(sandbox: Sandbox) -> None:
    """A ``failed`` that is not True or False is refused by name, and the message stays inflight."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload")
    [record] = await mailbox.dequeue()
    bad: list[Any] = [None, 0, 1, "no"]
    for value in bad:
        call = partial(mailbox.nack, record.id, failed=value)
        await expect_error(TypeError, call, naming="failed", what=f"failed={value!r}")
    expect_equal(await _counts(mailbox), (0, 1), "queued and inflight messages")
