"""``ack`` and ``ack_many``: messages are gone for good, once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import UUID, uuid4

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import MessagePriority
from .._expect import expect, expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check


async def _counts(mailbox: Mailbox) -> tuple[int, int]:
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages


@check()
async def check_ack_is_true_once(sandbox: Sandbox) -> None:
    """The ``ack`` that removes a message is True, every later one False."""
    mailbox = await sandbox.open()
    message_id = await mailbox.enqueue(b"sender", b"payload")
    await drain(mailbox)
    answers = [await mailbox.ack(message_id) for _ in range(3)]
    expect_equal(answers, [True, False, False], "answers of ack")
    expect(answers[0] is True, f"ack returned {answers[0]!r}, no bool")
    expect_equal(await _counts(mailbox), (0, 0), "queued and inflight messages")


@check()
async def check_ack_of_an_unknown_id_is_false(sandbox: Sandbox) -> None:
    """For an id that was never there ``ack`` is False, not an error, and removes nothing."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    for unknown in (uuid4(), UUID(int=0), UUID(int=2**128 - 1)):
        expect(await mailbox.ack(unknown) is False, f"ack of the unknown id {unknown} is not False")
    expect_equal(await _counts(mailbox), (2, 0), "queued and inflight messages")


@check()
async def check_ack_of_an_id_next_to_a_real_one_is_false(sandbox: Sandbox) -> None:
    """An id that differs from a message's in a single bit removes nothing."""
    mailbox = await sandbox.open()
    message_id = await mailbox.enqueue(b"sender", b"payload")
    await drain(mailbox)
    for bit in range(128):
        neighbour = UUID(int=message_id.int ^ 1 << bit)
        expect(await mailbox.ack(neighbour) is False, f"ack of {neighbour}, bit {bit} of {message_id} changed")
    expect_equal(await _counts(mailbox), (0, 1), "queued and inflight messages")


@check()
async def check_acked_messages_stay_away(sandbox: Sandbox) -> None:
    """Acked messages are gone, the others stay, whatever the order of the acks."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(40))
    held = await drain(mailbox)
    for record in [*held[1::3], *held[0::3][::-1]]:
        expect_equal(await mailbox.ack(record.id), True, f"ack of {record.payload!r}")
    expect_equal(await _counts(other), (0, len(held[2::3])), "queued and inflight messages")
    expect_equal(await other.dequeue(), [], "dequeue of another handle")
    for record in held[2::3]:
        expect_equal(await mailbox.ack(record.id), True, f"ack of {record.payload!r}, the last third")
    expect_equal(await _counts(other), (0, 0), "queued and inflight messages at the end")


@check()
async def check_ack_of_a_queued_message_removes_it(sandbox: Sandbox) -> None:
    """A message can be acked before it is handed out, and then never is."""
    mailbox = await sandbox.open()
    ids = [await mailbox.enqueue(b"sender", payload) for payload in numbered(5)]
    urgent = await mailbox.enqueue(b"sender", b"urgent", MessagePriority.HIGH)
    expect_equal([await mailbox.ack(ids[0]), await mailbox.ack(ids[3]), await mailbox.ack(urgent)], [True] * 3, "acks")
    stats = await mailbox.status()
    expect_equal(list(stats.queued_by_priority.values()), [3, 0], "queued messages by priority")
    expect_equal(payloads_of(await drain(mailbox)), [b"m1", b"m2", b"m4"], "payloads")
    expect_equal(await mailbox.ack(ids[0]), False, "a second ack")


@check()
async def check_ack_by_another_handle_counts(sandbox: Sandbox) -> None:
    """A message that any handle acks is gone, whoever holds it."""
    holder, other = await sandbox.open(), await sandbox.open()
    message_id = await holder.enqueue(b"sender", b"payload")
    await drain(holder)
    expect_equal(await other.ack(message_id), True, "ack by another handle")
    expect_equal(await holder.ack(message_id), False, "ack by the holder, afterwards")
    expect_equal(await _counts(holder), (0, 0), "queued and inflight messages")


@check()
async def check_ack_against_ack_is_true_once(sandbox: Sandbox) -> None:
    """Of several acks of one message that run at once, exactly one is True."""
    handles = [await sandbox.open(), await sandbox.open()]
    for _ in range(5):
        message_id = await handles[0].enqueue(b"sender", b"payload")
        await drain(handles[0])
        answers = await asyncio.gather(*(handle.ack(message_id) for handle in handles for _ in range(3)))
        expect_equal(sorted(answers), [False] * 5 + [True], "answers of ack")


@check()
async def check_ack_against_dequeue_is_final(sandbox: Sandbox) -> None:
    """A message that is acked while a dequeue runs never comes back, whichever came first."""
    consumer, other = await sandbox.open(), await sandbox.open()

    async def ack_after(steps: int, mailbox: Mailbox, message_id: UUID) -> bool:
        for _ in range(steps):
            await asyncio.sleep(0)
        return await mailbox.ack(message_id)

    for acker in (consumer, other):
        for steps in range(8):
            ids = [await consumer.enqueue(b"sender", payload) for payload in numbered(3)]
            handed_out, acked = await asyncio.gather(consumer.dequeue(), ack_after(steps, acker, ids[0]))
            handed_out += await drain(consumer)
            expect_equal(acked, True, "the ack")
            expect_equal(await acker.ack(ids[0]), False, "a second ack: the message came back")
            expect_equal(payloads_of(handed_out)[-2:], [b"m1", b"m2"], "the other messages")
            expect_equal([await consumer.ack(message_id) for message_id in ids[1:]], [True] * 2, "acks of the others")
            expect_equal(await _counts(other), (0, 0), "queued and inflight messages")


@check()
async def check_cancelled_ack_can_be_repeated(sandbox: Sandbox) -> None:
    """A cancelled ack either happened or did not; after repeating it, this message is gone and no other."""
    mailbox = await sandbox.open()
    for steps in range(6):
        ids = [await mailbox.enqueue(b"sender", payload) for payload in numbered(2)]
        call = asyncio.ensure_future(mailbox.ack(ids[0]))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await mailbox.ack(ids[0])
        expect_equal(await mailbox.ack(ids[0]), False, "ack after the repeated one")
        expect_equal(await mailbox.ack(ids[1]), True, "ack of the other message")


@check(Capability.ACK_MANY)
async def check_ack_many_counts_what_it_removed(sandbox: Sandbox) -> None:
    """``ack_many`` counts only the messages that it removed, and repeated ids once."""
    mailbox = await sandbox.open()
    ids = [await mailbox.enqueue(b"sender", payload) for payload in numbered(80)]
    held = await mailbox.dequeue()
    await mailbox.ack(ids[0])
    chosen = [ids[0], ids[1], ids[1], uuid4(), ids[78], ids[79], ids[1]]
    expect_equal(await mailbox.ack_many(chosen), 3, "messages removed")
    expect_equal(await mailbox.ack_many(chosen), 0, "messages removed by the same call again")
    await drain(mailbox)
    expect_equal(await mailbox.ack_many(record.id for record in held), len(held) - 2, "what was held, from a generator")
    expect_equal(await mailbox.ack_many(reversed(ids)), 76 - (len(held) - 2), "all the rest")
    expect_equal(await _counts(mailbox), (0, 0), "queued and inflight messages")


@check(Capability.ACK_MANY)
async def check_ack_many_of_nothing(sandbox: Sandbox) -> None:
    """``ack_many`` of no ids removes nothing."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload")
    expect_equal([await mailbox.ack_many([]), await mailbox.ack_many(iter(()))], [0, 0], "messages removed")
    expect_equal(await _counts(mailbox), (1, 0), "queued and inflight messages")


@check(Capability.ACK_MANY)
async def check_ack_many_is_seen_whole_or_not_at_all(sandbox: Sandbox) -> None:
    """``ack_many`` is one transaction: others see all of its messages or none."""
    mailbox, reader = await sandbox.open(), await sandbox.open()
    ids = [await mailbox.enqueue(b"sender", payload) for payload in numbered(40)]
    seen = await asyncio.gather(
        reader.status(), mailbox.ack_many(ids[:20]), reader.status(), mailbox.ack_many(ids[20:]), reader.status()
    )
    depths = [stats.queued_messages for stats in seen if not isinstance(stats, int)]
    expect(all(depth in (40, 20, 0) for depth in depths), f"a part of 20 acks was seen: {depths}")


@check(Capability.ACK_MANY)
async def check_ids_that_raise_half_way(sandbox: Sandbox) -> None:
    """If an iterable of ids raises, its error reaches the caller, and nothing is removed."""
    mailbox = await sandbox.open()
    message_id = await mailbox.enqueue(b"sender", b"payload")

    class TornError(Exception):
        pass

    def torn() -> Iterator[UUID]:
        yield message_id
        raise TornError

    await expect_error(TornError, lambda: mailbox.ack_many(torn()))
    expect_equal(await _counts(mailbox), (1, 0), "queued and inflight messages")
