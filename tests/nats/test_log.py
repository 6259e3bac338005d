"""What is in the log, and what is not: it does not grow, and its conditions keep nobody from working."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
from nats.aio.client import Client

from pymailbox import Mailbox, NewMessage, open_mailbox
from pymailbox.backends.jetstream import JetStreamMailbox, cleaning, state, writer
from pymailbox.backends.jetstream.errors import RefusedError
from tests.nats.asking import SECONDS, api, counts
from tools.nats_servers import Servers

SERVERS = ("one",)


async def test_the_log_does_not_grow_with_what_went_through(servers: Servers, client: Client, stream: str) -> None:
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        for _ in range(100):
            await mailbox.enqueue_many([NewMessage(b"", bytes(1024))] * 100)
            await mailbox.ack_many([record.id for record in await mailbox.dequeue(100)])
        until = time.monotonic() + SECONDS
        while (bytes_there := (await api(client, f"STREAM.INFO.{stream}"))["state"]["bytes"]) > 2 * 1024 * 1024:
            assert time.monotonic() < until, f"{bytes_there} bytes"


async def test_parts_whose_rest_never_came_are_cleared_away(
    servers: Servers, client: Client, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "PARTS_KEPT_FOR", 300)
    monkeypatch.setattr(state, "PARTS_KEPT_FOR", 300)
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        for _ in range(3):
            await client.jetstream().publish(f"{stream}.p.inbox", bytes(500_000))
        kept = bytes(range(256)) * 8000
        await mailbox.enqueue(b"", kept)
        replica = cast(JetStreamMailbox, mailbox)._replica
        until = time.monotonic() + SECONDS
        while sum((await counts(client, stream, f"{stream}.p.>")).values()) > 2:
            assert time.monotonic() < until
            await mailbox.enqueue(b"", b"time goes by")
            await replica.write_snapshot()
            await asyncio.sleep(0.1)
        (record, *_) = await mailbox.dequeue()
        assert record.payload == kept


@pytest.mark.parametrize("noise", [b"", b"noise", b"[]", b'"7"'])
async def test_what_others_publish_where_steps_are_counted_keeps_none_of_them(
    noise: bytes, servers: Servers, client: Client, stream: str
) -> None:
    others = [f"other-{number}" for number in range(4)]
    async with AsyncExitStack() as stack:
        inbox, *outboxes = [
            await stack.enter_async_context(open_mailbox(servers.location(name, stream)))
            for name in ("inbox", "outbox", *others)
        ]
        await inbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(5)])
        for record, outbox in zip(await inbox.dequeue(), outboxes, strict=True):
            assert await inbox.ack_and_send(record.id, [(outbox, NewMessage(b"", record.payload))])
            assert await outbox.ack_many([each.id for each in await outbox.dequeue()]) == 1
        await cast(JetStreamMailbox, outboxes[0])._replica.write_snapshot()
        for name in others:
            await client.jetstream().publish(f"{stream}.k.{name}", noise)
        await cast(JetStreamMailbox, inbox)._replica.write_snapshot()
        left = await counts(client, stream, f"{stream}.x.inbox.*")
        assert sorted(left) == [f"{stream}.x.inbox.{name}" for name in others]


async def test_a_producer_follows_nothing(servers: Servers, client: Client, stream: str) -> None:
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"a"), NewMessage(b"", b"b", delay=5)])
        await mailbox.enqueue(b"", bytes(3 << 20))
        assert (await api(client, f"CONSUMER.NAMES.{stream}"))["total"] == 0
        assert (await mailbox.status()).queued_messages == 3
        assert (await api(client, f"CONSUMER.NAMES.{stream}"))["total"] == 1


async def test_steps_of_eight_holders_at_once_do_not_hinder_each_other(
    servers: Servers, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals: list[object] = []

    class NotedError(RefusedError):
        def __init__(self, error: dict[str, Any]) -> None:
            super().__init__(error)
            refusals.append(self)

    monkeypatch.setattr(writer, "RefusedError", NotedError)
    monkeypatch.setattr(writer, "_ATTEMPT", 30.0)  # one that is sent again is refused
    async with AsyncExitStack() as stack:

        async def opened(name: str, number: int) -> Mailbox:
            location = servers.location(name, stream)
            return await stack.enter_async_context(open_mailbox(location, connect={"name": f"client {number}"}))

        pairs = [(await opened("inbox", number), await opened("outbox", number)) for number in range(8)]
        await pairs[0][0].enqueue_many([NewMessage(b"", b"%d" % number) for number in range(80)])

        async def step(inbox: Mailbox, outbox: Mailbox) -> None:
            for record in await inbox.dequeue(10):
                assert await inbox.ack_and_send(record.id, [(outbox, NewMessage(b"", record.payload))])

        await asyncio.gather(*(step(inbox, outbox) for inbox, outbox in pairs))
        arrived = [int(record.payload) for record in await pairs[0][1].dequeue(100)]
        assert sorted(arrived) == list(range(80))
    assert refusals == []


async def test_a_message_larger_than_the_server_takes_at_once(servers: Servers, stream: str) -> None:
    payload = bytes(range(256)) * 4 * 5000
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        await mailbox.enqueue(b"", payload)
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        (record,) = await mailbox.dequeue()
        assert record.payload == payload
