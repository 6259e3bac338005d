"""A hundred thousand messages are stored, a thousand per call, and then drained; the most megabytes of growth.

In a browser that is JavaScript's heap and WebAssembly's memory, which never shrinks; Chromium only, others do not say.
"""

from __future__ import annotations

import gc
from typing import Any

from bench.cases.common import SPACE, random_payload
from bench.queues import Competitor, Job, Queue

UNIT = SPACE

MESSAGES = 100_000
STORING = 1000


async def measure(queues: list[Queue], job: Job, _competitor: Competitor) -> float:
    (queue,) = queues
    gc.collect()
    before = highest = _in_use()
    payload = random_payload(job.payload_bytes)
    for _ in range(0, MESSAGES, STORING):
        await queue.store_many([payload] * STORING)
        highest = max(highest, _in_use())
    while claimed := await queue.claim(job.batch):
        await queue.ack_many(claimed)
        highest = max(highest, _in_use())
    return (highest - before) / 1e6


def _in_use() -> int:
    import pyodide_js

    import js

    performance: Any = js.performance
    return int(performance.memory.usedJSHeapSize) + int(pyodide_js._module.HEAP8.byteLength)
