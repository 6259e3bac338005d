"""A producer stores a message once a waiting consumer has acknowledged the previous one; messages per second.

Both are tasks of one program.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.cases.common import RATE, random_payload
from bench.queues import Competitor, Job, Waiting

UNIT = RATE


async def measure(queues: list[Waiting], job: Job, _competitor: Competitor) -> float:
    producer, consumer = queues[0], queues[-1]
    payload = random_payload(job.payload_bytes)
    acknowledged = asyncio.Event()

    async def consume() -> None:
        while True:
            await consumer.ack(await consumer.wait())
            acknowledged.set()

    consuming = asyncio.ensure_future(consume())
    lived = 0
    start = perf_counter()
    while perf_counter() - start < job.seconds:
        acknowledged.clear()
        await producer.store(payload)
        await acknowledged.wait()
        lived += 1
    took = perf_counter() - start
    consuming.cancel()
    await asyncio.wait([consuming])
    return lived / took
