"""Exceptions from a signal handler during a call: KeyboardInterrupt in a notebook, a time limit by SIGALRM."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pymailbox import open_mailbox
from pymailbox.backends.sqlite import database
from tests.unit.sqlite_support import open_sqlite, run_script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGALRM")

PROGRAM = """
import asyncio, collections, faulthandler, random, signal, sys, time
from pymailbox import open_mailbox

class Interrupted(BaseException if sys.argv[2] == "base" else Exception):
    pass

armed = False

def in_a_call(frame):
    while frame is not None and frame.f_code is not call.__code__:
        frame = frame.f_back
    return frame is not None

def interrupt(number, frame):
    # only in the library's own code, and amid a call: else it is asyncio or this program that breaks
    global armed
    if armed and "/pymailbox/" in frame.f_code.co_filename and in_a_call(frame):
        armed = False
        raise Interrupted
    if armed:
        signal.setitimer(signal.ITIMER_REAL, 0.00002)

async def call(verb):
    return await verb()

signal.signal(signal.SIGALRM, interrupt)
faulthandler.dump_traceback_later(50, exit=True)
loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda loop, context: None)  # it would log each callback that was interrupted
rng = random.Random(int(sys.argv[3]))
interrupts = 0

def interrupted(verb):
    global armed, interrupts
    task = loop.create_task(call(verb))
    armed = True
    signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.00001, 0.0008))
    try:
        result = loop.run_until_complete(task)
    except Interrupted:
        interrupts += 1
        result = None
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
    task.cancel()
    try:
        loop.run_until_complete(asyncio.wait({task}, timeout=5))
    except Interrupted:
        pass
    assert task.done(), "a call hangs"
    return result

async def open_():
    return await open_mailbox(sys.argv[1], durability=sys.argv[5])

mailbox = loop.run_until_complete(open_())
kept = []
end = time.monotonic() + float(sys.argv[4])
number = 0
while time.monotonic() < end:
    number += 1
    interrupted(lambda: mailbox.enqueue(b"", b"%d" % number))
    kept += interrupted(lambda: mailbox.dequeue(rng.choice([1, 3]), wait=rng.choice([None, 0.001]))) or []
loop.run_until_complete(asyncio.wait_for(mailbox.status(), 20))  # what was begun has ended
inflight = loop.run_until_complete(mailbox.status()).inflight_messages
assert inflight == len(kept), f"{inflight} are inflight, {len(kept)} were handed out"
async def drain():
    return [record async for record in rest()]
async def rest():
    while records := await mailbox.dequeue():
        for record in records:
            yield record
counts = collections.Counter(record.payload for record in [*kept, *loop.run_until_complete(drain())])
assert max(counts.values()) == 1, "a call was run twice"
assert {record.delivery_count for record in kept} == {1}
loop.run_until_complete(mailbox.close())
loop.close()
print(interrupts)
"""


@pytest.mark.parametrize("kind", ["base", pytest.param("exception", marks=pytest.mark.slow)])
@pytest.mark.parametrize("durability", ["strict", pytest.param("relaxed", marks=pytest.mark.slow)])
def test_interrupted_calls_lose_repeat_and_strand_nothing(location: str, kind: str, durability: str) -> None:
    assert int(run_script(PROGRAM, location, kind, 1, 1.5, durability)) >= 10


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
async def test_a_call_that_is_interrupted_on_its_way_to_the_thread_is_run_once(
    location: str, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """While its caller is going to wait a moment for it: before the wait is prepared, before and after it is put."""

    class Interrupted(BaseException):
        pass

    class Step:
        """Raises once, at the given step."""

        left = steps

        def __call__(self) -> None:
            self.left -= 1
            if self.left == -1:
                raise Interrupted

    step = Step()
    put = database._ThreadWorker.put
    lock = threading.Lock

    def make_lock() -> Any:
        step()
        made = lock()
        step()
        return made

    def interrupted_put(worker: Any, call: Any) -> None:
        step()
        put(worker, call)
        step()

    monkeypatch.setattr(database, "_INLINE_PERIOD", 60.0)
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"")  # waits for the thread, so that the next one does not have to
        with monkeypatch.context() as patch:
            patch.setattr(database, "threading", SimpleNamespace(Lock=make_lock))
            patch.setattr(database._ThreadWorker, "put", interrupted_put)
            with pytest.raises(Interrupted):
                await mailbox.enqueue(b"", b"interrupted")
        assert [record.payload for record in await mailbox.dequeue(5)] == [b"", b"interrupted"]


async def test_a_caller_is_told_once_more_if_its_loop_forgot_it(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted callback of an event loop is gone."""
    monkeypatch.setattr(database, "_REDELIVERY", 0.05)
    deliver: Callable[..., Any] = database._resolve
    forgotten = 0

    def forget(calls: Any) -> None:
        nonlocal forgotten
        if forgotten < 3:
            forgotten += 1
        else:
            deliver(calls)

    async with open_mailbox(location) as mailbox:
        monkeypatch.setattr(database, "_resolve", forget)
        mailbox._file._worker._no_disk_wait_until = math.inf  # type: ignore[attr-defined]
        async with asyncio.timeout(30):
            await mailbox.enqueue(b"", b"")
        assert forgotten == 3


class _Interrupted:
    """A lock; a signal handler raises in the main thread after that has taken it with ``acquire``; a plain ``with`` is
    one step."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self.locked = lock.locked
        self.release = lock.release

    def acquire(self) -> bool:
        self._lock.acquire()
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return True

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


async def test_second_interrupt_at_the_end_leaves_no_lock_held(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await open_sqlite(location) as mailbox:
        worker = mailbox._file._worker
        with monkeypatch.context() as patch:
            patch.setattr(worker, "liveness", SimpleNamespace(gone=lambda: ["a handle"]))
            patch.setattr(worker.watcher, "find_gone", lambda: None)
            patch.setattr(worker, "lock", _Interrupted(worker.lock))
            worker.reap()
        assert not worker.lock.locked()
