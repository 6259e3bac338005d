"""Messages are stored, handed out and acknowledged one at a time, by calls that are awaited or by such that block;
messages per second.

Those that block run in a thread of their own, as in a program without an event loop.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.cases import whole_life
from bench.cases.common import RATE, random_payload
from bench.queues import Blocking, Competitor, Job, Queue

UNIT = RATE


async def measure(queues: list[Queue | Blocking], job: Job, competitor: Competitor) -> float:
    (queue,) = queues
    if isinstance(queue, Blocking):
        return await asyncio.to_thread(_measure_blocking, queue, job)
    return await whole_life.measure([queue], job, competitor)


def _measure_blocking(queue: Blocking, job: Job) -> float:
    payload = random_payload(job.payload_bytes)
    lived = 0
    start = perf_counter()
    while perf_counter() - start < job.seconds:
        queue.live(payload)
        lived += 1
    return lived / (perf_counter() - start)
