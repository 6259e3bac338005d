"""``promote``: delayed messages become due at once."""

from __future__ import annotations

import asyncio
import math
from typing import Any
from uuid import uuid4

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import MessagePriority
from .._expect import expect_equal, expect_error
from .._sandbox import Sandbox, drain, payloads_of
from .._suite import check

LATER = 600.0


async def _fill(mailbox: Mailbox) -> dict[bytes, Any]:
    """Enqueues messages, every other one delayed; returns their ids by payload."""
    ids = {}
    for number in range(6):
        payload = b"%d" % number
        ids[payload] = await mailbox.enqueue(b"", payload, delay=LATER + number if number % 2 else None)
    return ids


@check(Capability.PROMOTE, Capability.DELAY)
async def check_promote_makes_all_due(sandbox: Sandbox) -> None:
    """Without ids all delayed messages become due, each at its old place; it returns how many there were."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await _fill(mailbox)
    await mailbox.enqueue(b"", b"high", MessagePriority.HIGH, delay=LATER)
    expect_equal(await other.promote(), 4, "how many were delayed")
    expect_equal((await mailbox.status()).delayed_messages, 0, "delayed messages")
    expect_equal(payloads_of(await drain(mailbox)), [b"high", *(b"%d" % n for n in range(6))], "what is handed out")
    expect_equal(await mailbox.promote(), 0, "how many were delayed after that")


@check(Capability.PROMOTE, Capability.DELAY)
async def check_promote_of_some(sandbox: Sandbox) -> None:
    """With ids only these become due; ids that are not delayed, unknown or repeated do not count."""
    mailbox = await sandbox.open()
    ids = await _fill(mailbox)
    [first] = await mailbox.dequeue(1) if mailbox._takes_limit else [(await mailbox.dequeue())[0]]
    named = [ids[b"3"], ids[b"3"], ids[b"2"], first.id, uuid4()]
    expect_equal(await mailbox.promote(named), 1, "how many were delayed")
    expect_equal(await mailbox.promote([]), 0, "how many of none")
    expect_equal((await mailbox.status()).delayed_messages, 2, "delayed messages")
    taken = payloads_of(await drain(mailbox))
    expect_equal([payload for payload in taken if payload in (b"1", b"3", b"5")], [b"3"], "delayed ones that came")


@check(Capability.PROMOTE, Capability.DELAY, Capability.WAIT)
async def check_promote_wakes_a_waiting_dequeue(sandbox: Sandbox) -> None:
    """A waiting ``dequeue`` gets what another handle promotes."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await mailbox.enqueue(b"", b"later", delay=LATER)
    waiting = asyncio.ensure_future(mailbox.dequeue(wait=math.inf))
    await asyncio.sleep(0.02)
    expect_equal(await other.promote(), 1, "how many were delayed")
    async with asyncio.timeout(60):
        expect_equal(payloads_of(await waiting), [b"later"], "what came")


@check(Capability.PROMOTE, Capability.DELAY, Capability.DEPTH_OBSERVER)
async def check_promote_tells_no_observer(sandbox: Sandbox) -> None:
    """Observers are not called: a message that becomes due was already queued."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"", b"later", delay=LATER)
    depths: list[int] = []

    class Observer:
        def on_depth_change(self, queued_messages: int) -> None:
            depths.append(queued_messages)

    mailbox.set_depth_observer(Observer())
    await mailbox.promote()
    expect_equal(depths, [], "what the observer was told")
    mailbox.set_depth_observer(None)


@check(Capability.PROMOTE)
async def check_ids_to_promote_must_be_uuids(sandbox: Sandbox) -> None:
    """Anything but an iterable of UUIDs is refused by name, and nothing is promoted."""
    mailbox = await sandbox.open()
    own_id = await mailbox.enqueue(b"", b"later", delay=LATER) if Capability.DELAY in mailbox.capabilities else uuid4()
    for bad in (5, str(own_id), own_id, [own_id, str(own_id)], [own_id, None]):
        await expect_error(TypeError, mailbox.promote, bad, naming="ids", what=f"promote({bad!r})")
    expect_equal(await drain(mailbox), [], "what is handed out")
