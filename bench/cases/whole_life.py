"""Messages are stored, handed out and acknowledged, a batch at a time; messages per second.

With two handles one stores and the other does the rest.
"""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import RATE, batch_of, expect_all
from bench.queues import Competitor, Job, Queue

UNIT = RATE


async def measure(queues: list[Queue], job: Job, _competitor: Competitor) -> float:
    producer, consumer = queues[0], queues[-1]
    payloads = batch_of(job)
    lived = 0
    start = perf_counter()
    while perf_counter() - start < job.seconds:
        if job.batch == 1:
            await producer.store(payloads[0])
            claimed = await consumer.claim(1)
            expect_all(claimed, 1)
            await consumer.ack(claimed[0])
        else:
            await producer.store_many(payloads)
            claimed = await consumer.claim(job.batch)
            expect_all(claimed, job.batch)
            await consumer.ack_many(claimed)
        lived += job.batch
    return lived / (perf_counter() - start)
