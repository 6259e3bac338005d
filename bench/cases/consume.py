"""A loop with an empty handler is repeatedly given as many messages as should wait; messages per second.

The last handler of a round waits until the next round is stored, which is not measured; measuring begins with the
acknowledgement of that message, and ends when the next round's last handler has begun.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.cases.common import RATE, batch_of
from bench.queues import Competitor, Consuming, Job

UNIT = RATE


async def measure(queues: list[Consuming], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    payloads = batch_of(job)
    left = 1
    began = ended = took = 0.0
    emptied, stored = asyncio.Event(), asyncio.Event()

    async def handle(_message: object) -> None:
        nonlocal left, ended
        left -= 1
        if not left:
            ended = perf_counter()
            emptied.set()
            await stored.wait()
            stored.clear()

    await queue.store(payloads[0])
    consuming = asyncio.ensure_future(queue.consume(handle))
    await emptied.wait()
    handled = 0
    start = perf_counter()
    while perf_counter() - start < job.seconds or not handled:
        await queue.store_many(payloads)
        emptied.clear()
        left = job.batch
        began = perf_counter()
        stored.set()
        await emptied.wait()
        took += ended - began
        handled += job.batch
    consuming.cancel()
    stored.set()
    await asyncio.wait([consuming])
    return handled / took
