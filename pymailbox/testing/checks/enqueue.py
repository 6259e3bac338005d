"""``enqueue``: what is stored, in which order, and when others see it."""

from __future__ import annotations

import array
import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ...contract.values import MessagePriority, MessageStatus
from .._expect import expect, expect_equal, expect_no_repeats
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check

KIB = 1024


@check()
async def check_message_comes_back_as_it_was_sent(sandbox: Sandbox) -> None:
    """A message is handed out with its sender, payload and priority, inflight, for the first time."""
    mailbox = await sandbox.open()
    message_id = await mailbox.enqueue(b"alice", b"hello", MessagePriority.HIGH)
    expect(isinstance(message_id, UUID), f"enqueue returned {message_id!r}, no UUID")
    records = await mailbox.dequeue()
    expect_equal(len(records), 1, "messages handed out")
    record = records[0]
    expect_equal(record.id, message_id, "id")
    expect_equal((record.sender, record.payload), (b"alice", b"hello"), "sender and payload")
    expect_equal((type(record.sender), type(record.payload)), (bytes, bytes), "types of sender and payload")
    expect(record.priority is MessagePriority.HIGH, f"priority is {record.priority!r}")
    expect(record.status is MessageStatus.INFLIGHT, f"status is {record.status!r}")
    expect_equal(record.delivery_count, 1, "delivery_count")


@check()
async def check_priority_is_normal_unless_told(sandbox: Sandbox) -> None:
    """Without a priority a message is ``NORMAL``."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"alice", b"hello")
    expect_equal([record.priority for record in await drain(mailbox)], [MessagePriority.NORMAL], "priorities")


@check()
async def check_created_at_is_aware_and_utc(sandbox: Sandbox) -> None:
    """``created_at`` is the time of the enqueue: timezone-aware, in UTC."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"alice", b"hello")
    [record] = await drain(mailbox)
    expect_equal(record.created_at.utcoffset(), timedelta(0), "created_at's distance from UTC")
    # an hour: clocks may be set while tests run, but a local time or a wrong unit is further off
    off = abs(datetime.now(UTC) - record.created_at)
    expect(off < timedelta(minutes=10), f"created_at is {record.created_at}, {off} away from now")


@check()
async def check_ids_are_distinct(sandbox: Sandbox) -> None:
    """Every message gets its own id, even across handles and mailboxes."""
    handles = [await sandbox.open(), await sandbox.open(), await sandbox.open("other")]
    ids = [await handle.enqueue(b"sender", payload) for handle in handles for payload in numbered(15)]
    expect_no_repeats(ids, "ids")


@check()
async def check_committed_before_it_returns(sandbox: Sandbox) -> None:
    """When ``enqueue`` returns, every other handle sees the message."""
    writer, reader = await sandbox.open(), await sandbox.open()
    for number in range(1, 6):
        await writer.enqueue(b"sender", b"payload")
        expect_equal((await reader.status()).queued_messages, number, "queued messages, seen by another handle")
    expect_equal(len(await drain(reader)), 5, "messages that another handle got")


@check()
async def check_fifo_within_a_millisecond(sandbox: Sandbox) -> None:
    """200 awaited enqueues, many in the same millisecond, come back in order."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(200))
    expect_equal(payloads_of(await drain(mailbox)), numbered(200), "payloads")


@check()
async def check_gathered_calls_keep_their_order(sandbox: Sandbox) -> None:
    """Calls that run at once are stored in the order in which they were made."""
    mailbox = await sandbox.open()
    ids = await asyncio.gather(*(mailbox.enqueue(b"sender", payload) for payload in numbered(100)))
    records = await drain(mailbox)
    expect_equal(payloads_of(records), numbered(100), "payloads")
    expect_equal([record.id for record in records], ids, "ids")


@check()
async def check_two_handles_share_one_order(sandbox: Sandbox) -> None:
    """Messages of several handles come in the order in which they were committed."""
    handles = [await sandbox.open(), await sandbox.open()]
    for number, payload in enumerate(numbered(40)):
        await handles[number % 2].enqueue(b"sender", payload)
    expect_equal(payloads_of(await drain(handles[0])), numbered(40), "payloads")


@check()
async def check_empty_sender_and_payload(sandbox: Sandbox) -> None:
    """Sender and payload may be empty."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"", b"")
    await mailbox.enqueue(b"", b"payload")
    await mailbox.enqueue(b"sender", b"")
    records = await drain(mailbox)
    expect_equal(
        [(record.sender, record.payload) for record in records],
        [(b"", b""), (b"", b"payload"), (b"sender", b"")],
        "senders and payloads",
    )


@check()
async def check_every_byte_value_and_many_sizes(sandbox: Sandbox) -> None:
    """Payloads of any bytes, and of sizes around the usual limits of storage records, come back unchanged."""
    mailbox = await sandbox.open()
    pattern = bytes(range(256))
    sizes = [1, 127, 128, 255, 256, 4096, 48 * KIB - 1, 48 * KIB, 48 * KIB + 1, 64 * KIB, 64 * KIB + 1, 1024 * KIB]
    wanted = [(pattern * (size // 256 + 1))[:size] for size in sizes]
    for payload in wanted:
        await mailbox.enqueue(payload[:300], payload)
    records = await drain(mailbox)
    expect_equal([len(record.payload) for record in records], sizes, "sizes of the payloads")
    expect(payloads_of(records) == wanted, "a payload is not what was sent")
    expect([record.sender for record in records] == [payload[:300] for payload in wanted], "a sender is not as sent")


@check()
async def check_bytes_like_values(sandbox: Sandbox) -> None:
    """Sender and payload may be any buffer of bytes, whatever its shape, and its contents are stored."""
    mailbox = await sandbox.open()
    cases = [
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abc"), b"abc"),
        (memoryview(bytearray(b"xabcx"))[1:4], b"abc"),
        (memoryview(b"a-b-c")[::2], b"abc"),
        (memoryview(b"cba")[::-1], b"abc"),
        (memoryview(bytes(range(6))).cast("B", (2, 3)), bytes(range(6))),
        (memoryview(bytes(range(6))).cast("B", (2, 3))[::-1], bytes((3, 4, 5, 0, 1, 2))),
        (array.array("B", b"abc"), b"abc"),
        (array.array("b", [-1, 1]), b"\xff\x01"),
        (memoryview(b"abc").cast("c"), b"abc"),
        (memoryview(bytearray()), b""),
    ]
    for value, _ in cases:
        await mailbox.enqueue(value, value)  # type: ignore[arg-type]  # array.array has the buffer interface
    records = await drain(mailbox)
    wanted = [(stored, stored) for _, stored in cases]
    expect_equal([(record.sender, record.payload) for record in records], wanted, "senders and payloads")


@check()
async def check_buffer_changed_after_the_call(sandbox: Sandbox) -> None:
    """Changing or resizing a buffer after ``enqueue`` changes nothing in the mailbox."""
    mailbox = await sandbox.open()
    sender, payload = bytearray(b"alice"), bytearray(b"before")
    await mailbox.enqueue(sender, memoryview(payload))
    sender[:], payload[:] = b"mallory", b"changed afterwards"
    [record] = await drain(mailbox)
    expect_equal((record.sender, record.payload), (b"alice", b"before"), "sender and payload")


@check()
async def check_buffer_changed_while_the_call_waits(sandbox: Sandbox) -> None:
    """Bytes are stored as they were at the call, even if the event loop runs it later."""
    mailbox = await sandbox.open()
    sender, payload = bytearray(b"alice"), bytearray(b"before")
    call = asyncio.ensure_future(mailbox.enqueue(sender, memoryview(payload)))
    sender[:], payload[:] = b"mally", b"after!"
    await call
    [record] = await drain(mailbox)
    expect_equal((record.sender, record.payload), (b"alice", b"before"), "sender and payload")


@check()
async def check_refused_enqueue_harms_no_later_one(sandbox: Sandbox) -> None:
    """After a refused enqueue, the next ones are stored as usual."""
    mailbox = await sandbox.open()
    for payload in numbered(3):
        try:
            await mailbox.enqueue(b"sender", "text")  # type: ignore[arg-type]
        except TypeError:
            await mailbox.enqueue(b"sender", payload)
    expect_equal(payloads_of(await drain(mailbox)), numbered(3), "payloads")
