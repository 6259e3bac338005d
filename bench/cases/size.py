"""Messages are stored, a hundred per call; bytes that each takes in the store, including its payload.

In a browser that is the content of the database's rows, on CPython the file.
"""

from __future__ import annotations

from bench.cases.common import fill
from bench.queues import Competitor, Job, Sized

UNIT = "bytes"


async def measure(queues: list[Sized], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    count = await fill(queue, job)
    return await queue.stored_bytes() / count
