"""One awaited enqueue after another; messages per second."""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import RATE, random_payload
from bench.queues import Competitor, Job, Queue

UNIT = RATE


async def measure(queues: list[Queue], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    payload = random_payload(job.payload_bytes)
    stored = 0
    start = perf_counter()
    while perf_counter() - start < job.seconds:
        await queue.store(payload)
        stored += 1
    return stored / (perf_counter() - start)
