"""As `relays`; microseconds of processor time that all servers together take for one message."""

from __future__ import annotations

from bench.cases.common import PROCESSOR_TIME
from bench.cases.relaying import MESSAGES, move_all
from bench.competitors.servers import PLACE
from bench.queues import Competitor, Job, Relaying

UNIT = PROCESSOR_TIME


async def measure(queues: list[Relaying], job: Job, _competitor: Competitor) -> float:
    before = PLACE.processor_seconds()
    await move_all(queues, job)
    return (PLACE.processor_seconds() - before) * 1e6 / MESSAGES
