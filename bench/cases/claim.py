"""Batches are handed out until the queue is empty; messages per second."""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import RATE, expect_all, fill
from bench.queues import Competitor, Job, Queue

UNIT = RATE


async def measure(queues: list[Queue], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    count = await fill(queue, job)
    claimed = 0
    start = perf_counter()
    while claimed < count:
        wanted = min(job.batch, count - claimed)
        expect_all(await queue.claim(job.batch), wanted)
        claimed += wanted
    return count / (perf_counter() - start)
