"""Clients that have looked once stay connected; KiB of memory that all servers together take for each."""

from __future__ import annotations

from bench.cases.clients import CLIENTS, connected
from bench.cases.common import MEMORY
from bench.competitors.servers import PLACE
from bench.queues import Competitor, Job, Queue

UNIT = MEMORY


async def measure(queues: list[Queue], job: Job, competitor: Competitor) -> float:
    await queues[0].count()
    before = PLACE.resident_bytes()
    async with connected(job, competitor):
        return (PLACE.resident_bytes() - before) / 1024 / CLIENTS
