"""``batch`` producers each await one enqueue after another; messages per second."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.cases.common import RATE, random_payload
from bench.queues import Competitor, Job, Queue

UNIT = RATE


async def measure(queues: list[Queue], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    payload = random_payload(job.payload_bytes)
    stored = 0
    start = perf_counter()

    async def produce() -> None:
        nonlocal stored
        while perf_counter() - start < job.seconds:
            await queue.store(payload)
            stored += 1

    await asyncio.gather(*(produce() for _ in range(job.batch)))
    return stored / (perf_counter() - start)
