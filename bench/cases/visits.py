"""A client comes, sends one message by a relay of its own, and goes, one client after another; milliseconds each."""

from __future__ import annotations

from statistics import median
from time import perf_counter

from bench.cases.common import TIME
from bench.cases.relaying import visit
from bench.queues import Competitor, Job, Relaying

UNIT = TIME

VISITS = 20


async def measure(_queues: list[Relaying], job: Job, competitor: Competitor) -> float:
    took: list[float] = []
    for _ in range(VISITS):
        start = perf_counter()
        await visit(job, competitor)
        took.append((perf_counter() - start) * 1000)
    return median(took)
