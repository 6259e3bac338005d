"""Producers that are held back, with an observer and without."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from pymailbox import (
    Backpressure,
    ConnectionLostError,
    Mailbox,
    MailboxClosedError,
    MailboxError,
    MailboxStats,
    StorageUnavailableError,
    open_mailbox,
)
from tests.unit.example_mailboxes import Database, SeedMailbox


class Observed:
    """In memory, with an observer."""

    @staticmethod
    async def open() -> Mailbox:
        return await open_mailbox("memory://")


class Polled:
    """The core verbs, without an observer."""

    @staticmethod
    async def open() -> Mailbox:
        return await Database(SeedMailbox).open("inbox")


async def take(mailbox: Mailbox, count: int) -> None:
    while count > 0:
        for record in await mailbox.dequeue(wait=1.0):
            await mailbox.ack(record.id)
            count -= 1


@pytest.mark.parametrize("kind", [Observed, Polled])
async def test_producer_waits_until_the_queue_is_short(kind: Any) -> None:
    mailbox = await kind.open()
    changes: list[bool] = []
    enqueued = 0

    async def produce() -> None:
        nonlocal enqueued
        for _ in range(60):
            await pressure.room()
            await mailbox.enqueue(b"", b"")
            enqueued += 1
            if kind is Polled:
                await asyncio.sleep(0.002)  # so that it is looked at between two of them

    async with Backpressure(mailbox, pause_at=20, resume_at=5, interval=0.001, on_change=changes.append) as pressure:
        producer = asyncio.ensure_future(produce())
        for _ in range(1000):
            if pressure.paused:
                break
            await asyncio.sleep(0.001)
        assert pressure.paused
        await asyncio.sleep(0.02)  # time for one too many
        held_at = enqueued
        assert not producer.done()
        assert held_at == 20 if kind is Observed else 20 <= held_at < 30
        consumer = asyncio.ensure_future(take(mailbox, 60))
        await producer
        await consumer
        assert changes[:2] == [True, False]
    await mailbox.close()


async def test_queue_that_is_long_already() -> None:
    mailbox = await Observed.open()
    for _ in range(3):
        await mailbox.enqueue(b"", b"")
    async with Backpressure(mailbox, pause_at=3, interval=0.001) as pressure:
        assert (pressure.paused, pressure.queued_messages) == (True, 3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pressure.room(), 0.02)
        await take(mailbox, 3)
        await asyncio.wait_for(pressure.room(), 10)
        assert not pressure.paused
    await mailbox.close()


async def test_observer_is_removed_at_the_end() -> None:
    mailbox = await Observed.open()
    async with Backpressure(mailbox, pause_at=1) as pressure:
        pass
    await mailbox.enqueue(b"", b"")
    assert not pressure.paused
    await mailbox.close()


@pytest.mark.parametrize("kind", [Observed, Polled])
async def test_closed_mailbox_ends_the_waiting(kind: Any) -> None:
    mailbox = await kind.open()
    await mailbox.enqueue(b"", b"")
    async with Backpressure(mailbox, pause_at=1, interval=0.001) as pressure:
        waiting = asyncio.ensure_future(pressure.room())
        await asyncio.sleep(0.01)
        await mailbox.close()
        with pytest.raises(MailboxClosedError):
            await asyncio.wait_for(waiting, 10)


@pytest.mark.parametrize("kind", [Observed, Polled])
async def test_end_lets_all_producers_go_on(kind: Any) -> None:
    mailbox = await kind.open()
    await mailbox.enqueue(b"", b"")
    async with Backpressure(mailbox, pause_at=1) as pressure:
        waiting = asyncio.ensure_future(pressure.room())
        await asyncio.sleep(0.01)
    await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(pressure.room(), 10)
    await mailbox.close()


@pytest.mark.parametrize("error", [ConnectionLostError(), StorageUnavailableError("it is locked", passing=True)])
async def test_obstacle_that_passes_is_waited_for(error: MailboxError) -> None:
    class Losing(SeedMailbox):
        lost = False

        async def status(self) -> MailboxStats:
            if self.lost:
                raise error
            return await super().status()

    mailbox = await Database(Losing).open("inbox")
    assert isinstance(mailbox, Losing)
    changes: asyncio.Queue[bool] = asyncio.Queue()
    async with Backpressure(mailbox, pause_at=1, interval=0.001, on_change=changes.put_nowait) as pressure:
        mailbox.lost = True
        await mailbox.enqueue(b"", b"")
        await asyncio.sleep(0.02)
        assert not pressure.paused
        mailbox.lost = False
        assert await asyncio.wait_for(changes.get(), 10)
        assert pressure.paused


async def test_other_errors_are_for_who_asks_for_room() -> None:
    class Failing(SeedMailbox):
        async def status(self) -> MailboxStats:
            if self.store:
                raise StorageUnavailableError("gone for good")
            return await super().status()

    mailbox = await Database(Failing).open("inbox")
    async with Backpressure(mailbox, pause_at=1, interval=0.001) as pressure:
        await mailbox.enqueue(b"", b"")
        await asyncio.wait([pressure._watching or pytest.fail("it does not watch")])
        with pytest.raises(StorageUnavailableError, match="gone for good"):
            await pressure.room()
    await asyncio.wait_for(pressure.room(), 10)  # the block was left


async def test_callback_that_raises_harms_nothing() -> None:
    def on_change(paused: bool) -> None:
        raise ValueError("on purpose")

    mailbox = await Observed.open()
    async with Backpressure(mailbox, pause_at=1, interval=0.001, on_change=on_change) as pressure:
        await mailbox.enqueue(b"", b"")
        assert pressure.paused
        await take(mailbox, 1)
        await asyncio.wait_for(pressure.room(), 10)
    await mailbox.close()


async def test_room_outside_is_an_error() -> None:
    mailbox = await Observed.open()
    with pytest.raises(RuntimeError, match="async with"):
        await Backpressure(mailbox, pause_at=1).room()
    await mailbox.close()


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"pause_at": 0}, ValueError, "pause_at"),
        ({"pause_at": 1.5}, TypeError, "pause_at"),
        ({"pause_at": 2, "resume_at": 2}, ValueError, "resume_at"),
        ({"pause_at": 2, "resume_at": -1}, ValueError, "resume_at"),
        ({"pause_at": 2, "resume_at": "1"}, TypeError, "resume_at"),
        ({"pause_at": 2, "resume_at": True}, TypeError, "resume_at"),
        ({"pause_at": 2, "on_change": 1}, TypeError, "on_change"),
        ({"pause_at": 2, "mailbox": "inbox"}, TypeError, "mailbox"),
        ({"pause_at": 2, "interval": 0}, ValueError, "interval"),
        ({"pause_at": 2, "interval": math.inf}, ValueError, "interval"),
        ({"pause_at": 2, "interval": "1"}, TypeError, "interval"),
        ({"pause_at": 2**53}, ValueError, "pause_at"),
    ],
)
async def test_bad_argument_is_named(options: Any, error: type[Exception], name: str) -> None:
    mailbox = await Polled.open()
    with pytest.raises(error, match=f"{name} must be"):
        Backpressure(**{"mailbox": mailbox, **options})
