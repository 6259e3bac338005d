"""Files of every released layout open, and give back every message."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from uuid import UUID

import pytest

from pymailbox import MessagePriority, MessageStatus, open_mailbox
from pymailbox.backends.sqlite import layout
from tests.unit.sqlite_support import query

DUMPS = sorted((Path(__file__).parent / "data").glob("sqlite_layout_*.sql"))


def test_there_is_an_example_of_every_layout() -> None:
    assert [path.stem for path in DUMPS] == [f"sqlite_layout_{n + 1}" for n in range(layout.SCHEMA_VERSION)]


def restore(dump: Path, file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.executescript(dump.read_text())
    connection.close()


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.stem)
async def test_every_message_of_an_older_file_comes_out(file: Path, dump: Path) -> None:
    restore(dump, file)
    async with open_mailbox(f"sqlite:///{file}#example", max_deliveries=3) as mailbox:
        stats = await mailbox.status()
        assert (stats.queued_messages, stats.inflight_messages, stats.dead_letters) == (9, 0, 1)
        (letter,) = await mailbox.dead_letters()
        assert (letter.record.payload, letter.reason) == (b"7", "unwanted")
        assert [record.payload for record in await mailbox.peek()][-1] == b"5"  # which is due in 2076
        await mailbox.enqueue(b"", b"new")
        received = []
        while records := await mailbox.dequeue():
            received.append(records)
        batches = [[int(record.payload) for record in batch if record.payload.isdigit()] for batch in received]
        assert batches == [[4, 6], [0], [1], [2], [3, 8, 9]]
        counts = {record.payload: record.delivery_count for batch in received for record in batch}
        assert counts == {b"4": 1, b"6": 1, b"0": 2, b"1": 2, b"2": 2, b"3": 2, b"8": 1, b"9": 1, b"new": 1}
        (four, _), (zero,) = received[:2]
        assert (four.id, four.sender, four.priority) == (UUID(int=4), b"bob", MessagePriority.HIGH)
        assert (zero.sender, zero.priority, zero.status) == (b"alice", MessagePriority.NORMAL, MessageStatus.INFLIGHT)
        assert await mailbox.nack(received[3][0].id)  # its second failure
        assert (await mailbox.status()).dead_letters == 1
        (again,) = await mailbox.dequeue()
        assert await mailbox.nack(again.id, error="no")
        assert [letter.error for letter in await mailbox.dead_letters()] == ["no", None]
        assert await mailbox.redrive(letter.record.id)
        assert await mailbox.ack_many(record.id for batch in received for record in batch) == 8
    assert query(file, "PRAGMA user_version") == [(layout.SCHEMA_VERSION,)]
