"""A message is enqueued in one tab while another waits for it; milliseconds from the call until that has the record.

Both tabs run this module; `bench/environments.py` drives them.
"""

from __future__ import annotations

import asyncio
import json
import struct

from bench.cases.common import TIME
from bench.competitors import ours

UNIT = TIME

PAUSE_SECONDS = 0.03
"""Pause between two messages, so that the other tab waits again."""

_latencies: list[float] = []
_tasks: set[asyncio.Task[None]] = set()


async def listen() -> None:
    """Waits for messages until `stop`."""
    queue = await ours.open("strict")

    async def receive() -> None:
        try:
            while True:
                message = await queue.wait()
                (sent,) = struct.unpack_from("<d", message.payload)
                _latencies.append(_now() - sent)
                await queue.ack(message)
        finally:
            await queue.close()

    _tasks.add(asyncio.ensure_future(receive()))
    await asyncio.sleep(PAUSE_SECONDS)


async def send(count: int, payload_bytes: int) -> None:
    """Sends that many messages, one after another."""
    queue = await ours.open("strict")
    padding = bytes(max(0, payload_bytes - 8))
    for _ in range(count):
        await asyncio.sleep(PAUSE_SECONDS)
        await queue.store(struct.pack("<d", _now()) + padding)
    await asyncio.sleep(PAUSE_SECONDS)
    await queue.close()


async def stop() -> str:
    """Stops waiting, since the tabs share the mailbox; returns what was measured, as JSON."""
    while _tasks:
        task = _tasks.pop()
        task.cancel()
        await asyncio.wait([task])
    text = json.dumps(_latencies)
    _latencies.clear()
    return text


def _now() -> float:
    """Milliseconds on a clock that the tabs share."""
    import js

    return float(js.performance.timeOrigin + js.performance.now())
