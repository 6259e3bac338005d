"""One batch is handed out while a backlog waits; milliseconds per call."""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import TIME, batch_of, expect_all
from bench.queues import Competitor, Job, Queue

UNIT = TIME


async def measure(queues: list[Queue], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    payloads = batch_of(job)
    calls = 0
    claiming = 0.0
    start = perf_counter()
    while perf_counter() - start < job.seconds:
        called = perf_counter()
        claimed = await queue.claim(job.batch)
        claiming += perf_counter() - called
        calls += 1
        expect_all(claimed, job.batch)
        # the backlog stays as it is
        await queue.ack_many(claimed)
        await queue.store_many(payloads)
    return claiming * 1000 / calls
