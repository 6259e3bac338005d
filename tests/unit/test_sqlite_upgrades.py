"""Upgrading a file of the first layout; ``test_sqlite_layouts.py`` checks the result."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pymailbox import (
    Mailbox,
    MailboxError,
    MessagePriority,
    StorageCorruptError,
    StorageUnavailableError,
    list_mailboxes,
    open_mailbox,
)
from pymailbox.backends.sqlite import layout, upgrades
from pymailbox.backends.sqlite.read_only import Reader
from pymailbox.contract.ids import id_at, new_id_base
from pymailbox.contract.reasons import unreadable_reason
from pymailbox.core import dead_letters
from tests.unit.sqlite_support import query

BASE = new_id_base()
CUSTOM = UUID(int=7)
NORMAL, HIGH = MessagePriority.NORMAL, MessagePriority.HIGH
INSERT = """
    INSERT INTO messages (number, mailbox, hand, priority, delivery_count, own_id) VALUES (?, ?, ?, ?, ?, ?)
"""


def make(file: Path) -> None:
    """500 messages: every third is urgent, every 50th has a custom id, and some are in no order."""
    connection = sqlite3.connect(file)
    with connection:
        for statement in upgrades.tables_of(1):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {layout.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        base = BASE.to_bytes(16, "big")
        connection.execute("INSERT INTO mailboxes (mailbox, name, id_base) VALUES (5, 'other', ?)", (base,))
        connection.execute("INSERT INTO mailboxes (mailbox, name, id_base) VALUES (7, 'inbox', ?)", (base,))
        connection.execute("UPDATE last_number SET number = 2000")
        connection.execute("INSERT INTO holders VALUES (7, 99, 2, NULL, NULL, 1, 1, 0, 1, 0)")  # died with two
        for number in range(1, 501):
            own_id = CUSTOM.bytes if number == 50 else None
            hand = {3: 198, 6: 199}.get(number, 0)
            row = (number, 7, hand, int(number % 3 == 0), 2 if hand else 0, own_id)
            connection.execute(INSERT, row)
            connection.execute("INSERT INTO bodies VALUES (?, x'', ?, 1000)", (number, b"%d" % number))
        connection.execute("INSERT INTO messages (number, mailbox, hand, priority) VALUES (600, 5, 0, 0)")
        connection.execute("INSERT INTO bodies VALUES (600, x'', 'text', 1000)")
        for number, letter in (11, 3), (14, 1), (17, 2):
            connection.execute("UPDATE messages SET hand = -1, error = 'no' WHERE number = ?", (number,))
            connection.execute("INSERT INTO letters VALUES (?, 7, ?, ?, 5)", (letter, number, f"reason {letter}"))
    connection.close()


async def payloads(mailbox: Mailbox) -> list[int]:
    return [int(record.payload) for record in await mailbox.peek(1000)]


async def test_everything_is_kept_in_its_order(file: Path, location: str) -> None:
    make(file)
    async with open_mailbox(location, max_deliveries=9) as mailbox:
        high = [number for number in range(1, 501) if number % 3 == 0]
        normal = [number for number in range(1, 501) if number % 3 and number not in (11, 14, 17)]
        assert await payloads(mailbox) == high + normal
        (first,) = await mailbox.dequeue()  # its holder died with it
        assert (first.id, first.delivery_count) == (id_at(BASE, HIGH, 3), 3)
        assert await mailbox.ack(id_at(BASE, NORMAL, 301 + 1)) is (302 % 3 != 0)
        assert not await mailbox.ack(id_at(BASE, NORMAL, 50))
        assert await mailbox.enqueue(b"", b"", message_id=CUSTOM) == CUSTOM
        assert await mailbox.ack(CUSTOM)
        dead = await mailbox.dead_letters()
        assert [(letter.reason, letter.error, int(letter.record.payload)) for letter in dead] == [
            ("reason 3", "no", 11),
            ("reason 2", "no", 17),
            ("reason 1", "no", 14),
        ]
        new = await mailbox.enqueue(b"", b"9999")
        assert new == id_at(BASE, NORMAL, 2001)
        stats = await mailbox.status()
        assert (stats.queued_messages, stats.inflight_messages) == (500 - 3 - 3 + 1, 1)
    assert query(file, "PRAGMA user_version") == [(layout.SCHEMA_VERSION,)]
    assert query(file, "PRAGMA integrity_check") == [("ok",)]
    tables = {name for (name,) in query(file, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == set(layout.OF_MAILBOX)


async def test_a_row_that_cannot_be_read_becomes_a_dead_letter(file: Path) -> None:
    make(file)
    async with open_mailbox(f"sqlite:///{file}#other") as mailbox:
        assert await mailbox.dequeue() == []
        (letter,) = await mailbox.dead_letters()
        assert (letter.record.payload, letter.reason) == (b"text", unreadable_reason(1))


async def test_what_another_program_wrote_keeps_nobody_from_the_rest(file: Path, location: str) -> None:
    """Invalid numbers, and a holder with impossible options."""
    make(file)
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("INSERT INTO holders VALUES (7, 98, 0, -3, 'long', x'', 1, 0, 0, 0)")
        connection.execute("UPDATE messages SET hand = 196 WHERE number = 8")
        connection.execute("UPDATE last_number SET number = 'none'")
        for number in -4, 0, (1 << 63) - 1:
            connection.execute(INSERT, (number, 7, 0, 0, 0, None))
            connection.execute("INSERT INTO bodies VALUES (?, x'', ?, 1000)", (number, b"%d" % number))
    connection.close()
    async with open_mailbox(location) as mailbox:
        dead = await mailbox.dead_letters()
        assert {letter.record.payload for letter in dead if letter.reason == unreadable_reason(1)} == {
            b"-4",
            b"0",
            b"%d" % ((1 << 63) - 1),
        }
        assert (await mailbox.status()).queued_messages == 500 - 3
        assert 8 in await payloads(mailbox)
        await mailbox.enqueue(b"", b"9999")
    async with open_mailbox(location) as mailbox:
        assert (await payloads(mailbox))[-1] == 9999


async def test_a_mailbox_that_cannot_be_read_is_named(file: Path, location: str) -> None:
    make(file)
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("UPDATE mailboxes SET id_base = 'none' WHERE name = 'other'")
    connection.close()
    with pytest.raises(StorageCorruptError, match="'other': its head in the file is damaged"):
        await open_mailbox(location)
    assert query(file, "PRAGMA user_version") == [(1,)]


@pytest.mark.parametrize(
    ("owner", "name"), [(dead_letters, "note"), (upgrades._Filling, "_take")], ids=["at the end", "at a row"]
)
async def test_what_fails_amid_it_leaves_the_file_as_it_was(
    owner: Any, name: str, file: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(file)
    before = query(file, "SELECT * FROM messages"), query(file, "SELECT name FROM sqlite_master")

    original, calls = getattr(owner, name), 0

    def fail(*given: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise sqlite3.OperationalError("amid it")
        return original(*given)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises((MailboxError, sqlite3.Error)) as caught:
            await open_mailbox(location)
    # nothing that the error still has keeps the connection open: the last one removes the log
    assert not await asyncio.to_thread(Path(f"{file}-wal").exists), caught
    assert (query(file, "SELECT * FROM messages"), query(file, "SELECT name FROM sqlite_master")) == before
    assert query(file, "PRAGMA user_version") == [(1,)]
    assert await list_mailboxes(location) == ["inbox", "other"]


def test_who_may_only_read_it_is_told(file: Path) -> None:
    make(file)
    with pytest.raises(StorageUnavailableError, match=r"mail\.db was written by an older pymailbox"):
        Reader(str(file))
    assert query(file, "PRAGMA user_version") == [(1,)]
