"""An existing store is opened; milliseconds until it can be used."""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import TIME
from bench.queues import Competitor, Job, Queue

UNIT = TIME


async def measure(queues: list[Queue], job: Job, competitor: Competitor) -> float:
    await queues[0].close()
    start = perf_counter()
    queues[0] = await competitor.open(job.durability)
    return (perf_counter() - start) * 1000
