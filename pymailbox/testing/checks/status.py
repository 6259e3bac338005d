"""``status``: exact at any moment, for every handle."""

from __future__ import annotations

import asyncio

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import MailboxStats, MessagePriority
from .._expect import eventually, expect, expect_equal
from .._sandbox import Sandbox, drain, numbered, send
from .._suite import check

NORMAL, HIGH = MessagePriority.NORMAL, MessagePriority.HIGH


async def _expect_counts(mailbox: Mailbox, normal: int, high: int, inflight: int, when: str) -> None:
    stats = await mailbox.status()
    expect(isinstance(stats, MailboxStats), f"status returned {stats!r}")
    expect_equal(dict(stats.queued_by_priority), {NORMAL: normal, HIGH: high}, f"queued by priority, {when}")
    expect_equal(stats.queued_messages, normal + high, f"queued messages, {when}")
    expect_equal(stats.inflight_messages, inflight, f"inflight messages, {when}")


@check()
async def check_empty_mailbox_has_zeros_for_every_priority(sandbox: Sandbox) -> None:
    """An empty mailbox has a zero for every priority."""
    await _expect_counts(await sandbox.open(), 0, 0, 0, "in a new mailbox")


@check()
async def check_counts_follow_every_verb(sandbox: Sandbox) -> None:
    """The counts by priority and of inflight messages are right after each step of a message's life."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(3))
    await _expect_counts(mailbox, 3, 0, 0, "after three NORMAL")
    await send(mailbox, numbered(2), priority=HIGH)
    await _expect_counts(mailbox, 3, 2, 0, "after two HIGH")
    held = await drain(mailbox)
    await _expect_counts(mailbox, 0, 0, 5, "when all are handed out")
    await send(mailbox, numbered(1), priority=HIGH)
    await _expect_counts(mailbox, 0, 1, 5, "after one more HIGH")
    await mailbox.ack(held[0].id)
    await _expect_counts(mailbox, 0, 1, 4, "after an ack")
    await mailbox.ack(held[0].id)
    await _expect_counts(mailbox, 0, 1, 4, "after the same ack again")


@check()
async def check_handles_see_the_same_counts(sandbox: Sandbox) -> None:
    """Counts cover all handles, including one that was just opened."""
    first, second = await sandbox.open(), await sandbox.open()
    await send(first, numbered(2))
    await send(second, numbered(3), priority=HIGH)
    await drain(first)
    await send(second, numbered(1))
    for mailbox in (first, second, await sandbox.open()):
        await _expect_counts(mailbox, 1, 0, 5, "over two handles")


@check()
async def check_counts_agree_while_others_work(sandbox: Sandbox) -> None:
    """Each answer is of one moment: its priorities add up, and no message is counted twice or missed."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(60))
    answers = await asyncio.gather(
        *(call for _ in range(3) for call in (mailbox.dequeue(), other.status(), mailbox.status(), other.dequeue()))
    )
    for stats in answers:
        if isinstance(stats, MailboxStats):
            expect_equal(sum(stats.queued_by_priority.values()), stats.queued_messages, "sum of the priorities")
            expect_equal(stats.queued_messages + stats.inflight_messages, 60, "queued and inflight messages")


@check(Capability.DELAY)
async def check_delayed_messages_are_counted(sandbox: Sandbox) -> None:
    """``delayed_messages`` counts queued messages while their delay is running, and no longer."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    await send(mailbox, numbered(3), delay=600)
    await send(mailbox, numbered(1), priority=HIGH, delay=0.05)
    stats = await mailbox.status()
    expect_equal(stats.queued_messages, 6, "queued messages")
    expect(3 <= stats.delayed_messages <= 4, f"delayed messages: {stats.delayed_messages}, not 3 or 4")

    async def delayed() -> int:
        return (await mailbox.status()).delayed_messages

    await eventually(delayed, 3, "delayed messages when one is due")
    expect_equal((await mailbox.status()).queued_messages, 6, "queued messages when one is due")


@check(Capability.PEEK, Capability.NACK)
async def check_oldest_is_told(sandbox: Sandbox) -> None:
    """``oldest_queued_at`` is ``created_at`` of the queued message that was committed first; None without any."""
    mailbox = await sandbox.open()
    expect_equal((await mailbox.status()).oldest_queued_at, None, "the oldest of no messages")
    for payload in numbered(3):
        await mailbox.enqueue(b"", payload)
        await asyncio.sleep(0.002)
    await mailbox.enqueue(b"", b"high", HIGH)
    created = {record.payload: record.created_at for record in await mailbox.peek()}
    expect_equal((await mailbox.status()).oldest_queued_at, created[b"m0"], "the oldest of four")
    held = {record.payload: record for record in await drain(mailbox)}
    expect_equal((await mailbox.status()).oldest_queued_at, None, "the oldest when all are inflight")
    await mailbox.nack(held[b"high"].id)
    await mailbox.nack(held[b"m1"].id)
    expect_equal((await mailbox.status()).oldest_queued_at, created[b"m1"], "the oldest of what was given back")
    await mailbox.enqueue(b"", b"new")
    expect_equal((await mailbox.status()).oldest_queued_at, created[b"m1"], "the oldest beside a new one")


@check(Capability.PEEK, Capability.DELAY)
async def check_delayed_message_can_be_the_oldest(sandbox: Sandbox) -> None:
    """A delayed message is queued, so it may be the oldest."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"", b"first", delay=600)
    await asyncio.sleep(0.002)
    await mailbox.enqueue(b"", b"second")
    created = {record.payload: record.created_at for record in await mailbox.peek()}
    expect_equal((await mailbox.status()).oldest_queued_at, created[b"first"], "the oldest")


@check(Capability.DEAD_LETTERS)
async def check_ever_queued_only_grows(sandbox: Sandbox) -> None:
    """``ever_queued`` grows with each message that is enqueued or redriven, and never falls."""
    mailbox = await sandbox.open()
    before = (await mailbox.status()).ever_queued
    await send(mailbox, numbered(3))
    records = await drain(mailbox)
    await mailbox.ack(records[0].id)
    await mailbox.dead_letter(records[1].id, "reason")
    expect_equal((await mailbox.status()).ever_queued - before, 3, "messages that came since the first look")
    await mailbox.redrive(records[1].id)
    expect_equal((await mailbox.status()).ever_queued - before, 4, "messages that came, with one redriven")
