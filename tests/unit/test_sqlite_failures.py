"""The SQLite backend when its storage fails: full, damaged, gone under an open handle, written by somebody else."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pymailbox import (
    Mailbox,
    NewMessage,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
    open_mailbox,
)
from pymailbox.backends._reasons import UNREADABLE
from pymailbox.backends.sqlite import room
from tests.unit.sqlite_support import MIB, content, limit_connections, query

# -- a full disk -------------------------------------------------------------------------------------------------------


async def enqueue_for_ever(mailbox: Mailbox) -> None:
    while True:
        await mailbox.enqueue(b"", bytes(4000))


async def test_where_there_is_no_room_only_storing_fails(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_connections(monkeypatch, "PRAGMA max_page_count = 150")
    async with open_mailbox(location, max_deliveries=1) as mailbox:
        ids = await mailbox.enqueue_many([NewMessage(b"", bytes(4000))] * 100)
        with pytest.raises(StorageFullError):
            await enqueue_for_ever(mailbox)
        queued = (await mailbox.status()).queued_messages
        held = await mailbox.dequeue(3)
        assert [record.id for record in held] == ids[:3]
        with pytest.raises(StorageFullError):
            await mailbox.ack_and_send(held[0].id, [(mailbox, NewMessage(b"", bytes(MIB)))])
        assert await mailbox.nack(held[0].id, error="no room")
        assert await mailbox.dead_letter(held[1].id, "no room")
        assert await mailbox.ack(held[2].id)
        assert len(await mailbox.dead_letters()) == 2
        assert (await mailbox.status()).queued_messages == queued - 3
        await mailbox.enqueue(b"", bytes(2000))  # there is room again


async def test_enqueues_leave_room_for_the_rest(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [room.HEADROOM + MIB]
    monkeypatch.setattr(room, "_free_bytes", lambda file: free[0])
    monkeypatch.setattr(room, "LASTS", 0.0)
    async with open_mailbox(location) as mailbox:
        ids = await mailbox.enqueue_many([NewMessage(b"", bytes(1000))] * 10)
        with pytest.raises(StorageFullError, match="acknowledged"):
            await mailbox.enqueue(b"", bytes(MIB))
        free[0] = 0
        calls: list[Awaitable[Any]] = [mailbox.enqueue(b"", b""), mailbox.dequeue(3), mailbox.ack(ids[9])]
        refused, claimed, acked = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(refused, StorageFullError)
        assert isinstance(claimed, list)
        assert (len(claimed), acked) == (3, True)
        with pytest.raises(StorageFullError):
            await mailbox.ack_and_send(ids[0], [(mailbox, NewMessage(b"", b""))])
        assert await mailbox.nack(ids[0], delay=60, error="no room")
        assert await mailbox.dead_letter(ids[1], "no room")
        assert await mailbox.ack_many(ids) == 8
        free[0] = room.HEADROOM + MIB
        assert await mailbox.redrive(ids[1])
        await mailbox.enqueue(b"", b"")
        assert (await mailbox.status()).queued_messages == 2


# -- the file goes away ------------------------------------------------------------------------------------------------


def delete(file: Path) -> None:
    for path in file.parent.glob(f"{file.name}*"):
        if path.is_file():
            path.unlink()


def replace(file: Path) -> None:
    other = file.with_name("other.db")
    other.write_bytes(b"")
    query(other, "PRAGMA user_version")
    delete(file)
    other.rename(file)


def empty(file: Path) -> None:
    os.truncate(file, 0)


@pytest.mark.parametrize("damage", [delete, replace, empty])
async def test_a_file_that_goes_away_is_said_once_to_each_handle(
    file: Path, location: str, damage: Callable[[Path], None]
) -> None:
    async with open_mailbox(location) as mailbox, open_mailbox(location) as other:
        old = await mailbox.enqueue(b"", b"old")
        await mailbox.dequeue()
        query(file, "PRAGMA wal_checkpoint(TRUNCATE)")
        assert (await mailbox.storage_report()).wiped is False
        damage(file)
        for handle in mailbox, other:
            with pytest.raises(StorageUnavailableError, match=r"mail\.db .*while it was open"):
                await handle.enqueue(b"", b"lost")
        assert not await mailbox.ack(old)
        await mailbox.enqueue(b"", b"new")
        assert [record.payload for record in await other.dequeue()] == [b"new"]
        assert (await mailbox.storage_report()).wiped is True
        assert (await other.storage_report()).wiped is True
    async with open_mailbox(location) as later:
        assert (await later.status()).queued_messages == 1
        assert (await later.storage_report()).wiped is False


async def test_one_who_waits_hears_that_the_file_is_gone(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        waiting = asyncio.create_task(mailbox.dequeue(wait=math.inf))
        await mailbox.status()
        delete(file)
        with pytest.raises(StorageUnavailableError, match="while it was open"):
            await asyncio.wait_for(waiting, 30)


async def test_closing_a_handle_whose_file_is_gone(file: Path, location: str) -> None:
    mailbox = await open_mailbox(location)
    await mailbox.enqueue(b"", b"")
    await mailbox.dequeue()
    delete(file)
    await mailbox.close()


async def test_a_file_that_is_cut_short_is_never_a_silent_success(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", bytes(4000))] * 100)
        query(file, "PRAGMA wal_checkpoint(TRUNCATE)")
        await mailbox.status()
        os.truncate(file, 40_000)
        with pytest.raises(StorageCorruptError, match=r"mail\.db"):
            await mailbox.enqueue(b"", b"")
        delete(file)  # so that it can be closed


async def test_a_file_that_another_program_tidies_up(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        kept = await mailbox.enqueue(b"", b"kept")
        await mailbox.enqueue_many([NewMessage(b"", bytes(4000))] * 100)
        query(file, "PRAGMA wal_checkpoint(TRUNCATE)")
        await mailbox.dequeue(1)
        await mailbox.purge()
        query(file, "VACUUM")
        query(file, "PRAGMA wal_checkpoint(TRUNCATE)")
        assert await mailbox.ack(kept)
        await mailbox.enqueue(b"", b"")
        assert (await mailbox.status()).queued_messages == 1


# -- rows that are no messages -----------------------------------------------------------------------------------------


DAMAGES = {
    "text as payload": ("UPDATE bodies SET payload = 'gr\u00fcn' WHERE number = ?", "gr\u00fcn".encode()),
    "a number as payload": ("UPDATE bodies SET payload = 7 WHERE number = ?", b"7"),
    "bytes that are no text": ("UPDATE bodies SET payload = CAST(x'ff00' AS TEXT) WHERE number = ?", b"\xff\x00"),
    "text as sender": ("UPDATE bodies SET sender = 'x' WHERE number = ?", b"2"),
    "no body": ("DELETE FROM bodies WHERE number = ?", b""),
    "a time that is none": ("UPDATE bodies SET created_at = 'noon' WHERE number = ?", b"2"),
    "a time that never comes": ("UPDATE bodies SET created_at = 1 << 60 WHERE number = ?", b"2"),
    "an unknown priority": ("UPDATE messages SET priority = 5 WHERE number = ?", b"2"),
    "a priority that is text": ("UPDATE messages SET priority = 'high' WHERE number = ?", b"2"),
    "a broken id": ("UPDATE messages SET own_id = x'00ff' WHERE number = ?", b"2"),
    "an id that is text": ("UPDATE messages SET own_id = 'message' WHERE number = ?", b"2"),
    "no count": ("UPDATE messages SET delivery_count = 'many' WHERE number = ?", b"2"),
    "no failures": ("UPDATE messages SET failures = 'many' WHERE number = ?", b"2"),
    "no suspicion": ("UPDATE messages SET suspect = 'perhaps' WHERE number = ?", b"2"),
}


async def five_messages(location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many(NewMessage(b"alice", b"%d" % number) for number in range(5))


def number_of(file: Path, payload: bytes) -> int:
    ((number,),) = query(file, f"SELECT number FROM bodies WHERE payload = x'{payload.hex()}'")
    assert isinstance(number, int)
    return number


def damage_row(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(statement, (number_of(file, b"2"),))
    connection.close()


async def expect_salvaged(mailbox: Mailbox, payload: bytes, left: list[bytes]) -> None:
    (letter,) = await mailbox.dead_letters()
    assert (letter.record.sender, letter.record.payload, letter.reason) == (b"", payload, UNREADABLE)
    stats = await mailbox.status()
    assert (stats.queued_messages + stats.inflight_messages, stats.dead_letters) == (len(left), 1)
    assert sum(stats.queued_by_priority.values()) == stats.queued_messages
    assert await mailbox.discard(letter.record.id)


@pytest.mark.parametrize("open_before", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_an_unreadable_row_becomes_a_dead_letter(
    file: Path, location: str, damage: str, open_before: bool
) -> None:
    statement, payload = DAMAGES[damage]
    await five_messages(location)
    handles = [await open_mailbox(location)] if open_before else []
    damage_row(file, statement)
    mailbox = handles[0] if open_before else await open_mailbox(location)
    left = [b"0", b"1", b"3", b"4"]
    assert [record.payload for record in await mailbox.dequeue()] == left
    await expect_salvaged(mailbox, payload, left)
    await mailbox.close()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_peek_passes_an_unreadable_row(file: Path, location: str, damage: str) -> None:
    statement, payload = DAMAGES[damage]
    await five_messages(location)
    damage_row(file, statement)
    async with open_mailbox(location) as mailbox:
        assert [record.payload for record in await mailbox.peek()] == [b"0", b"1", b"3", b"4"]
        await expect_salvaged(mailbox, payload, [b"0", b"1", b"3", b"4"])


@pytest.mark.parametrize("damage", DAMAGES)
async def test_unreadable_rows_that_are_held(file: Path, location: str, damage: str) -> None:
    statement, payload = DAMAGES[damage]
    await five_messages(location)
    async with open_mailbox(location) as mailbox:
        await mailbox.dequeue()
        damage_row(file, statement)
        async with open_mailbox(location) as other:
            assert [record.payload for record in await other.peek()] == [b"0", b"1", b"3", b"4"]
        assert (await mailbox.status()).inflight_messages == 4
        await expect_salvaged(mailbox, payload, [b"0", b"1", b"3", b"4"])


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name not in ("no failures", "no suspicion")])
async def test_dead_letters_that_cannot_be_read(file: Path, location: str, damage: str) -> None:
    statement, payload = DAMAGES[damage]
    await five_messages(location)
    async with open_mailbox(location) as mailbox:
        for record in await mailbox.dequeue():
            if record.payload == b"2":
                await mailbox.dead_letter(record.id, "mine")
            else:
                await mailbox.ack(record.id)
        damage_row(file, statement)
        await expect_salvaged(mailbox, payload, [])


async def test_a_letter_without_its_message(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"2")
        (record,) = await mailbox.dequeue()
        await mailbox.dead_letter(record.id, "mine")
        query(file, "PRAGMA wal_checkpoint")
        connection = sqlite3.connect(file)
        with connection:
            connection.execute("DELETE FROM messages")
        connection.close()
        await expect_salvaged(mailbox, b"", [])


async def test_rows_that_another_program_adds_and_takes_are_counted(file: Path, location: str) -> None:
    await five_messages(location)
    async with open_mailbox(location) as mailbox:
        connection = sqlite3.connect(file)
        with connection:
            ((mailbox_key,),) = connection.execute("SELECT mailbox FROM mailboxes").fetchall()
            connection.execute("DELETE FROM messages WHERE number = ?", (number_of(file, b"2"),))
            for number in range(5000, 5010):
                connection.execute(
                    "INSERT INTO messages (number, mailbox, hand, priority) VALUES (?, ?, 0, 1)", (number, mailbox_key)
                )
                connection.execute("INSERT INTO bodies VALUES (?, x'', ?, 0)", (number, b"foreign"))
        connection.close()
        records = await mailbox.dequeue(100)
        assert [record.payload for record in records] == [b"foreign"] * 10 + [b"0", b"1", b"3", b"4"]
        stats = await mailbox.status()
        assert (stats.queued_messages, stats.inflight_messages) == (0, 14)
        assert await mailbox.enqueue_many([NewMessage(b"", b"")] * 10)
        assert await mailbox.ack_many(record.id for record in records) == 14
        assert (await mailbox.status()).queued_messages == 10


async def test_messages_in_nobodys_hand_are_queued_again(file: Path, location: str) -> None:
    await five_messages(location)
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("UPDATE messages SET hand = 4711")
    connection.close()
    async with open_mailbox(location) as mailbox:
        assert [record.payload for record in await mailbox.dequeue()] == [b"0", b"1", b"2", b"3", b"4"]


# -- reports -----------------------------------------------------------------------------------------------------------


async def test_a_report_tells_the_size_of_the_file(file: Path, location: str) -> None:
    async with open_mailbox(location, durability="relaxed") as mailbox:
        await mailbox.enqueue(b"", bytes(MIB))
        report = await mailbox.storage_report()
        assert (report.durability, report.persistent, report.quota, report.wiped) == ("relaxed", True, None, False)
        assert report.usage == len(content(file)) + len(content(file.with_name(f"{file.name}-wal"))) > MIB
