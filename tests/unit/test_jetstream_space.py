"""How much more a stream may hold, as a connection knows it, with a server that says what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

pytest.importorskip("nats")

from pymailbox import StorageFullError
from pymailbox.backends.jetstream.link import Link
from pymailbox.backends.jetstream.space import Space

KIB, MIB = 1 << 10, 1 << 20
MOST = 8 * MIB
RESERVE = 2 * MIB


class Server:
    """Has one stream."""

    stream = created = "inbox"
    packed_weight = 0

    def __init__(self, used: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.used = used
        self.created_there = self.created
        self.asked = 0

    async def api(self, subject: str) -> Any:
        assert subject == "STREAM.INFO.inbox"
        self.asked += 1
        there = self.info()
        await asyncio.sleep(0)
        return there

    async def patiently(self, call: Callable[[], Awaitable[Any]], _: str) -> Any:
        return await call()

    def info(self) -> Any:
        return {"config": {"max_bytes": MOST}, "state": {"bytes": self.used}, "created": self.created_there}


def space_with(left: int) -> tuple[Space, Server]:
    """Of a stream that has so many bytes left."""
    server = Server(MOST - left)
    space = Space(cast(Link, server))
    space.note(server.info())
    return space, server


@pytest.mark.parametrize(("left", "snapshot"), [(400 * KIB, 140 * KIB), (400 * KIB, 300 * KIB), (20 * KIB, KIB)])
async def test_what_is_moved_leaves_room_for_the_snapshot_behind_it(left: int, snapshot: int) -> None:
    """Else nothing could be purged any more, and claims and acknowledgements would fill the rest."""
    space, server = space_with(left)
    space.is_short(3 * KIB, 0, 0)  # somebody else's commit
    server.used += 3 * KIB + space.at_most(MIB, snapshot)
    assert await space.has(snapshot, "a snapshot")
    assert space.at_most(10, 0) == 10


async def test_what_is_moved_takes_no_more_than_is_left() -> None:
    space, _ = space_with(400 * KIB)
    assert space.at_most(MIB, 396 * KIB) == 0
    assert 0 < space.at_most(MIB, 300 * KIB) < 100 * KIB


async def test_commits_that_are_stored_at_once_do_not_take_the_reserve() -> None:
    space, server = space_with(RESERVE + 1500 * KIB)
    stored, refused = [], []

    async def store() -> None:
        try:
            async with space.taking(MIB, 1):
                await asyncio.sleep(0.02)
                server.used += MIB
                stored.append(MIB)
        except StorageFullError:
            refused.append(MIB)

    await asyncio.gather(store(), store())
    assert (len(stored), len(refused)) == (1, 1)


async def test_a_count_does_not_forget_what_is_still_to_be_stored() -> None:
    space, server = space_with(RESERVE + 1500 * KIB)
    async with space.taking(MIB, 1):
        space.note(server.info())
        with pytest.raises(StorageFullError):
            async with space.taking(MIB, 1):
                raise AssertionError("it is let in")
    space.note(server.info())  # it was stored elsewhere, or not at all
    async with space.taking(MIB, 1):
        """There is room again."""


async def test_what_is_refused_is_not_counted() -> None:
    space, server = space_with(RESERVE + 4 * MIB)
    with pytest.raises(StorageFullError):
        async with space.taking(7 * MIB, 1):
            raise AssertionError("it is let in")
    asked = server.asked
    assert not space.is_short(100, MIB, 0)
    async with space.taking(MIB, 1):
        assert server.asked == asked


async def test_small_messages_leave_room_for_two_snapshots() -> None:
    """For the next one beside the last: they are small as well, so there are many of them."""
    space, _ = space_with(RESERVE + MIB)
    async with space.taking(100 * KIB, 100):
        """As much as that is left of a quarter."""
    with pytest.raises(StorageFullError):
        async with space.taking(100 * KIB, 2000):
            raise AssertionError("it is let in")


async def test_a_snapshot_waits_while_the_next_would_not_fit_beside_it() -> None:
    """It gets smaller meanwhile; at the last moment it is written all the same."""
    space, server = space_with(2 * MIB)
    assert await space.has(900 * KIB, "a snapshot")
    assert not await space.has(1500 * KIB, "a snapshot")
    server.used += 450 * KIB
    assert await space.has(1500 * KIB, "a snapshot")


async def test_there_is_no_room_in_another_stream() -> None:
    """What is in a snapshot of one that was deleted is not in the one of the same name."""
    space, server = space_with(4 * MIB)
    assert await space.has(KIB, "a snapshot")
    server.created_there = "again"
    assert not await space.has(KIB, "a snapshot")


async def test_each_snapshot_that_does_not_fit_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    space, server = space_with(100 * KIB)
    for _ in range(3):
        assert not await space.has(200 * KIB, "a large one")
        assert await space.has(KIB, "a small one")
        assert not await space.has(300 * KIB, "a larger one")
    assert [record.getMessage().partition(", of")[0] for record in caplog.records] == [
        "the stream 'inbox' has no room for a large one",
        "the stream 'inbox' has no room for a larger one",
    ]
    server.used -= MIB
    assert await space.has(200 * KIB, "a large one")
    server.used += MIB
    assert not await space.has(200 * KIB, "a large one")
    assert len(caplog.records) == 3
