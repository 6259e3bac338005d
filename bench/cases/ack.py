"""Inflight messages are acknowledged, one by one or a batch at a time; messages per second."""

from __future__ import annotations

from time import perf_counter

from bench.cases.common import RATE, claim_all, fill
from bench.queues import Competitor, Job, Queue

UNIT = RATE


async def measure(queues: list[Queue], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    claimed = await claim_all(queue, await fill(queue, job))
    start = perf_counter()
    if job.batch == 1:
        for message in claimed:
            await queue.ack(message)
    else:
        for at in range(0, len(claimed), job.batch):
            await queue.ack_many(claimed[at : at + job.batch])
    return len(claimed) / (perf_counter() - start)
