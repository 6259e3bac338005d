"""Handlers of 100 ms work on 16 messages when an urgent one is stored; milliseconds until its handler begins.

It is stored in the middle of a handler, so the best that one loop can do is half a handler's time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from bench.cases.common import TIME, random_payload
from bench.queues import Competitor, Consuming, Job

UNIT = TIME

SLOW = 0.1
"""Seconds that a handler takes."""

JOBS = 16


@dataclass(frozen=True)
class Outcome:
    """What happened to an urgent message."""

    milliseconds: float
    overtaken: int
    """Other messages whose handlers began while it waited."""


async def measure(queues: list[Consuming], job: Job, _competitor: Competitor) -> float:
    return (await outcome(queues[0], job)).milliseconds


async def outcome(queue: Consuming, job: Job) -> Outcome:
    usual, urgent = random_payload(job.payload_bytes), random_payload(job.payload_bytes)
    others = 0
    began = asyncio.Event()
    arrived = asyncio.Event()

    async def handle(message: Any) -> None:
        nonlocal others
        if message.payload == urgent:
            arrived.set()
            return
        others += 1
        began.set()
        await asyncio.sleep(SLOW)

    await queue.store_many([usual] * JOBS)
    consuming = asyncio.ensure_future(queue.consume(handle))
    # the third one: by then the loop knows that its handlers are slow
    while others < 3:
        began.clear()
        await began.wait()
    await asyncio.sleep(SLOW / 2)
    await queue.store_urgent(urgent)
    before, start = others, perf_counter()
    await arrived.wait()
    took, overtaken = (perf_counter() - start) * 1000, others - before
    consuming.cancel()
    await asyncio.wait([consuming])
    return Outcome(took, overtaken)
