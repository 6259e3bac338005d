"""A consumer has claimed all messages of the backlog and is gone; milliseconds until they can be handed out again."""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import TIME, claim_all
from bench.queues import Competitor, Job, Mortal

UNIT = TIME


async def measure(queues: list[Mortal], job: Job, _competitor: Competitor) -> float:
    survivor, victim = queues
    await claim_all(victim, job.backlog)
    start = perf_counter()
    await victim.crash()
    # A handle that hears of a death recovers of its own accord, so a call may find that there is nothing left to do.
    while (waiting := await survivor.count()) < job.backlog:
        await survivor.recover()
    took = (perf_counter() - start) * 1000
    if waiting != job.backlog:
        raise RuntimeError(f"{waiting} messages wait, not {job.backlog}")
    return took
