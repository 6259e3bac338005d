"""Messages are taken one at a time, each with the acknowledgement of the previous one; messages per second.

A competitor with one call for both makes one commit.
"""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import RATE, expect_all, fill
from bench.queues import Chaining, Competitor, Job, Queue

UNIT = RATE


async def measure(queues: list[Queue], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    count = await fill(queue, job)
    start = perf_counter()
    claimed = await queue.claim(1)
    for _ in range(count - 1):
        expect_all(claimed, 1)
        if isinstance(queue, Chaining):
            claimed = await queue.ack_and_claim(claimed[0])
        else:
            await queue.ack(claimed[0])
            claimed = await queue.claim(1)
    await queue.ack(claimed[0])
    return count / (perf_counter() - start)
