"""Messages are stored at their sources, and relays move them to the servers; messages per second, in total."""

from __future__ import annotations

from bench.cases.common import RATE
from bench.cases.relaying import MESSAGES, move_all
from bench.queues import Competitor, Job, Relaying

UNIT = RATE


async def measure(queues: list[Relaying], job: Job, _competitor: Competitor) -> float:
    return MESSAGES / await move_all(queues, job)
