"""Clients that have looked once stay connected and do nothing; microseconds of processor time that all servers together
take for each in a second.
"""

from __future__ import annotations

from bench.cases.clients import cost_of_idling
from bench.cases.common import PROCESSOR_TIME
from bench.competitors.servers import PLACE
from bench.queues import Competitor, Job, Queue

UNIT = PROCESSOR_TIME


async def measure(_queues: list[Queue], job: Job, competitor: Competitor) -> float:
    return await cost_of_idling(job, competitor, PLACE.processor_seconds) * 1e6
