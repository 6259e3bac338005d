"""Handlers of 100 ms work on 16 messages when an urgent one is stored; how many of the others begin before it."""

from __future__ import annotations

from bench.cases import urgent
from bench.queues import Competitor, Consuming, Job

UNIT = "messages"


async def measure(queues: list[Consuming], job: Job, _competitor: Competitor) -> float:
    return (await urgent.outcome(queues[0], job)).overtaken
