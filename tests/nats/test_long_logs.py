"""Much waits in a mailbox, or much has gone through it: who opens it is there at once, and the stream stays small."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import process_time
from typing import Any

import nats
import pytest

from pymailbox import MessagePriority, NewMessage, open_mailbox
from pymailbox.backends.jetstream import codec
from pymailbox.contract.arguments import PreparedMessage
from pymailbox.contract.ids import new_id
from tools.nats_servers import Servers

SERVERS = ("one",)
WAITING = 100_000
BATCH = 1000

OPENED_WITHIN = 1.0
NOBODY_FOLLOWED = 1.5
"""For what each message is read; on a machine that is busy otherwise, where that time is longer."""
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


@pytest.fixture
def quick() -> Iterator[Servers]:
    """A server that does not sync each of a hundred thousand messages."""
    with Servers(1, sync="default") as servers:
        yield servers


@pytest.mark.parametrize("other_program", [True, False], ids=["a program without pymailbox", "a producer"])
async def test_opening_what_nobody_has_followed(other_program: bool, quick: Servers, stream: str) -> None:
    """Producers write no snapshots."""
    location = quick.location("inbox", stream)
    async with open_mailbox(location), await nats.connect(f"nats://{quick.addresses}") as client:
        for number in range(1, WAITING + 1):
            await client.publish(f"{stream}.m.inbox.in", bytes(200) if other_program else commit_of_one(number))
            if not number % BATCH:
                await client.flush()
    standstills = [0.0]
    watching = asyncio.create_task(longest_standstill(standstills))
    mailbox, seconds = await opened(location, "other")
    watching.cancel()
    assert (await mailbox.status()).queued_messages == WAITING
    assert seconds < OPENED_WITHIN * NOBODY_FOLLOWED
    assert standstills[0] < STANDSTILL
    assert [record.payload for record in await mailbox.dequeue(3)] == [bytes(200)] * 3
    await mailbox._replica.write_snapshot()
    newcomer, _ = await opened(location, "newcomer")
    assert await newcomer.status() == await mailbox.status()
    await newcomer.close()
    await mailbox.close()


def commit_of_one(number: int) -> bytes:
    """What a producer publishes for one message; to await each here would take a minute."""
    message = PreparedMessage(b"me", bytes(200), MessagePriority.NORMAL, new_id(), 0, b"", 0)
    return codec.encode(bytes(8), number, [codec.encode_command(codec.Op.ENQUEUE, codec.encode_messages([message]))])


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
