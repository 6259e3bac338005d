"""Relays move what waits at their sources to the servers; messages per second, in total."""

from __future__ import annotations

from bench.cases.common import RATE
from bench.cases.relaying import move_all
from bench.queues import Competitor, Job, Relaying

UNIT = RATE


async def measure(queues: list[Relaying], job: Job, _competitor: Competitor) -> float:
    count, seconds = await move_all(queues, job)
    return count / seconds
