"""Relays in a page: what it is told of its network ends their pauses, and one that is left and goes on begins anew."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pymailbox import ConnectionLostError, Mailbox, Relayer, RetryPolicy, open_mailbox, relay
from tests.indexeddb.scenarios.support import come_back, eventually, leave_page, new_context, payloads, script

_FOR_EVER = RetryPolicy(first_delay=10_000.0, longest_delay=10_000.0, jitter=0.0)


class _Away:
    """The mailboxes beside a target that cannot be reached for a while."""

    def __init__(self, target: Mailbox) -> None:
        self._nearby: Any = target._nearby
        self.attempts = 0
        self.is_away = True
        target._nearby = self  # type: ignore[assignment]

    async def open(self, name: str, **options: Any) -> Mailbox:
        self.attempts += 1
        if self.is_away:
            raise ConnectionLostError
        opened: Mailbox = await self._nearby.open(name, **options)
        return opened


@asynccontextmanager
async def _relaying(source: Mailbox, target: Mailbox, retry: RetryPolicy | None = None) -> AsyncIterator[Relayer]:
    task = asyncio.ensure_future(one := relay(source, target, retry=retry))
    try:
        yield one
    finally:
        one.stop()
        await task


async def _has(target: Mailbox, *wanted: bytes) -> None:
    async def there() -> bool:
        return payloads(await target.peek()) == list(wanted)

    await eventually(there, f"{wanted} are in the target")


async def _attempts(away: _Away, count: int) -> None:
    async def made() -> bool:
        return away.attempts >= count

    await eventually(made, f"{count} attempts")
    await asyncio.sleep(0.05)
    assert away.attempts == count


async def check_network_that_is_back_ends_a_pause() -> None:
    in_page: bool = script("typeof document !== 'undefined'")
    async with open_mailbox("offline") as source, open_mailbox("memory://online") as target:
        away = _Away(target)
        await source.enqueue(b"s", b"a")
        async with _relaying(source, target, _FOR_EVER) as one:
            await _attempts(away, 1)
            stats = await source.status()
            assert (stats.queued_messages, stats.inflight_messages) == (1, 0)
            assert not (await one.status()).connected
            script("globalThis.dispatchEvent(new Event('online'))")
            await _attempts(away, 2)
            if in_page:
                script("document.dispatchEvent(new Event('visibilitychange'))")
                await _attempts(away, 3)
            away.is_away = False
            script("globalThis.dispatchEvent(new Event('online'))")
            await _has(target, b"a")
            await source.enqueue(b"s", b"b")
            await _has(target, b"a", b"b")
        attempts = away.attempts
        script("globalThis.dispatchEvent(new Event('online'))")  # nobody listens any more
        await asyncio.sleep(0.05)
        assert away.attempts == attempts


async def check_page_that_is_left_while_offline_leaves_nothing_inflight() -> None:
    elsewhere = await new_context()
    async with open_mailbox("left offline") as source, open_mailbox("memory://unreachable") as target:
        away = _Away(target)
        await source.enqueue(b"s", b"a")
        async with _relaying(source, target, _FOR_EVER), await elsewhere.open("left offline") as other:
            await _attempts(away, 1)
            leave_page()
            (message,) = await other.dequeue()
            assert message.delivery_count == 1


async def check_relay_whose_page_goes_on_begins_anew() -> None:
    """What it had claimed, and its cursor, went back when the page was left."""
    async with (
        open_mailbox("goes on, from") as source,
        open_mailbox("goes on, to") as target,
        _relaying(source, target) as one,
    ):

        async def settled() -> bool:
            status = await one.status()
            return status.waiting == 0 and status.active

        arrived = []
        for number in range(4):
            for part in (b"a", b"b", b"c"):
                arrived.append(part + b"%d" % number)
                await source.enqueue(b"s", arrived[-1])
            leave_page()
            come_back()
            await _has(target, *arrived)
        await eventually(settled, "the relay is at work, and nothing waits")
