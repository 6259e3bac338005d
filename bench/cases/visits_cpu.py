"""As `visits`; microseconds of processor time that all servers together take for each."""

from __future__ import annotations

from bench.cases.common import PROCESSOR_TIME
from bench.cases.relaying import visit
from bench.competitors.servers import PLACE
from bench.queues import Competitor, Job, Relaying

UNIT = PROCESSOR_TIME

VISITS = 50


async def measure(_queues: list[Relaying], job: Job, competitor: Competitor) -> float:
    before = PLACE.processor_seconds()
    for _ in range(VISITS):
        await visit(job, competitor)
    return (PLACE.processor_seconds() - before) * 1e6 / VISITS
