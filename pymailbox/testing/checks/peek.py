"""``peek``: looking without changing anything."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...contract.capabilities import Capability
from ...contract.values import MessagePriority, MessageStatus
from .._expect import eventually, expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check

HIGH = MessagePriority.HIGH


@check(Capability.PEEK)
async def check_peek_shows_records_as_they_are(sandbox: Sandbox) -> None:
    """A queued message is shown with all its fields; only status and delivery_count change when it is handed out."""
    mailbox = await sandbox.open()
    message_id = await mailbox.enqueue(b"alice", b"hello", HIGH)
    [queued] = await mailbox.peek()
    expect_equal((queued.id, queued.sender, queued.payload), (message_id, b"alice", b"hello"), "id, sender, payload")
    expect_equal((queued.priority, queued.status), (HIGH, MessageStatus.QUEUED), "priority and status")
    expect_equal(queued.delivery_count, 0, "delivery_count before the first hand-out")
    [taken] = await drain(mailbox)
    expect_equal(taken.created_at, queued.created_at, "created_at")
    expect_equal(await mailbox.peek(), [taken], "what peek shows of the message inflight")


@check(Capability.PEEK)
async def check_peek_changes_nothing(sandbox: Sandbox) -> None:
    """After any number of peeks everything is as before."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(5))
    before = await mailbox.status()
    expect_equal(await other.peek(), await mailbox.peek(), "two looks")
    expect_equal(await mailbox.status(), before, "status")
    records = await drain(mailbox)
    expect_equal([record.delivery_count for record in records], [1] * 5, "delivery counts")


@check(Capability.PEEK)
async def check_peek_of_an_empty_mailbox(sandbox: Sandbox) -> None:
    """An empty mailbox shows ``[]``."""
    mailbox = await sandbox.open()
    for status in (None, MessageStatus.QUEUED, MessageStatus.INFLIGHT):
        expect_equal(await mailbox.peek(status=status), [], f"peek(status={status})")


@check(Capability.PEEK, needs_limit=True)
async def check_peek_order(sandbox: Sandbox) -> None:
    """Queued messages come first, in dequeue order, then inflight ones."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(4, "normal"))
    await send(mailbox, numbered(4, "high"), priority=HIGH)
    await mailbox.dequeue(1)
    await other.dequeue(4)
    inflight = [b"high0", b"high1", b"high2", b"high3", b"normal0"]
    await send(mailbox, numbered(2, "late"), priority=HIGH)
    queued = [b"late0", b"late1", b"normal1", b"normal2", b"normal3"]
    for handle in (mailbox, other):
        expect_equal(payloads_of(await handle.peek()), queued + inflight, "payloads")
        expect_equal(payloads_of(await handle.peek(status=MessageStatus.QUEUED)), queued, "queued payloads")
        expect_equal(payloads_of(await handle.peek(status=MessageStatus.INFLIGHT)), inflight, "inflight payloads")
        expect_equal(payloads_of(await handle.peek(7)), (queued + inflight)[:7], "peek(7)")
        expect_equal(payloads_of(await handle.peek(2, status=MessageStatus.INFLIGHT)), inflight[:2], "two inflight")


@check(Capability.PEEK, needs_limit=True)
async def check_peek_without_limit_shows_a_batch(sandbox: Sandbox) -> None:
    """Without a limit ``batch_size`` messages are shown; with a limit, that many."""
    mailbox, small = await sandbox.open(), await sandbox.open(batch_size=3)
    await send(mailbox, numbered(70))
    sizes = [len(await mailbox.peek()), len(await small.peek()), len(await small.peek(50)), len(await small.peek(1000))]
    expect_equal(sizes, [32, 3, 50, 70], "messages shown")


@check(Capability.PEEK, Capability.DELAY, needs_limit=True)
async def check_offset_passes_over(sandbox: Sandbox) -> None:
    """``offset`` skips that many of the messages that would be shown, queued, delayed or inflight."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2, "held"))
    await drain(mailbox)
    await send(mailbox, numbered(3))
    await send(mailbox, [b"later"], delay=600)
    shown = payloads_of(await mailbox.peek())
    expect_equal(shown, [b"m0", b"m1", b"m2", b"later", b"held0", b"held1"], "what is shown without an offset")
    for offset in range(8):
        expect_equal(payloads_of(await mailbox.peek(offset=offset)), shown[offset:], f"what is shown from {offset} on")
        two = payloads_of(await mailbox.peek(2, offset=offset))
        expect_equal(two, shown[offset : offset + 2], f"two from {offset} on")
    inflight = await mailbox.peek(status=MessageStatus.INFLIGHT, offset=1)
    expect_equal(payloads_of(inflight), [b"held1"], "what is shown of those inflight")


@check(Capability.PEEK, Capability.DEAD_LETTERS)
async def check_offset_must_be_a_count(sandbox: Sandbox) -> None:
    """An ``offset`` below 0, above 2**53 - 1, or not an int is refused by name, also by ``dead_letters``."""
    mailbox = await sandbox.open()
    bad: list[Any] = [-1, 1.5, "1", None, True, 2**53]
    for value in bad:
        for verb in (mailbox.peek, mailbox.dead_letters):
            call = partial(verb, offset=value)
            await expect_error((TypeError, ValueError), call, naming="offset", what=f"offset={value!r}")


@check(Capability.PEEK, Capability.DELAY)
async def check_due_time_is_shown(sandbox: Sandbox) -> None:
    """``due_at`` is set while a delay runs, and only then."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"", b"now")
    await mailbox.enqueue(b"", b"soon", delay=0.05)
    await mailbox.enqueue(b"", b"later", delay=600)
    dues = {record.payload: record.due_at for record in await mailbox.peek()}
    expect_equal((dues[b"now"], dues[b"later"] is None), (None, False), "due_at of what is due, and of what is not")
    later = next(record for record in await mailbox.peek() if record.payload == b"later")
    if later.due_at is not None:
        expect_equal(round((later.due_at - later.created_at).total_seconds()), 600, "seconds to its due time")

    async def due_of_soon() -> object:
        return next(record.due_at for record in await mailbox.peek() if record.payload == b"soon")

    await eventually(due_of_soon, None, "due_at when the delay is over")
    expect_equal([record.due_at for record in await drain(mailbox)], [None, None], "due_at of what is handed out")
