"""``changes``: the counts, now and after each change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ...contract.capabilities import Capability
from ...contract.errors import MailboxClosedError
from ...contract.mailbox import Mailbox
from ...contract.values import MailboxStats, MessagePriority, NewMessage
from .._expect import PATIENCE, expect, expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, send
from .._suite import check

MOST_A_SECOND = 20

_PAUSE = 0.004
"""Seconds between changes: several come between two states that may be seen."""


class _Watch:
    """What a loop over ``changes()`` has seen."""

    def __init__(self) -> None:
        self.seen: list[MailboxStats] = []
        self.times: list[float] = []
        self.ended = False

    async def run(self, mailbox: Mailbox) -> None:
        async for stats in mailbox.changes():
            self.seen.append(stats)
            self.times.append(asyncio.get_running_loop().time())
        self.ended = True

    async def until(self, holds: Callable[[MailboxStats], bool], what: str) -> None:
        """Waits until the last state satisfies the condition."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not (self.seen and holds(self.seen[-1])):
            last = self.seen[-1] if self.seen else None
            expect(asyncio.get_running_loop().time() < deadline, f"{what} was never seen; the last was {last}")
            await asyncio.sleep(0.01)


@asynccontextmanager
async def _watching(mailbox: Mailbox) -> AsyncIterator[_Watch]:
    watch = _Watch()
    task = asyncio.ensure_future(watch.run(mailbox))
    try:
        await watch.until(lambda stats: True, "the state at the beginning")
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@check(Capability.CHANGES)
async def check_changes_begin_with_now(sandbox: Sandbox) -> None:
    """The first state comes at once and is what ``status`` says."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(3))
    async with asyncio.timeout(60):
        async for stats in mailbox.changes():
            expect_equal(stats, await mailbox.status(), "the first state")
            break


@check(Capability.CHANGES, Capability.NACK, Capability.DEAD_LETTERS, Capability.PURGE)
async def check_changes_follow_every_verb(sandbox: Sandbox) -> None:
    """A change is seen whichever verb made it, of the same handle or another."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    async with _watching(mailbox) as watch:
        for handle in (mailbox, other):
            before = watch.seen[-1].dead_letters
            await send(handle, numbered(3))
            await watch.until(lambda stats: stats.queued_messages == 3, "what was enqueued")
            first, second, third = await drain(handle)
            await watch.until(lambda stats: stats.inflight_messages == 3, "what was handed out")
            await handle.ack(first.id)
            await watch.until(lambda stats: stats.inflight_messages == 2, "an ack")
            await handle.nack(second.id)
            await watch.until(lambda stats: (stats.queued_messages, stats.inflight_messages) == (1, 1), "a nack")
            await handle.dead_letter(third.id, "reason")
            await watch.until(lambda stats, before=before: stats.dead_letters == before + 1, "a dead letter")  # type: ignore[misc]
            await handle.redrive(third.id)
            await watch.until(lambda stats: stats.queued_messages == 2, "a redrive")
            await handle.purge()
            await watch.until(lambda stats: stats.queued_messages == 0, "a purge")


@check(
    Capability.CHANGES,
    Capability.PROMOTE,
    Capability.DELAY,
    Capability.DEAD_LETTERS,
    Capability.ACK_AND_SEND,
    Capability.RELEASE,
)
async def check_changes_follow_each_count(sandbox: Sandbox) -> None:
    """A change of any count is seen: of what is promoted, discarded or sent, and of what a closed handle gives back."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    async with _watching(mailbox) as watch:
        await other.enqueue(b"", b"later", delay=600)
        await watch.until(lambda stats: stats.delayed_messages == 1, "that a message is delayed")
        await other.promote()
        await watch.until(lambda stats: stats.delayed_messages == 0, "that it is promoted")
        [record] = await other.dequeue()
        await other.dead_letter(record.id, "reason")
        await watch.until(lambda stats: stats.dead_letters == 1, "a dead letter")
        await other.discard(record.id)
        await watch.until(lambda stats: stats.dead_letters == 0, "that it is discarded")
        await other.enqueue(b"", b"first", MessagePriority.HIGH)
        await watch.until(lambda stats: stats.queued_by_priority[MessagePriority.HIGH] == 1, "an urgent message")
        [record] = await other.dequeue()
        await other.ack_and_send(record.id, [(other, NewMessage(b"", b"sent"))])
        await watch.until(lambda stats: (stats.queued_messages, stats.inflight_messages) == (1, 0), "a send")
        await other.dequeue()
        await watch.until(lambda stats: stats.inflight_messages == 1, "the hand-out")
        await other.close()
        await watch.until(lambda stats: (stats.queued_messages, stats.inflight_messages) == (1, 0), "a release")


@check(Capability.CHANGES, Capability.RECOVER)
async def check_changes_show_a_death(sandbox: Sandbox) -> None:
    """What comes back after the death of its holder is a change."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    async with _watching(mailbox) as watch:
        dying = [await sandbox.open()]
        await dying[0].dequeue()
        await watch.until(lambda stats: stats.inflight_messages == 2, "the hand-out")
        await sandbox.let_die(dying)
        await mailbox.recover()
        while (await mailbox.status()).inflight_messages:
            await asyncio.sleep(0.01)
            await mailbox.recover()
        await watch.until(lambda stats: (stats.queued_messages, stats.inflight_messages) == (2, 0), "what came back")


@check(Capability.CHANGES, Capability.DELAY)
async def check_changes_show_due_messages(sandbox: Sandbox) -> None:
    """A message that becomes due is a change, although nobody did anything."""
    mailbox = await sandbox.open()
    async with _watching(mailbox) as watch:
        await mailbox.enqueue(b"", b"", delay=0.3)
        await watch.until(lambda stats: stats.queued_messages == 1, "what was enqueued")
        await watch.until(lambda stats: stats.delayed_messages == 0, "that it is due")


@check(Capability.CHANGES)
async def check_changes_are_merged(sandbox: Sandbox) -> None:
    """There are at most 20 states per second, and the last one is never left out."""
    mailbox = await sandbox.open()
    async with _watching(mailbox) as watch:
        loop = asyncio.get_running_loop()
        start = loop.time()
        number = 0
        while loop.time() < start + 0.4:
            await mailbox.enqueue(b"", b"")
            number += 1
            await asyncio.sleep(_PAUSE)
        await watch.until(lambda stats: stats.queued_messages == number, "the last state")
        seconds = watch.times[-1] - watch.times[0]
        most = 2 + seconds * MOST_A_SECOND * 1.1
        expect(len(watch.seen) <= most, f"{len(watch.seen)} states in {seconds:.2f} seconds")
        counts = [stats.queued_messages for stats in watch.seen]
        expect_equal(counts, sorted(counts), "counts, which only grew")


@check(Capability.CHANGES)
async def check_changes_end_when_the_mailbox_is_closed(sandbox: Sandbox) -> None:
    """The loop simply ends when its handle is closed, and a closed handle starts no new one."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    async with _watching(mailbox) as watch:
        await mailbox.close()
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not watch.ended:
            expect(asyncio.get_running_loop().time() < deadline, "the loop did not end")
            await asyncio.sleep(0.01)
    await other.enqueue(b"", b"")

    async def begin() -> None:
        async for _ in mailbox.changes():
            pass

    await expect_error(MailboxClosedError, begin, what="changes of a closed handle")
    expect_equal((await other.status()).queued_messages, 1, "queued messages")


@check(Capability.CHANGES)
async def check_several_loops_see_the_same(sandbox: Sandbox) -> None:
    """Several loops, of one handle or of several, each see the last state; leaving one disturbs no other."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    async with _watching(mailbox) as first, _watching(other) as third:
        async with _watching(mailbox) as second:
            await send(mailbox, numbered(2))
            for watch in (first, second, third):
                await watch.until(lambda stats: stats.queued_messages == 2, "what was enqueued")
        await send(other, numbered(1))
        for watch in (first, third):
            await watch.until(lambda stats: stats.queued_messages == 3, "what was enqueued later")
        expect_equal(second.seen[-1].queued_messages, 2, "what the loop that was left has seen")
