"""A dead consumer's recovered messages are handed out and acknowledged, up to ``batch`` per call; messages per second.

Such messages come one at a time, so that one that kills its consumer is found out.
"""

from __future__ import annotations

from time import perf_counter

from bench.cases import recovery
from bench.cases.common import RATE
from bench.queues import Competitor, Job, Mortal

UNIT = RATE


async def measure(queues: list[Mortal], job: Job, competitor: Competitor) -> float:
    await recovery.measure(queues, job, competitor)
    survivor = queues[0]
    drained = 0
    start = perf_counter()
    while claimed := await survivor.claim(job.batch):
        await survivor.ack_many(claimed)
        drained += len(claimed)
    took = perf_counter() - start
    if drained != job.backlog:
        raise RuntimeError(f"{drained} messages were drained, not {job.backlog}")
    return drained / took
