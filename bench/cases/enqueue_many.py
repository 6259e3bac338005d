"""One awaited batch after another; messages per second."""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import RATE, batch_of
from bench.queues import Competitor, Job, Queue

UNIT = RATE


async def measure(queues: list[Queue], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    payloads = batch_of(job)
    stored = 0
    start = perf_counter()
    while perf_counter() - start < job.seconds:
        await queue.store_many(payloads)
        stored += job.batch
    return stored / (perf_counter() - start)
