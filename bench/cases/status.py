"""How many messages wait; milliseconds per call."""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import TIME
from bench.queues import Competitor, Job, Queue

UNIT = TIME


async def measure(queues: list[Queue], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    calls = 0
    start = perf_counter()
    while calls == 0 or perf_counter() - start < job.seconds:
        count = await queue.count()
        if count != job.backlog:
            raise RuntimeError(f"{count} messages wait, not {job.backlog}")
        calls += 1
    return (perf_counter() - start) * 1000 / calls
