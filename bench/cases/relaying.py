"""What the cases of relays share."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Sequence
from time import perf_counter
from typing import cast

from bench.cases.common import random_payload
from bench.queues import Competitor, Job, Relaying

MESSAGES = 10_000
"""Of all relays together, in a case that moves them as fast as it can."""

STORING = 1000
LOOK_SECONDS = 0.1
"""How often it is asked whether all have been moved; when they were is known exactly."""

VISIT_LOOK_SECONDS = 0.002

PACED = 200
"""Messages of all relays together, in a case about lag."""

PACE_SECONDS = 0.01
"""From one message to the next, whoever sends it."""

_SENT_AT = struct.Struct("d")


async def move_all(relays: list[Relaying], job: Job) -> float:
    """Stores `MESSAGES` at the sources, as many at each; seconds until all have been moved."""
    each = MESSAGES // len(relays)
    payload = random_payload(job.payload_bytes)
    began = time.time()
    for queue in relays:
        for left in range(each, 0, -STORING):
            await queue.store_many([payload] * min(left, STORING))
    while await _moved(relays) < each * len(relays):  # noqa: ASYNC110  no event tells
        await asyncio.sleep(LOOK_SECONDS)
    return max([(await queue.progress())[1] for queue in relays]) - began


async def _moved(relays: list[Relaying]) -> int:
    return sum([(await queue.progress())[0] for queue in relays])


async def visit(job: Job, competitor: Competitor) -> None:
    """A client opens both ends, sends one message, and closes them."""
    queue = cast(Relaying, await competitor.open(job.durability))
    try:
        await queue.store(random_payload(job.payload_bytes))
        while not (await queue.progress())[0]:  # noqa: ASYNC110  no event tells
            await asyncio.sleep(VISIT_LOOK_SECONDS)
    finally:
        await queue.close()


async def lags(relays: list[Relaying], job: Job) -> list[float]:
    """Milliseconds from the call that stores a message at its source until a consumer at its target has it. Messages
    are sent at a steady pace, by one relay after another."""
    filling = random_payload(job.payload_bytes - _SENT_AT.size)
    received: list[float] = []

    async def receive(queue: Relaying) -> None:
        while True:
            messages = await queue.claim(100)
            now = perf_counter()
            received.extend((now - _SENT_AT.unpack_from(message.payload)[0]) * 1000 for message in messages)
            await queue.ack_many(messages)

    receiving = [asyncio.ensure_future(receive(queue)) for queue in {queue.target: queue for queue in relays}.values()]
    # each way is used once before
    await _send(relays, filling, len(relays))
    await _until_received(received, len(relays), receiving)
    received.clear()
    await _send(relays, filling, PACED)
    await _until_received(received, PACED, receiving)
    for one in receiving:
        one.cancel()
    await asyncio.wait(receiving)
    return received


async def _send(relays: list[Relaying], filling: bytes, count: int) -> None:
    began = perf_counter()
    for number in range(count):
        await asyncio.sleep(began + number * PACE_SECONDS - perf_counter())
        await relays[number % len(relays)].store(_SENT_AT.pack(perf_counter()) + filling)


async def _until_received(received: list[float], count: int, receiving: Sequence[asyncio.Future[None]]) -> None:
    while len(received) < count:
        await asyncio.sleep(LOOK_SECONDS)
        for one in receiving:
            if one.done():
                one.result()
