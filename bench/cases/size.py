"""Messages are stored, a hundred a call; bytes that each takes in the store, its payload included.

In a browser that is what the rows of the database hold, on CPython the file.
"""

from __future__ import annotations

from bench.cases.common import fill
from bench.queues import Competitor, Job, Sized

UNIT = "bytes"


async def measure(queues: list[Sized], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    count = await fill(queue, job)
    return await queue.stored_bytes() / count
