"""The SQLite backend and its files: what it makes, refuses, and says when one is not as it should be."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pymailbox import (
    MailboxError,
    NewMessage,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
    delete_mailbox,
    list_mailboxes,
    open_mailbox,
)
from pymailbox.backends.sqlite import schema
from pymailbox.backends.sqlite.errors import mailbox_error
from tests.unit.sqlite_support import MIB, content, limit_connections, names_in, open_sqlite, query, run_script


async def test_a_file_says_what_it_is_and_is_closed_with_its_last_handle(file: Path, location: str) -> None:
    one, other = await open_sqlite(location), await open_sqlite(location)
    await one.enqueue(b"", b"")
    await one.close()
    assert len(await other.dequeue()) == 1
    await other.close()
    assert names_in(file.parent) == [file.name]
    for thread in threading.enumerate():
        if str(file) in thread.name:
            thread.join(timeout=30)
            assert not thread.is_alive()
    assert query(file, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]
    assert query(file, "PRAGMA user_version") == [(schema.SCHEMA_VERSION,)]
    assert query(file, "PRAGMA journal_mode") == [("wal",)]


async def test_spellings_of_a_path_are_one_database(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    absolute = await open_sqlite(f"sqlite:///{file}#inbox")
    relative = await open_sqlite("sqlite:///../" + file.parent.name + "/mail.db#inbox")
    assert relative._database is absolute._database
    await relative.close()
    await absolute.close()


async def test_a_newer_schema_is_refused(file: Path, location: str) -> None:
    await (await open_sqlite(location)).close()
    query(file, f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    before = content(file)
    with pytest.raises(StorageUnavailableError) as refusal:
        await open_mailbox(location)
    for named in str(file), f"version {schema.SCHEMA_VERSION}.", f"version {schema.SCHEMA_VERSION + 1},":
        assert named in str(refusal.value)
    assert content(file) == before


def another_programs_database(file: Path) -> None:
    query(file, "CREATE TABLE bookmarks (url TEXT)")


def text(file: Path) -> None:
    file.write_text("Dear diary, this is longer than the header of a database, which has a hundred bytes. " * 20)


def empty(file: Path) -> None:
    file.touch()


def damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    file.write_bytes(content)


def without_a_table(file: Path) -> None:
    query(file, "DROP TABLE last_number")


@pytest.mark.parametrize("make", [another_programs_database, text])
async def test_a_file_that_is_something_else(file: Path, location: str, make: Callable[[Path], None]) -> None:
    make(file)
    before = content(file)
    for attempt in (open_mailbox(location), list_mailboxes(location), delete_mailbox(location)):
        with pytest.raises(StorageCorruptError, match=r"mail\.db"):
            await attempt
    assert content(file) == before
    assert names_in(file.parent) == [file.name]


@pytest.mark.parametrize("damage", [damaged, without_a_table])
async def test_a_damaged_file(file: Path, location: str, damage: Callable[[Path], None]) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"x" * 100_000)
    damage(file)
    with pytest.raises(StorageCorruptError, match=r"mail\.db") as corrupt:
        async with open_mailbox(location) as mailbox:
            await mailbox.enqueue(b"", b"")
    assert isinstance(corrupt.value.__cause__, sqlite3.Error)


@pytest.mark.parametrize("path", [".", "no/such/folder/mail.db", "file.txt/mail.db"])
async def test_a_path_where_no_file_can_be(tmp_path: Path, path: str) -> None:
    text(tmp_path / "file.txt")
    with pytest.raises(StorageUnavailableError, match=str(tmp_path)):
        await open_mailbox(f"sqlite:///{tmp_path}/{path}#inbox")
    assert names_in(tmp_path) == ["file.txt"]


async def test_a_device_is_no_file() -> None:
    with pytest.raises(StorageUnavailableError, match="/dev/null"):
        await open_mailbox("sqlite:////dev/null#inbox")


async def test_listing_and_deleting_create_nothing(file: Path, location: str) -> None:
    assert await list_mailboxes(location) == []
    assert await delete_mailbox(location) is False
    assert names_in(file.parent) == []
    empty(file)
    assert await list_mailboxes(location) == []
    assert await delete_mailbox(location) is False
    assert content(file) == b""


async def test_a_handle_goes_on_after_its_mailbox_is_deleted(location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"old")] * 3)
        (held,) = await mailbox.dequeue(1)
        assert await delete_mailbox(location)
        assert "inbox" not in await list_mailboxes(location)
        assert not await mailbox.ack(held.id)
        assert await mailbox.peek() == await mailbox.dequeue() == []
        await mailbox.enqueue(b"", b"new")
        assert "inbox" in await list_mailboxes(location)
        assert [record.payload for record in await mailbox.dequeue()] == [b"new"]
        assert (await mailbox.status()).inflight_messages == 1
    assert await delete_mailbox(location)
    assert not await delete_mailbox(location)


async def test_a_file_that_cannot_be_written(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"kept")
    # not by chmod, which does not stop root
    limit_connections(monkeypatch, "PRAGMA query_only = ON")
    with pytest.raises(StorageUnavailableError, match=r"mail\.db"):
        await open_mailbox(location)
    assert await list_mailboxes(location) == ["inbox"]


async def test_a_file_that_another_program_locks(file: Path, location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", 0.05)
    async with open_mailbox(location) as mailbox:
        other_program = sqlite3.connect(file, isolation_level=None)
        other_program.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailableError, match="locked") as locked:
            await mailbox.enqueue(b"", b"")
        assert isinstance(locked.value.__cause__, sqlite3.OperationalError)
        assert (await mailbox.status()).queued_messages == 0
        other_program.execute("COMMIT")
        other_program.close()
        await mailbox.enqueue(b"", b"")
        assert (await mailbox.status()).queued_messages == 1


async def test_a_full_disk(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_connections(monkeypatch, "PRAGMA max_page_count = 200")
    async with open_mailbox(location) as mailbox:
        kept = await mailbox.enqueue(b"", b"kept")
        with pytest.raises(StorageFullError, match=r"mail\.db") as full:
            await mailbox.enqueue_many([NewMessage(b"", b"small"), NewMessage(b"", bytes(MIB))])
        assert isinstance(full.value.__cause__, sqlite3.Error)
        assert [record.id for record in await mailbox.dequeue()] == [kept]
        assert await mailbox.ack(kept)
        await mailbox.enqueue(b"", bytes(MIB // 2))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StorageFullError),
        (sqlite3.SQLITE_NOTADB, StorageCorruptError),
        (sqlite3.SQLITE_CORRUPT_INDEX, StorageCorruptError),
        (sqlite3.SQLITE_READONLY_DBMOVED, StorageUnavailableError),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, StorageUnavailableError),
        (sqlite3.SQLITE_IOERR_FSYNC, StorageUnavailableError),
        (sqlite3.SQLITE_BUSY_RECOVERY, StorageUnavailableError),
        (sqlite3.SQLITE_PROTOCOL, StorageUnavailableError),
    ],
)
def test_sqlites_errors_are_typed(code: int, kind: type[MailboxError]) -> None:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    typed = mailbox_error(error, "/some/mail.db")
    assert type(typed) is kind
    assert "/some/mail.db" in str(typed)
    assert "what SQLite says" in str(typed)
    assert typed.__cause__ is error


WITHOUT_SQLITE = """
import asyncio, sys
sys.modules["sqlite3"] = None
from pymailbox import StorageUnavailableError, open_mailbox

async def main():
    try:
        await open_mailbox("sqlite:///mail.db#inbox")
    except StorageUnavailableError as error:
        print(error)

asyncio.run(main())
"""


def test_a_python_without_sqlite_says_so() -> None:
    assert "without its sqlite3 module" in run_script(WITHOUT_SQLITE)
