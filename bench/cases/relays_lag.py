"""Relays move a message here and there; milliseconds until a consumer at the target has it, the median."""

from __future__ import annotations

from statistics import median

from bench.cases.common import TIME
from bench.cases.relaying import lags
from bench.queues import Competitor, Job, Relaying

UNIT = TIME


async def measure(queues: list[Relaying], job: Job, _competitor: Competitor) -> float:
    return median(await lags(queues, job))
