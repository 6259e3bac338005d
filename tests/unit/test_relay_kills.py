"""Processes that relay from one SQLite file into another, killed at moments that chance picks.

``PYMAILBOX_KILLS=1000 pytest tests/unit/test_relay_kills.py`` kills that many.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from pymailbox import MessagePriority, open_mailbox, relay
from pymailbox.testing._expect import eventually

KILLS = int(os.environ.get("PYMAILBOX_KILLS", "10"))
AT_ONCE = 2
"""Of which one relays, and the other one waits until that is gone."""

RELAY = """
import asyncio, sys
from pymailbox import open_mailbox, relay
from pymailbox.relaying import loop

loop.LOOK_EVERY = 0.01

async def main(source, target, batch):
    async with open_mailbox(source) as outbox, open_mailbox(target) as inbox:
        task = asyncio.ensure_future(relay(outbox, inbox, batch=int(batch)))
        await asyncio.sleep(0)
        print("ready", flush=True)
        await task

asyncio.run(main(*sys.argv[1:]))
"""


def relay_until_killed(source: str, target: str, generator: random.Random) -> None:
    batches = [str(generator.choice((1, 5, 20))) for _ in range(AT_ONCE)]
    relays = [
        subprocess.Popen([sys.executable, "-c", RELAY, source, target, batch], stdout=subprocess.PIPE)
        for batch in batches
    ]
    try:
        for one in relays:
            assert one.stdout is not None
            assert one.stdout.readline() == b"ready\n"
        for one in relays:
            try:
                one.wait(generator.uniform(0, 0.15))
            except subprocess.TimeoutExpired:
                one.kill()
    finally:
        for one in relays:
            one.kill()
            one.communicate()


@pytest.mark.slow
async def test_whatever_is_killed_each_message_arrives_once_and_in_order(tmp_path: Path) -> None:
    generator = random.Random()
    source, target = f"sqlite:///{tmp_path}/here.db#outbox", f"sqlite:///{tmp_path}/there.db#inbox"
    handled: dict[MessagePriority, list[int]] = {priority: [] for priority in MessagePriority}
    made = 0
    done = False

    async def handle() -> None:
        """Acknowledges everything at once, so that no id in the target stops a repeat."""
        async with open_mailbox(target) as inbox:
            while True:
                for record in await inbox.dequeue(wait=60.0):
                    handled[record.priority].append(int(record.payload))
                    await inbox.ack(record.id)

    async def fill() -> None:
        nonlocal made
        async with open_mailbox(source) as outbox:
            while not done:
                await outbox.enqueue(b"", b"%d" % made, generator.choice(list(MessagePriority)))
                made += 1
                await asyncio.sleep(0.001)

    handling, filling = asyncio.ensure_future(handle()), asyncio.ensure_future(fill())
    for _ in range(-(-KILLS // AT_ONCE)):
        await asyncio.to_thread(relay_until_killed, source, target, generator)
    arrived = sum(map(len, handled.values()))
    done = True
    await filling

    async def left() -> int:
        stats = [await mailbox.status() for mailbox in (outbox, inbox)]
        return sum(each.queued_messages + each.inflight_messages for each in stats)

    async with open_mailbox(source) as outbox, open_mailbox(target) as inbox:
        task = asyncio.ensure_future(last := relay(outbox, inbox))
        await eventually(left, 0, "messages that are left")
        last.stop()
        await task
    handling.cancel()
    await asyncio.wait([handling])
    assert sorted(number for numbers in handled.values() for number in numbers) == list(range(made))
    assert all(numbers == sorted(numbers) for numbers in handled.values()), handled
    assert arrived > 0, "nothing was relayed before the last kill"
