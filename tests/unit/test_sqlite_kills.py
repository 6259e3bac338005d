"""Processes that work on one SQLite file, killed at random moments: in enqueues, claims, nacks, sends.

``PYMAILBOX_KILLS=1000 pytest tests/unit/test_sqlite_kills.py`` kills that many.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pymailbox import open_mailbox

KILLS = int(os.environ.get("PYMAILBOX_KILLS", "10"))
AT_ONCE = 2

WORKER = """
import asyncio, random, sys
from pymailbox import NewMessage, open_mailbox

async def main(file, name):
    source, target = await open_mailbox(f"sqlite:///{file}#source"), await open_mailbox(f"sqlite:///{file}#target")
    print("ready", flush=True)
    for number in range(10**9):
        await source.enqueue(b"", f"{name}-{number}".encode())
        print(f"{name}-{number}", flush=True)
        for message in await source.dequeue(random.choice([1, 3, 10])):
            if random.random() < 0.1:
                await source.nack(message.id)
            else:
                await source.ack_and_send(message.id, [(target, NewMessage(b"", message.payload))])

asyncio.run(main(*sys.argv[1:]))
"""


def work_until_killed(file: Path, name: str, generator: random.Random) -> list[str]:
    """What some processes reported as enqueued."""
    commands = [[sys.executable, "-c", WORKER, str(file), f"{name}.{number}"] for number in range(AT_ONCE)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    time.sleep(generator.uniform(0, 0.08))
    for worker in workers:
        worker.kill()
    return [line for worker in workers for line in worker.communicate()[0].splitlines()]


@pytest.mark.slow
def test_whatever_is_killed_nothing_is_lost_or_doubled(file: Path) -> None:
    generator = random.Random()
    enqueued = [
        line for number in range(-(-KILLS // AT_ONCE)) for line in work_until_killed(file, str(number), generator)
    ]

    async def count() -> None:
        async with (
            open_mailbox(f"sqlite:///{file}#source") as source,
            open_mailbox(f"sqlite:///{file}#target") as target,
        ):
            stats = await source.status()
            assert stats.inflight_messages == 0
            left = [record.payload.decode() for record in await source.peek(1_000_000)]
            sent = [record.payload.decode() for record in await target.peek(1_000_000)]
            assert len(left) == stats.queued_messages
            assert len(set(left + sent)) == len(left + sent)
            # what was stored may not have been reported yet
            assert set(enqueued) <= set(left + sent)
            assert enqueued
            drained = []
            while records := await source.dequeue(1000):
                drained += [record.payload.decode() for record in records]
            assert sorted(drained) == sorted(left)

    asyncio.run(count())
