"""A connection that is cut while a mailbox is opened: at each request on the way, or at its answer."""

from __future__ import annotations

import asyncio

import pytest

from pymailbox import open_mailbox
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
