"""The SQLite backend among threads and processes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from uuid import UUID

import pytest

from pymailbox import (
    NewMessage,
    open_mailbox,
)
from tests.unit.sqlite_support import run_script


def test_threads_share_a_file_and_never_a_message(location: str) -> None:
    received: list[UUID] = []

    async def produce() -> list[UUID]:
        async with open_mailbox(location) as mailbox:
            return await mailbox.enqueue_many([NewMessage(b"", b"")] * 2000)

    async def consume() -> None:
        async with open_mailbox(location) as mailbox:
            while records := await mailbox.dequeue(7):
                received.extend(record.id for record in records)
                await mailbox.ack_many(record.id for record in records)

    sent = asyncio.run(produce())
    threads = [threading.Thread(target=asyncio.run, args=(consume(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(received) == sorted(sent)


CONSUMER = """
import asyncio, sys
from pymailbox import open_mailbox

async def main():
    async with open_mailbox(sys.argv[1]) as mailbox:
        while records := await mailbox.dequeue(7):
            print(*(record.payload.decode() for record in records))
            await mailbox.ack_many(record.id for record in records)

asyncio.run(main())
"""


def test_processes_share_a_file_and_never_a_message(location: str) -> None:
    async def produce() -> None:
        async with open_mailbox(location) as mailbox:
            await mailbox.enqueue_many(NewMessage(b"", b"%d" % number) for number in range(2000))

    asyncio.run(produce())
    command = [sys.executable, "-W", "error", "-c", CONSUMER, location]
    consumers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    received = [int(payload) for consumer in consumers for payload in consumer.communicate(timeout=60)[0].split()]
    assert [consumer.returncode for consumer in consumers] == [0, 0, 0]
    assert sorted(received) == list(range(2000))


@pytest.mark.slow
def test_processes_make_a_file_at_once(location: str) -> None:
    command = [sys.executable, "-W", "error", "-c", CONSUMER, location]
    processes = [subprocess.Popen(command) for _ in range(6)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 6


KILLED = """
import asyncio, os, signal, sys
from pymailbox import open_mailbox

async def main():
    mailbox = await open_mailbox(sys.argv[1])
    for number in range(100):
        await mailbox.enqueue(b"", b"%d" % number)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_what_was_enqueued_survives_a_kill(location: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, location], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL

    async def consume() -> list[bytes]:
        async with open_mailbox(location) as mailbox:
            return [record.payload for record in await mailbox.dequeue(1000)]

    assert asyncio.run(consume()) == [b"%d" % number for number in range(100)]


LEFT_OPEN = """
import asyncio, sys, warnings
from pymailbox import open_mailbox

warnings.simplefilter("ignore", ResourceWarning)  # which is what a handle that was never closed deserves

async def main():
    mailbox = await open_mailbox(sys.argv[1])
    await mailbox.enqueue(b"", b"")
    kept.append(mailbox)
    asyncio.create_task(mailbox.enqueue(b"", b""))

kept = []
asyncio.run(main())
"""


def test_the_interpreter_exits_with_a_handle_open(location: str) -> None:
    run_script(LEFT_OPEN, location)


FORK = """
import asyncio, os, sys, warnings
from pymailbox import WrongThreadError, open_mailbox

location = sys.argv[1]
child_says, parent_says = os.pipe(), os.pipe()

async def in_parent_before():
    mailbox = await open_mailbox(location)
    await mailbox.enqueue(b"", b"parent")
    return mailbox

async def in_child():
    for call in (inherited.dequeue(), inherited.close()):
        try:
            await call
        except WrongThreadError:
            continue
        raise AssertionError("the child used its parent's handle")
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"child")
        os.write(child_says[1], b"stored")
        os.read(parent_says[0], 100)
        await mailbox.enqueue(b"", b"child, later")
        os.write(child_says[1], b"stored more")
        os.read(parent_says[0], 100)

async def in_parent():
    os.read(child_says[0], 100)
    await inherited.enqueue(b"", b"parent, later")
    # the last handle of this process: a child that took this process's locks for its own would lose its log now
    await inherited.close()
    os.write(parent_says[1], b"closed")
    os.read(child_says[0], 100)
    async with open_mailbox(location) as mailbox:
        print([record.payload for record in await mailbox.dequeue()])
    os.write(parent_says[1], b"seen")

runner = asyncio.Runner()
inherited = runner.run(in_parent_before())
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # a fork beside a thread
    child = os.fork()
if not child:
    try:
        asyncio.run(in_child())
    finally:
        os._exit(sys.exc_info()[0] is not None)
runner.run(in_parent())
runner.close()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_neither_uses_nor_disturbs_its_parents_connection(location: str) -> None:
    assert run_script(FORK, location) == "[b'parent', b'child', b'parent, later', b'child, later']\n"
