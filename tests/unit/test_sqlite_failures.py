"""The SQLite backend when its storage fails: full, damaged, gone under an open handle, written by somebody else."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pymailbox import (
    Durability,
    Mailbox,
    MailboxStats,
    MessagePriority,
    NewMessage,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
    delete_mailbox,
    open_mailbox,
)
from pymailbox.backends.sqlite import engine, headroom, rows, verbs
from pymailbox.contract.reasons import unreadable_reason
from pymailbox.core import state
from tests.unit.sqlite_support import MIB, content, limit_connections, query, run_script, run_with_mounts

# -- a full disk -------------------------------------------------------------------------------------------------------


async def enqueue_for_ever(mailbox: Mailbox) -> None:
    while True:
        await mailbox.enqueue(b"", bytes(4000))


async def test_where_there_is_no_room_only_storing_fails(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_connections(monkeypatch, "PRAGMA max_page_count = 150")
    async with open_mailbox(location, max_deliveries=1) as mailbox:
        ids = [await mailbox.enqueue(b"", bytes(4000)) for _ in range(100)]
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
    free = [headroom.HEADROOM + MIB]
    monkeypatch.setattr(headroom, "_free_bytes", lambda file: free[0])
    monkeypatch.setattr(headroom, "VALID_FOR", 0.0)
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
        free[0] = headroom.HEADROOM + MIB
        assert await mailbox.redrive(ids[1])
        await mailbox.enqueue(b"", b"")
        assert (await mailbox.status()).queued_messages == 2


SMALL_VOLUME = """
import asyncio, itertools, os, subprocess, sys
from pymailbox import NewMessage, StorageFullError, open_mailbox
from pymailbox.backends.sqlite import schema

folder, size, durability, layout = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
if layout == "without auto_vacuum":  # as older versions made their files
    schema._let_shrink = lambda connection: None

async def fill(mailbox):
    batch = [NewMessage(b"", bytes(size))] * max(1, 100_000 // size)
    for stored in itertools.count(step=len(batch)):
        try:
            await mailbox.enqueue_many(batch)
        except StorageFullError:
            return stored

async def acknowledge(mailbox):
    acknowledged = 0
    while records := await mailbox.dequeue():
        for record in records:
            acknowledged += await mailbox.ack(record.id)
    return acknowledged

async def main():
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
    for _ in range(2):
        async with (
            open_mailbox(f"sqlite:///{folder}/mail.db#inbox", durability=durability) as mailbox,
            open_mailbox(f"sqlite:///{folder}/mail.db#other") as other,
        ):
            for _ in range(2):
                print(await fill(mailbox), await acknowledge(mailbox))
                try:
                    await other.enqueue(b"", bytes(8_000_000))
                    print(await other.purge(), "large")
                except StorageFullError:
                    print(0, "large")

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the volume is Linux's")
@pytest.mark.parametrize(
    ("size", "durability", "layout"),
    [
        (20_000, "strict", "with auto_vacuum"),
        (20_000, "relaxed", "without auto_vacuum"),
        (300_000, "relaxed", "with auto_vacuum"),
        (3_000_000, "strict", "with auto_vacuum"),
        (3_000_000, "strict", "without auto_vacuum"),
    ],
)
def test_a_full_volume_holds_as_much_again_when_all_is_acknowledged(
    tmp_path: Path, size: int, durability: str, layout: str
) -> None:
    said = [line.split() for line in run_with_mounts(SMALL_VOLUME, tmp_path, size, durability, layout).splitlines()]
    (first, _), *_ = rounds = [(int(stored), int(acked)) for stored, acked in said[::2]]
    assert first * size > 8_000_000
    for stored, acknowledged in rounds:
        assert acknowledged == stored >= 0.9 * first
    if layout == "with auto_vacuum":  # what was free inside of the file is the disk's again
        assert said[1::2] == [["1", "large"]] * 4


# -- a file that becomes smaller ---------------------------------------------------------------------------------------


async def until(condition: Callable[[], bool], mailbox: Mailbox) -> None:
    """Calls a verb that changes the file until the condition holds."""
    async with asyncio.timeout(60):
        while not condition():
            await mailbox.enqueue(b"", b"")
            await mailbox.purge()


WAITER = """
import asyncio, math, sys, warnings
from pymailbox import open_mailbox

async def main():
    async with open_mailbox(sys.argv[1]) as mailbox:
        print("waits", flush=True)
        for _ in range(2):
            (record,) = await mailbox.dequeue(wait=math.inf)
            await mailbox.ack(record.id)
            print(record.payload.decode(), (await mailbox.storage_report()).wiped, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
async def test_free_pages_go_back_to_the_disk_under_everybodys_eyes(
    file: Path, location: str, durability: Durability, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_SHRINK_INTERVAL", 0.0)
    refuse_checks_of_content(monkeypatch)

    def size() -> int:
        return file.stat().st_size

    waiter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", WAITER, f"sqlite:///{file}#waiting"), stdout=asyncio.subprocess.PIPE
    )
    assert waiter.stdout is not None
    assert await waiter.stdout.readline() == b"waits\n"
    async with (
        open_mailbox(location, durability=durability) as mailbox,
        open_mailbox(f"sqlite:///{file}#waiting") as to_waiter,
    ):
        await mailbox.enqueue_many([NewMessage(b"", bytes(MIB))] * 40)
        await mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(10)])
        await to_waiter.enqueue(b"", b"one")
        assert await waiter.stdout.readline() == b"one False\n"
        assert size() > 40 * MIB
        large = [record.id for record in await mailbox.dequeue(40)]
        kept = await mailbox.dequeue()
        assert await mailbox.ack_many(large) == 40
        async with open_mailbox(f"{location}-too") as busy:
            await until(lambda: size() < 20 * MIB, busy)
        await to_waiter.enqueue(b"", b"two")
        assert await waiter.stdout.readline() == b"two False\n"
        assert await mailbox.ack_many(record.id for record in kept) == 10
        assert (await mailbox.storage_report()).wiped is False
    assert await waiter.wait() == 0
    assert query(file, "PRAGMA integrity_check") == [("ok",)]


async def test_a_file_of_which_little_is_free_stays_as_large(
    file: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_SHRINK_INTERVAL", 0.0)
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", bytes(MIB))] * 40)
        assert await mailbox.ack_many([record.id for record in await mailbox.dequeue(18)]) == 18
        for _ in range(20):
            await mailbox.enqueue(b"", b"")
    ((free,),) = query(file, "PRAGMA freelist_count")
    assert isinstance(free, int)
    assert free * 4096 > 17 * MIB


# -- the file goes away ------------------------------------------------------------------------------------------------


def refuse_checks_of_content(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_: object, size: int) -> None:
        raise AssertionError(f"a file of {size} bytes was taken for one cut short")

    monkeypatch.setattr(engine.Engine, "_check_content", check)


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


THIRD = "WHERE lane = 0 AND last = 2"
"""The segment of the third of five messages that were enqueued one by one."""

DAMAGES: dict[str, tuple[str, bytes | None]] = {
    "text": (f"UPDATE segments SET body = 'gr\u00fcn' {THIRD}", "gr\u00fcn".encode()),
    "a number": (f"UPDATE segments SET body = 7 {THIRD}", b"7"),
    "bytes that are no text": (f"UPDATE segments SET body = CAST(x'ff00' AS TEXT) {THIRD}", b"\xff\x00"),
    "nothing": (f"UPDATE segments SET body = x'' {THIRD}", b""),
    "no row": (f"DELETE FROM segments {THIRD}", b""),
    "cut short": (f"UPDATE segments SET body = substr(body, 1, 19) {THIRD}", None),
    "without its end": (f"UPDATE segments SET body = substr(body, 1, length(body) - 1) {THIRD}", None),
    "an unknown flag": (f"UPDATE segments SET body = x'80' || substr(body, 2) {THIRD}", None),
    "an id that it never had": (f"UPDATE segments SET body = x'01' || substr(body, 2) || zeroblob(16) {THIRD}", None),
    "another priority": (f"UPDATE segments SET body = substr(body, 1, 1) || x'01' || substr(body, 3) {THIRD}", None),
    "a time that never comes": (
        f"UPDATE segments SET body = substr(body, 1, 12) || x'ffffffffffffef7f' || substr(body, 21) {THIRD}",
        None,
    ),
}
"""What to do, and the payload of the dead letter; None for the bytes that remain."""


async def five_messages(location: str) -> None:
    async with open_mailbox(location) as mailbox:
        for number in range(5):
            await mailbox.enqueue(b"alice", b"%d" % number)


def run_on(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(statement)
    connection.close()


def damage_third(file: Path, damage: str) -> bytes:
    """Does it to the third message, and returns the payload of the dead letter that it should become."""
    statement, payload = DAMAGES[damage]
    run_on(file, statement)
    if payload is None:
        ((remains,),) = query(file, f"SELECT CAST(body AS BLOB) FROM segments {THIRD}")
        assert isinstance(remains, bytes)
        payload = remains
        run_on(file, f"UPDATE segments SET body = CAST(body AS BLOB) {THIRD}")
    return payload


async def expect_salvaged(mailbox: Mailbox, payload: bytes, left: list[bytes]) -> None:
    (letter,) = await mailbox.dead_letters()
    assert (letter.record.sender, letter.record.payload, letter.reason) == (b"", payload, unreadable_reason(1))
    stats = await mailbox.status()
    assert (stats.queued_messages + stats.inflight_messages, stats.dead_letters) == (len(left), 1)
    assert sum(stats.queued_by_priority.values()) == stats.queued_messages
    assert await mailbox.discard(letter.record.id)


LEFT = [b"0", b"1", b"3", b"4"]


@pytest.mark.parametrize("open_before", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_an_unreadable_row_becomes_a_dead_letter(
    file: Path, location: str, damage: str, open_before: bool
) -> None:
    await five_messages(location)
    handles = [await open_mailbox(location)] if open_before else []
    payload = damage_third(file, damage)
    mailbox = handles[0] if open_before else await open_mailbox(location)
    assert [record.payload for record in await mailbox.dequeue()] == LEFT
    await expect_salvaged(mailbox, payload, LEFT)
    await mailbox.close()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_peek_passes_an_unreadable_row(file: Path, location: str, damage: str) -> None:
    await five_messages(location)
    payload = damage_third(file, damage)
    async with open_mailbox(location) as mailbox:
        assert [record.payload for record in await mailbox.peek()] == LEFT
        await expect_salvaged(mailbox, payload, LEFT)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_unreadable_rows_that_are_held(file: Path, location: str, damage: str) -> None:
    await five_messages(location)
    async with open_mailbox(location) as mailbox:
        await mailbox.dequeue()
        payload = damage_third(file, damage)
        async with open_mailbox(location) as other:
            assert [record.payload for record in await other.peek()] == LEFT
        assert (await mailbox.status()).inflight_messages == 4
        await expect_salvaged(mailbox, payload, LEFT)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_dead_letters_that_cannot_be_read(file: Path, location: str, damage: str) -> None:
    await five_messages(location)
    async with open_mailbox(location) as mailbox:
        for record in await mailbox.dequeue():
            if record.payload == b"2":
                await mailbox.dead_letter(record.id, "mine")
            else:
                await mailbox.ack(record.id)
        payload = damage_third(file, damage)
        await expect_salvaged(mailbox, payload, [])


async def test_of_a_segment_that_is_damaged_what_can_be_read_stays(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(5)])
        ((body,),) = query(file, "SELECT body FROM segments")
        assert isinstance(body, bytes)
        third = 2 * len(body) // 5
        broken = f"substr(body, 1, {third}) || x'ff' || substr(body, {third + 2})"
        run_on(file, f"UPDATE segments SET body = CAST({broken} AS BLOB)")
        assert [record.payload for record in await mailbox.dequeue()] == [b"0", b"1"]
        damaged = body[:third] + b"\xff" + body[third + 1 :]
        await expect_salvaged(mailbox, damaged[third:], [b"0", b"1"])
    async with open_mailbox(location) as mailbox:
        assert [record.payload for record in await mailbox.dequeue()] == [b"0", b"1"]


LETTER_DAMAGES = {
    "an invalid reason": "UPDATE dead_letters SET reason = x'00'",
    "an invalid error": "UPDATE errors SET error = x'00'",
    "a time that no clock tells": "UPDATE dead_letters SET died_at = 9223372036854775807",
    "no row": "DELETE FROM dead_letters",
    "two rows": "INSERT INTO dead_letters SELECT mailbox, 2, lane, number, x'00', died_at FROM dead_letters",
    "no time": "UPDATE dead_letters SET died_at = 'noon'",
    "another place": "UPDATE dead_letters SET number = 77",
    "an invalid place": "UPDATE dead_letters SET number = 'seven'",
}


@pytest.mark.parametrize("damage", LETTER_DAMAGES)
async def test_letters_that_cannot_be_read(file: Path, location: str, damage: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"2")
        (record,) = await mailbox.dequeue()
        await mailbox.nack(record.id, error="failed")
        (record,) = await mailbox.dequeue()
        await mailbox.dead_letter(record.id, "mine")
        run_on(file, LETTER_DAMAGES[damage])
        (letter,) = await mailbox.dead_letters()
        assert letter.reason == unreadable_reason(1)
        assert letter.record.payload == b"2"
        assert (await mailbox.status()).dead_letters == 1
        assert await mailbox.discard(letter.record.id)
        await mailbox.enqueue(b"", b"3")
        (record,) = await mailbox.dequeue()
        await mailbox.dead_letter(record.id, "mine")
        assert [letter.reason for letter in await mailbox.dead_letters()] == ["mine"]


@pytest.fixture
def pages_have_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few there are."""
    monkeypatch.setattr(state, "PAGES_IN_HEAD", 0)


@pytest.mark.usefixtures("pages_have_rows")
@pytest.mark.parametrize("told", ["due = x'00'", "queued = 'none'", "queued = 0, due = x'00'"])
async def test_what_the_row_of_a_page_tells_beside_it_is_corrected(file: Path, location: str, told: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"later", delay=3600), NewMessage(b"", b"now")])
        for record in await mailbox.dequeue():
            await mailbox.nack(record.id)
        run_on(file, f"UPDATE pages SET {told}")
        assert [record.payload for record in await mailbox.dequeue()] == [b"now"]
        assert [record.payload for record in await mailbox.peek()] == [b"later", b"now"]
        assert (await mailbox.status()).dead_letters == 0


@pytest.mark.usefixtures("pages_have_rows")
@pytest.mark.parametrize("number", ["x'00'", "'one'", "-1", "0.5", "1 << 62"])
async def test_a_page_whose_number_is_none_is_deleted(file: Path, location: str, number: str) -> None:
    copy = f"INSERT INTO pages SELECT mailbox, lane, {number}, 1, 0, body FROM pages"
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"later", delay=3600), NewMessage(b"", b"now")])
        assert len(await mailbox.dequeue()) == 1
        run_on(file, copy)
        assert await mailbox.dequeue() == []
        await mailbox.purge()
        assert await mailbox.status() == MailboxStats(0, 1, dict.fromkeys(MessagePriority, 0))
    assert query(file, "SELECT count(*) FROM pages") in ([(0,)], [(1,)])


HOLD_AND_DIE = """
import asyncio, os, sys
from pymailbox import NewMessage, open_mailbox
from pymailbox.core import state

async def main():
    state.PAGES_IN_HEAD = 0
    mailbox = await open_mailbox(sys.argv[1])
    await mailbox.enqueue_many([NewMessage(b"", b"0"), NewMessage(b"", b"1")])
    await mailbox.dequeue()
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.usefixtures("pages_have_rows")
async def test_a_mailbox_opens_though_what_the_dead_held_cannot_be_read(file: Path, location: str) -> None:
    await asyncio.to_thread(run_script, HOLD_AND_DIE, location)
    run_on(file, "UPDATE pages SET body = x'00'")
    async with open_mailbox(location) as mailbox:
        assert {(letter.record.payload, letter.reason) for letter in await mailbox.dead_letters()} == {
            (b"0", unreadable_reason(1)),
            (b"1", unreadable_reason(1)),
        }


@pytest.mark.usefixtures("pages_have_rows")
async def test_what_cannot_be_mended_is_an_error(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_mailbox(location) as mailbox:

        def fail(*_: object, **__: object) -> None:
            raise rows.UnreadablePageError(0, 7)

        with monkeypatch.context() as patch:
            patch.setattr(verbs, "count", fail)
            async with asyncio.timeout(30):
                with pytest.raises(StorageCorruptError, match=r"'inbox'.*page 7 of lane 0 cannot be read.*delete_m"):
                    await mailbox.status()
        assert (await mailbox.status()).queued_messages == 0


@pytest.mark.usefixtures("pages_have_rows")
async def test_numbers_that_nobody_ever_got_cost_nothing(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"old")
        (record,) = await mailbox.dequeue()
        await mailbox.dead_letter(record.id, "mine")
        session = mailbox._file.engine._session  # type: ignore[attr-defined]
        session.mailbox("inbox").state.skip(0, 1 << 40)
        await mailbox.enqueue_many([NewMessage(b"", b"new")] * 2)
        async with asyncio.timeout(60):
            assert await mailbox.purge() == 2
            assert [letter.record.payload for letter in await mailbox.dead_letters()] == [b"old"]
            await mailbox.enqueue(b"", b"newer")
            run_on(file, "UPDATE segments SET last = 1 << 41, body = x'00' WHERE last > 1")
            assert await mailbox.dequeue() == []
            assert [letter.reason for letter in await mailbox.dead_letters()] == [unreadable_reason(1), "mine"]


PAGE_DAMAGES = {
    "other bytes": "UPDATE pages SET body = x'0102'",
    "other numbers": "UPDATE pages SET body = zeroblob(80)",
    "text": "UPDATE pages SET body = 'page'",
}


@pytest.mark.usefixtures("pages_have_rows")
@pytest.mark.parametrize("damage", PAGE_DAMAGES)
async def test_where_a_page_cannot_be_read_its_messages_become_dead_letters(
    file: Path, location: str, damage: str
) -> None:
    await five_messages(location)
    async with open_mailbox(location) as mailbox:
        held = await mailbox.dequeue(2)
        assert await mailbox.ack(held[1].id)
        assert len(query(file, "SELECT * FROM pages")) == 1
        run_on(file, PAGE_DAMAGES[damage])
        assert not await mailbox.ack(held[0].id)
        stats = await mailbox.status()
        assert (stats.queued_messages, stats.inflight_messages) == (3, 0)
        lost = await mailbox.dead_letters()
        assert held[0].id in {letter.record.id for letter in lost}
        assert {letter.reason for letter in lost} == {unreadable_reason(1)}
        assert stats.dead_letters == len(lost)
        assert [record.payload for record in await mailbox.dequeue()] == [b"2", b"3", b"4"]


@pytest.mark.usefixtures("pages_have_rows")
async def test_where_a_page_is_missing_the_counts_are_put_right(file: Path, location: str) -> None:
    await five_messages(location)
    async with open_mailbox(location) as mailbox:
        for record in await mailbox.dequeue():
            await mailbox.nack(record.id)
        run_on(file, "DELETE FROM pages")
        assert await mailbox.dequeue() == []
        assert (await mailbox.status()).queued_messages == 0
        await mailbox.enqueue(b"", b"new")
        assert [record.payload for record in await mailbox.dequeue()] == [b"new"]


HEADS = {"text": "'head'", "cut short": "substr(head, 1, length(head) - 8)", "zeros": "zeroblob(200)"}


@pytest.mark.parametrize("head", HEADS)
async def test_a_mailbox_whose_head_is_damaged_says_so_and_others_go_on(file: Path, location: str, head: str) -> None:
    await five_messages(location)
    async with open_mailbox(f"sqlite:///{file}#other") as other:
        run_on(file, f"UPDATE mailboxes SET head = {HEADS[head]} WHERE name = 'inbox'")
        with pytest.raises(StorageCorruptError, match=r"inbox.*backup.*delete_mailbox"):
            await open_mailbox(location)
        await other.enqueue(b"", b"goes on")
        assert [record.payload for record in await other.dequeue()] == [b"goes on"]
        assert await delete_mailbox(location)
        async with open_mailbox(location) as mailbox:
            assert await mailbox.dequeue() == []


async def test_messages_that_another_program_adds_are_counted(file: Path, location: str) -> None:
    await five_messages(location)
    async with open_mailbox(location) as mailbox:
        run_on(file, "INSERT INTO segments SELECT mailbox, lane, 5, 5, body FROM segments WHERE last = 4")
        assert (await mailbox.status()).queued_messages == 6
        assert [record.payload for record in await mailbox.dequeue()] == [b"0", b"1", b"2", b"3", b"4", b"4"]
        await mailbox.enqueue(b"", b"new")
        assert (await mailbox.status()).queued_messages == 1


# -- reports -----------------------------------------------------------------------------------------------------------


async def test_a_report_tells_the_size_of_the_file(file: Path, location: str) -> None:
    async with open_mailbox(location, durability="relaxed") as mailbox:
        await mailbox.enqueue(b"", bytes(MIB))
        report = await mailbox.storage_report()
        assert (report.durability, report.persistent, report.quota, report.wiped) == ("relaxed", True, None, False)
        assert report.usage == len(content(file)) + len(content(file.with_name(f"{file.name}-wal"))) > MIB
