"""``dequeue(ack=...)``: what is acknowledged together with a claim, and when."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from functools import partial
from uuid import UUID, uuid4

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import MailboxStats
from .._expect import eventually, expect, expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check


async def _left(mailbox: Mailbox) -> tuple[int, int]:
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages


@check()
async def check_acks_come_before_the_claim(sandbox: Sandbox) -> None:
    """The messages to acknowledge are gone, whoever had them, and are not handed out; the others are."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    ids = [await mailbox.enqueue(b"sender", payload) for payload in numbered(2)]
    expect_equal(payloads_of(await drain(other)), numbered(2), "what another handle holds")
    ids += [await mailbox.enqueue(b"sender", payload) for payload in numbered(4)[2:]]
    records = await mailbox.dequeue(ack=[ids[0], uuid4(), ids[2], ids[0]])
    expect_equal(payloads_of(records), [b"m3"], "payloads")
    expect_equal(await _left(mailbox), (0, 2), "queued and inflight messages")
    acks = [await other.ack(message_id) for message_id in ids]
    expect_equal(acks, [False, True, False, True], "acks that follow")


@check()
async def check_acks_count_though_nothing_comes(sandbox: Sandbox) -> None:
    """The messages to acknowledge are gone even if there is nothing to hand out."""
    mailbox = await sandbox.open()
    for wait in (None, 0.01):
        ids = [await mailbox.enqueue(b"sender", payload) for payload in numbered(3)]
        expect_equal(len(await drain(mailbox)), 3, "messages handed out")
        expect_equal(await mailbox.dequeue(wait=wait, ack=iter(ids)), [], "what came")
        expect_equal(await _left(mailbox), (0, 0), "queued and inflight messages")
        expect_equal(await mailbox.dequeue(ack=ids), [], "what came when they were gone")


@check()
async def check_acks_do_not_wait_for_messages(sandbox: Sandbox) -> None:
    """A dequeue acknowledges before it waits, and then returns with what comes."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    message_id = await mailbox.enqueue(b"sender", b"first")
    await drain(mailbox)
    waiting = asyncio.ensure_future(mailbox.dequeue(wait=math.inf, ack=[message_id]))
    await eventually(partial(_left, other), (0, 0), "queued and inflight messages during the wait")
    expect(not waiting.done(), "the wait was over before anything came")
    await other.enqueue(b"sender", b"second")
    expect_equal(payloads_of(await waiting), [b"second"], "payloads")


@check()
async def check_ids_that_raise_half_way(sandbox: Sandbox) -> None:
    """If an iterable of ids raises, its error reaches the caller; nothing is acknowledged or handed out."""
    mailbox = await sandbox.open()
    message_id = await mailbox.enqueue(b"sender", b"payload")

    class TornError(Exception):
        pass

    def torn() -> Iterator[UUID]:
        yield message_id
        raise TornError

    await expect_error(TornError, lambda: mailbox.dequeue(ack=torn()))
    expect_equal(await _left(mailbox), (1, 0), "queued and inflight messages")


@check(acks_with_claims=True)
async def check_acks_and_claim_are_seen_together(sandbox: Sandbox) -> None:
    """The acknowledgements and the claim are one transaction: others see both or neither."""
    mailbox, reader = await sandbox.open(), await sandbox.open()
    held: list[UUID] = []
    await send(mailbox, numbered(20))
    while len(held) < 20:
        held += [record.id for record in await mailbox.dequeue()]
    for round_ in range(4):
        await send(mailbox, numbered(20, f"round {round_} "))
        call = asyncio.ensure_future(mailbox.dequeue(ack=held))
        seen: list[MailboxStats] = []
        while not call.done():
            seen.append(await reader.status())
            await asyncio.sleep(0)
        held = [record.id for record in await call]
        expect_equal(len(held), 20, "messages handed out")
        pairs = {(stats.queued_messages, stats.inflight_messages) for stats in seen}
        expect(pairs <= {(20, 20), (0, 20)}, f"a part of the call was seen: {pairs} queued and inflight messages")


@check(Capability.RELEASE, acks_with_claims=True)
async def check_cancelled_call_has_acked_all_or_nothing(sandbox: Sandbox) -> None:
    """A cancelled call hands nothing out, and either all of its acknowledgements have happened or none."""
    mailbox = await sandbox.open()
    for steps in range(10):
        ids = [await mailbox.enqueue(b"sender", payload) for payload in numbered(3)]
        await drain(mailbox)
        await send(mailbox, numbered(2, "next"))
        call = asyncio.ensure_future(mailbox.dequeue(ack=ids))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        acked = [not await mailbox.ack(message_id) for message_id in ids]
        expect(len(set(acked)) == 1, f"after {steps} steps some of the acknowledgements had happened: {acked}")
        if call.cancelled():
            await eventually(partial(_left, mailbox), (2, 0), "queued and inflight messages after the cancellation")
            records = await drain(mailbox)
        else:
            records = call.result()
        expect_equal([(one.payload, one.delivery_count) for one in records], [(b"next0", 1), (b"next1", 1)], "the rest")
        for record in records:
            await mailbox.ack(record.id)
