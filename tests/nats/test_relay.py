"""Relays between a file and servers, in both directions, while servers and relays are killed.

Each message arrives once, and in its order. `tests/chaos/test_relays.py` has processes and pages on one server.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from pymailbox import Mailbox, MailboxClosedError, NewMessage, RetryPolicy, open_mailbox, relay
from pymailbox.backends.jetstream import link
from pymailbox.relaying import cursor, loop
from pymailbox.testing._expect import eventually
from tests.nats.proxy import Proxy
from tools.nats_servers import Servers

COUNT = 250
STRIKES = 3
LEASE = 1.0
"""Seconds after which somebody else has what a dead relay had."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursor, "LEASE", LEASE)
    monkeypatch.setattr(loop, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(loop, "SLOW", 0.2)
    monkeypatch.setattr(logging.getLogger("pymailbox"), "disabled", True)


class Way:
    """Messages from one place to another, by relays that come and go."""

    def __init__(self, source: str, target: str, random: Random) -> None:
        self._source = source
        self._target = target
        self._random = random
        self.handled: list[int] = []
        self.relays = 0
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        self._tasks = [asyncio.create_task(work()) for work in (self._fill, self._handle, self._relay)]

    async def _fill(self) -> None:
        async with open_mailbox(self._source) as mailbox:
            for number in range(COUNT):
                await mailbox.enqueue(b"", b"%d" % number)
                await asyncio.sleep(0.01)

    async def _handle(self) -> None:
        """Acknowledges everything at once, so that no id in the target stops a repeat."""
        async with open_mailbox(self._target) as mailbox:
            while True:
                for record in await mailbox.dequeue(wait=60.0):
                    self.handled.append(int(record.payload))
                    await mailbox.ack(record.id)

    async def _relay(self) -> None:
        while not self._over:
            source = await open_mailbox(self._source, lease=LEASE)
            target = await open_mailbox(self._target)
            task = asyncio.create_task(self._until_it_ends(source, target))
            await asyncio.wait([task], timeout=self._random.uniform(0, 1.5))
            self.relays += 1
            if self._random.random() < 0.3:
                for mailbox in (source, target):
                    mailbox._die()
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.02)
            with suppress(asyncio.CancelledError, MailboxClosedError):
                task.result()
            for mailbox in (source, target):
                await mailbox.close()

    async def _until_it_ends(self, source: Mailbox, target: Mailbox) -> None:
        policy = RetryPolicy(first_delay=0.01, longest_delay=0.1)
        await relay(source, target, batch=self._random.choice((1, 7, 100)), retry=policy)

    async def end(self) -> None:
        """Waits until all of it has come."""

        async def left() -> int:
            assert not any(task.done() and task.exception() for task in self._tasks)
            return COUNT - len(self.handled)

        await eventually(left, 0, "messages that have not come")
        async with open_mailbox(self._source) as source, open_mailbox(self._target) as target:

            async def there() -> int:
                stats = [await mailbox.status() for mailbox in (source, target)]
                return sum(each.queued_messages + each.inflight_messages for each in stats)

            await eventually(there, 0, "messages in both mailboxes")
        self._over = True
        filling, handling, relaying = self._tasks
        await asyncio.gather(filling, relaying)
        handling.cancel()
        await asyncio.wait([handling])
        assert self.handled == list(range(COUNT))


@pytest.mark.slow
async def test_each_message_arrives_once_whatever_is_killed(three: Servers, stream: str, tmp_path: Path) -> None:
    three.start()  # what an earlier test has ended
    random = Random()
    here = f"sqlite:///{tmp_path}/here.db"
    ways = [
        Way(f"{here}#out", three.location("in", stream), random),
        Way(three.location("out", stream), f"{here}#in", random),
    ]
    for way in ways:
        way.begin()
    for _ in range(STRIKES):
        await asyncio.sleep(random.uniform(0.2, 1.0))
        server = random.choice(three.servers)
        server.kill()
        await asyncio.sleep(random.uniform(0.0, 1.0))
        server.start()
        await asyncio.to_thread(three.wait_until_ready)
    for way in ways:
        await way.end()
        assert way.relays > STRIKES


async def test_one_mailbox_by_two_spellings_of_its_servers(servers: Servers, stream: str) -> None:
    location = servers.location("box", stream)
    async with (
        open_mailbox(location) as source,
        open_mailbox(location.replace("127.0.0.1", "localhost")) as target,
        open_mailbox(servers.location("another", stream)) as another,
    ):
        with pytest.raises(ValueError, match="another mailbox than source"):
            relay(source, target)
        relay(source, another).close()


@pytest.mark.parametrize("silent", ["source", "target"])
async def test_stop_does_not_wait_for_a_server_that_is_silent(one: Servers, stream: str, silent: str) -> None:
    """Not even until the connection says that it is lost."""
    with Proxy(one.addresses) as proxy:
        there = one.location("box", stream, at=proxy.address)
        async with open_mailbox("memory://") as here, open_mailbox(there) as mailbox:
            source, target = (mailbox, here) if silent == "source" else (here, mailbox)
            task = asyncio.ensure_future(relayer := relay(source, target))
            await source.enqueue(b"", b"")

            async def sent() -> int:
                return (await relayer.status()).sent

            await eventually(sent, 1, "messages sent")
            proxy.stall()
            if silent == "target":
                await source.enqueue(b"", b"")
            await asyncio.sleep(0)
            relayer.stop()
            await asyncio.wait([task], timeout=2.0)
            assert task.done()
            proxy.mend()


async def test_relay_begins_before_its_server(one: Servers, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In both directions at once: it opens what is there no sooner than that is there."""
    monkeypatch.setattr(link, "CONNECT_TIMEOUT", 0.5)
    async with open_mailbox(one.location("down", stream)) as down:
        await down.enqueue(b"", b"down")
    one.servers[0].kill()
    policy = RetryPolicy(first_delay=0.05, longest_delay=0.1)
    async with open_mailbox("memory://") as out, open_mailbox("memory://") as inbox:
        relays = [
            relay(out, open_mailbox(one.location("up", stream)), retry=policy),
            relay(open_mailbox(one.location("down", stream)), inbox, retry=policy),
        ]
        tasks = [asyncio.ensure_future(each) for each in relays]
        await out.enqueue(b"", b"up")

        async def errors() -> list[bool]:
            return ["no NATS server answers" in ((await each.status()).last_error or "") for each in relays]

        await eventually(errors, [True, True], "whether each says why nothing goes on")
        one.servers[0].start()
        await asyncio.to_thread(one.wait_until_ready)
        [message] = await inbox.dequeue(wait=20.0)
        assert message.payload == b"down"
        async with open_mailbox(one.location("up", stream)) as up:
            [message] = await up.dequeue(wait=20.0)
            assert message.payload == b"up"
        for each in relays:
            each.stop()
        await asyncio.wait(tasks)
        assert [task.exception() for task in tasks] == [None, None]


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_idle_relay_says_that_its_server_is_away(direction: str, one: Servers, stream: str) -> None:
    """And that it is back, with nothing sent meanwhile."""
    async with open_mailbox("memory://") as here, open_mailbox(one.location("inbox", stream)) as there:
        ends = (here, there) if direction == "up" else (there, here)
        task = asyncio.ensure_future(relayer := relay(*ends, name="name"))

        async def connected() -> bool:
            return (await relayer.status()).connected

        async def active() -> bool:
            return (await relayer.status()).active

        await eventually(active, True, "whether the relay is active")
        await eventually(connected, True, "whether the relay is connected")
        before = datetime.now(UTC)
        one.servers[0].kill()
        await eventually(connected, False, "whether the relay is connected")
        since = (await relayer.status()).disconnected_since
        assert since is not None
        assert before <= since <= datetime.now(UTC)
        one.start()
        await eventually(connected, True, "whether the relay is connected")
        relayer.stop()
        await task


async def test_a_hop_is_one_message_of_the_stream(one: Servers, stream: str) -> None:
    """The next cursor is claimed in the commit that stores it."""
    async with open_mailbox("memory://") as source, open_mailbox(there := one.location("inbox", stream)) as target:
        task = asyncio.ensure_future(relayer := relay(source, target, batch=2, name="name"))

        async def active() -> bool:
            return (await relayer.status()).active

        await eventually(active, True, "whether the relay is active")
        before = await last_message(target)
        await source.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(20)])

        async def sent() -> int:
            return (await relayer.status()).sent

        await eventually(sent, 20, "messages sent")
        assert await last_message(target) - before == 10
        relayer.stop()
        await task
        async with open_mailbox(there) as inbox:
            assert [int(message.payload) for message in await inbox.dequeue()] == list(range(20))


async def last_message(mailbox: Any) -> int:
    """Its number in the stream."""
    answer = await mailbox._link.api(f"STREAM.INFO.{mailbox._link.stream}")
    return int(answer["state"]["last_seq"])


@pytest.mark.parametrize("step_is_good", [True, False])
async def test_a_claim_behind_a_step(one: Servers, stream: str, step_is_good: bool) -> None:
    """It claims what the step has stored, or, where that is not done, what there is; cancelled, it claims nothing."""
    async with open_mailbox(one.location("inbox", stream)) as inbox, open_mailbox(one.location("x", stream)) as other:
        await inbox.enqueue_many([NewMessage(b"", b"first"), NewMessage(b"", b"second")])
        for turns in (None, *range(12)):
            [record] = await inbox.dequeue(1)
            sends: list[tuple[Mailbox, NewMessage]]
            sends = [(other, NewMessage(b"", b"sent")), (inbox, NewMessage(b"", record.payload))]
            step = asyncio.ensure_future(inbox.ack_and_send(record.id if step_is_good else uuid4(), sends))
            claim = asyncio.ensure_future(inbox.dequeue(1))
            for _ in range(turns or 0):
                await asyncio.sleep(0)
            if turns is not None:
                claim.cancel()
            await asyncio.wait([step, claim])
            assert step.result() is step_is_good
            if not claim.cancelled():
                [next_one] = claim.result()
                assert next_one.payload == (b"second" if record.payload == b"first" else b"first")
                await inbox._release([next_one.id])
            if not step_is_good:
                await inbox._release([record.id])
            stats = await inbox.status()
            assert (stats.queued_messages, stats.inflight_messages) == (2, 0)
