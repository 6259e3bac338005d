"""A message is stored while another handle waits for it; milliseconds from the call until it has the message."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter

from bench.cases.common import TIME, batch_of
from bench.queues import Competitor, Job, Waiting

UNIT = TIME

MESSAGES = 10
PAUSE_SECONDS = 0.03
"""Pause before each message, so that the other one waits."""


async def measure(queues: list[Waiting], job: Job, _competitor: Competitor) -> float:
    sender, receiver = queues
    (payload,) = batch_of(job)
    latencies: list[float] = []
    for _ in range(MESSAGES):
        receiving = asyncio.create_task(_receive(receiver))
        await asyncio.sleep(PAUSE_SECONDS)
        start = perf_counter()
        await sender.store(payload)
        latencies.append((await receiving - start) * 1000)
    return median(latencies)


async def _receive(receiver: Waiting) -> float:
    """When it had the next message."""
    message = await receiver.wait()
    received = perf_counter()
    await receiver.ack(message)
    return received
