"""What several cases need."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from bench.queues import Job, Queue

ONE_BY_ONE = 300
IN_BATCHES = 2000
"""Messages for a case that empties a store: enough for a steady figure, not too many one by one."""

FILL_BYTES = 32 * 1024 * 1024
"""The most bytes that such a case stores."""

RATE = "messages/s"
TIME = "ms"
SPACE = "MB"
MEMORY = "KiB"
BYTES = "bytes"
PROCESSOR_TIME = "µs"


def random_payload(size: int) -> bytes:
    """Bytes that cannot be compressed."""
    return os.urandom(size)


def batch_of(job: Job) -> list[bytes]:
    """The payloads of a batch."""
    return [random_payload(job.payload_bytes)] * job.batch


async def fill(queue: Queue, job: Job) -> int:
    """Stores messages for a case that empties a store; returns how many."""
    most = ONE_BY_ONE if job.batch == 1 else IN_BATCHES
    count = min(most, FILL_BYTES // job.payload_bytes)
    payload = random_payload(job.payload_bytes)
    for left in range(count, 0, -100):
        await queue.store_many([payload] * min(left, 100))
    return count


async def claim_all(queue: Queue, count: int) -> list[Any]:
    """Claims exactly that many."""
    claimed: list[Any] = []
    while len(claimed) < count:
        batch = await queue.claim(min(100, count - len(claimed)))
        if not batch:
            raise RuntimeError(f"only {len(claimed)} of {count} messages could be claimed")
        claimed.extend(batch)
    return claimed


def expect_all(claimed: Sequence[object], wanted: int) -> None:
    if len(claimed) != wanted:
        raise RuntimeError(f"{len(claimed)} messages were handed out, not {wanted}")
