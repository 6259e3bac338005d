"""What opening a handle finds, and what it leaves alone."""

from __future__ import annotations

import asyncio
from uuid import UUID

from ...contract.values import MessagePriority
from .._expect import expect_equal, expect_no_repeats
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check


@check()
async def check_messages_survive_reopening(sandbox: Sandbox) -> None:
    """Messages outlive the handle that sent them, with order and priority."""
    first = await sandbox.open()
    await send(first, numbered(3))
    await first.enqueue(b"sender", b"urgent", MessagePriority.HIGH)
    await first.close()
    second = await sandbox.open()
    expect_equal((await second.status()).queued_messages, 4, "queued messages")
    await send(second, [b"later"])
    expect_equal(payloads_of(await drain(second)), [b"urgent", *numbered(3), b"later"], "payloads")


@check()
async def check_acked_messages_stay_away_after_reopening(sandbox: Sandbox) -> None:
    """Acked messages do not come back."""
    first = await sandbox.open()
    await send(first, numbered(40))
    for record in await drain(first):
        await first.ack(record.id)
    await first.close()
    second = await sandbox.open()
    stats = await second.status()
    expect_equal((stats.queued_messages, stats.inflight_messages), (0, 0), "queued and inflight messages")
    expect_equal(await second.dequeue(), [], "dequeue")


@check()
async def check_ids_are_not_used_again_after_reopening(sandbox: Sandbox) -> None:
    """A reopened mailbox makes new ids, even if it was empty, so that a late ack cannot hit another message."""
    ids: list[UUID] = []
    for _ in range(3):
        mailbox = await sandbox.open()
        ids += [await mailbox.enqueue(b"sender", payload) for payload in numbered(3)]
        for record in await drain(mailbox):
            await mailbox.ack(record.id)
        await mailbox.close()
    expect_no_repeats(ids, "ids")


@check()
async def check_second_handle_takes_nothing(sandbox: Sandbox) -> None:
    """A handle opened while another holds messages gets none of them, and the holder can still ack."""
    holder = await sandbox.open()
    await send(holder, numbered(5))
    held = await drain(holder)
    others = await asyncio.gather(*(sandbox.open() for _ in range(3)))
    for other in others:
        expect_equal(await other.dequeue(), [], "what a handle got that was opened later")
    expect_equal((await holder.status()).inflight_messages, 5, "inflight messages")
    expect_equal([await holder.ack(record.id) for record in held], [True] * 5, "acks")


@check()
async def check_opening_at_once_makes_one_mailbox(sandbox: Sandbox) -> None:
    """Handles opened at the same time on a new mailbox share it."""
    handles = await asyncio.gather(*(sandbox.open("new") for _ in range(4)))
    for number, handle in enumerate(handles):
        await handle.enqueue(b"sender", b"m%d" % number)
    expect_equal(payloads_of(await drain(handles[-1])), numbered(4), "payloads")
