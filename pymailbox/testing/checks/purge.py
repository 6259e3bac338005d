"""``purge``: deletes everything that is queued, and nothing else."""

from __future__ import annotations

from ...contract.capabilities import Capability
from ...contract.values import MessagePriority
from .._expect import expect_equal
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check


@check(Capability.PURGE)
async def check_purge_deletes_what_is_queued(sandbox: Sandbox) -> None:
    """``purge`` deletes all queued messages of any priority and handle, and returns how many there were."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(40))
    await send(other, numbered(3), priority=MessagePriority.HIGH)
    expect_equal(await mailbox.purge(), 43, "messages deleted")
    expect_equal(await mailbox.purge(), 0, "messages deleted by a second purge")
    stats = await other.status()
    expect_equal((stats.queued_messages, stats.inflight_messages), (0, 0), "queued and inflight messages")
    expect_equal(list(stats.queued_by_priority.values()), [0, 0], "queued messages by priority")
    expect_equal(await other.dequeue(), [], "dequeue after purge")


@check(Capability.PURGE)
async def check_purge_leaves_what_is_inflight(sandbox: Sandbox) -> None:
    """Inflight messages stay with their holder and can be acked."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(3))
    held = await drain(mailbox)
    await send(mailbox, numbered(5, "queued"))
    expect_equal(await other.purge(), 5, "messages deleted")
    expect_equal((await mailbox.status()).inflight_messages, 3, "inflight messages")
    expect_equal([await mailbox.ack(record.id) for record in held], [True] * 3, "acks")


@check(Capability.PURGE)
async def check_purged_mailbox_goes_on(sandbox: Sandbox) -> None:
    """A purged id is unknown, and what is sent afterwards comes in order."""
    mailbox = await sandbox.open()
    message_id = await mailbox.enqueue(b"sender", b"purged")
    await mailbox.purge()
    expect_equal(await mailbox.ack(message_id), False, "ack of a purged message")
    await send(mailbox, numbered(4))
    expect_equal(payloads_of(await drain(mailbox)), numbered(4), "payloads")
