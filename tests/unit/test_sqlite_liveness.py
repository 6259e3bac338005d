"""Who holds messages in a SQLite file, and what happens to them when their holder is gone."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from pymailbox import Mailbox, MessagePriority, MessageRecord, NewMessage, StorageFullError, open_mailbox
from pymailbox.backends.sqlite import SqliteMailbox, liveness, locks
from pymailbox.backends.sqlite.liveness import _LeaseObservation, lock_folder
from pymailbox.backends.sqlite.locks import FileLocks, LockFile, is_held
from pymailbox.core.state import PAGE_NUMBERS
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
"""A process that takes messages, reports them, and holds them until it is killed."""


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
    for _ in range(1000):  # the file's thread may refer to the handle for a moment
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
    """Its lock decides, not how long it has been silent: with locks, the lease does not matter."""
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
        # only enqueues are heard, not the other process's opening and closing, nor the dequeue here
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
        assert [(payloads([record]), record.delivery_count) for record in await waiting] == [([0], 1), ([1], 1)]


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


NEVER_CLOSED = """
import asyncio, sys, warnings
from pymailbox import open_mailbox

warnings.simplefilter("ignore", ResourceWarning)
kept = []

async def main():
    mailbox = await open_mailbox(sys.argv[1], max_deliveries=1)
    assert len(await mailbox.dequeue()) == 1
    if sys.argv[2] == "kept":
        kept.append(mailbox)
    if sys.argv[2] == "raises":
        raise SystemExit

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["kept", "collected", "raises"])
async def test_a_program_that_closed_its_loop_and_ends_has_blamed_nothing(location: str, how: str) -> None:
    await fill(location, 1)
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", NEVER_CLOSED, location, how], check=True)
    async with open_mailbox(location) as mailbox:
        assert [record.delivery_count for record in await mailbox.dequeue()] == [1]


async def test_what_a_close_could_not_give_back_is_not_blamed(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(location, 1)
    async with open_mailbox(location) as other:
        mailbox = await open_mailbox(location, max_deliveries=1)
        await mailbox.dequeue()

        def fail(*arguments: object) -> int:
            raise StorageFullError("no room")

        with monkeypatch.context() as patch:
            patch.setattr("pymailbox.backends.sqlite.claiming.release_all", fail)
            with pytest.raises(StorageFullError):
                await mailbox.close()
        assert await other.recover() == 1
        assert [record.delivery_count for record in await other.dequeue()] == [1]


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
    liveness, holder = mailbox._file.liveness, mailbox._holder
    liveness.note_death(holder)
    del liveness._mine[holder.number]
    holder.number = liveness.new_number()
    liveness._mine[holder.number] = holder


@pytest.mark.parametrize("released", [True, False])
async def test_taking_back_very_much_changes_few_rows(location: str, released: bool) -> None:
    for count in 1_000, 10_000:
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
        changed = changes()
        assert changed <= 3 + count // PAGE_NUMBERS
        assert payloads(await mailbox.peek(count)) == list(range(count))
        stats = await mailbox.status()
        assert (stats.queued_messages, stats.inflight_messages) == (count, 0)
        assert await mailbox.purge() == count
        await mailbox.close()
        await other.close()


@pytest.mark.parametrize("size", [20, 300])
@pytest.mark.parametrize("released", [True, False])
async def test_what_many_holders_had_comes_in_its_old_order(location: str, size: int, released: bool) -> None:
    gone = 12
    await fill(location, gone * size)
    async with open_mailbox(location) as mailbox:
        others = [await open_sqlite(location) for _ in range(gone)]
        for other in others:
            assert len(await other.dequeue(size)) == size
            if not released:
                die(other)
        if not released:
            assert await mailbox.recover() == gone * size
        for other in others:
            await other.close()
        received: list[MessageRecord] = []
        while records := await mailbox.dequeue(7):
            received += records
        assert payloads(received) == list(range(gone * size))
        assert {record.delivery_count for record in received} == {1 if released else 2}


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
    monkeypatch.setattr(liveness.Liveness, "acquire_locks", lambda liveness: False)


WITHOUT_LOCKS = "from pymailbox.backends.sqlite import liveness\nliveness.Liveness.acquire_locks = lambda self: False\n"


@contextmanager
def as_another_process(mailbox: SqliteMailbox) -> Iterator[None]:
    """Makes this process take the handle for another process's, and not show life for it."""
    liveness = mailbox._file.liveness
    mine = liveness.process
    liveness.process = mine + 1
    liveness.active.discard(mailbox._holder)
    try:
        yield
    finally:
        liveness.process = mine
        liveness.active.add(mailbox._holder)


@pytest.mark.usefixtures("no_locks")
async def test_a_holder_with_a_lease_shows_life_while_it_holds_something(location: str) -> None:
    await fill(location, 1)
    with running(WITHOUT_LOCKS + HOLDER, location, "[1]", '{"lease": 0.4}') as process:
        async with open_mailbox(location) as other:
            assert await other.dequeue(wait=1.5) == []  # its thread beats, whatever its loop does
            kill(process)
            assert payloads(await other.dequeue(wait=30)) == [0]


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("count", [1, 300])
async def test_a_holder_that_shows_no_life_for_its_lease_is_gone(location: str, count: int) -> None:
    await fill(location, count + 1)
    mailbox, other = await open_sqlite(location, lease=0.4), await open_sqlite(location)
    held = await mailbox.dequeue(count)
    with as_another_process(mailbox):
        assert payloads(await other.dequeue(1)) == [count]
        assert payloads(await other.dequeue(wait=30)) == [0]
    # it was alive after all: it has lost its messages, and continues under another identity
    assert not await mailbox.nack(held[0].id)
    await mailbox.enqueue(b"", b"-1", MessagePriority.HIGH)
    (new,) = await mailbox.dequeue(1)
    assert payloads([new]) == [-1]
    assert await other.recover() == 0
    assert [len(await other.dequeue(1000)) for _ in range(count)] == [1] * (count - 1) + [0]  # and none of its new ones
    assert (await mailbox.status()).inflight_messages == count + 2
    assert await mailbox.nack(new.id)
    assert await mailbox.ack(held[0].id)  # a late one counts
    await mailbox.close()
    await other.close()


def test_a_watcher_that_slept_through_a_lease_has_seen_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    observation = _LeaseObservation(heartbeats=5)
    clock[0] += 3600
    assert not observation.is_gone(heartbeats=5, lease=10.0)
    clock[0] += 3
    assert not observation.is_gone(heartbeats=6, lease=10.0)
    for _ in range(4):
        clock[0] += 2.4
        assert not observation.is_gone(heartbeats=6, lease=10.0)
    clock[0] += 2.4
    assert observation.is_gone(heartbeats=6, lease=10.0)


# -- locks -------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False])
def byte_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether there are locks that belong to an open file; otherwise only a file beside the mailbox file shows it."""
    has_them = bool(request.param)
    monkeypatch.setattr(locks, "HAS_BYTE_LOCKS", has_them)
    return has_them


def without_byte_locks(script: str) -> str:
    return "from pymailbox.backends.sqlite import locks\nlocks.HAS_BYTE_LOCKS = False\n" + script


def test_a_lock_file_is_held_until_it_is_released(tmp_path: Path) -> None:
    file = tmp_path / "holders" / "1"
    assert is_held(file) is None
    lock = LockFile(file)
    assert is_held(file)
    assert is_held(file)
    lock.release()
    lock.release()
    assert is_held(file) is None
    assert names_in(tmp_path) == []


def test_a_lock_file_without_its_process_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "1").touch()
    assert is_held(tmp_path / "1") is False


def test_a_lock_file_that_cannot_be_read_counts_as_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1").touch()

    def refuse(path: object, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert is_held(tmp_path / "1") is True


async def test_a_holder_whose_locks_cannot_be_read_is_alive(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(location, 1)

    def refuse(*_: object) -> bool:
        raise OSError(37, "No locks available")

    async with open_mailbox(location) as mailbox:
        with holder(location):
            monkeypatch.setattr(FileLocks, "is_held", refuse)
            monkeypatch.setattr(locks, "_probe", refuse)
            assert await mailbox.recover() == 0
            assert await mailbox.dequeue(wait=0.5) == []


async def test_a_holder_keeps_its_messages_though_its_lock_file_is_removed(
    file: Path, location: str, byte_locks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(location, 1)
    script = "import asyncio\n" + OTHER if byte_locks else without_byte_locks(OTHER)
    async with open_mailbox(location) as mailbox:
        (held,) = await mailbox.dequeue()
        shutil.rmtree(lock_folder(str(file)))
        assert (await asyncio.to_thread(run_script, script, location)).split() == ["0"]
        await eventually(lambda: f"{file.name}-holders" in names_in(file.parent))
        assert "it was made again" in caplog.text
        assert (await asyncio.to_thread(run_script, script, location)).split() == ["0"]
        assert await mailbox.nack(held.id)


OTHER = """
import asyncio, sys
from pymailbox import open_mailbox

async def main():
    async with open_mailbox(sys.argv[1]) as mailbox:
        print(len(await mailbox.dequeue(wait=0.5)))

asyncio.run(main())
"""


async def test_a_process_that_was_killed_is_gone_also_where_only_files_tell(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "HAS_BYTE_LOCKS", False)
    await fill(location, 1)
    async with open_mailbox(location) as mailbox:
        with running(without_byte_locks(HOLDER), location, "[1]", "{}") as process:
            assert await mailbox.recover() == 0
            kill(process)
        assert await mailbox.recover() == 1


async def test_lock_files_that_nobody_needs_are_swept(file: Path, location: str) -> None:
    await fill(location, 1)
    with holder(location) as process:
        kill(process)
    left = names_in(file.parent)
    assert len(left) > 2
    async with open_mailbox(location):
        assert f"{file.name}-holders" in names_in(file.parent)  # it held something until then
    async with open_mailbox(location):
        assert f"{file.name}-holders" not in names_in(file.parent)


def test_a_lock_is_not_inherited_by_programs_that_are_started(tmp_path: Path) -> None:
    file = tmp_path / "holders" / "1"
    lock = LockFile(file)
    assert not any(map(os.get_inheritable, locks._inherited))
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


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors as Linux shows them")
async def test_many_handles_hold_messages_by_as_few_descriptors_as_one(file: Path) -> None:
    counts = []
    handles = []
    for number in range(100):
        handles.append(await open_mailbox(f"sqlite:///{file}#{number}", durability="relaxed"))
        await handles[-1].enqueue(b"", b"")
        assert await handles[-1].dequeue()
        counts.append(descriptors())
    assert counts[-1] == counts[0]
    for handle in handles:
        await handle.close()


WRITER = """
import asyncio, sys
from pymailbox import open_mailbox

async def main():
    async with open_mailbox(sys.argv[1]) as mailbox:
        for number in range(100):
            await mailbox.enqueue(b"", b"%d" % number)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs locks that belong to an open file")
@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_file_that_its_own_process_copies_is_not_damaged(
    file: Path, location: str, tmp_path: Path, what: str
) -> None:
    """Closing any descriptor of a file drops the POSIX locks of the process, by which SQLite protects its log."""
    async with open_mailbox(location) as mailbox:
        await fill(location, 50)
        if what == "file":
            shutil.copy(file, tmp_path / "copy")
        else:
            shutil.copytree(file.parent, tmp_path / "copies", dirs_exist_ok=False, ignore=lambda *_: ["copies"])
        await asyncio.to_thread(run_script, OTHER.replace("dequeue(wait=0.5)", "peek()"), location)
        assert f"{file.name}-wal" in names_in(file.parent)
        await asyncio.gather(
            asyncio.to_thread(run_script, WRITER, location), *(mailbox.enqueue(b"", b"%d" % n) for n in range(100))
        )
        assert (await mailbox.status()).queued_messages == 250
    assert query(file, "SELECT sum(1 + last - first) FROM segments") == [(250,)]
    assert query(file, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.skipif(sys.platform != "linux", reason="needs locks that belong to an open file")
async def test_closing_a_mailbox_takes_no_lock_from_another_connection_of_its_process(
    file: Path, location: str
) -> None:
    await fill(location, 1)
    async with open_mailbox(location):
        own = sqlite3.connect(file)
        assert own.execute("SELECT count(*) FROM segments").fetchone() == (1,)
    try:
        await asyncio.to_thread(run_script, WRITER, location)  # closes as if it were the last one, if it may
        assert f"{file.name}-wal" in names_in(file.parent)
        own.execute("UPDATE segments SET first = first")
        own.commit()
    finally:
        own.close()
    assert query(file, "SELECT sum(1 + last - first) FROM segments") == [(101,)]
    assert query(file, "PRAGMA integrity_check") == [("ok",)]


async def test_nothing_is_left_after_all_are_gone(file: Path, location: str) -> None:
    await fill(location, 50)
    with holder(location, "[20, 1, 3]") as process:
        kill(process)
    async with open_mailbox(location) as mailbox:
        while records := await mailbox.dequeue(10):
            await mailbox.ack_many(record.id for record in records)
        assert (await mailbox.status()).queued_messages == 0
    assert query(file, "SELECT * FROM segments") == query(file, "SELECT * FROM pages") == []
    assert names_in(file.parent) == [file.name]
