"""What a process hears from others that use its file, what that costs, and what it leaves behind."""

from __future__ import annotations

import asyncio
import gc
import math
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pymailbox import Mailbox, open_mailbox
from pymailbox.backends.sqlite import SqliteMailbox, claiming, database
from pymailbox.backends.sqlite import watcher as watcher_module
from pymailbox.backends.sqlite.engine import Engine
from tests.unit.sqlite_support import open_sqlite, run_script

ENQUEUE = """
import asyncio, sys
from pymailbox import open_mailbox

async def main():
    async with open_mailbox(sys.argv[1]) as mailbox:
        await mailbox.enqueue(b"", b"foreign")

asyncio.run(main())
"""


@asynccontextmanager
async def closing(mailbox: SqliteMailbox) -> AsyncIterator[SqliteMailbox]:
    try:
        yield mailbox
    finally:
        await mailbox.close()


async def test_a_commit_of_another_process_is_heard_though_an_own_call_has_seen_it_first(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call updates what is known about the file; that must not count as a notification."""
    for interval in "QUIET_INTERVAL", "WATCH_INTERVAL", "HANDLES_INTERVAL":
        monkeypatch.setattr(watcher_module, interval, 3600.0)  # the poll comes after the call
    monkeypatch.setattr(database, "_REDELIVERY", 3600.0)  # the thread wakes for that, and then looks too
    async with open_mailbox(location) as mailbox, open_mailbox(location + "-other") as other:
        waiting = asyncio.create_task(mailbox.dequeue(wait=60))
        await asyncio.sleep(0)  # it begins to look
        await mailbox.status()
        await asyncio.to_thread(run_script, ENQUEUE, location)
        await other.status()
        assert not waiting.done()
        watcher = other._file._worker.watcher  # type: ignore[attr-defined]
        monkeypatch.undo()
        watcher._next_poll = 0.0
        other._file._worker.wake()  # type: ignore[attr-defined]
        async with asyncio.timeout(30):
            assert [record.payload for record in await waiting] == [b"foreign"]


async def test_who_waits_asks_sqlite_only_when_something_has_changed(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = looked = 0
    others_committed, poll = Engine.others_committed, watcher_module.Watcher.poll

    def ask(engine: Engine) -> bool:
        nonlocal asked
        asked += 1
        return others_committed(engine)

    def count(watcher: watcher_module.Watcher) -> None:
        nonlocal looked
        looked += 1
        poll(watcher)

    monkeypatch.setattr(Engine, "others_committed", ask)
    monkeypatch.setattr(watcher_module.Watcher, "poll", count)
    monkeypatch.setattr(watcher_module, "QUIET_INTERVAL", 0.005)
    monkeypatch.setattr(watcher_module, "HANDLES_INTERVAL", 3600.0)
    async with open_mailbox(location) as mailbox:
        waiting = [asyncio.create_task(mailbox.dequeue(wait=60)) for _ in range(20)]
        while looked < 100:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.005)
        assert asked <= 5
        await mailbox.enqueue(b"", b"")
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_handles_that_hold_messages_cost_an_empty_dequeue_nothing(location: str) -> None:
    """Only those that may be gone are checked, and each process once."""
    asked = 0

    class Asked:
        def __init__(self, loop: Any) -> None:
            self.loop = loop

        def is_closed(self) -> bool:
            nonlocal asked
            asked += 1
            return bool(self.loop.is_closed())

    handles = [await open_sqlite(location, durability="relaxed") for _ in range(50)]
    for handle in handles:
        await handle.enqueue(b"", b"")
        assert await handle.dequeue()
    liveness = handles[0]._file.liveness
    liveness._by_loop = {Asked(loop): holders for loop, holders in liveness._by_loop.items()}  # type: ignore[misc]
    assert await handles[0].dequeue() == []
    assert asked <= 2
    liveness._by_loop = {loop.loop: holders for loop, holders in liveness._by_loop.items()}  # type: ignore[attr-defined]
    for handle in handles:
        await handle.close()


# -- what is left behind -----------------------------------------------------------------------------------------------


def is_open(file: Path) -> bool:
    workers = (worker.engine.file for worker in list(database._registry.workers))
    threads = (thread.name for thread in threading.enumerate())
    return str(file) in {*database._registry.databases, *workers} or f"pymailbox {file}" in threads


def wait_for_the_end(file: Path) -> None:
    """Of everything that works on the file."""
    deadline = time.monotonic() + 30
    while is_open(file) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert not is_open(file)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("steps", range(4))
async def test_an_opening_that_is_cancelled_leaves_nothing(file: Path, location: str, steps: int, twice: bool) -> None:
    async def open_and_close() -> None:
        await (await open_mailbox(location)).close()

    task = asyncio.create_task(open_and_close())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    if twice:
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(wait_for_the_end, file)


def test_a_loop_that_is_closed_amid_an_opening_leaves_nothing(file: Path, location: str) -> None:
    async def open_it() -> Mailbox:
        return await open_mailbox(location)

    for _ in range(5):
        loop = asyncio.new_event_loop()
        task = loop.create_task(open_it())
        loop.call_soon(loop.stop)
        loop.run_forever()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        del task
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of a handle that had been opened just before
        wait_for_the_end(file)


# -- handles that nobody closed ----------------------------------------------------------------------------------------


def test_a_handle_is_given_up_once_whatever_becomes_of_it(file: Path, location: str) -> None:
    """Its loop is closed, and later it is collected, as when a notebook's cell is run again."""
    kept: list[Mailbox | None] = []

    async def cell() -> None:
        mailbox = await open_sqlite(location)
        await mailbox.enqueue(b"", b"")
        assert await mailbox.dequeue(wait=30)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            kept[:] = [mailbox]  # the one before is collected
            gc.collect()
        for _ in range(3):
            await asyncio.sleep(0.01)
            async with asyncio.timeout(30):
                await mailbox.enqueue(b"", b"")
        assert mailbox._file._users == 1

    for _ in range(3):
        asyncio.run(cell())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        kept.clear()
        wait_for_the_end(file)


async def test_who_waits_learns_that_another_process_holds_what_it_has_stored(location: str) -> None:
    """Between two looks it has enqueued and claimed; after it is killed nothing more is committed."""
    take = """
import asyncio, os, signal, sys
from pymailbox import open_mailbox

async def main():
    mailbox = await open_mailbox(sys.argv[1])
    await mailbox.enqueue(b"", b"held")
    await mailbox.dequeue()
    print("held", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    async with closing(await open_sqlite(location)) as mailbox:
        watcher = mailbox._file._worker.watcher
        waiting = asyncio.create_task(mailbox.dequeue(wait=math.inf))
        await asyncio.sleep(0)
        await mailbox.status()
        watcher._next_poll = watcher._next_handles_check = time.monotonic() + 5.0  # both come before the next look
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", take, location, stdout=subprocess.PIPE)
        await process.communicate()
        async with asyncio.timeout(60):
            assert [record.payload for record in await waiting] == [b"held"]


async def test_commits_to_another_mailbox_wake_nobody(location: str) -> None:
    looks = 0
    async with closing(await open_sqlite(location)) as mailbox:
        await mailbox.enqueue(b"", b"later", delay=3600)
        claim = claiming.claim

        def count(*arguments: Any) -> Any:
            nonlocal looks
            looks += 1
            return claim(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(claiming, "claim", count)
            waiting = [asyncio.create_task(mailbox.dequeue(wait=60)) for _ in range(20)]
            while looks < 20:  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.01)
            for _ in range(3):
                await asyncio.to_thread(run_script, ENQUEUE, location + "-another")
            assert looks <= 20 + 3  # opening a mailbox there may be seen once
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
