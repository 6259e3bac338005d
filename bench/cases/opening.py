"""An existing store is opened; milliseconds until it can be used."""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import TIME
from bench.queues import Contestant, Job, Queue

UNIT = TIME


async def measure(queues: list[Queue], job: Job, contestant: Contestant) -> float:
    await queues[0].close()
    start = perf_counter()
    queues[0] = await contestant.open(job.durability)
    return (perf_counter() - start) * 1000
