"""Two loops work on 16 messages of 100 ms each; how many the busier one handles."""

from __future__ import annotations

import asyncio

from bench.cases.common import random_payload
from bench.cases.urgent import JOBS, SLOW
from bench.queues import Competitor, Consuming, Handle, Job

UNIT = "messages"


async def measure(queues: list[Consuming], job: Job, _competitor: Competitor) -> float:
    handled = [0] * len(queues)
    finished = asyncio.Event()

    def of_loop(number: int) -> Handle:
        async def handle(_message: object) -> None:
            handled[number] += 1
            await asyncio.sleep(SLOW)
            if sum(handled) == JOBS:
                finished.set()

        return handle

    await queues[0].store_many([random_payload(job.payload_bytes)] * JOBS)
    consuming = [asyncio.ensure_future(queue.consume(of_loop(number))) for number, queue in enumerate(queues)]
    await finished.wait()
    for one in consuming:
        one.cancel()
    await asyncio.wait(consuming)
    return max(handled)
