"""``enqueue_many``: all or none, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from ...contract.capabilities import Capability
from ...contract.values import MessagePriority, NewMessage
from .._expect import expect, expect_equal, expect_error, expect_no_repeats
from .._sandbox import Sandbox, drain, numbered, payloads_of
from .._suite import check

NORMAL, HIGH = MessagePriority.NORMAL, MessagePriority.HIGH

MANY = 100_000
"""Messages in one call: as many as a file that a visitor drops on a page may have."""


def _messages(payloads: list[bytes], priority: MessagePriority = NORMAL) -> list[NewMessage]:
    return [NewMessage(b"sender", payload, priority) for payload in payloads]


@check(Capability.ENQUEUE_MANY)
async def check_batch_is_stored_in_order(sandbox: Sandbox) -> None:
    """Ids and messages come in the order of the call."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"first")
    ids = await mailbox.enqueue_many(_messages(numbered(60)))
    await mailbox.enqueue(b"sender", b"last")
    expect_equal(len(ids), 60, "ids")
    expect_no_repeats(ids, "ids")
    records = await drain(mailbox)
    expect_equal(payloads_of(records), [b"first", *numbered(60), b"last"], "payloads")
    expect_equal([record.id for record in records[1:-1]], ids, "ids of the records")


@check(Capability.ENQUEUE_MANY)
async def check_batch_keeps_sender_and_priority(sandbox: Sandbox) -> None:
    """Every message of a batch keeps its own sender and priority; without a priority it is ``NORMAL``."""
    mailbox = await sandbox.open()
    await mailbox.enqueue_many(
        [
            NewMessage(b"a", b"1"),
            NewMessage(b"b", b"2", HIGH),
            NewMessage(b"c", b"3", NORMAL),
            NewMessage(b"", b"", HIGH),
        ]
    )
    records = await drain(mailbox)
    expect_equal(
        [(record.sender, record.payload, record.priority) for record in records],
        [(b"b", b"2", HIGH), (b"", b"", HIGH), (b"a", b"1", NORMAL), (b"c", b"3", NORMAL)],
        "senders, payloads and priorities",
    )


@check(Capability.ENQUEUE_MANY)
async def check_empty_batch(sandbox: Sandbox) -> None:
    """An empty iterable gives ``[]``."""
    mailbox = await sandbox.open()
    expect_equal(await mailbox.enqueue_many([]), [], "ids of an empty list")
    expect_equal(await mailbox.enqueue_many(iter(())), [], "ids of an empty iterator")
    expect_equal((await mailbox.status()).queued_messages, 0, "queued messages")


@check(Capability.ENQUEUE_MANY)
async def check_any_iterable(sandbox: Sandbox) -> None:
    """Tuples, generators and other iterables work like a list."""
    mailbox = await sandbox.open()
    first, second, third = _messages(numbered(3))
    await mailbox.enqueue_many((first,))
    await mailbox.enqueue_many(message for message in [second])
    await mailbox.enqueue_many({third: None})
    expect_equal(payloads_of(await drain(mailbox)), numbered(3), "payloads")


@check(Capability.ENQUEUE_MANY)
async def check_iterable_that_raises_half_way(sandbox: Sandbox) -> None:
    """If an iterable raises, its error reaches the caller, and nothing is stored."""
    mailbox = await sandbox.open()

    class TornError(Exception):
        pass

    def torn() -> Iterator[NewMessage]:
        yield from _messages(numbered(3))
        raise TornError

    await expect_error(TornError, lambda: mailbox.enqueue_many(torn()))
    expect_equal((await mailbox.status()).queued_messages, 0, "queued messages")
    await mailbox.enqueue(b"sender", b"afterwards")
    expect_equal(payloads_of(await drain(mailbox)), [b"afterwards"], "payloads")


@check(Capability.ENQUEUE_MANY)
async def check_bad_message_in_the_middle(sandbox: Sandbox) -> None:
    """A bad message is named by its index, and nothing of its batch is stored."""
    mailbox = await sandbox.open()
    good = NewMessage(b"sender", b"payload")
    bad: dict[str, object] = {
        "sender": NewMessage("text", b""),  # type: ignore[arg-type]
        "payload": NewMessage(b"", None),  # type: ignore[arg-type]
        "priority": NewMessage(b"", b"", 7),  # type: ignore[arg-type]
        "delay": NewMessage(b"", b"", delay=-1),
        "messages": (b"sender", b"payload"),
    }
    for argument, message in bad.items():
        error = await expect_error(
            (TypeError, ValueError),
            mailbox.enqueue_many,
            [good, message, good],
            naming=argument,
            what=f"a bad {argument}",
        )
        expect("1" in str(error), f"the error does not say that it is the message with index 1: {error}")
    expect_equal((await mailbox.status()).queued_messages, 0, "queued messages")


@check(Capability.ENQUEUE_MANY)
async def check_batch_buffers_changed_while_the_call_waits(sandbox: Sandbox) -> None:
    """The bytes and the list are stored as they were at the call."""
    mailbox = await sandbox.open()
    payload = bytearray(b"before")
    messages = [NewMessage(b"sender", payload), NewMessage(b"sender", memoryview(payload))]
    call = asyncio.ensure_future(mailbox.enqueue_many(messages))
    payload[:] = b"after!"
    messages.clear()
    await call
    expect_equal(payloads_of(await drain(mailbox)), [b"before", b"before"], "payloads")


@check(Capability.ENQUEUE_MANY)
async def check_batch_is_seen_whole_or_not_at_all(sandbox: Sandbox) -> None:
    """While batches are stored, others see only whole ones."""
    writer, reader = await sandbox.open(), await sandbox.open()
    batches = [writer.enqueue_many(_messages(numbered(20))) for _ in range(5)]
    looks = [mailbox.status() for _ in range(5) for mailbox in (reader, writer)]
    _, seen = await asyncio.gather(asyncio.gather(*batches), asyncio.gather(*looks))
    depths = [stats.queued_messages for stats in seen]
    expect(all(depth % 20 == 0 for depth in depths), f"a part of a batch of 20 was seen: {depths}")


@check(Capability.ENQUEUE_MANY)
async def check_batches_do_not_mix(sandbox: Sandbox) -> None:
    """Batches that two handles store at once are not mixed."""
    handles = [await sandbox.open(), await sandbox.open()]
    await asyncio.gather(*(handle.enqueue_many(_messages(numbered(30))) for handle in handles for _ in range(3)))
    expect_equal(payloads_of(await drain(handles[0])), numbered(30) * 6, "payloads")


@check(Capability.ENQUEUE_MANY)
async def check_hundred_thousand_messages_in_one_call(sandbox: Sandbox) -> None:
    """100,000 messages in one call are stored, each once, including the first and the last."""
    mailbox = await sandbox.open()

    def lines() -> Iterator[NewMessage]:
        # the last ten are urgent, so that looking at both ends costs only one batch
        for number in range(MANY):
            yield NewMessage(b"file", b"%d" % number, HIGH if number >= MANY - 10 else NORMAL)

    ids = await mailbox.enqueue_many(lines())
    expect_equal(len(set(ids)), MANY, "distinct ids")
    stats = await mailbox.status()
    expect_equal(stats.queued_messages, MANY, "queued messages")
    expect_equal(dict(stats.queued_by_priority), {NORMAL: MANY - 10, HIGH: 10}, "queued messages by priority")
    ends = [record for _ in range(2) for record in await mailbox.dequeue()]
    numbers = [*range(MANY - 10, MANY), *range(MANY)]
    expect_equal(payloads_of(ends), [b"%d" % number for number in numbers[: len(ends)]], "payloads at the ends")
    expect_equal([record.id for record in ends], [ids[number] for number in numbers[: len(ends)]], "ids at the ends")
    expect_equal(await mailbox.ack(ids[MANY // 2]), True, "ack of the one in the middle")
