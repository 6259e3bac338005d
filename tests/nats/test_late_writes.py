"""Commits whose connection is lost or whose outcome stays unknown, and what others write: nothing happens twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from nats.aio.client import Client

from pymailbox import ConnectionLostError, Mailbox, NewMessage, open_mailbox
from pymailbox.backends.jetstream import link, writer
from tests.nats.proxy import Proxy
from tools.nats_servers import Servers
from tools.serve import HOST

SHORT = 1.0
"""Seconds, in place of the minute after which an outcome stays unknown."""


@pytest.fixture
def servers(one: Servers) -> Servers:
    """One server, also for the fixture `client`."""
    one.start()
    return one


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(link, "PATIENCE", SHORT)
    monkeypatch.setattr(writer, "PATIENCE", SHORT)
    return monkeypatch


@pytest.fixture
def proxy(servers: Servers) -> Iterator[Proxy]:
    with Proxy(servers.addresses) as proxy:
        yield proxy


@pytest.fixture
async def direct(servers: Servers, stream: str) -> AsyncIterator[Mailbox]:
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        yield mailbox


@pytest.fixture
async def cut(servers: Servers, proxy: Proxy, stream: str) -> AsyncIterator[Mailbox]:
    """A handle on the same mailbox by way of the proxy."""
    async with open_mailbox(servers.location("inbox", stream, at=proxy.address)) as mailbox:
        yield mailbox


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nats-py does not close what is refused
async def test_nothing_is_sent_after_its_caller_was_told(
    proxy: Proxy, cut: Mailbox, direct: Mailbox, client: Client, stream: str, impatient: pytest.MonkeyPatch
) -> None:
    arrived = await client.subscribe(f"{stream}.m.inbox.in")
    proxy.cut(refuse=True)
    with pytest.raises(ConnectionLostError):
        await cut.enqueue(b"", b"late")
    impatient.undo()
    proxy.mend()
    assert await cut.dequeue() == []  # it is connected again
    assert arrived.pending_msgs == 0
    assert await direct.peek() == []


@pytest.mark.parametrize("block", [b"NATS/1.0", b"NATS/1.0 \xff\xff\xff\r\n\r\n", b"\xff"])
async def test_a_mailbox_outlives_headers_that_are_none(
    block: bytes, servers: Servers, direct: Mailbox, stream: str
) -> None:
    assert await direct.dequeue() == []
    reader, to_server = await asyncio.open_connection(HOST, servers.servers[0].port)
    to_server.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
    to_server.write(b"HPUB %s.m.inbox.in %d %d\r\n" % (stream.encode(), len(block), len(block) + 5))
    to_server.write(block + b"hello\r\nPING\r\n")
    while b"PONG" not in await reader.readline():
        pass
    to_server.close()
    await to_server.wait_closed()
    async with asyncio.timeout(5):
        await direct.enqueue(b"", b"after")
        assert [record.payload for record in await direct.dequeue()][-1] == b"after"
