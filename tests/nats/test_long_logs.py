"""Much waits in a mailbox, or much has gone through it: who opens it is there at once, and the stream stays small."""

from __future__ import annotations

import asyncio
from time import process_time
from typing import Any

from pymailbox import NewMessage, open_mailbox
from tools.nats_servers import Servers

SERVERS = ("one",)
WAITING = 100_000
BATCH = 1000

OPENED_WITHIN = 1.0
STANDSTILL = 0.25
"""Seconds of this process's own work: others are busy on this machine, too."""


async def opened(location: str, who: str) -> tuple[Any, float]:
    """A handle with a connection of its own that has counted the messages, and what that took."""
    began = process_time()
    mailbox = await open_mailbox(location, connect={"name": who})
    await mailbox.status()
    return mailbox, process_time() - began


async def longest_standstill(standstills: list[float]) -> None:
    """Notes by how much others were kept from the event loop at most, until it is cancelled."""
    while True:
        began = process_time()
        await asyncio.sleep(0.002)
        standstills[0] = max(standstills[0], process_time() - began)


async def test_opening_with_much_waiting(servers: Servers, stream: str) -> None:
    location = servers.location("inbox", stream)
    async with open_mailbox(location) as filling:
        await filling.status()
        for _ in range(WAITING // BATCH):
            await filling.enqueue_many([NewMessage(b"me", bytes(200)) for _ in range(BATCH)])
    standstills = [0.0]
    watching = asyncio.create_task(longest_standstill(standstills))
    mailbox, seconds = await opened(location, "other")
    watching.cancel()
    assert (await mailbox.status()).queued_messages == WAITING
    assert seconds < OPENED_WITHIN
    assert standstills[0] < STANDSTILL
    assert mailbox._replica.bodies._kept == {}
    assert [record.payload for record in await mailbox.dequeue(3)] == [bytes(200)] * 3
    await mailbox.close()


async def test_opening_after_much_has_gone_through(servers: Servers, stream: str) -> None:
    location = servers.location("inbox", stream)
    async with open_mailbox(location) as mailbox:
        for _ in range(WAITING // BATCH):
            await mailbox.enqueue_many([NewMessage(b"me", bytes(20)) for _ in range(BATCH)])
            await mailbox.dequeue(BATCH, ack=[record.id for record in await mailbox.dequeue(BATCH)])
    other, seconds = await opened(location, "other")
    assert seconds < OPENED_WITHIN / 10
    assert (await other.status()).queued_messages == 0
    assert ((await other.storage_report()).usage or 0) < 2 * 1024 * 1024
    await other.close()
