"""Runs the cases whose competitors are written in Python, both on CPython and in Pyodide.

`bench/page/session.js` does the same for those in JavaScript.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import json
from collections.abc import Iterator
from typing import Any, cast

from bench.cases.common import random_payload
from bench.queues import Case, Competitor, Job, Queue

MODULES = {
    "huey": "huey_storage",
    "litequeue": "lite_queue",
    "nats-py": "nats_direct",
    "persist-queue": "persist_queue",
    "persist-queue, batched": "persist_queue_batched",
    "pymailbox": "ours",
    "pymailbox, on memory": "ours:ON_MEMORY",
    "with headers": "ours:HEADERS",
    "without await": "without_await",
    "with headers, on memory": "ours:HEADERS_ON_MEMORY",
    "a connection each": "ours_on_servers:APART",
    "a mailbox each": "ours_on_servers:MAILBOX_EACH",
    "a stream each": "ours_on_servers:STREAM_EACH",
    "dequeue, ack": "ours:TWO_CALLS",
    "dequeue, ack, on memory": "ours:TWO_CALLS_ON_MEMORY",
    "dequeue(ack=…)": "ours:ONE_CALL",
    "dequeue(ack=…), on memory": "ours:ONE_CALL_ON_MEMORY",
    "pyscript": "pyscript_storage",
    "relay": "relays:RELAY",
    "relay, a mailbox each": "relays:MAILBOX_EACH",
    "source alone": "relays:SOURCE_ALONE",
    "target alone": "relays:TARGET_ALONE",
}
"""Modules of `bench.competitors`, or parts of one, by the names that the plan uses."""

FILLING = 1000
"""Messages of the backlog that are stored at once."""

WARM_UP = 0.05
"""Seconds that a case runs before it is measured."""

_prepared: dict[str, tuple[list[Queue], Job]] = {}


@contextlib.contextmanager
def replaced(name: str, module: str) -> Iterator[None]:
    """Temporarily puts another module under the plan's name."""
    before, MODULES[name] = MODULES[name], module
    try:
        yield
    finally:
        MODULES[name] = before


async def prepare(name: str, text: str) -> None:
    """Opens a competitor's fresh store and fills it; ``text`` is a job as JSON."""
    job = Job(**json.loads(text))
    competitor = _competitor(name)
    queues = [await competitor.open(job.durability) for _ in range(job.handles)]
    _prepared[name] = queues, job
    payload = random_payload(job.payload_bytes)
    for left in range(job.backlog, 0, -FILLING):
        await queues[0].store_many([payload] * min(left, FILLING))
    if job.seconds > 0:
        await case_named(job.case).measure(queues, dataclasses.replace(job, seconds=WARM_UP), competitor)
    gc.collect()


async def measure(name: str) -> float:
    """One figure, in the case's unit."""
    queues, job = _prepared[name]
    return await case_named(job.case).measure(queues, job, _competitor(name))


async def finish(name: str) -> None:
    """Closes a competitor and deletes its store."""
    queues, _ = _prepared.pop(name)
    for queue in queues:
        await queue.close()
    await _competitor(name).destroy()


def case_named(name: str) -> Case:
    return cast(Case, importlib.import_module(f"bench.cases.{name}"))


def _competitor(name: str) -> Competitor:
    module, _, inside = MODULES[name].partition(":")
    found: Any = importlib.import_module(f"bench.competitors.{module}")
    return cast(Competitor, getattr(found, inside) if inside else found)
