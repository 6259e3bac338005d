"""How the SQLite backend lays out its messages, and what shares a commit."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
from collections.abc import Coroutine, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest

from pymailbox import (
    Durability,
    Mailbox,
    MessagePriority,
    NewMessage,
    StorageFullError,
    open_mailbox,
)
from pymailbox.backends.sqlite import (
    SqliteMailbox,
    bodies,
    database,
    engine,
    frames,
    layout,
    mending,
    pages,
    schema,
    session,
    store,
    verbs,
)
from pymailbox.backends.sqlite.engine import Call, Engine
from tests.unit.sqlite_support import MIB, held_up, limit_connections, open_sqlite, query, run_script

BY_LANE = "INDEX sqlite_autoindex_segments_1 (mailbox=? AND lane=? AND last>?"
BY_PAGE = "PRIMARY KEY (mailbox=? AND lane=? AND page=?)"


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (session.SELECT_LOOSE, BY_LANE),
        (store.DELETE_SEGMENTS, BY_LANE),
        (bodies.SELECT_SEGMENTS, BY_LANE),
        (session.SELECT_MAILBOX, "INDEX sqlite_autoindex_mailboxes_1 (name=?)"),
        (session.UPDATE_HEAD, "INTEGER PRIMARY KEY (rowid=?)"),
        (session.EXCHANGE_HEAD, "INTEGER PRIMARY KEY (rowid=?)"),
        (store.SELECT_ID, "PRIMARY KEY (mailbox=? AND id=?)"),
        (store.DELETE_IDS, "INDEX ids_by_number (mailbox=? AND lane=? AND number>? AND number<?)"),
        (store.DELETE_ERRORS, "PRIMARY KEY (mailbox=? AND lane=? AND number>? AND number<?)"),
        (pages.READ_PAGE, BY_PAGE),
        (pages.DELETE_PAGE, BY_PAGE),
        (pages.REWRITE_PAGE, BY_PAGE),
        (pages.FIRST_QUEUED, "INDEX pages_queued (mailbox=? AND lane=? AND page>?)"),
        (pages.FIRST_DUE, "INDEX pages_due (mailbox=? AND lane=? AND due<?)"),
        (pages.DUES, "INDEX pages_due (mailbox=? AND lane=? AND (due,page)>(?,?)"),
        (store.NEWEST_LETTERS, "PRIMARY KEY (mailbox=?)"),
        (store.DELETE_LETTER, "INDEX dead_letters_by_number (mailbox=? AND lane=? AND number=?)"),
        (store.SELECT_LETTERS, "PRIMARY KEY (mailbox=? AND letter>? AND letter<?)"),
        (store.SELECT_ERRORS, "PRIMARY KEY (mailbox=? AND lane=? AND number>? AND number<?)"),
        (mending.DELETE_LETTERS, "INDEX dead_letters_by_number (mailbox=? AND lane=? AND number>? AND number<?)"),
    ],
)
async def test_query_plans(file: Path, location: str, statement: str, index: str) -> None:
    await (await open_sqlite(location)).close()
    connection = sqlite3.connect(file)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", [0] * statement.count("?"))]
    connection.close()
    assert index in plan[0].replace("COVERING ", "")
    assert not [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step]


async def test_a_dequeue_writes_no_payload(file: Path, location: str) -> None:
    mailbox = await open_sqlite(location)
    await mailbox.enqueue(b"", bytes(8 * MIB))
    query(file, "PRAGMA wal_checkpoint(TRUNCATE)")
    log = file.with_name("mail.db-wal")
    assert log.stat().st_size == 0
    assert len(await mailbox.dequeue()) == 1
    assert 0 < log.stat().st_size < 100_000
    await mailbox.close()


async def test_nothing_is_left_of_what_was_acknowledged(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many(NewMessage(b"", b"x", MessagePriority(number % 2)) for number in range(100))
        await mailbox.ack_many([record.id for record in await mailbox.dequeue(70)])
        await mailbox.purge()
        await mailbox.enqueue(b"", b"", message_id=UUID(int=0))
        assert await mailbox.ack(UUID(int=0))
    for table in layout.OF_MAILBOX[:-1]:
        assert query(file, f"SELECT * FROM {table}") == []


async def test_what_was_acknowledged_is_deleted_a_little_later(file: Path, location: str) -> None:
    mailbox = await open_sqlite(location)
    ids = [await mailbox.enqueue(b"", b"%d" % number) for number in range(40)]
    left = []
    for message_id in ids:
        assert await mailbox.ack(message_id)
        left.append(len(query(file, "SELECT * FROM segments")))
    assert left[-1] < 16
    assert sum(left[at] != left[at + 1] for at in range(39)) <= 3
    await mailbox.close()
    assert query(file, "SELECT * FROM segments") == []


async def test_what_is_large_is_deleted_at_once(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        message_id = await mailbox.enqueue(b"", bytes(MIB))
        assert await mailbox.ack(message_id)
        assert query(file, "SELECT * FROM segments") == []


async def test_an_enqueue_writes_its_message_alone_but_for_every_64th(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        heads = []
        for number in range(200):
            await mailbox.enqueue(b"", b"%d" % number)
            heads.append(query(file, "SELECT head FROM mailboxes"))
            if number % 50 == 0:
                async with open_mailbox(location) as other:
                    assert (await other.status()).queued_messages == number + 1
        assert len(list(groupby(heads))) == 4


async def test_an_id_that_a_caller_foresaw_is_not_made_again(location: str) -> None:
    async with open_mailbox(location) as mailbox:
        known = await mailbox.enqueue(b"", b"")
        foreseen = [UUID(int=known.int + ahead) for ahead in (2, 3, 40)]
        for message_id in foreseen:
            await mailbox.enqueue(b"", b"", message_id=message_id)
        made = await mailbox.enqueue_many([NewMessage(b"", b"")] * 20)
        ahead = UUID(int=made[-1].int + 3)
        made += await mailbox.enqueue_many([NewMessage(b"", b""), NewMessage(b"", b"", message_id=ahead)] * 10)
        made += await mailbox.enqueue_many([NewMessage(b"", b"")] * 20)
        assert len({known, *foreseen, *made}) == 1 + len(foreseen) + 20 + 11 + 20


async def test_what_is_kept_in_memory_is_bounded_however_many_mailboxes_there_are(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_KEPT_BYTES", 10_000)
    mailboxes = [await open_sqlite(f"{location}-{number}") for number in range(5)]
    for mailbox in mailboxes:
        await mailbox.enqueue_many([NewMessage(b"", bytes(1000))] * 8)
    session = mailboxes[0]._file.engine._session
    assert session is not None
    assert 0 < sum(len(message.payload) for message in session._kept.messages.values()) <= 10_000
    for mailbox in mailboxes:
        assert [len(record.payload) for record in await mailbox.dequeue(10)] == [1000] * 8
        await mailbox.close()
    assert session._kept.messages == {}


async def test_a_large_message_that_is_gone_leaves_the_small_ones_swept_several_at_a_time(
    file: Path, location: str
) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", bytes(100_000))
        await mailbox.ack_many([record.id for record in await mailbox.dequeue()])
        assert query(file, "SELECT last FROM segments") == []  # a large one goes at once
        for _ in range(3):
            await mailbox.enqueue(b"", b"")
            await mailbox.ack_many([record.id for record in await mailbox.dequeue()])
        assert len(query(file, "SELECT last FROM segments")) == 3


class Commits:
    """An engine's transactions, as a test sees them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        run = Engine.run

        def recorded(engine: Engine, calls: Sequence[Call]) -> None:
            self.sizes.append(len(calls))
            run(engine, calls)

        monkeypatch.setattr(Engine, "run", recorded)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Commits:
    return Commits(monkeypatch)


async def test_calls_that_wait_share_a_commit(location: str, commits: Commits) -> None:
    mailbox = await open_sqlite(location)
    commits.sizes.clear()
    with held_up(mailbox):
        calls = [asyncio.create_task(mailbox.enqueue(b"", b"%d" % number)) for number in range(50)]
        await asyncio.sleep(0)
    await asyncio.gather(*calls)
    assert commits.sizes == [1, 50]
    assert [record.payload for record in await mailbox.dequeue(50)] == [b"%d" % number for number in range(50)]
    await mailbox.close()


async def test_of_calls_that_share_a_commit_only_the_guilty_one_fails(
    location: str, monkeypatch: pytest.MonkeyPatch, commits: Commits
) -> None:
    limit_connections(monkeypatch, "PRAGMA max_page_count = 100")
    mailbox = await open_sqlite(location)
    payloads = [b"first", b"small", bytes(MIB), b"last"]
    with held_up(mailbox):
        calls = [asyncio.create_task(mailbox.enqueue(b"", payload)) for payload in payloads]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UUID, UUID, StorageFullError, UUID]
    assert len(payloads) in commits.sizes
    assert [record.payload for record in await mailbox.dequeue()] == [b"first", b"small", b"last"]
    assert (await mailbox.status()).inflight_messages == 3
    await mailbox.close()


async def test_what_is_stored_in_a_commit_is_there_for_all_of_its_calls(
    file: Path, location: str, commits: Commits
) -> None:
    one, other = await open_sqlite(location), await open_sqlite(location)
    commits.sizes.clear()
    with held_up(one):
        first = one.enqueue(b"", b"x"), one.dequeue(), one.close()
        calls: list[asyncio.Task[Any]] = [asyncio.create_task(call) for call in first]
        while one._file._worker._under_way < 1 + len(first):  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0)  # closing takes its place in a task of its own
        calls.append(asyncio.create_task(other.dequeue()))
        await asyncio.sleep(0)
    *_, claimed = await asyncio.gather(*calls)
    assert len(calls) in commits.sizes
    assert [(record.payload, record.delivery_count) for record in claimed] == [(b"x", 1)]
    assert (await other.status()).dead_letters == 0
    with held_up(other):
        calls = [asyncio.create_task(call) for call in (other.status(), other.enqueue(b"", b"y"), other.purge())]
        await asyncio.sleep(0)
    assert (await asyncio.gather(*calls))[-1] == 1
    assert await other.ack(claimed[0].id)
    await other.close()
    assert query(file, "SELECT * FROM segments") == []


@pytest.fixture
def inline_where_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, calls run inline if they can."""
    monkeypatch.setattr(database, "_INLINE_PERIOD", 60.0)
    monkeypatch.setattr(database, "_INLINE_SLOW", 60.0)
    monkeypatch.setattr(database, "turn_is_due", lambda: False)


async def claim_a_few(mailbox: SqliteMailbox, count: int = 20) -> list[UUID]:
    """Also leaves nothing that a first claim has to do."""
    await mailbox.enqueue_many([NewMessage(b"", b"")] * count)
    return [record.id for record in await mailbox.dequeue(count)]


@pytest.mark.usefixtures("inline_where_possible")
async def test_inline_calls_need_no_other_thread(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    ack = verbs.ack

    def recorded(*arguments: Any, **options: Any) -> int:
        threads.append(threading.get_ident())
        return ack(*arguments, **options)

    monkeypatch.setattr(verbs, "ack", recorded)
    mailbox = await open_sqlite(location)
    for message_id in await claim_a_few(mailbox):
        await mailbox.enqueue(b"", b"")
        assert await mailbox.ack(message_id)
    assert threading.get_ident() in threads
    await mailbox.close()


@pytest.mark.parametrize(
    ("durability", "size", "is_inline"), [("relaxed", 10, True), ("relaxed", 1 << 20, False), ("strict", 10, False)]
)
@pytest.mark.usefixtures("inline_where_possible")
async def test_what_does_not_wait_for_the_disk_is_stored_without_another_thread(
    location: str, monkeypatch: pytest.MonkeyPatch, durability: Literal["strict", "relaxed"], size: int, is_inline: bool
) -> None:
    threads: set[int] = set()

    def notice(statement: str) -> None:
        if statement == "COMMIT":
            threads.add(threading.get_ident())

    async with open_mailbox(location, durability=durability) as mailbox:
        mailbox._file.engine._connection.set_trace_callback(notice)  # type: ignore[attr-defined]
        for _ in range(20):
            await mailbox.enqueue(b"", b"p" * size)
    assert (threading.get_ident() in threads) is is_inline


async def enqueue_for_ever(mailbox: Mailbox) -> None:
    while True:
        await mailbox.enqueue(b"", bytes(4000))


def ran_without_suspending(coroutine: Coroutine[Any, Any, Any]) -> bool:
    try:
        coroutine.send(None)
    except StopIteration:
        return True
    coroutine.close()
    return False


@pytest.mark.usefixtures("inline_where_possible", "thread_at_rest")
async def test_what_the_disk_has_in_a_moment_is_not_waited_for_otherwise(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_DISK_WAIT", 60.0)
    async with await open_sqlite(location) as mailbox:
        await claim_a_few(mailbox, 1)
        await mailbox.enqueue(b"", b"0")
        for number in range(1, 20):
            assert ran_without_suspending(mailbox.enqueue(b"", b"%d" % number))
        assert [record.payload for record in await mailbox.dequeue()] == [b"%d" % number for number in range(20)]


@pytest.mark.usefixtures("inline_where_possible")
async def test_an_event_loop_waits_no_longer_than_that(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = await open_sqlite(location)
    await claim_a_few(mailbox, 1)
    await mailbox.enqueue(b"", b"0")
    goes_on = threading.Event()
    run = Engine.run

    def slow(engine: Engine, calls: Sequence[Call]) -> None:
        goes_on.wait(60)
        run(engine, calls)

    monkeypatch.setattr(Engine, "run", slow)
    store = asyncio.create_task(mailbox.enqueue(b"", b"1"))
    await asyncio.sleep(0)  # the loop has its turn although the disk is slow
    assert not store.done()
    goes_on.set()
    await store
    assert [record.payload for record in await mailbox.dequeue()] == [b"0", b"1"]
    await mailbox.close()


@pytest.mark.usefixtures("inline_where_possible", "thread_at_rest")
async def test_a_call_that_fails_in_a_moment_fails_once(
    location: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database, "_DISK_WAIT", 60.0)
    limit_connections(monkeypatch, "PRAGMA max_page_count = 60")
    async with await open_sqlite(location) as mailbox:
        await claim_a_few(mailbox, 1)
        with pytest.raises(StorageFullError):
            await enqueue_for_ever(mailbox)
        assert await mailbox.purge() > 10
        await mailbox.enqueue(b"", bytes(4000))
    assert not caplog.records


@pytest.mark.usefixtures("inline_where_possible")
async def test_an_inline_call_waits_for_no_other_program_in_its_event_loop(file: Path, location: str) -> None:
    mailbox = await open_sqlite(location)
    held = await claim_a_few(mailbox)
    for message_id in held:
        other_program = sqlite3.connect(file, isolation_level=None)
        await mailbox.status()
        other_program.execute("BEGIN IMMEDIATE")
        ack = asyncio.create_task(mailbox.ack(message_id))
        await asyncio.sleep(0)  # otherwise it would wait here for the transaction that is ended next
        assert not ack.done()
        other_program.execute("COMMIT")
        other_program.close()
        assert await ack
    await mailbox.close()


@pytest.mark.usefixtures("inline_where_possible")
async def test_an_inline_call_sees_what_others_committed(file: Path, location: str) -> None:
    mailbox = await open_sqlite(location)
    for number, message_id in enumerate(await claim_a_few(mailbox)):
        await mailbox.status()
        connection = sqlite3.connect(file)
        with connection:
            row = (1, 0, 20 + number, 20 + number, frames.pack(0, None, b"", b"", 0))
            connection.execute(bodies.INSERT_SEGMENT, row)
        connection.close()
        assert (await mailbox.status()).queued_messages == number + 1
        assert await mailbox.ack(message_id)
    await mailbox.close()


@pytest.mark.usefixtures("inline_where_possible")
async def test_an_inline_call_comes_after_the_calls_before_it(location: str) -> None:
    mailbox = await open_sqlite(location)
    for message_id in await claim_a_few(mailbox):
        store = asyncio.create_task(mailbox.enqueue(b"", b""))
        ack = asyncio.create_task(mailbox.ack(message_id))
        claim = asyncio.create_task(mailbox.dequeue())
        assert [record.id for record in await claim] == [await store]
        assert await ack
    await mailbox.close()


async def test_inline_calls_leave_others_their_turn(location: str) -> None:
    async with open_mailbox(location) as mailbox:
        turn = asyncio.create_task(asyncio.sleep(0))
        calls = 0
        while not turn.done() and calls < 100_000:
            await mailbox.status()
            calls += 1
        assert turn.done()


@pytest.mark.usefixtures("inline_where_possible")
async def test_a_dequeue_that_waits_hears_of_other_processes_after_inline_calls(location: str) -> None:
    mailbox = await open_sqlite(location)
    for message_id in await claim_a_few(mailbox, 2):
        await mailbox.ack(message_id)
        waiting = asyncio.create_task(mailbox.dequeue(wait=math.inf))
        await asyncio.sleep(0)
        await asyncio.to_thread(run_script, ENQUEUE, location)
        (record,) = await asyncio.wait_for(waiting, 30)
        await mailbox.ack(record.id)
    await mailbox.close()


ENQUEUE = """
import asyncio, sys
from pymailbox import open_mailbox

async def main():
    async with open_mailbox(sys.argv[1]) as mailbox:
        await mailbox.enqueue(b"", b"")

asyncio.run(main())
"""


@pytest.mark.parametrize(("count", "size"), [(1500, 0), (30, MIB)])
async def test_the_log_is_brought_into_the_file_now_and_then(file: Path, location: str, count: int, size: int) -> None:
    async with open_mailbox(location, durability="relaxed") as mailbox:
        for _ in range(count):
            await mailbox.enqueue(b"", bytes(size))
            (record,) = await mailbox.dequeue()
            await mailbox.ack(record.id)
        assert file.with_name("mail.db-wal").stat().st_size < 12 * MIB


THREE_MEBIBYTES = """\
import asyncio, sys
from pymailbox import NewMessage, open_mailbox

async def main():
    async with open_mailbox(sys.argv[1], durability="relaxed") as mailbox:
        await mailbox.enqueue_many(NewMessage(b"", bytes(8192)) for _ in range(384))

asyncio.run(main())
"""


@pytest.mark.slow
async def test_the_log_of_those_who_come_and_go_is_brought_into_the_file(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        for _ in range(6):
            await asyncio.to_thread(run_script, THREE_MEBIBYTES, location)
            await mailbox.status()  # only reads, but keeps the log from going with its last writer
        assert file.with_name("mail.db-wal").stat().st_size < 12 * MIB


@pytest.mark.usefixtures("inline_where_possible")
async def test_without_a_log_a_commit_waits_for_readers(
    file: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that has no shared memory."""
    monkeypatch.setattr(schema, "_use_write_ahead_log", lambda _: None)
    mailbox = await open_sqlite(location)
    (held,) = await claim_a_few(mailbox, 1)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM segments").fetchall()
    ack = asyncio.create_task(mailbox.ack(held))
    await asyncio.wait([ack], timeout=0.1)
    assert not ack.done()
    reader.execute("COMMIT")
    reader.close()
    assert await ack
    assert query(file, "PRAGMA journal_mode") == [("delete",)]
    await mailbox.close()


async def test_a_claim_that_is_cancelled_in_its_commit_goes_back(location: str) -> None:
    mailbox = await open_sqlite(location)
    await mailbox.enqueue(b"", b"")
    with held_up(mailbox):
        await_nothing = asyncio.create_task(mailbox.status())
        claim = asyncio.create_task(mailbox.dequeue())
        await asyncio.sleep(0)
        claim.cancel()
        await asyncio.wait([claim])
    await await_nothing
    stats = await mailbox.status()
    assert (stats.queued_messages, stats.inflight_messages) == (1, 0)
    assert [record.delivery_count for record in await mailbox.dequeue()] == [1]
    await mailbox.close()


@pytest.mark.parametrize(("durability", "synchronous"), [("strict", "FULL"), ("relaxed", "NORMAL")])
async def test_what_stores_is_as_durable_as_asked(
    location: str, monkeypatch: pytest.MonkeyPatch, durability: Durability, synchronous: str
) -> None:
    statements: list[str] = []

    def connect(file: str) -> sqlite3.Connection:
        connection = schema.connect(file)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(engine, "connect", connect)
    mailbox = await open_sqlite(location, durability=durability)
    await mailbox.enqueue(b"", b"")
    await mailbox.ack_many([record.id for record in await mailbox.dequeue()])
    await mailbox.close()
    settings: list[str] = []
    setting = "FULL"
    for statement in statements:
        if statement.startswith("PRAGMA synchronous"):
            setting = statement.rpartition(" ")[2]
        elif statement == "COMMIT" or " AND head = " in statement:  # a transaction by itself
            settings.append(setting)
    opened, enqueued, dequeued, acknowledged, released = settings
    assert enqueued == synchronous
    assert opened == dequeued == acknowledged == released == "NORMAL"
