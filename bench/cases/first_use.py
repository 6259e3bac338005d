"""An existing store is opened, a message is stored and another one taken; milliseconds until that is done.

A store that is only opened may not have read the waiting messages yet.
"""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import TIME, batch_of, expect_all
from bench.queues import Competitor, Job, Queue

UNIT = TIME


async def measure(queues: list[Queue], job: Job, competitor: Competitor) -> float:
    (payload,) = batch_of(job)
    await queues[0].close()
    start = perf_counter()
    queues[0] = await competitor.open(job.durability)
    await queues[0].store(payload)
    claimed = await queues[0].claim(1)
    took = (perf_counter() - start) * 1000
    expect_all(claimed, 1)
    await queues[0].ack(claimed[0])
    return took
