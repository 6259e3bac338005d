"""Calls in the event loop's own thread: what they must not miss, and what they must not leave out."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pymailbox import MessagePriority, NewMessage, open_mailbox
from pymailbox.backends.sqlite import database, locks
from pymailbox.backends.sqlite.engine import Call, Engine
from pymailbox.backends.sqlite.mailbox import SqliteMailbox
from pymailbox.backends.sqlite.session import OutdatedError, Session
from pymailbox.backends.sqlite.store import OpenMailbox
from tests.unit.sqlite_support import query, run_script

TAKE_ONE = """
import asyncio, sys
from pymailbox import open_mailbox

async def take():
    async with open_mailbox(sys.argv[1]) as mailbox:
        (message,) = await mailbox.dequeue(1)
        assert await mailbox.ack(message.id)
        print(message.payload.decode(), end="")

asyncio.run(take())
"""

MAKE_ANEW = """
import asyncio, sys
from pymailbox import delete_mailbox, open_mailbox

async def make_anew():
    assert await delete_mailbox(sys.argv[1])
    async with open_mailbox(sys.argv[1]) as mailbox:
        await mailbox.enqueue(b"", b"of the new one")

asyncio.run(make_anew())
"""

STORE_ONE = """
import asyncio, sys
from pymailbox import MessagePriority, open_mailbox

async def store():
    async with open_mailbox(sys.argv[1]) as mailbox:
        await mailbox.enqueue(b"", b"urgent", MessagePriority.HIGH)

asyncio.run(store())
"""


@pytest.fixture(autouse=True)
def inline_where_possible(thread_at_rest: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow machine and disk are, calls run inline if they can."""
    monkeypatch.setattr(database, "_INLINE_PERIOD", 60.0)
    monkeypatch.setattr(database, "_INLINE_SLOW", 60.0)
    monkeypatch.setattr(database, "_DISK_WAIT", 60.0)
    monkeypatch.setattr(database, "turn_is_due", lambda: False)


async def test_only_what_stores_waits_for_the_disk(location: str) -> None:
    statements: list[str] = []
    async with open_mailbox(location) as mailbox:
        mailbox._file.engine._connection.set_trace_callback(statements.append)  # type: ignore[attr-defined]
        for _ in range(5):
            await mailbox.enqueue(b"", b"")
            (message,) = await mailbox.dequeue(1)
            assert await mailbox.ack(message.id)
    setting, synced, stored, alone = "", [], 0, []
    for statement in statements:
        if statement.startswith("PRAGMA synchronous"):
            setting = statement.rpartition(" ")[2]
        elif statement.startswith("INSERT INTO segments"):
            stored += 1
            synced.append(setting)
        elif " AND head = " in statement:
            alone.append(setting)
    assert synced == ["FULL"] * 5
    assert len(alone) > 5, "claims and acknowledgements are statements of their own"
    assert set(alone) == {"NORMAL"}


async def test_another_process_that_is_quicker_is_noticed(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the message between the look at the state and the statement that would change it."""
    write_head = Session.write_head
    outdated = 0

    def overtaken(session: Session, mailbox: OpenMailbox, head: bytes) -> None:
        nonlocal outdated
        monkeypatch.undo()
        assert session.begin is not None, "no transaction keeps others out yet"
        assert run_script(TAKE_ONE, location) == "first"
        try:
            write_head(session, mailbox, head)
        except OutdatedError:
            outdated += 1
            raise

    async with open_mailbox(location) as mailbox:
        for payload in b"to be acknowledged", b"first", b"second":
            await mailbox.enqueue(b"", payload)
        (message,) = await mailbox.dequeue(1)
        assert await mailbox.ack(message.id)
        monkeypatch.setattr(Session, "write_head", overtaken)
        assert [record.payload for record in await mailbox.dequeue(1)] == [b"second"]
        assert outdated == 1
        assert (await mailbox.status()).inflight_messages == 1


async def test_another_mailbox_of_the_same_number_is_noticed(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was deleted and recreated between the look and the statement, and its head is the same as at first."""
    write_head = Session.write_head

    def overtaken(session: Session, mailbox: OpenMailbox, head: bytes) -> None:
        monkeypatch.undo()
        assert session.begin is not None, "no transaction keeps others out yet"
        run_script(MAKE_ANEW, location)
        write_head(session, mailbox, head)

    async with open_mailbox(location) as mailbox:
        first, *_ = [await mailbox.enqueue(b"", b"of the mailbox before") for _ in range(3)]
        monkeypatch.setattr(Session, "write_head", overtaken)
        assert not await mailbox.ack(first)
        assert [record.payload for record in await mailbox.dequeue()] == [b"of the new one"]


@pytest.mark.parametrize("locked", [True, False])
async def test_what_another_process_has_stored_is_claimed_first(
    location: str, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    if not locked:  # as on systems without the locks that show that the index is the right one
        monkeypatch.setattr(locks, "HAS_BYTE_LOCKS", False)
    async with open_mailbox(location) as mailbox:
        for _ in range(3):
            await mailbox.enqueue(b"", b"")
        for _ in range(2):  # the claims that go to the thread are over then
            (message,) = await mailbox.dequeue(1)
            assert await mailbox.ack(message.id)
        await asyncio.to_thread(run_script, STORE_ONE, location)
        assert (await mailbox.status()).queued_by_priority[MessagePriority.HIGH] == 1
        assert [record.payload for record in await mailbox.dequeue(1)] == [b"urgent"]


async def test_what_was_prepared_and_undone_is_stored_all_the_same(
    file: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a fork does it, which closes the connection before the thread has had its turn."""
    put = database._ThreadWorker.put
    undone = 0

    def undo(worker: Any, call: Call) -> None:
        nonlocal undone
        if worker.engine.has_prepared:
            undone += 1
            worker.engine.close()
        put(worker, call)

    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"0")
        monkeypatch.setattr(database._ThreadWorker, "put", undo)
        for number in range(1, 5):
            await mailbox.enqueue(b"", b"%d" % number)
        assert undone
        assert [record.payload for record in await mailbox.dequeue()] == [b"%d" % number for number in range(5)]
    assert query(file, "SELECT count(*) FROM segments") == [(5,)]


async def test_no_connection_outlives_its_close(file: Path, location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would keep what it has locked, and a forked child would inherit it. On CPython 3.11 a statement that failed
    keeps it open as long as its cursor is there, and what has that is not always collected at once.
    """
    busy = 0
    write_head = Session.write_head

    def count(session: Session, mailbox: OpenMailbox, head: bytes) -> None:
        nonlocal busy
        try:
            write_head(session, mailbox, head)
        except sqlite3.OperationalError:
            busy += 1
            raise

    monkeypatch.setattr(Session, "write_head", count)
    gc.disable()
    try:
        async with open_mailbox(location, durability="relaxed") as mailbox:
            await mailbox.enqueue_many([NewMessage(b"", b"")] * 9)
            for _ in range(3):
                *_, last = await mailbox.dequeue(3)
            with closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                acknowledged = asyncio.ensure_future(mailbox.ack(last.id))
                await asyncio.sleep(0.05)
                other.execute("ROLLBACK")
                assert await acknowledged
            assert busy
            assert isinstance(mailbox, SqliteMailbox)
            await asyncio.to_thread(mailbox._file.work_between_calls, Engine.close)
            assert not await asyncio.to_thread(Path(f"{file}-wal").exists)  # the last connection removes it
    finally:
        gc.enable()


async def test_what_was_prepared_and_never_came_keeps_nobody_out(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second interrupt keeps a call that the first one interrupted from being put."""

    def interrupt(worker: Any, call: Call) -> None:
        raise KeyboardInterrupt

    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"first")
        with monkeypatch.context() as patch:
            patch.setattr(database._ThreadWorker, "put", interrupt)
            with pytest.raises(KeyboardInterrupt):
                await mailbox.enqueue(b"", b"never came")
        mailbox._file._worker.wake()  # type: ignore[attr-defined]
        assert await asyncio.to_thread(run_script, TAKE_ONE, location) == "first"
        assert (await mailbox.status()).queued_messages == 0


async def test_engine_trusts_no_state_that_was_rolled_back(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"")
        (message,) = await mailbox.dequeue(1)
        failed = 0

        def failing(session: Session) -> None:
            nonlocal failed
            failed += 1
            monkeypatch.undo()
            raise OutdatedError

        monkeypatch.setattr(Session, "flush", failing)
        assert await mailbox.ack(message.id)
        assert failed == 1
        assert not await mailbox.ack(message.id)
