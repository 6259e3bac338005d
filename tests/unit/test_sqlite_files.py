"""The SQLite backend and its files: what it creates, what it refuses, and what it says about bad ones."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pymailbox import (
    Mailbox,
    MailboxError,
    MessageRecord,
    NewMessage,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
    delete_mailbox,
    list_mailboxes,
    open_mailbox,
)
from pymailbox.backends.sqlite import layout, schema
from pymailbox.backends.sqlite.errors import mailbox_error
from pymailbox.backends.sqlite.locks import HAS_BYTE_LOCKS, FileLocks
from tests.unit.sqlite_support import MIB, content, limit_connections, names_in, open_sqlite, query, run_script

BEGIN = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
    print("begun", end="")
except sqlite3.OperationalError as error:
    print(error, end="")
"""


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
    assert query(file, "PRAGMA application_id") == [(layout.APPLICATION_ID,)]
    assert query(file, "PRAGMA user_version") == [(layout.SCHEMA_VERSION,)]
    assert query(file, "PRAGMA journal_mode") == [("wal",)]


async def test_spellings_of_a_path_are_one_database(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    absolute = await open_sqlite(f"sqlite:///{file}#inbox")
    relative = await open_sqlite("sqlite:///../" + file.parent.name + "/mail.db#inbox")
    assert relative._database is absolute._database
    await relative.close()
    await absolute.close()


OPEN_AND_STORE = """
import asyncio, sys
from pymailbox import StorageUnavailableError, open_mailbox

async def main():
    try:
        async with open_mailbox(f"sqlite:///{sys.argv[1]}#inbox") as mailbox:
            await mailbox.enqueue(b"", b"another")
    except StorageUnavailableError as error:
        print(error, end="")

asyncio.run(main())
"""


@pytest.mark.skipif(not HAS_BYTE_LOCKS, reason="nothing shows who has the file open")
async def test_a_file_is_open_under_one_of_its_names(file: Path, location: str) -> None:
    """Each name has a log of its own: whoever writes under the other one overwrites what is stored under this one."""
    link = file.with_name("link.db")
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"one")
        link.hardlink_to(file)
        assert "is open under another of its names (hard links)" in run_script(OPEN_AND_STORE, link)
        assert run_script(OPEN_AND_STORE, file) == ""
        assert (await mailbox.status()).queued_messages == 2
    assert run_script(OPEN_AND_STORE, link) == ""
    assert run_script(OPEN_AND_STORE, file) == ""
    async with open_mailbox(location) as mailbox:
        assert [record.payload for record in await mailbox.dequeue()] == [b"one", b"another", b"another", b"another"]
        with pytest.raises(StorageUnavailableError):
            await open_mailbox(f"sqlite:///{link}#inbox")
        assert (await mailbox.status()).inflight_messages == 4


async def test_who_has_a_file_open_that_a_newer_version_takes_over_is_told(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"")
        connection = sqlite3.connect(file)
        connection.execute("ALTER TABLE segments RENAME TO other_segments")
        connection.execute(f"PRAGMA user_version = {layout.SCHEMA_VERSION + 1}")
        with pytest.raises(StorageUnavailableError, match="newer pymailbox"):
            await mailbox.enqueue(b"", b"")
        connection.execute(f"PRAGMA user_version = {layout.SCHEMA_VERSION}")
        connection.execute("ALTER TABLE other_segments RENAME TO segments")
        connection.close()
        assert (await mailbox.status()).queued_messages == 1


async def test_a_newer_schema_is_refused(file: Path, location: str) -> None:
    await (await open_sqlite(location)).close()
    query(file, f"PRAGMA user_version = {layout.SCHEMA_VERSION + 1}")
    before = content(file)
    with pytest.raises(StorageUnavailableError) as refusal:
        await open_mailbox(location)
    for named in str(file), f"version {layout.SCHEMA_VERSION}.", f"version {layout.SCHEMA_VERSION + 1},":
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


@pytest.mark.parametrize("make", [another_programs_database, text])
async def test_a_file_that_is_something_else(file: Path, location: str, make: Callable[[Path], None]) -> None:
    make(file)
    before = content(file)
    for attempt in (open_mailbox(location), list_mailboxes(location), delete_mailbox(location)):
        with pytest.raises(StorageCorruptError, match=r"mail\.db"):
            await attempt
    assert content(file) == before
    assert names_in(file.parent) == [file.name]


async def test_a_damaged_file(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"x" * 100_000)
    damaged(file)
    with pytest.raises(StorageCorruptError, match=r"mail\.db") as corrupt:
        async with open_mailbox(location) as mailbox:
            await mailbox.enqueue(b"", b"")
    assert isinstance(corrupt.value.__cause__, sqlite3.Error)


# -- copies and restored dumps -----------------------------------------------------------------------------------------


async def some_messages(location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many(NewMessage(b"alice", b"%d" % number) for number in range(20))


def dump_into(file: Path, copy: Path, change: Callable[[str], str] = str) -> None:
    source, target = sqlite3.connect(file), sqlite3.connect(copy)
    target.executescript(change("\n".join(source.iterdump())))
    source.close()
    target.close()


def as_another_tool_writes_it(dump: str) -> str:
    bare = re.sub(r"--[^\n]*", "", dump)
    return re.sub(r"CREATE TABLE (\w+) ", r'create table if not exists "\1"', bare)


def with_lost_rows(dump: str) -> str:
    return f"{dump}\nCREATE TABLE lost_and_found (rootpgno INTEGER, pgno INTEGER, nfield INTEGER, id INTEGER, c0);"


def with_the_version_alone(dump: str) -> str:
    return f"{dump}\nPRAGMA user_version = {layout.SCHEMA_VERSION};"


def with_statistics(dump: str) -> str:
    return f"{dump}\nANALYZE;"


@pytest.mark.parametrize(
    "change", [str, as_another_tool_writes_it, with_lost_rows, with_the_version_alone, with_statistics]
)
async def test_a_restored_dump_opens(file: Path, location: str, change: Callable[[str], str]) -> None:
    await some_messages(location)
    copy = file.with_name("copy.db")
    dump_into(file, copy, change)
    for _ in range(2):
        async with open_mailbox(f"sqlite:///{copy}#inbox") as mailbox:
            assert [record.payload for record in await mailbox.dequeue()] == [b"%d" % number for number in range(20)]
    assert query(copy, "PRAGMA application_id") == [(layout.APPLICATION_ID,)]
    assert query(copy, "PRAGMA user_version") == [(layout.SCHEMA_VERSION,)]


async def test_a_restored_dump_opens_for_listing_and_deleting(file: Path, location: str) -> None:
    await some_messages(location)
    copy = file.with_name("copy.db")
    dump_into(file, copy)
    assert await list_mailboxes(f"sqlite:///{copy}") == ["inbox"]
    assert await delete_mailbox(f"sqlite:///{copy}#inbox")


def of_another_layout(dump: str) -> str:
    return dump.replace("died_at INTEGER", "dead_since INTEGER")


def beside_another_programs(dump: str) -> str:
    return f"{dump}\nCREATE TABLE bookmarks (url TEXT);"


def without_some_tables(dump: str) -> str:
    return f"{dump}\nDROP TABLE dead_letters; DROP TABLE pages;"


def of_a_newer_version(dump: str) -> str:
    return f"{dump}\nPRAGMA user_version = {layout.SCHEMA_VERSION + 1};"


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        (
            of_another_layout,
            StorageCorruptError,
            r"restored from a dump.*: .*dead_letters.*PRAGMA application_id = \d+",
        ),
        (beside_another_programs, StorageCorruptError, r"beside others \(bookmarks\).*file of its own"),
        (without_some_tables, StorageCorruptError, "no table pages, dead_letters"),
        (of_a_newer_version, StorageUnavailableError, f"version {layout.SCHEMA_VERSION + 1}.*newer pymailbox"),
    ],
)
async def test_a_restored_dump_that_cannot_be_used(
    file: Path, location: str, change: Callable[[str], str], kind: type[MailboxError], told: str
) -> None:
    await some_messages(location)
    copy = file.with_name("copy.db")
    dump_into(file, copy, change)
    before = content(copy)
    for attempt in open_mailbox(f"sqlite:///{copy}#inbox"), list_mailboxes(f"sqlite:///{copy}"):
        with pytest.raises(kind, match=told) as refusal:
            await attempt
        assert str(copy) in str(refusal.value)
    assert content(copy) == before


async def test_a_restored_dump_without_the_newest_table_is_not_taken_for_an_older_layout(
    file: Path, location: str
) -> None:
    await some_messages(location)
    copy = file.with_name("copy.db")
    dump_into(file, copy, lambda dump: f"{dump}\nDROP TABLE remembered;")
    with pytest.raises(StorageCorruptError, match=r"copy\.db has no table remembered.*backup"):
        await open_mailbox(f"sqlite:///{copy}#inbox")
    assert query(copy, "SELECT head FROM mailboxes") == query(file, "SELECT head FROM mailboxes")


async def test_a_missing_table_is_named(file: Path, location: str) -> None:
    await some_messages(location)
    query(file, "DROP TABLE segments")
    with pytest.raises(StorageCorruptError, match=r"mail\.db has no table segments.*backup"):
        await open_mailbox(location)


async def test_what_can_be_made_anew_is(file: Path, location: str) -> None:
    await some_messages(location)
    whole = query(file, "SELECT name FROM sqlite_master ORDER BY name")
    query(file, "DROP INDEX pages_due")
    query(file, "DROP INDEX ids_by_number")
    async with open_mailbox(location) as mailbox:
        (first, *rest) = await mailbox.dequeue()
        assert await mailbox.ack_many(record.id for record in rest) == 19
        assert await mailbox.enqueue(b"", b"new") not in {first.id, *(record.id for record in rest)}
    assert query(file, "SELECT name FROM sqlite_master ORDER BY name") == whole


async def test_tables_that_others_add_to_a_mailbox_file_do_no_harm(file: Path, location: str) -> None:
    await some_messages(location)
    query(file, "CREATE TABLE notes (text TEXT)")
    async with open_mailbox(location) as mailbox:
        assert (await mailbox.status()).queued_messages == 20


async def _until_empty(mailbox: Mailbox) -> AsyncIterator[MessageRecord]:
    while records := await mailbox.dequeue():
        for record in records:
            yield record


def copied_without_its_log(file: Path, copy: Path) -> None:
    query(file, "PRAGMA wal_checkpoint(TRUNCATE)")
    # by another process: one that closes a file loses its locks on it
    run_script("import shutil, sys; shutil.copy(*sys.argv[1:])", file, copy)


def vacuumed_into(file: Path, copy: Path) -> None:
    query(file, f"VACUUM INTO '{copy}'")


def backed_up(file: Path, copy: Path) -> None:
    source, target = sqlite3.connect(file), sqlite3.connect(copy)
    source.backup(target)
    source.close()
    target.close()


@pytest.mark.parametrize("make_copy", [dump_into, copied_without_its_log, vacuumed_into, backed_up])
async def test_the_holders_of_a_file_do_not_live_in_its_copy(
    file: Path, location: str, make_copy: Callable[[Path, Path], None]
) -> None:
    await some_messages(location)
    copy = file.with_name("copy.db")
    async with open_mailbox(location) as mailbox:
        held = await mailbox.dequeue(5)
        make_copy(file, copy)
        async with open_mailbox(f"sqlite:///{copy}#inbox") as other:
            stats = await other.status()
            assert (stats.queued_messages, stats.inflight_messages) == (20, 0)
            received = [record async for record in _until_empty(other)]
            assert sorted(int(record.payload) for record in received) == list(range(20))
            assert {record.id for record in held} <= {record.id for record in received}
        assert await mailbox.ack_many(record.id for record in held) == 5
        assert (await mailbox.status()).queued_messages == 15


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


async def test_a_transaction_of_ones_own_outlives_a_mailbox_of_the_same_process(
    file: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing any descriptor of a file drops all locks that the process has on it."""
    mailbox = await open_mailbox(location)
    await mailbox.enqueue(b"", b"")
    own = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    unprotect = FileLocks.unprotect

    def begin_first(file_locks: FileLocks) -> None:
        own.execute("BEGIN IMMEDIATE")
        unprotect(file_locks)

    monkeypatch.setattr(FileLocks, "unprotect", begin_first)
    await mailbox.close()
    assert own.in_transaction
    assert run_script(BEGIN, file) == "database is locked"
    own.execute("ROLLBACK")
    assert run_script(BEGIN, file) == "begun"
    own.close()


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
