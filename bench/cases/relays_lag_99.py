"""As `relays_lag`; what 99 of 100 messages stay below."""

from __future__ import annotations

from statistics import quantiles

from bench.cases.common import TIME
from bench.cases.relaying import lags
from bench.queues import Competitor, Job, Relaying

UNIT = TIME


async def measure(queues: list[Relaying], job: Job, _competitor: Competitor) -> float:
    return quantiles(await lags(queues, job), n=100, method="inclusive")[-1]
