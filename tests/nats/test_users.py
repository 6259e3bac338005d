"""The users of examples/nats-server.conf: each has its own mailboxes, and another's are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import nats
import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError

from tools.nats_servers import PASSWORDS, Servers

SECONDS = 5.0


@pytest.fixture(scope="module")
def guarded() -> Iterator[Servers]:
    """A server that lets in nobody without a name."""
    with Servers(1, anonymous=False) as servers:
        yield servers


def user(name: str) -> dict[str, object]:
    """What somebody connects with."""
    options: dict[str, object] = {"user": name, "password": PASSWORDS[f"{name.upper()}_PASSWORD"]}
    return options if name == "mailboxes" else options | {"inbox_prefix": f"_INBOX_{name}".encode()}


@pytest.fixture
async def streams(guarded: Servers) -> AsyncIterator[None]:
    """Those of both, made by a program."""
    async with await nats.connect(f"nats://{guarded.addresses}", **user("mailboxes")) as client:
        for name in ("alice", "bob"):
            await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
            await client.jetstream().publish(f"{name}.m.inbox.in", b"of a program")
        yield
        for name in ("alice", "bob"):
            await client.jetstream().delete_stream(name)


@pytest.mark.usefixtures("streams")
async def test_a_user_sends_to_its_own_mailboxes_and_follows_them(guarded: Servers) -> None:
    async with await nats.connect(f"nats://{guarded.addresses}", **user("alice")) as client:
        context = client.jetstream()
        assert (await context.publish("alice.m.inbox.in", b"of alice")).seq == 2
        consumer = await context.subscribe("alice.m.inbox.>", stream="alice", ordered_consumer=True)
        received = [(await consumer.next_msg(SECONDS)).data for _ in range(2)]
        assert received == [b"of a program", b"of alice"]
        await consumer.unsubscribe()


@pytest.mark.usefixtures("streams")
@pytest.mark.parametrize(
    "subject",
    [
        "bob.m.inbox.in",
        "$JS.API.STREAM.INFO.bob",
        "$JS.API.STREAM.MSG.GET.bob",
        "$JS.API.STREAM.PURGE.bob",
        "$JS.API.CONSUMER.CREATE.bob",
        "$JS.API.STREAM.CREATE.alice",
        "$JS.API.STREAM.UPDATE.alice",
        "$JS.API.STREAM.DELETE.bob",
    ],
)
async def test_what_is_anothers_is_refused(subject: str, guarded: Servers) -> None:
    refusals: asyncio.Queue[str] = asyncio.Queue()

    async def refused(error: Exception) -> None:
        refusals.put_nowait(str(error))

    async with await nats.connect(f"nats://{guarded.addresses}", error_cb=refused, **user("alice")) as client:
        with pytest.raises(NatsTimeoutError):
            await client.request(subject, b"{}", timeout=0.3)
        assert subject.lower() in (await asyncio.wait_for(refusals.get(), SECONDS)).lower()
    assert await messages_of("bob", guarded) == 1


async def messages_of(stream: str, servers: Servers) -> int:
    async with await nats.connect(f"nats://{servers.addresses}", **user("mailboxes")) as client:
        return (await client.jetstream().stream_info(stream)).state.messages


@pytest.mark.usefixtures("streams")
@pytest.mark.parametrize("subject", ["bob.>", "_INBOX.>", "_INBOX_bob.>", ">"])
async def test_nobody_listens_to_others(subject: str, guarded: Servers) -> None:
    refusals: asyncio.Queue[str] = asyncio.Queue()

    async def refused(error: Exception) -> None:
        refusals.put_nowait(str(error))

    client: Client
    async with await nats.connect(f"nats://{guarded.addresses}", error_cb=refused, **user("alice")) as client:
        await client.subscribe(subject)
        assert "subscription" in (await asyncio.wait_for(refusals.get(), SECONDS)).lower()
