"""Who holds messages in a SQLite file, and what becomes of them when their holder is gone."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from pymailbox import Mailbox, MessagePriority, MessageRecord, NewMessage, open_mailbox
from pymailbox.backends.sqlite import SqliteMailbox, holders, locks
from pymailbox.backends.sqlite.holders import _Sighting
from pymailbox.backends.sqlite.locks import FileLock, is_held
from tests.unit.sqlite_support import names_in, open_sqlite, query, run_script

HOLDER = """
import asyncio, json, sys
from pymailbox import open_mailbox

async def main(location, limits, options):
    mailbox = await open_mailbox(location, **json.loads(options))
    held = [record for limit in json.loads(limits) for record in await mailbox.dequeue(limit)]
    print(*(record.payload.decode() for record in held), flush=True)
    for line in sys.stdin:
        pass

asyncio.run(main(*sys.argv[1:]))
"""
"""A process that takes messages, says which, and holds them until it is killed."""


@contextmanager
def running(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process, once it has written a line; killed in the end."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def holder(location: str, limits: str = "[100]", options: str = "{}") -> AbstractContextManager[subprocess.Popen[str]]:
    """A process that holds messages."""
    return running(HOLDER, location, limits, options)


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)


async def fill(location: str, count: int) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many(NewMessage(b"", b"%d" % number) for number in range(count))


def payloads(records: list[MessageRecord]) -> list[int]:
    return [int(record.payload) for record in records]


def lose(handles: list[Mailbox]) -> None:
    with pytest.warns(ResourceWarning, match="never closed") as warned:
        _drop(handles, warned)


def _drop(handles: list[Mailbox], warned: Sized) -> None:
    handles.clear()
    for _ in range(1000):  # the thread of the file may have the handle in its hands for a moment
        if len(warned):
            return
        gc.collect()
        time.sleep(0.001)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.01)


# -- other processes ---------------------------------------------------------------------------------------------------


async def test_what_a_killed_process_held_comes_back_to_one_who_waits(location: str) -> None:
    await fill(location, 3)
    async with open_mailbox(location) as mailbox:
        with holder(location) as process:
            waiting = asyncio.create_task(mailbox.dequeue(wait=math.inf))
            assert await mailbox.recover() == 0
            assert (await mailbox.status()).inflight_messages == 3
            kill(process)
            async with asyncio.timeout(30):
                batches = [await waiting, *[await mailbox.dequeue() for _ in range(3)]]
        assert [payloads(batch) for batch in batches] == [[0], [1], [2], []]
        assert [record.delivery_count for batch in batches for record in batch] == [2, 2, 2]


async def test_what_a_killed_process_held_is_there_for_who_opens_next(location: str) -> None:
    await fill(location, 2)
    with holder(location) as process:
        kill(process)
    async with open_mailbox(location) as mailbox:
        assert (await mailbox.status()).queued_messages == 2
        assert await mailbox.recover() == 0


async def test_recover_says_how_many_came_back(location: str) -> None:
    await fill(location, 5)
    async with open_mailbox(location) as mailbox:
        with holder(location, "[3]") as process:
            assert await mailbox.recover() == 0
            kill(process)
        assert await mailbox.recover() == 3
        assert await mailbox.recover() == 0
        assert payloads(await mailbox.peek()) == [0, 1, 2, 3, 4]


async def test_a_stopped_process_is_alive(location: str) -> None:
    """A lock tells, and not how long it has been silent: a lease has no say where there are locks."""
    await fill(location, 2)
    async with open_mailbox(location, lease=0.05) as mailbox:
        with holder(location, options='{"lease": 0.05}') as process:
            process.send_signal(signal.SIGSTOP)
            assert await mailbox.dequeue(wait=1) == []
            assert await mailbox.recover() == 0
            assert (await mailbox.status()).inflight_messages == 2


async def test_only_what_was_handed_out_alone_is_blamed_for_a_death(location: str) -> None:
    await fill(location, 3)
    with holder(location, "[2, 1]", '{"max_deliveries": 1}') as process:
        kill(process)
    async with open_mailbox(location) as mailbox:
        assert [payloads(await mailbox.dequeue()) for _ in range(3)] == [[0], [1], []]
        (letter,) = await mailbox.dead_letters()
        assert letter.record.payload == b"2"
        assert letter.reason == "its holder died; 1 of at most 1 deliveries failed"


async def test_a_message_that_kills_its_consumers_is_found_out(location: str) -> None:
    await fill(location, 3)
    for _ in range(4):
        with holder(location, "[10]", '{"max_deliveries": 3}') as process:
            kill(process)
    async with open_mailbox(location) as mailbox:
        (letter,) = await mailbox.dead_letters()
        assert letter.record.payload == b"0"
        assert letter.reason == "its holder died; 3 of at most 3 deliveries failed"
        assert payloads(await mailbox.peek()) == [1, 2]


SENDER = """
import asyncio, os, signal, sys
from pymailbox import NewMessage, open_mailbox

async def main(file):
    source = await open_mailbox(f"sqlite:///{file}#source")
    target = await open_mailbox(f"sqlite:///{file}#target")
    print("ready", flush=True)
    async for message in source.messages():
        await source.ack_and_send(message.id, [(target, NewMessage(b"", message.payload))] * 2)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("delay", [0.002, 0.01, 0.03, 0.06])
async def test_a_process_killed_in_ack_and_send_did_both_or_neither(file: Path, delay: float) -> None:
    count = 300
    await fill(f"sqlite:///{file}#source", count)
    with running(SENDER, file):
        await asyncio.sleep(delay)
    async with (
        open_mailbox(f"sqlite:///{file}#source") as source,
        open_mailbox(f"sqlite:///{file}#target") as target,
    ):
        left = payloads(await source.peek(1000))
        sent = payloads(await target.peek(1000))
        assert sorted(left + sent[::2]) == list(range(count))
        assert sent[::2] == sent[1::2] == list(range(len(sent) // 2))


async def test_a_waiting_dequeue_hears_of_other_processes(location: str) -> None:
    enqueue = """
import asyncio, sys
from pymailbox import open_mailbox

async def main():
    async with open_mailbox(sys.argv[1]) as mailbox:
        await mailbox.enqueue(b"", b"1")

asyncio.run(main())
"""
    depths: list[int] = []

    class Observer:
        def on_depth_change(self, queued_messages: int) -> None:
            depths.append(queued_messages)

    async with open_mailbox(location) as mailbox, open_mailbox(location) as observing:
        assert observing.set_depth_observer(Observer())
        waiting = asyncio.create_task(mailbox.dequeue(wait=60))
        await asyncio.to_thread(run_script, enqueue, location)
        assert payloads(await waiting) == [1]
        await asyncio.to_thread(run_script, enqueue, location)
        await eventually(lambda: 1 in depths)
        # what is no enqueue is not heard: that the other process has opened and closed, and the dequeue here
        assert set(depths) <= {0, 1}


# -- this process ------------------------------------------------------------------------------------------------------


async def test_a_collected_handle_gives_its_messages_back_by_itself(location: str) -> None:
    await fill(location, 2)
    async with open_mailbox(location) as mailbox:
        lost = [await open_mailbox(location)]
        assert len(await lost[0].dequeue(2)) == 2
        waiting = asyncio.create_task(mailbox.dequeue(wait=30))
        await mailbox.status()
        lose(lost)
        assert [payloads(batch) for batch in (await waiting, await mailbox.dequeue())] == [[0], [1]]


async def test_the_last_handle_that_is_collected_lets_the_file_go(file: Path, location: str) -> None:
    lost = [await open_mailbox(location)]
    await lost[0].enqueue(b"", b"")
    await lost[0].dequeue()
    lose(lost)
    await eventually(lambda: names_in(file.parent) == [file.name])
    async with open_mailbox(location) as mailbox:
        assert len(await mailbox.dequeue()) == 1


def test_a_handle_whose_loop_was_closed_is_gone(file: Path, location: str) -> None:
    kept: list[Mailbox] = []

    async def take() -> None:
        kept.append(await open_mailbox(location))
        await kept[0].enqueue(b"", b"7")
        await kept[0].dequeue()

    async def wait() -> list[MessageRecord]:
        async with open_mailbox(location) as mailbox:
            return await mailbox.dequeue(wait=30)

    asyncio.run(take())
    assert payloads(asyncio.run(wait())) == [7]
    lose(kept)


LOOP_CLOSED = """
import asyncio, sys, warnings
from pymailbox import open_mailbox

warnings.simplefilter("ignore", ResourceWarning)

async def main():
    mailbox = await open_mailbox(sys.argv[1])
    await mailbox.dequeue()
    return mailbox

kept = asyncio.run(main())
print("closed", flush=True)
for line in sys.stdin:
    pass
"""


async def test_a_handle_whose_loop_was_closed_is_gone_for_other_processes(location: str) -> None:
    await fill(location, 1)
    with running(LOOP_CLOSED, location):
        async with open_mailbox(location) as mailbox:
            assert payloads(await mailbox.dequeue(wait=30)) == [0]


async def test_a_handle_that_holds_nothing_has_no_lock(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"")
        assert f"{file.name}-holders" not in names_in(file.parent)
        await mailbox.dequeue()
        assert f"{file.name}-holders" in names_in(file.parent)
    assert names_in(file.parent) == [file.name]


FORK = """
import asyncio, os, sys, warnings
from pymailbox import open_mailbox

async def take():
    mailbox = await open_mailbox(sys.argv[1])
    await mailbox.dequeue()
    return mailbox

async def look():
    async with open_mailbox(sys.argv[1]) as mailbox:
        return await mailbox.dequeue(wait=float(sys.argv[2]))

runner = asyncio.Runner()
mailbox = runner.run(take())
ready, parent_died = os.pipe(), os.pipe()
warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside a thread
if not os.fork():
    os.close(parent_died[1])
    assert not asyncio.run(look()), "the child took what its living parent holds"
    mailbox = None  # and its end does not end the parent's hold
    assert not asyncio.run(look()), "the child ended its parent's hold"
    os.write(ready[1], b"x")
    os.read(parent_died[0], 1)
    sys.argv[2] = "30"
    print([record.payload for record in asyncio.run(look())], flush=True)
    os._exit(0)
os.read(ready[0], 1)
os._exit(0)
"""


def test_a_forked_child_neither_keeps_nor_ends_what_its_parent_holds(location: str) -> None:
    asyncio.run(fill(location, 1))
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", FORK, location, "0.3"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[b'0']\n", "")


# -- taking back -------------------------------------------------------------------------------------------------------


class Changes:
    """How many rows a connection has changed since it was last asked."""

    def __init__(self, mailbox: SqliteMailbox) -> None:
        connection = mailbox._file.engine._connection
        assert connection is not None
        self._connection = connection
        self._before = connection.total_changes

    def __call__(self) -> int:
        before, self._before = self._before, self._connection.total_changes
        return int(self._before - before)


def die(mailbox: SqliteMailbox) -> None:
    """Looks to others as if its process had ended."""
    mailbox._file.lives.remove(mailbox._holder)


@pytest.mark.parametrize("released", [True, False])
async def test_taking_back_much_changes_as_few_rows_as_taking_back_little(location: str, released: bool) -> None:
    changed: list[int] = []
    for count in 10, 10_000:
        await fill(location, count)
        mailbox = await open_sqlite(location)
        other = await open_sqlite(location, max_deliveries=5)
        assert len(await other.dequeue(count)) == count
        changes = Changes(mailbox)
        if released:
            await other.close()
        else:
            die(other)
            assert await mailbox.recover() == count
        changed.append(changes())
        assert payloads(await mailbox.peek(count)) == list(range(count))
        stats = await mailbox.status()
        assert (stats.queued_messages, stats.inflight_messages) == (count, 0)
        assert await mailbox.purge() == count
        await mailbox.close()
        await other.close()
    assert changed == [changed[0]] * 2
    assert changed[0] <= 3


async def test_messages_from_many_places_come_in_their_old_order(location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many(
            NewMessage(b"", b"%d" % number, MessagePriority(number % 3 == 0), delay=0.01 if number % 5 == 0 else None)
            for number in range(60)
        )
        await asyncio.sleep(0.02)
        for size in 1, 7, 30:
            async with open_mailbox(location) as other:
                await other.dequeue(size)
        in_order = sorted(range(60), key=lambda number: (number % 3 != 0, number))
        assert payloads(await mailbox.peek(60)) == in_order
        received = [record for _ in range(6) for record in await mailbox.dequeue(11)]
        assert payloads(received) == in_order
        assert [record.delivery_count for record in received] == [1] * 60


# -- leases ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks."""

    def fail(file: Path) -> FileLock:
        raise OSError(95, "Operation not supported", str(file))

    monkeypatch.setattr(holders, "FileLock", fail)


@contextmanager
def as_another_process(mailbox: SqliteMailbox) -> Iterator[None]:
    """Hides from this process that the handle is its own, and does not beat for it."""
    lives = mailbox._file.lives
    mine = lives._mine
    lives._mine = tuple(holder for holder in mine if holder is not mailbox._holder)
    lives.active.discard(mailbox._holder)
    try:
        yield
    finally:
        lives._mine = mine
        lives.active.add(mailbox._holder)


@pytest.mark.usefixtures("no_locks")
async def test_a_holder_with_a_lease_shows_life_while_it_holds_something(location: str) -> None:
    await fill(location, 1)
    mailbox, other = await open_sqlite(location, lease=0.4), await open_sqlite(location)
    (held,) = await mailbox.dequeue()
    assert await other.dequeue(wait=1.2) == []  # its thread beats, whatever its loop does
    assert await mailbox.ack(held.id)
    await mailbox.close()
    await other.close()


@pytest.mark.usefixtures("no_locks")
async def test_a_holder_that_shows_no_life_for_its_lease_is_gone(location: str) -> None:
    await fill(location, 2)
    mailbox, other = await open_sqlite(location, lease=0.4), await open_sqlite(location)
    (held,) = await mailbox.dequeue(1)
    with as_another_process(mailbox):
        assert payloads(await other.dequeue(1)) == [1]
        assert payloads(await other.dequeue(wait=30)) == [0]
    # it was alive after all: it has lost its message, and goes on under another identity
    assert not await mailbox.nack(held.id)
    await mailbox.enqueue(b"", b"3")
    assert payloads(await mailbox.dequeue()) == [3]
    assert await other.recover() == 0
    assert (await mailbox.status()).inflight_messages == 3
    assert await mailbox.ack(held.id)  # a late one counts
    await mailbox.close()
    await other.close()


def test_a_watcher_that_slept_through_a_lease_has_seen_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    sighting = _Sighting(beats=5)
    clock[0] += 3600
    assert not sighting.is_gone(beats=5, lease=10.0)
    clock[0] += 3
    assert not sighting.is_gone(beats=6, lease=10.0)
    for _ in range(4):
        clock[0] += 2.4
        assert not sighting.is_gone(beats=6, lease=10.0)
    clock[0] += 2.4
    assert sighting.is_gone(beats=6, lease=10.0)


# -- locks -------------------------------------------------------------------------------------------------------------


def test_a_lock_is_held_until_it_is_released(tmp_path: Path) -> None:
    file = tmp_path / "holders" / "1"
    assert not is_held(file)
    lock = FileLock(file)
    assert is_held(file)
    assert is_held(file)
    lock.release()
    lock.release()
    assert not is_held(file)
    assert names_in(tmp_path) == []


def test_a_lock_file_without_its_holder_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "holders" / "1"
    file.parent.mkdir()
    file.touch()
    assert not is_held(file)
    assert names_in(tmp_path) == []


def test_a_lock_is_not_inherited_by_programs_that_are_started(tmp_path: Path) -> None:
    file = tmp_path / "holders" / "1"
    lock = FileLock(file)
    assert not os.get_inheritable(locks._held[lock])
    aside = file.rename(tmp_path / "aside")
    command = [sys.executable, "-c", "print(flush=True); input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, close_fds=False) as process:
        assert process.stdout is not None
        process.stdout.readline()  # until the program runs, its process may have what it will not inherit
        assert is_held(aside)
        lock.release()
        assert not is_held(aside)
        process.kill()


async def test_no_query_finds_a_holder_after_all_are_gone(file: Path, location: str) -> None:
    await fill(location, 50)
    with holder(location, "[20, 1, 3]") as process:
        kill(process)
    async with open_mailbox(location) as mailbox:
        while records := await mailbox.dequeue(10):
            await mailbox.ack_many(record.id for record in records)
        assert (await mailbox.status()).queued_messages == 0
    assert query(file, "SELECT count(*) FROM holders") == [(0,)]
    assert query(file, "SELECT count(*) FROM bodies") == [(0,)]
    assert names_in(file.parent) == [file.name]
