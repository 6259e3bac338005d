"""What the cases of connected clients share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bench.queues import Competitor, Job, Queue

CLIENTS = 100

IDLE_SECONDS = 3.0


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


async def cost_of_idling(job: Job, competitor: Competitor, total: Callable[[], float]) -> float:
    """How much a total of the servers grows in a second for each connected client."""
    async with connected(job, competitor):
        before = total()
        await asyncio.sleep(IDLE_SECONDS)
        return (total() - before) / CLIENTS / IDLE_SECONDS
