"""Clients that have looked once stay connected and do nothing; microseconds of processor time that all servers together
take for each in a second.
"""

from __future__ import annotations

import asyncio

from bench.cases.clients import CLIENTS, connected
from bench.cases.common import PROCESSOR_TIME
from bench.competitors.servers import PLACE
from bench.queues import Competitor, Job, Queue

UNIT = PROCESSOR_TIME

SECONDS = 3.0


async def measure(_queues: list[Queue], job: Job, competitor: Competitor) -> float:
    async with connected(job, competitor):
        before = PLACE.processor_seconds()
        await asyncio.sleep(SECONDS)
        return (PLACE.processor_seconds() - before) * 1e6 / CLIENTS / SECONDS
