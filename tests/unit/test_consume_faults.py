"""Actors whose mailbox fails and whose process dies, at random: nothing is lost, and each step happens once."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from random import Random
from uuid import uuid4

import pytest

from pymailbox import Context, MessageRecord, RetryPolicy, open_mailbox
from pymailbox.actors import retrying as storage_module
from pymailbox.testing import Fault, FaultKind, FaultyMailbox, HolderDied

COUNT = 40
KINDS = (FaultKind.LOST_BEFORE, FaultKind.LOST_AFTER, FaultKind.DEATH_BEFORE, FaultKind.DEATH_AFTER)
VERBS = ("dequeue", "ack_many", "ack_and_send", "nack")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_PAUSES", RetryPolicy(first_delay=0.001, longest_delay=0.002))
    monkeypatch.setattr(logging.getLogger("pymailbox"), "disabled", True)


def faults(random: Random, in_order: bool) -> list[Fault]:
    planned = [
        Fault(random.choice(KINDS), verb, nth=random.randrange(1, 6), times=random.randrange(1, 4)) for verb in VERBS
    ]
    if in_order:  # what such a claim took, and it may acknowledge too, stays behind, and later messages overtake it
        claims = "dequeue", "ack_many"
        planned = [fault for fault in planned if fault.verb not in claims or fault.kind is not FaultKind.LOST_AFTER]
    return planned


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("seed", range(25))
async def test_each_message_is_sent_on_once(seed: int, in_order: bool) -> None:
    random = Random(seed)
    inbox, outbox = f"memory://in-{uuid4()}", f"memory://out-{uuid4()}"
    async with open_mailbox(inbox) as mailbox:
        for number in range(COUNT):
            await mailbox.enqueue(b"%d" % (number % 3), b"%d" % number)
    runs = 0

    async def run(target: FaultyMailbox, planned: list[Fault]) -> None:
        source = FaultyMailbox(await open_mailbox(inbox, batch_size=5), planned)
        idle_since = 0

        async def handler(message: MessageRecord, context: Context) -> None:
            nonlocal idle_since
            idle_since = 0
            await asyncio.sleep(0)
            if random.random() < 0.1:
                raise ValueError("on purpose")
            if int(message.payload) % 4:
                context.send(target, message.sender, message.payload)

        policy = RetryPolicy(first_delay=0.001, longest_delay=0.002)
        consumer = source.consume(handler, concurrency=3, ordered_by_sender=in_order, retry=policy)
        task = asyncio.ensure_future(consumer)
        # a claim whose answer was lost leaves messages with the handle until it is closed: nothing more comes
        while not task.done() and idle_since < 20:
            idle_since += 1
            await asyncio.sleep(0.001)
        if not source._dying:  # it would be stopped in the middle of its death
            consumer.stop()
        with suppress(HolderDied):
            await task
        await source.close()

    target = FaultyMailbox(await open_mailbox(outbox))
    async with open_mailbox(inbox) as watcher:
        while (stats := await watcher.status()).queued_messages + stats.inflight_messages:
            runs += 1
            await run(target, faults(random, in_order) if runs < 5 else [])
            await watcher.recover()
    sent = [(record.sender, int(record.payload)) for record in await target.dequeue(10 * COUNT)]
    await target.close()
    assert sorted(number for _, number in sent) == [number for number in range(COUNT) if number % 4]
    if in_order:
        for sender in (b"0", b"1", b"2"):
            own = [number for one, number in sent if one == sender]
            assert own == sorted(own), sent
