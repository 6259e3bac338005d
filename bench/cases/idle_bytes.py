"""Clients that have looked once stay connected and do nothing; bytes that all servers together send to each in a
second, without those of the protocol and of the network.
"""

from __future__ import annotations

import asyncio

from bench.cases.clients import CLIENTS, connected
from bench.cases.common import BYTES
from bench.competitors.servers import PLACE
from bench.queues import Competitor, Job, Queue

UNIT = BYTES

SECONDS = 3.0


async def measure(_queues: list[Queue], job: Job, competitor: Competitor) -> float:
    async with connected(job, competitor):
        before = PLACE.sent_bytes()
        await asyncio.sleep(SECONDS)
        return (PLACE.sent_bytes() - before) / CLIENTS / SECONDS
