"""Clocks that jump: a leader's, or those of a machine that slept. The log's time never goes back, and nobody who lives
loses what it holds.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from typing import Any

import pytest
from nats.aio.client import Client

from pymailbox import open_mailbox
from pymailbox.backends.jetstream import link, liveness, snapshots
from tests.nats.leaders import Leaders
from tests.nats.proxy import Proxy
from tools.nats_servers import Servers

SERVERS = ("one",)
SECONDS = 20.0
HOUR = 3600


@pytest.fixture
def proxy(servers: Servers) -> Iterator[Proxy]:
    """What all connect by: they are told the same."""
    with Proxy(servers.addresses) as proxy:
        yield proxy


class LeadersOfNow:
    """The leaders of a stream, of whom the next begins now."""

    def __init__(self, proxy: Proxy, client: Client, stream: str) -> None:
        self._leaders = Leaders(proxy)
        self._client, self._stream = client, stream

    async def change(self, ahead: int) -> None:
        """From now on it is one whose clock is that many seconds ahead, or behind."""
        self._leaders.change(await commits(self._client, self._stream), ahead)


@pytest.fixture
async def leaders(proxy: Proxy, client: Client, stream: str) -> LeadersOfNow:
    return LeadersOfNow(proxy, client, stream)


async def opened(servers: Servers, proxy: Proxy, stream: str, who: str, lease: float = 300) -> Any:
    """A handle with a connection of its own."""
    location = servers.location("inbox", stream, at=proxy.address)
    return await open_mailbox(location, connect={"name": who}, lease=lease)


async def same_state(*handles: Any) -> bool:
    """Whether all have the same state, byte by byte."""
    for mailbox in handles:
        await mailbox.status()
    seq = max(mailbox._replica.log.seq for mailbox in handles)
    deadline = time.monotonic() + SECONDS
    while any(mailbox._replica.log.seq < seq for mailbox in handles):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return len({snapshots.encode(mailbox._replica.log) for mailbox in handles}) == 1


async def commits(client: Client, stream: str) -> int:
    return int((await client.jetstream().stream_info(stream)).state.last_seq)


async def test_the_log_s_time_stands_still_while_its_clock_goes_back(
    servers: Servers, proxy: Proxy, leaders: LeadersOfNow, client: Client, stream: str
) -> None:
    one, other = await opened(servers, proxy, stream, "one", 1), await opened(servers, proxy, stream, "other", 1)
    await one.enqueue(b"", b"now")
    (held,) = await one.dequeue()
    await one.enqueue(b"", b"later", delay=1)
    await one.status()
    before = one._replica.log.now
    await leaders.change(-3)
    began = time.monotonic()
    await other.enqueue(b"", b"meanwhile")
    assert [record.payload for record in await other.dequeue()] == [b"meanwhile"]
    assert one._replica.log.now == other._replica.log.now == before
    # due a second after it was stored by the log's time, which goes on three seconds later
    assert [record.payload for record in await other.dequeue(wait=SECONDS)] == [b"later"]
    assert 2.5 < time.monotonic() - began < 8
    assert one._replica.log.now > before
    assert await one.ack(held.id)
    assert (await other.status()).inflight_messages == 2
    assert await same_state(one, other)
    third = await opened(servers, proxy, stream, "third")
    assert await same_state(one, other, third)
    for mailbox in (one, other, third):
        await mailbox.close()


async def test_who_waits_asks_no_more_often_when_the_clock_goes_far_back(
    servers: Servers, proxy: Proxy, leaders: LeadersOfNow, client: Client, stream: str
) -> None:
    one = await opened(servers, proxy, stream, "one")
    await one.enqueue(b"", b"later", delay=0.5)
    await one.status()
    await leaders.change(-HOUR)
    await one.status()
    before = await commits(client, stream)
    assert await one.dequeue(wait=2) == []
    assert await commits(client, stream) - before < 10
    waiting = asyncio.create_task(one.dequeue(wait=SECONDS))
    await asyncio.sleep(0.2)
    await leaders.change(0)
    await one.enqueue(b"", b"wakes")
    assert {record.payload for record in await waiting} <= {b"wakes", b"later"}
    await one.close()


@pytest.mark.parametrize("how", ["its next sign is soon", "it answers"])
async def test_a_leader_s_clock_that_is_ahead_takes_nothing_from_who_lives(
    how: str, servers: Servers, proxy: Proxy, leaders: LeadersOfNow, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "it answers":
        monkeypatch.setattr(liveness, "GRACE", 1.0)
    else:
        monkeypatch.setattr(liveness, "overdue", lambda *_: [])
    holder = await opened(servers, proxy, stream, "holder", lease=100 if how == "it answers" else 6)
    onlooker = await opened(servers, proxy, stream, "onlooker")
    await holder.enqueue(b"", b"hello")
    (held,) = await holder.dequeue()
    assert await onlooker.dequeue() == []
    await leaders.change(HOUR)
    assert await onlooker.dequeue() == []
    assert await onlooker.dequeue() == []
    assert await onlooker.recover() == 0
    newcomer = await opened(servers, proxy, stream, "newcomer")
    assert await newcomer.recover() == 0
    assert await newcomer.dequeue(wait=1.5) == []
    assert await onlooker.dequeue() == []
    assert await same_state(holder, onlooker, newcomer)
    assert await holder.ack(held.id)
    await leaders.change(0)
    assert await holder.enqueue(b"", b"goes on")
    assert [record.payload for record in await newcomer.dequeue()] == [b"goes on"]
    for mailbox in (holder, onlooker, newcomer):
        await mailbox.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_who_is_dead_is_gone_all_the_same(
    servers: Servers, proxy: Proxy, leaders: LeadersOfNow, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "GRACE", 0.5)
    holder = await opened(servers, proxy, stream, "holder", lease=100)
    await holder.enqueue(b"", b"hello")
    assert len(await holder.dequeue()) == 1
    holder._replica._follower._on_entry = lambda entry: None  # it hears nothing, and will say nothing
    await leaders.change(HOUR)
    newcomer = await opened(servers, proxy, stream, "newcomer")
    assert await newcomer.dequeue() == []  # it has the grace
    assert [record.payload for record in await newcomer.dequeue(wait=SECONDS)] == [b"hello"]
    last = await opened(servers, proxy, stream, "last")
    assert await last.recover() == 0
    for mailbox in (last, newcomer, holder):
        await mailbox.close()


async def test_to_recover_waits_for_the_grace(
    servers: Servers, proxy: Proxy, leaders: LeadersOfNow, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "GRACE", 0.3)
    holder = await opened(servers, proxy, stream, "holder", lease=100)
    await holder.enqueue(b"", b"hello")
    assert len(await holder.dequeue()) == 1
    holder._replica._follower._on_entry = lambda entry: None
    await leaders.change(HOUR)
    newcomer = await opened(servers, proxy, stream, "newcomer")
    assert await newcomer.recover() == 1
    for mailbox in (newcomer, holder):
        await mailbox.close()


async def test_a_machine_that_slept_takes_nothing_from_who_lives(
    servers: Servers, proxy: Proxy, leaders: LeadersOfNow, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One where the clock of event loops goes on meanwhile."""
    holder = await opened(servers, proxy, stream, "holder", lease=6)
    onlooker = await opened(servers, proxy, stream, "onlooker")
    await holder.enqueue(b"", b"hello")
    (held,) = await holder.dequeue()
    assert await onlooker.dequeue() == []
    loop = asyncio.get_running_loop()
    real = loop.time
    await leaders.change(HOUR)
    monkeypatch.setattr(loop, "time", lambda: real() + HOUR)
    assert await onlooker.dequeue(wait=1) == []
    assert await holder.ack(held.id)
    await holder.close()
    await onlooker.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_links_of_closed_loops_are_let_go(servers: Servers, stream: str) -> None:
    async def leave_open() -> None:
        await open_mailbox(servers.location("inbox", stream))

    async def close() -> None:
        async with open_mailbox(servers.location("inbox", stream)):
            pass

    for _ in range(4):
        asyncio.run(leave_open())
    assert sum(loop.is_closed() for loop in list(link._links)) == 1
    asyncio.run(close())
    assert not any(link._links.values())
    gc.collect()  # what else is left complains here
