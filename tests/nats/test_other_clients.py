"""Any NATS client can send: a plain publish to a mailbox's subject is an enqueue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import nats
import pytest

from pymailbox import MessagePriority, MessageRecord, open_mailbox
from tools.nats_servers import Servers

SENDER = Path(__file__).parent / "sender.mjs"
SECONDS = 30.0

Message = tuple[bytes, Mapping[str, str]]
Send = Callable[[Servers, str, Sequence[Message]], Awaitable[None]]


async def with_nats_py(servers: Servers, subject: str, messages: Sequence[Message]) -> None:
    async with await nats.connect(f"nats://{servers.servers[0].address}") as client:
        for data, headers in messages:
            await client.jetstream().publish(subject, data, headers=dict(headers))


async def with_node(servers: Servers, subject: str, messages: Sequence[Message]) -> None:
    lines = "".join(json.dumps({"data": data.decode(), "headers": headers}) + "\n" for data, headers in messages)
    command = ["node", str(SENDER), f"nats://{servers.servers[0].address}", subject]
    sender = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SECONDS):
        stored, _ = await sender.communicate(lines.encode())
    assert sender.returncode == 0
    assert len(stored.split()) == len(messages)


@pytest.fixture(params=[with_nats_py, with_node], ids=["nats-py", "node"])
def send(request: pytest.FixtureRequest) -> Send:
    """Another program that sends."""
    send: Send = request.param
    return send


async def test_a_plain_publish_is_an_enqueue(send: Send, servers: Servers, stream: str) -> None:
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        await mailbox.enqueue(b"ours", b"first")
        await send(
            servers, f"{stream}.m.inbox.in", [(b"second", {}), ("dritte Größe".encode(), {"X-Other": "ignored"})]
        )
        await mailbox.enqueue(b"ours", b"last")
        assert (await mailbox.status()).queued_messages == 4
        first, second, third, last = await mailbox.dequeue()
        assert [first.payload, last.payload] == [b"first", b"last"]
        assert (second.payload, second.sender, second.priority) == (b"second", b"", MessagePriority.NORMAL)
        assert (third.payload, third.sender) == ("dritte Größe".encode(), b"")
        assert len({record.id for record in (first, second, third, last)}) == 4
        assert await mailbox.ack_many([record.id for record in (second, third)]) == 2


async def test_headers_say_who_sends_what(send: Send, servers: Servers, stream: str) -> None:
    message_id = uuid4()
    headers = {"Pymailbox-Sender": "somebody", "Pymailbox-Priority": "HIGH", "Pymailbox-Id": str(message_id)}
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        await mailbox.enqueue(b"", b"normal")
        # the id is known: nothing is stored again
        await send(servers, f"{stream}.m.inbox.in", [(b"urgent", headers), (b"again", headers)])
        urgent, normal = await mailbox.dequeue()
        assert normal.payload == b"normal"
        assert said(urgent) == (b"urgent", b"somebody", MessagePriority.HIGH, message_id)
        assert (await mailbox.get(message_id)) == urgent


def said(record: MessageRecord) -> tuple[bytes, bytes, MessagePriority, UUID]:
    return record.payload, record.sender, record.priority, record.id


async def test_a_publish_wakes_who_waits(send: Send, servers: Servers, stream: str) -> None:
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        waiting = asyncio.create_task(mailbox.dequeue(1, wait=SECONDS))
        await asyncio.sleep(0.2)
        await send(servers, f"{stream}.m.inbox.in", [(b"hello", {})])
        async with asyncio.timeout(SECONDS / 2):
            assert [record.payload for record in await waiting] == [b"hello"]


async def test_what_was_sent_before_anybody_opened_it_waits(send: Send, servers: Servers, stream: str) -> None:
    async with open_mailbox(servers.location("other", stream)):
        pass  # so that the stream is there
    await send(servers, f"{stream}.m.inbox.in", [(b"early", {})])
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        assert [record.payload for record in await mailbox.dequeue()] == [b"early"]
