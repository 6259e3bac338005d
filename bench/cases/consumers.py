"""Consumers work on one queue side by side, each storing as much as it takes; messages per second, in total."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.cases.common import RATE, batch_of
from bench.queues import Competitor, Job, Queue

UNIT = RATE


async def measure(queues: list[Queue], job: Job, _competitor: Competitor) -> float:
    payloads = batch_of(job)
    lived = 0
    start = perf_counter()

    async def work(queue: Queue) -> None:
        nonlocal lived
        while perf_counter() - start < job.seconds:
            await queue.store_many(payloads)
            claimed = await queue.claim(job.batch)
            await queue.ack_many(claimed)
            lived += len(claimed)

    await asyncio.gather(*(work(queue) for queue in queues))
    return lived / (perf_counter() - start)
