"""Much waits in a mailbox, or much has gone through it: who opens it is there at once, and the stream stays small."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

import nats
import pytest

from pymailbox import MessagePriority, NewMessage, open_mailbox
from pymailbox.backends.jetstream import JetStreamMailbox, codec, snapshots
from pymailbox.backends.jetstream.client import LinkClient
from pymailbox.backends.jetstream.follower import Entry
from pymailbox.backends.jetstream.replica import Replica
from pymailbox.backends.jetstream.shelves import SHELF
from pymailbox.backends.jetstream.wire import OnMessage
from pymailbox.contract.arguments import PreparedMessage
from pymailbox.contract.ids import new_id
from tools.nats_servers import Servers

SERVERS = ("one",)
WAITING = 100_000
BATCH = 1000
SIZE = 200


class Received:
    """Counts what connections get that begin to listen from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages = self.bytes = 0
        listen = LinkClient.listen

        async def counting(client: LinkClient, subject: str, on_message: OnMessage) -> int:
            def count(subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
                self.messages += 1
                self.bytes += len(data)
                on_message(subject, reply, data, headers)

            return await listen(client, subject, count)

        monkeypatch.setattr(LinkClient, "listen", counting)


async def opened(location: str, who: str) -> JetStreamMailbox:
    """A handle with a connection of its own that has counted the messages."""
    mailbox = await open_mailbox(location, connect={"name": who})
    await mailbox.status()
    return cast(JetStreamMailbox, mailbox)


@asynccontextmanager
async def turns_of_others() -> AsyncIterator[list[int]]:
    """Meanwhile counts how often others have their turn, in the only item."""
    turns = [0]

    async def take() -> None:
        while True:
            await asyncio.sleep(0)
            turns[0] += 1

    taking = asyncio.create_task(take())
    yield turns
    taking.cancel()


async def test_opening_with_much_waiting(servers: Servers, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    location = servers.location("inbox", stream)
    async with open_mailbox(location) as filling:
        await filling.status()
        for _ in range(WAITING // BATCH):
            await filling.enqueue_many([NewMessage(b"me", bytes(SIZE)) for _ in range(BATCH)])
    received = Received(monkeypatch)
    mailbox = await opened(location, "other")
    assert (await mailbox.status()).queued_messages == WAITING
    # a snapshot, and at most a third of the messages, which came after it
    assert 0 < received.bytes < WAITING * SIZE / 2
    assert mailbox._replica.bodies._kept == {}
    assert [record.payload for record in await mailbox.dequeue(3)] == [bytes(SIZE)] * 3

    monkeypatch.setattr(snapshots, "_SLICE", 0)  # each step gives others their turn, however fast this machine is
    capture = snapshots.Capture(mailbox._replica.log)
    async with turns_of_others() as turns:
        digest, packed = await snapshots.take(capture, pack=True)
        assert turns[0] > WAITING / SHELF
    async with turns_of_others() as turns:
        encoded = await snapshots.unpack(packed, snapshots.Snapshot(0, 0, 0, digest, (), b""))
        await snapshots.decode(encoded, 0)
        assert turns[0] > WAITING / SHELF
    await mailbox.close()


@pytest.fixture
def quick() -> Iterator[Servers]:
    """A server that does not sync each of a hundred thousand messages."""
    with Servers(1, sync="default") as servers:
        yield servers


@pytest.mark.parametrize("other_program", [True, False], ids=["a program without pymailbox", "a producer"])
async def test_opening_what_nobody_has_followed(
    other_program: bool, quick: Servers, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Producers write no snapshots."""
    location = quick.location("inbox", stream)
    async with open_mailbox(location), await nats.connect(f"nats://{quick.addresses}") as client:
        for number in range(1, WAITING + 1):
            await client.publish(f"{stream}.m.inbox.in", bytes(SIZE) if other_program else commit_of_one(number))
            if not number % BATCH:
                await client.flush()
    received = Received(monkeypatch)
    in_a_turn: Counter[int] = Counter()
    async with turns_of_others() as turns:
        on_entry = Replica._on_entry

        def hear(replica: Replica, entry: Entry) -> None:
            in_a_turn[turns[0]] += 1
            on_entry(replica, entry)

        monkeypatch.setattr(Replica, "_on_entry", hear)
        mailbox = await opened(location, "other")
    assert (await mailbox.status()).queued_messages == WAITING
    assert WAITING <= received.messages < 1.01 * WAITING
    assert max(in_a_turn.values()) < WAITING / 20
    assert [record.payload for record in await mailbox.dequeue(3)] == [bytes(SIZE)] * 3
    await mailbox._replica.write_snapshot()
    received = Received(monkeypatch)
    newcomer = await opened(location, "newcomer")
    assert await newcomer.status() == await mailbox.status()
    assert 0 < received.messages < WAITING / BATCH
    await newcomer.close()
    await mailbox.close()


def commit_of_one(number: int) -> bytes:
    """What a producer publishes for one message; to await each here would take a minute."""
    message = PreparedMessage(b"me", bytes(SIZE), MessagePriority.NORMAL, new_id(), 0, b"", 0)
    return codec.encode(bytes(8), number, [codec.encode_command(codec.Op.ENQUEUE, codec.encode_messages([message]))])


async def test_opening_after_much_has_gone_through(
    servers: Servers, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = servers.location("inbox", stream)
    async with open_mailbox(location) as mailbox:
        for _ in range(WAITING // BATCH):
            await mailbox.enqueue_many([NewMessage(b"me", bytes(20)) for _ in range(BATCH)])
            await mailbox.dequeue(BATCH, ack=[record.id for record in await mailbox.dequeue(BATCH)])
    received = Received(monkeypatch)
    other = await opened(location, "other")
    assert 0 < received.bytes < 10 * WAITING
    assert (await other.status()).queued_messages == 0
    assert ((await other.storage_report()).usage or 0) < 2 * 1024 * 1024
    await other.close()
