"""Streams and servers that are full: what stores is told so, and all else goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from itertools import cycle
from typing import cast

import nats
import pytest
from nats.aio.client import Client

from pymailbox import Mailbox, NewMessage, StorageFullError, open_mailbox
from pymailbox.backends.jetstream import JetStreamMailbox
from tests.nats.asking import SECONDS, api, limit
from tools.nats_servers import Servers

SERVERS = ("one",)


async def test_a_full_stream_takes_claims_and_acknowledgements(servers: Servers, client: Client, stream: str) -> None:
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        await limit(client, stream, 8 * 1024 * 1024)
        cast(JetStreamMailbox, mailbox)._link.space.note(await api(client, f"STREAM.INFO.{stream}"))
        stored, full = await fill(mailbox)
        assert full.passing
        assert stored > 10
        assert (await mailbox.status()).queued_messages == stored
        held = await mailbox.dequeue(3)
        assert await mailbox.nack(held[0].id)
        assert await mailbox.dead_letter(held[1].id, "as a test")
        assert await mailbox.ack(held[2].id)
        await take_all(mailbox, stored - 2)
        until = time.monotonic() + 3 * SECONDS
        while not await takes(mailbox):
            assert time.monotonic() < until


@pytest.mark.parametrize(
    ("most", "size", "stored_at_once", "taken_at_once", "boxes"),
    [
        pytest.param(1 << 20, 1000, 1, 1, 1, id="a small stream"),
        pytest.param(8 << 20, 300, 100, 100, 1, id="many messages"),
        pytest.param(4 << 20, 1000, 10, 10, 40, id="many mailboxes"),
        pytest.param(1 << 20, 20, 1, 1, 1, id="tiny messages one by one"),
        pytest.param(2 << 20, 20, 1000, 1000, 1, id="tiny messages by the thousand"),
        pytest.param(1 << 19, 20, 1000, 1, 1, id="tiny messages stored by the thousand and taken one by one"),
    ],
)
async def test_a_full_stream_can_be_emptied(
    most: int, size: int, stored_at_once: int, taken_at_once: int, boxes: int, quick: Servers, stream: str
) -> None:
    """However small the messages are, and however many commits that takes."""
    async with AsyncExitStack() as stack, await nats.connect(f"nats://{quick.addresses}") as client:
        mailboxes = [
            await stack.enter_async_context(open_mailbox(quick.location(f"box {number}", stream)))
            for number in range(boxes)
        ]
        await limit(client, stream, most)
        for mailbox in mailboxes:
            cast(JetStreamMailbox, mailbox)._link.space.note(await api(client, f"STREAM.INFO.{stream}"))
        stored, filling = 0, set(mailboxes)
        while filling:
            for mailbox in list(filling):
                try:
                    await mailbox.enqueue_many([NewMessage(b"", bytes(size))] * stored_at_once)
                except StorageFullError:
                    filling.discard(mailbox)
                else:
                    stored += stored_at_once
        taken, left = 0, set(mailboxes)
        while left:
            for mailbox in list(left):
                records = await mailbox.dequeue(taken_at_once)
                taken += await mailbox.ack_many(record.id for record in records)
                if not records:
                    left.discard(mailbox)
        assert taken == stored


async def test_a_full_stream_can_be_emptied_by_many_connections(quick: Servers, stream: str) -> None:
    """Of which each hears what it has in its own mailboxes, and counts the rest now and then."""
    connections, boxes = 30, 4
    locations = [[quick.location(f"box {number} {at}", stream) for at in range(boxes)] for number in range(connections)]
    async with AsyncExitStack() as stack, await nats.connect(f"nats://{quick.addresses}") as client:
        filling = [await stack.enter_async_context(open_mailbox(each)) for some in locations for each in some]
        await limit(client, stream, 8 << 20)
        cast(JetStreamMailbox, filling[0])._link.space.note(await api(client, f"STREAM.INFO.{stream}"))
        stored = 0
        with suppress(StorageFullError):
            for mailbox in cycle(filling):
                await mailbox.enqueue_many([NewMessage(b"", bytes(600))] * 10)
                stored += 10

        async def empty(location: str, connection: int) -> int:
            async with open_mailbox(location, connect={"name": str(connection)}) as mailbox:
                taken = 0
                while records := await mailbox.dequeue(1):
                    taken += await mailbox.ack_many(record.id for record in records)
                return taken

        each = [empty(location, number) for number, some in enumerate(locations) for location in some]
        assert sum(await asyncio.gather(*each)) == stored


async def test_what_is_in_parts_is_let_in_once(quick: Servers, stream: str) -> None:
    """And not once more when only the rest of its commit is stored."""
    async with (
        await nats.connect(f"nats://{quick.addresses}") as client,
        open_mailbox(quick.location("inbox", stream)) as mailbox,
        open_mailbox(quick.location("outbox", stream)) as outbox,
    ):
        await limit(client, stream, 8 << 20)
        cast(JetStreamMailbox, mailbox)._link.space.note(await api(client, f"STREAM.INFO.{stream}"))
        await mailbox.enqueue_many([NewMessage(b"", PAYLOAD)] * 50)
        [record] = await mailbox.dequeue(1)
        assert await mailbox.ack_and_send(record.id, [(outbox, NewMessage(b"", bytes(3000)))] * 500)
        assert (await outbox.status()).queued_messages == 500


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([9 << 20], id="one message"),
        pytest.param([2_000_000] * 4, id="several that would fit alone"),
        pytest.param([700_000, 700_000, 6_000_000], id="small ones beside a large one"),
    ],
)
async def test_what_is_in_parts_and_does_not_fit_takes_no_room(
    sizes: list[int], servers: Servers, client: Client, stream: str
) -> None:
    large = [NewMessage(b"", bytes(size)) for size in sizes]
    async with open_mailbox(servers.location("inbox", stream)):
        await limit(client, stream, 8 << 20)
    async with (
        open_mailbox(servers.location("inbox", stream)) as mailbox,
        open_mailbox(servers.location("outbox", stream)) as outbox,
        open_mailbox(servers.location("other", stream)) as other,
    ):
        await mailbox.enqueue(b"", b"small")
        with pytest.raises(StorageFullError):
            await mailbox.enqueue_many(large)
        (record,) = await mailbox.dequeue()
        with pytest.raises(StorageFullError):
            await mailbox.ack_and_send(record.id, [(outbox, message) for message in large])
        with pytest.raises(StorageFullError):
            await mailbox.ack_and_send(record.id, [((outbox, other)[at % 2], each) for at, each in enumerate(large)])
        assert (await api(client, f"STREAM.INFO.{stream}"))["state"]["bytes"] < 1 << 20
        assert await mailbox.ack(record.id)


@pytest.fixture(scope="module")
def quick() -> Iterator[Servers]:
    """A server that does not sync each commit."""
    with Servers(1, sync="default") as servers:
        yield servers


async def test_what_does_not_fit_keeps_nothing_else_out(servers: Servers, client: Client, stream: str) -> None:
    """Calls that share a commit fail alone."""
    async with open_mailbox(servers.location("inbox", stream)):
        await limit(client, stream, 1024 * 1024)
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        half = bytes(500 * 1024)
        stored = await asyncio.gather(
            *(mailbox.enqueue(b"", payload) for payload in (half, half, b"1", b"2")), return_exceptions=True
        )
        assert [isinstance(each, StorageFullError) for each in stored] == [False, True, False, False]
        assert [record.payload for record in await mailbox.dequeue()] == [half, b"1", b"2"]


async def takes(mailbox: Mailbox) -> bool:
    """Whether it stores a message."""
    try:
        await mailbox.enqueue(b"", PAYLOAD)
    except StorageFullError:
        return False
    return True


async def test_a_full_server_goes_on_when_there_is_room_again(stream: str) -> None:
    """What the server's own limit leaves free nobody can see, so there it is not only enqueues that have to wait."""
    with Servers(1, most="8MB") as small:
        async with (
            await nats.connect(f"nats://{small.addresses}") as client,
            open_mailbox(small.location("inbox", stream)) as mailbox,
        ):
            await client.jetstream().add_stream(name="other", subjects=["other"])
            for _ in range(32):
                await client.jetstream().publish("other", PAYLOAD)
            stored, full = await fill(mailbox)
            assert full.passing
            assert await client.jetstream().delete_stream("other")
            assert (await mailbox.status()).queued_messages == stored
            await take_all(mailbox, stored)


PAYLOAD = bytes(64 * 1024)


async def fill(mailbox: Mailbox) -> tuple[int, StorageFullError]:
    """Stores until nothing fits; how many messages did, and what was said then."""
    stored = 0
    while stored < 1000:
        try:
            await mailbox.enqueue(b"", PAYLOAD)
        except StorageFullError as error:
            return stored, error
        stored += 1
    raise AssertionError("it does not get full")


async def take_all(mailbox: Mailbox, count: int) -> None:
    """Takes so many messages out."""
    taken = 0
    while records := await mailbox.dequeue(10):
        taken += await mailbox.ack_many(record.id for record in records)
    assert taken == count
