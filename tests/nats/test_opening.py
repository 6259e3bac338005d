"""A connection that is cut where no verb is under way: while a mailbox is opened, amid a snapshot, and amid a purge; at
each request, or at its answer.
"""

from __future__ import annotations

import asyncio

import pytest

from pymailbox import NewMessage, open_mailbox
from pymailbox.backends.jetstream import JetStreamMailbox
from tests.nats.proxy import Proxy
from tools.nats_servers import Servers

SECONDS = 30.0

REQUESTS = (
    b"CONNECT",
    b"SUB ",
    b"STREAM.INFO",
    b"STREAM.CREATE",
    b".n.inbox",
    b"MSG.GET",
    b"CONSUMER.CREATE",
    b".m.inbox.in",
    b".h.",
)


@pytest.mark.parametrize("loses", ["lose_request", "lose_answer"])
@pytest.mark.parametrize("text", REQUESTS, ids=bytes.decode)
async def test_a_mailbox_is_opened_though_it_is_cut_off(text: bytes, loses: str, servers: Servers, stream: str) -> None:
    with Proxy(servers.servers[0].address) as proxy:
        sprung = getattr(proxy, loses)(text)
        async with (
            asyncio.timeout(SECONDS),
            open_mailbox(servers.location("inbox", stream, at=proxy.address)) as mailbox,
        ):
            await mailbox.enqueue(b"", b"hello")
            (record,) = await mailbox.dequeue()
            assert record.delivery_count == 1
            assert await mailbox.ack(record.id)
            assert (await mailbox.status()).queued_messages == 0
        assert sprung.is_set()


CLEANING = (
    b".p.inbox",
    b".m.inbox.s ",
    b"CONSUMER.LIST",
    b"STREAM.PURGE",
)


@pytest.mark.parametrize("loses", ["lose_request", "lose_answer"])
@pytest.mark.parametrize("text", CLEANING, ids=bytes.decode)
async def test_a_snapshot_or_a_purge_is_cut_off(text: bytes, loses: str, servers: Servers, stream: str) -> None:
    """Nothing is lost, and the next one is written."""
    with Proxy(servers.servers[0].address) as proxy:
        async with (
            asyncio.timeout(SECONDS),
            open_mailbox(servers.location("inbox", stream, at=proxy.address)) as cut,
            open_mailbox(servers.location("inbox", stream)) as other,
        ):
            await cut.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(40)])
            held = await cut.dequeue(20)
            await cut.ack_many([record.id for record in held[:10]])
            assert isinstance(cut, JetStreamMailbox)
            whole, cut._link.largest = cut._link.largest, 400
            sprung = getattr(proxy, loses)(text)
            writing = asyncio.create_task(cut._replica.write_snapshot())
            await asyncio.to_thread(sprung.wait, SECONDS)
            await writing
            cut._link.largest = whole
            await cut._replica.write_snapshot()
            async with open_mailbox(servers.location("inbox", stream), connect={"name": "newcomer"}) as newcomer:
                counts = [await mailbox.status() for mailbox in (newcomer, cut, other)]
                assert counts[0] == counts[1] == counts[2]
                assert (counts[0].queued_messages, counts[0].inflight_messages) == (20, 10)
                assert [record.payload for record in await newcomer.dequeue()] == [b"%d" % n for n in range(20, 40)]
