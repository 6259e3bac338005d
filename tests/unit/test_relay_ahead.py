"""How a relay claims the next batch while one is sent: what was sent is listed until it is acknowledged, and nothing is
sent twice or out of order, whatever becomes of either.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ClassVar
from uuid import UUID

import pytest

from pymailbox import Mailbox, MailboxClosedError, MessageStatus, Relayer, RetryPolicy, relay
from pymailbox.relaying import loop
from pymailbox.testing._expect import eventually
from tests.unit.example_mailboxes import Database, SmallMailbox

SOON = RetryPolicy(first_delay=0.001, longest_delay=0.005)
NAME = "name"
NEVER = 3600.0

Hop = Callable[[], Coroutine[Any, Any, bool]]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("pymailbox"), "disabled", True)


class Source(SmallMailbox):
    """A source whose claims can be held up."""

    async def before(self, wait: float | None, ack: Any) -> None:
        """Comes before a claim."""

    async def dequeue(self, limit: int | None = None, *, wait: float | None = None, ack: Any = ()) -> Any:
        await self.before(wait, ack)
        return await super().dequeue(limit, wait=wait, ack=ack)


class Target(SmallMailbox):
    """A target, and its cursor, whose hops can be held up; what is called behind one comes after it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._in_turn = asyncio.Lock()

    async def hop(self, payloads: list[bytes], make: Hop) -> bool:
        return await make()

    async def send_on(self, message_id: UUID, sends: list[Any]) -> bool:
        make = super().send_on
        if len(sends) < 2:
            return await make(message_id, sends)
        async with self._in_turn:
            return await self.hop([message.payload for _, message in sends[:-1]], lambda: make(message_id, sends))

    async def dequeue(self, limit: int | None = None, *, wait: float | None = None, ack: Any = ()) -> Any:
        async with self._in_turn:
            return await super().dequeue(limit, wait=wait, ack=ack)


@asynccontextmanager
async def ends(source: type[Source], target: type[Target], count: int) -> AsyncIterator[tuple[Any, Any]]:
    """Both, with messages in the source; all handles there are closed in the end."""
    databases = Database(source), Database(target)
    here, there = await databases[0].open("here"), await databases[1].open("there")
    for number in range(1, count + 1):
        await here.enqueue(b"", b"%d" % number)
    try:
        yield here, there
    finally:
        for handle in [handle for database in databases for handle in database.handles]:
            await handle.close()


@asynccontextmanager
async def relaying(source: Mailbox, target: Mailbox, batch: int = 2) -> AsyncIterator[Relayer]:
    task = asyncio.ensure_future(one := relay(source, target, batch=batch, retry=SOON, name=NAME))
    try:
        yield one
    finally:
        one.stop()
        await task


async def counts(mailbox: Mailbox) -> tuple[int, int]:
    """Queued and inflight."""
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages


async def handled(target: Mailbox, count: int) -> list[int]:
    """What comes, each acknowledged at once, so that no id in the target stops a repeat; and what comes after that."""
    numbers: list[int] = []
    while records := await target.dequeue(wait=5.0 if len(numbers) < count else 0.02):
        numbers += [int(record.payload) for record in records]
        await target.ack_many([record.id for record in records])
    return numbers


async def test_next_batch_is_claimed_while_one_is_sent() -> None:
    class Held(Target):
        speaks = asyncio.Event()

        async def hop(self, payloads: list[bytes], make: Hop) -> bool:
            await self.speaks.wait()
            return await make()

    async with ends(Source, Held, 7) as (source, target), relaying(source, target) as one:
        await eventually(lambda: counts(source), (3, 4), "messages of the source during the first hop")
        Held.speaks.set()
        assert await handled(target, 7) == list(range(1, 8))
        await eventually(lambda: counts(source), (0, 0), "messages of the source")
        assert (await one.status()).sent == 7


async def test_few_messages_are_not_claimed_ahead() -> None:
    """A message that comes while another one is sent stays queued: the hop may get no answer."""

    class Held(Target):
        speaks = asyncio.Event()

        async def hop(self, payloads: list[bytes], make: Hop) -> bool:
            await self.speaks.wait()
            return await make()

    async with ends(Source, Held, 1) as (source, target), relaying(source, target):
        await eventually(lambda: counts(source), (0, 1), "messages of the source during the hop")
        await source.enqueue(b"", b"2")
        await asyncio.sleep(0.02)
        assert await counts(source) == (1, 1)
        Held.speaks.set()
        assert await handled(target, 2) == [1, 2]


async def test_hop_without_an_answer_leaves_nothing_inflight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SLOW", 0.02)

    class Silent(Target):
        speaks = asyncio.Event()

        async def hop(self, payloads: list[bytes], make: Hop) -> bool:
            done = await make()
            await self.speaks.wait()
            return done

    async with ends(Source, Silent, 5) as (source, target), relaying(source, target):
        await eventually(lambda: counts(source), (5, 0), "messages of the source without an answer")
        Silent.speaks.set()
        assert await handled(target, 5) == [1, 2, 3, 4, 5]
        await eventually(lambda: counts(source), (0, 0), "messages of the source")


async def test_claim_that_hangs_is_called_off_with_a_hop_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether what it acknowledges is acknowledged nobody knows then; the cursor lists it."""
    monkeypatch.setattr(loop, "SLOW", 0.02)

    class Hangs(Source):
        is_ill = True

        async def before(self, wait: float | None, ack: Any) -> None:
            if ack and self.is_ill:
                await asyncio.sleep(NEVER)

    class Silent(Target):
        speaks = asyncio.Event()

        async def hop(self, payloads: list[bytes], make: Hop) -> bool:
            done = await make()
            if payloads[0] == b"3":
                await self.speaks.wait()
            return done

    async with ends(Hangs, Silent, 6) as (source, target), relaying(source, target):
        await eventually(lambda: counts(source), (4, 0), "messages of the source without an answer")
        assert await handled(target, 4) == [1, 2, 3, 4]
        Hangs.is_ill = False
        Silent.speaks.set()
        assert await handled(target, 2) == [5, 6]
        await eventually(lambda: counts(source), (0, 0), "messages of the source")


@pytest.mark.parametrize("how", ["dies", "is cancelled"])
async def test_relay_ends_with_two_hops_that_are_not_acknowledged(how: str) -> None:
    """The next one finds both in the cursor, and acknowledges them instead of sending them again."""

    class Hangs(Source):
        is_ill = True

        async def before(self, wait: float | None, ack: Any) -> None:
            if ack and self.is_ill:
                await asyncio.sleep(NEVER)

    async with ends(Hangs, Target, 7) as (source, target):
        others = [await each.database.open(each.name) for each in (source, target)]
        task = asyncio.ensure_future(relay(source, target, batch=2, retry=SOON, name=NAME))
        assert await handled(others[1], 4) == [1, 2, 3, 4]
        if how == "dies":
            for mailbox in (source, target):
                mailbox._die()
        else:
            for _ in range(2):
                task.cancel()
                for _ in range(5):
                    await asyncio.sleep(0)
        await asyncio.wait([task], timeout=5)
        if not task.cancelled():
            assert isinstance(task.exception(), MailboxClosedError | None)
        Hangs.is_ill = False
        async with relaying(others[0], others[1]):
            assert await handled(others[1], 3) == [5, 6, 7]
            await eventually(lambda: counts(others[0]), (0, 0), "messages of the source")


@pytest.mark.parametrize("refuses", [False, True])
async def test_what_went_back_and_was_claimed_again_while_it_was_sent(refuses: bool) -> None:
    """As when a page was left for a moment: the claim ahead gets what the hop under way sends."""

    class Slow(Source):
        may_claim = asyncio.Event()

        async def before(self, wait: float | None, ack: Any) -> None:
            if wait is None:
                await self.may_claim.wait()

    class Meanwhile(Target):
        async def hop(self, payloads: list[bytes], make: Hop) -> bool:
            if payloads == [b"1", b"2"] and not Slow.may_claim.is_set():
                held = await source.peek(10, status=MessageStatus.INFLIGHT)
                await source._release([record.id for record in held])
                Slow.may_claim.set()
                await eventually(lambda: counts(source), (2, 2), "messages of the source, claimed again")
                if refuses:
                    raise ValueError("too large")
            done = await make()
            await eventually(lambda: counts(target), (0, 0), "messages that are not handled")
            return done

    async with ends(Slow, Meanwhile, 4) as (source, target), relaying(source, target):
        assert await handled(target, 4) == [1, 2, 3, 4]
        await eventually(lambda: counts(source), (0, 0), "messages of the source")


async def test_refusal_comes_before_what_was_claimed_ahead() -> None:
    class Refuses(Target):
        async def hop(self, payloads: list[bytes], make: Hop) -> bool:
            if b"2" in payloads:
                raise ValueError("too large")
            return await make()

    async with ends(Source, Refuses, 7) as (source, target), relaying(source, target, batch=3):
        assert await handled(target, 6) == [1, 3, 4, 5, 6, 7]
        await eventually(lambda: counts(source), (0, 0), "messages of the source")
        [letter] = await source.dead_letters()
    assert letter.record.payload == b"2"


async def test_another_relay_has_taken_over_during_a_hop() -> None:
    """What this one had claimed ahead goes back, and is sent in its order."""

    class Loses(Target):
        hops = 0

        async def hop(self, payloads: list[bytes], make: Hop) -> bool:
            Loses.hops += 1
            return Loses.hops != 2 and await make()

    async with ends(Source, Loses, 7) as (source, target), relaying(source, target):
        assert await handled(target, 7) == list(range(1, 8))
        await eventually(lambda: counts(source), (0, 0), "messages of the source")


async def test_another_relay_gets_the_cursor_before_it_is_claimed() -> None:
    """It waits for what the one before has claimed ahead: that comes first."""

    class Gap(Target):
        loser: Gap | None = None
        has_lost, is_over = asyncio.Event(), asyncio.Event()

        async def hop(self, payloads: list[bytes], make: Hop) -> bool:
            Gap.loser = Gap.loser or self  # before the claim behind this hop
            done = await make()
            Gap.has_lost.set()
            return done

        async def dequeue(self, limit: int | None = None, *, wait: float | None = None, ack: Any = ()) -> Any:
            if self is Gap.loser:
                await Gap.is_over.wait()
            return await super().dequeue(limit, wait=wait, ack=ack)

    async with ends(Source, Gap, 7) as (source, target), relaying(source, target):
        await Gap.has_lost.wait()
        another = await source._nearby.open("here"), await target._nearby.open("there")
        async with relaying(*another):
            assert await handled(target, 2) == [1, 2]
            assert await counts(source) == (3, 2)
            Gap.is_over.set()
            assert await handled(target, 5) == [3, 4, 5, 6, 7]
            await eventually(lambda: counts(source), (0, 0), "messages of the source")


async def test_page_that_was_left_sends_nothing_before_it_has_the_cursor_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its source has given back what was claimed ahead, and somebody else has that by then."""
    monkeypatch.setattr(loop, "PAUSE_AFTER_UNLOAD", 0.01)

    class Page(Source):
        lives: ClassVar[list[Callable[[], None]]] = []

        def _on_life_over(self, callback: Callable[[], None]) -> Callable[[], None]:
            self.lives.append(callback)
            return lambda: None

    class Left(Target):
        hops: ClassVar[list[list[bytes]]] = []
        speaks = asyncio.Event()

        async def hop(self, payloads: list[bytes], make: Hop) -> bool:
            self.hops.append(payloads)
            done = await make()
            await self.speaks.wait()
            return done

    async with ends(Page, Left, 4) as (source, target), relaying(source, target):
        await eventually(lambda: counts(source), (0, 4), "messages of the source during the first hop")
        await source._release([record.id for record in await source.peek(4, status=MessageStatus.INFLIGHT)])
        somebody = await source._nearby.open("here")
        records = await somebody.dequeue(4)
        for is_over in Page.lives:
            is_over()
        Left.speaks.set()
        assert await handled(target, 2) == [1, 2]
        assert len(Left.hops) == 1
        await somebody._release([record.id for record in records[2:]])
        assert await handled(target, 2) == [3, 4]
        await eventually(lambda: counts(source), (0, 0), "messages of the source")
