"""A consumer has claimed all messages of the backlog and is gone; milliseconds until they can be handed out again."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.cases.common import TIME, claim_all
from bench.queues import Competitor, Job, Mortal

UNIT = TIME

LOCK_SECONDS = 0.2
"""Seconds after which a dead holder's lock is gone; the case measures what follows."""


async def measure(queues: list[Mortal], job: Job, _competitor: Competitor) -> float:
    survivor, victim = queues
    await claim_all(victim, job.backlog)
    await victim.crash()
    await asyncio.sleep(LOCK_SECONDS)
    start = perf_counter()
    recovered = await survivor.recover()
    took = (perf_counter() - start) * 1000
    if recovered != job.backlog:
        raise RuntimeError(f"{recovered} messages came back, not {job.backlog}")
    return took
