"""Clients that have looked once stay connected and do nothing; bytes that all servers together send to each in a
second, without those of the protocol and of the network.
"""

from __future__ import annotations

from bench.cases.clients import cost_of_idling
from bench.cases.common import BYTES
from bench.competitors.servers import PLACE
from bench.queues import Competitor, Job, Queue

UNIT = BYTES


async def measure(_queues: list[Queue], job: Job, competitor: Competitor) -> float:
    return await cost_of_idling(job, competitor, PLACE.sent_bytes)
