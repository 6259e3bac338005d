"""Clients that have connected and looked once stay connected; KiB of memory that all servers together take for each."""

from __future__ import annotations

from bench.cases.common import MEMORY
from bench.competitors.servers import PLACE
from bench.queues import Competitor, Job, Queue

UNIT = MEMORY

CLIENTS = 200


async def measure(queues: list[Queue], job: Job, competitor: Competitor) -> float:
    await queues[0].count()
    before = PLACE.resident_bytes()
    clients: list[Queue] = []
    try:
        for _ in range(CLIENTS):
            clients.append(await competitor.open(job.durability))
            await clients[-1].count()
        return (PLACE.resident_bytes() - before) / 1024 / CLIENTS
    finally:
        for client in clients:
            await client.close()
