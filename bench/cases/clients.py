"""What the cases of connected clients share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.queues import Competitor, Job, Queue

CLIENTS = 100


@asynccontextmanager
async def connected(job: Job, competitor: Competitor) -> AsyncIterator[None]:
    """That many clients which have looked once, and stay."""
    clients: list[Queue] = []
    try:
        for _ in range(CLIENTS):
            clients.append(await competitor.open(job.durability))
            await clients[-1].count()
        yield
    finally:
        for client in clients:
            await client.close()
