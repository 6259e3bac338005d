"""Random programs, and pages with rows of their own, with small pages of which few fit into the head."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pymailbox import Mailbox, MessagePriority, NewMessage, open_mailbox
from pymailbox.core import state
from pymailbox.testing import run_program
from tests.unit.sqlite_support import query


@pytest.fixture(autouse=True, params=[(4, 0), (16, 200)], ids=["all in rows", "some in rows"])
def small_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, in_head = request.param
    monkeypatch.setattr(state, "PAGE_NUMBERS", numbers)
    monkeypatch.setattr(state, "PAGES_IN_HEAD", in_head)
    monkeypatch.setattr(state, "_PAGES_IN_MEMORY", 2)


@pytest.mark.parametrize("seed", range(10))
async def test_random_programs(tmp_path: Path, seed: int) -> None:
    async def open_one(name: str, **options: Any) -> Mailbox:
        return await open_mailbox(f"sqlite:///{tmp_path}/mail.db#{name}", **options)

    await run_program(open_one, seed)


def payloads_of(batch: list[Any]) -> list[int]:
    return [int(record.payload) for record in batch]


async def test_what_falls_due_at_once_comes_in_its_old_order(file: Path, location: str) -> None:
    count = 600
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many(
            NewMessage(b"", b"%d" % number, MessagePriority(number % 2), delay=0.001 * (count - number) / count)
            for number in range(count)
        )
        assert len(query(file, "SELECT * FROM pages WHERE due IS NOT NULL")) > 20
        await asyncio.sleep(0.01)
        received = [number for _ in range(12) for number in payloads_of(await mailbox.dequeue(50))]
        assert received == [*range(1, count, 2), *range(0, count, 2)]


async def test_delayed_messages_are_shown_by_their_due_times(location: str) -> None:
    async with open_mailbox(location) as mailbox:
        delays = [1000 + number * 7919 % 400 for number in range(400)]
        await mailbox.enqueue_many(NewMessage(b"", b"%d" % delay, delay=delay) for delay in delays)
        assert payloads_of(await mailbox.peek(1000)) == sorted(delays)
        assert payloads_of(await mailbox.peek(3)) == sorted(delays)[:3]


async def test_purging_leaves_what_is_held_and_no_row_too_many(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox, open_mailbox(location) as other:
        ids = await mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(300)])
        await mailbox.ack_many(ids[::2])
        held = await other.dequeue(5)
        for record in held[:2]:
            await other.nack(record.id, error="no")
        assert await mailbox.purge() == 300 - 150 - 3
        assert query(file, "SELECT * FROM errors") == []
        assert [await other.ack(record.id) for record in held] == [False, False, True, True, True]
    for table in "segments", "pages":
        assert query(file, f"SELECT * FROM {table}") == []
