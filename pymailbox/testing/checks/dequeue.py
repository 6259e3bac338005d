"""``dequeue``: which messages it hands out, how many, and to nobody else."""

from __future__ import annotations

import asyncio

from ...contract.values import MessagePriority
from .._expect import expect, expect_equal, expect_no_repeats
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check

NORMAL, HIGH = MessagePriority.NORMAL, MessagePriority.HIGH

MIB = 1024 * 1024


@check()
async def check_empty_mailbox_gives_nothing(sandbox: Sandbox) -> None:
    """An empty mailbox gives ``[]``, before the first message and after the last."""
    mailbox = await sandbox.open()
    expect_equal(await mailbox.dequeue(), [], "dequeue from a new mailbox")
    await mailbox.enqueue(b"sender", b"payload")
    for record in await drain(mailbox):
        await mailbox.ack(record.id)
    expect_equal(await mailbox.dequeue(), [], "dequeue from a mailbox that was emptied")


@check()
async def check_high_before_normal(sandbox: Sandbox) -> None:
    """Every ``HIGH`` message comes before any ``NORMAL`` one, oldest first within a priority."""
    mailbox = await sandbox.open()
    for number, payload in enumerate(numbered(12)):
        await mailbox.enqueue(b"sender", payload, HIGH if number % 3 == 2 else NORMAL)
    payloads = numbered(12)
    wanted = payloads[2::3] + [payload for number, payload in enumerate(payloads) if number % 3 != 2]
    expect_equal(payloads_of(await drain(mailbox)), wanted, "payloads")


@check()
async def check_later_high_message_overtakes(sandbox: Sandbox) -> None:
    """A late ``HIGH`` message is the next to be handed out."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(100))
    handed_out = await mailbox.dequeue()
    await mailbox.enqueue(b"sender", b"urgent", HIGH)
    rest = await drain(mailbox)
    expect_equal(payloads_of(rest), [b"urgent", *numbered(100)[len(handed_out) :]], "payloads after the first batch")


@check()
async def check_inflight_messages_stay_with_their_holder(sandbox: Sandbox) -> None:
    """While it is held, a message is not handed out again, to the same handle or another."""
    holder, other = await sandbox.open(), await sandbox.open()
    await send(holder, numbered(5))
    held = await drain(holder)
    expect_equal(len(held), 5, "messages handed out")
    expect_equal(await holder.dequeue(), [], "a second dequeue of the same handle")
    expect_equal(await other.dequeue(), [], "a dequeue of another handle")
    expect_equal((await other.status()).inflight_messages, 5, "inflight messages")


@check()
async def check_overlapping_dequeues_are_disjoint(sandbox: Sandbox) -> None:
    """Dequeues that run at once on one handle never get the same message."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(50))
    batches = await asyncio.gather(*(mailbox.dequeue() for _ in range(8)))
    handed_out = [payload for batch in batches for payload in payloads_of(batch)]
    expect_no_repeats(handed_out, "payloads of overlapping dequeues")
    rest = payloads_of(await drain(mailbox))
    expect_equal(sorted(handed_out + rest), sorted(numbered(50)), "all payloads")
    expect_equal(rest, numbered(50)[len(handed_out) :], "what the overlapping dequeues left")


@check()
async def check_overlapping_dequeues_of_two_handles_are_disjoint(sandbox: Sandbox) -> None:
    """Dequeues that run at once on several handles never get the same message."""
    handles = [await sandbox.open() for _ in range(3)]
    await send(handles[0], numbered(120))
    batches = await asyncio.gather(*(handle.dequeue() for _ in range(2) for handle in handles))
    handed_out = [payload for batch in batches for payload in payloads_of(batch)]
    expect_no_repeats(handed_out, "payloads of overlapping dequeues")
    rest = payloads_of(await drain(handles[0]))
    expect_equal(rest, numbered(120)[len(handed_out) :], "what the overlapping dequeues left")


@check(needs_limit=True)
async def check_limit_is_the_most_that_comes(sandbox: Sandbox) -> None:
    """``dequeue(limit)`` gives ``limit`` messages, or all if there are fewer."""
    mailbox = await sandbox.open()
    payloads = numbered(50)
    await send(mailbox, payloads)
    sizes = []
    for limit in (1, 2, 40, 100, 1):
        sizes.append(len(batch := await mailbox.dequeue(limit)))
        expect_equal(payloads_of(batch), payloads[: len(batch)], f"payloads of dequeue({limit})")
        payloads = payloads[len(batch) :]
    expect_equal(sizes, [1, 2, 40, 7, 0], "sizes of the batches")


@check(needs_limit=True)
async def check_limit_cuts_across_priorities(sandbox: Sandbox) -> None:
    """If there are not enough ``HIGH`` messages, a batch is filled up with ``NORMAL`` ones."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(4, "normal"))
    await send(mailbox, numbered(3, "high"), priority=HIGH)
    expect_equal(payloads_of(await mailbox.dequeue(2)), [b"high0", b"high1"], "first batch")
    expect_equal(payloads_of(await mailbox.dequeue(3)), [b"high2", b"normal0", b"normal1"], "second batch")
    expect_equal(payloads_of(await mailbox.dequeue(3)), [b"normal2", b"normal3"], "third batch")


@check(needs_limit=True)
async def check_overlapping_limits_take_a_prefix(sandbox: Sandbox) -> None:
    """Overlapping dequeues with a limit get as many as they asked for, and together the oldest messages."""
    handles = [await sandbox.open(), await sandbox.open()]
    await send(handles[0], numbered(100))
    batches = await asyncio.gather(*(handle.dequeue(limit=9) for _ in range(5) for handle in handles))
    expect_equal([len(batch) for batch in batches], [9] * 10, "sizes of the batches")
    for batch in batches:
        numbers = [int(payload[1:]) for payload in payloads_of(batch)]
        expect_equal(numbers, sorted(numbers), "order within a batch")
    handed_out = [payload for batch in batches for payload in payloads_of(batch)]
    expect_equal(sorted(handed_out), sorted(numbered(100)[:90]), "payloads handed out")


@check(needs_limit=True)
async def check_batch_size_is_32_unless_told(sandbox: Sandbox) -> None:
    """Without a limit a batch has ``batch_size`` messages; 32 if the handle was opened without that option."""
    mailbox, small, large = await sandbox.open(), await sandbox.open(batch_size=3), await sandbox.open(batch_size=50)
    await send(mailbox, numbered(90))
    sizes = [len(await handle.dequeue()) for handle in (mailbox, small, large)]
    expect_equal(sizes, [32, 3, 50], "sizes of the batches")


@check(needs_limit=True)
async def check_batch_holds_64_mib_at_most(sandbox: Sandbox) -> None:
    """A batch has at most 64 MiB of payload, and nothing is skipped to fill it."""
    mailbox = await sandbox.open()
    sizes = [33 * MIB, 31 * MIB, 1, 0]
    for size in sizes:
        await mailbox.enqueue(b"sender", bytes(size))
    batches = []
    for _ in range(2):
        batch = await mailbox.dequeue()
        batches.append([len(record.payload) for record in batch])
        for record in batch:
            await mailbox.ack(record.id)
        del batch
    expect_equal(batches, [sizes[:2], sizes[2:]], "sizes of the payloads in each batch")


@check(needs_limit=True)
async def check_message_of_64_mib_comes_alone(sandbox: Sandbox) -> None:
    """A message of the largest allowed size is stored, and handed out alone."""
    mailbox = await sandbox.open()
    payload = b"<" + bytes(64 * MIB - 2) + b">"
    message_id = await mailbox.enqueue(b"", payload)
    await mailbox.enqueue(b"sender", b"small")
    batch = await mailbox.dequeue()
    expect_equal([record.id for record in batch], [message_id], "ids of the first batch")
    expect(batch[0].payload == payload, "the large payload is not what was sent")
    del batch
    await mailbox.ack(message_id)
    expect_equal(payloads_of(await mailbox.dequeue()), [b"small"], "payloads of the second batch")
