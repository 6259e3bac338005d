"""``dedupe_for``: an id that stays known for a while, whatever happens to its message."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import NewMessage
from .._expect import expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check
from .nack import CLOCK_SLACK

LONG = 600.0
SHORT = 0.3


async def _repeat(mailbox: Mailbox, message_id: UUID, when: str) -> None:
    """A repeat stores nothing, with or without the option, and gets the id."""
    before = (await mailbox.status()).queued_messages
    expect_equal(await mailbox.enqueue(b"", b"again", message_id=message_id), message_id, f"the id {when}")
    repeated = await mailbox.enqueue(b"", b"again", message_id=message_id, dedupe_for=LONG)
    expect_equal(repeated, message_id, f"the id {when}, with dedupe_for")
    expect_equal((await mailbox.status()).queued_messages, before, f"queued messages {when}")


@check(Capability.DEDUPE)
async def check_id_stays_known_after_the_ack(sandbox: Sandbox) -> None:
    """While its id is known, an acknowledged message is not stored again by any handle."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    message_id = uuid4()
    stored = await mailbox.enqueue(b"sender", b"once", message_id=message_id, dedupe_for=timedelta(minutes=10))
    expect_equal(stored, message_id, "the id")
    await _repeat(other, message_id, "while it is queued")
    [record] = await mailbox.dequeue()
    await _repeat(other, message_id, "while it is inflight")
    await mailbox.ack(record.id)
    await _repeat(other, message_id, "after its ack")
    await _repeat(await sandbox.open(), message_id, "for a handle that is opened later")
    expect_equal(await drain(other), [], "what is handed out")


@check(Capability.DEDUPE, Capability.PURGE, Capability.DEAD_LETTERS)
async def check_id_stays_known_whatever_happens(sandbox: Sandbox) -> None:
    """The same goes for one that was purged, or discarded as a dead letter."""
    mailbox = await sandbox.open()
    purged, discarded = uuid4(), uuid4()
    await mailbox.enqueue(b"", b"discarded", message_id=discarded, dedupe_for=LONG)
    await drain(mailbox)
    await mailbox.dead_letter(discarded, "reason")
    await mailbox.discard(discarded)
    await mailbox.enqueue(b"", b"purged", message_id=purged, dedupe_for=LONG)
    await mailbox.purge()
    await _repeat(mailbox, purged, "after a purge")
    await _repeat(mailbox, discarded, "after a discard")


@check(Capability.DEDUPE)
async def check_id_is_free_when_the_time_is_over(sandbox: Sandbox) -> None:
    """The id is free again that long after the call that stored it: a repeat does not extend the time."""
    mailbox = await sandbox.open()
    message_id = uuid4()
    start = time.time()
    await mailbox.enqueue(b"", b"first", message_id=message_id, dedupe_for=SHORT)
    stored_by = time.time()
    await mailbox.ack(message_id)
    if time.time() < start + SHORT:
        await mailbox.enqueue(b"", b"repeat", message_id=message_id, dedupe_for=LONG)
    await asyncio.sleep(stored_by + SHORT + CLOCK_SLACK - time.time())
    await mailbox.ack(message_id)  # if the machine was so slow that the repeat came too late
    await mailbox.enqueue(b"", b"second", message_id=message_id, dedupe_for=0)
    expect_equal(payloads_of(await drain(mailbox)), [b"second"], "what was stored after the time")
    await mailbox.ack(message_id)
    await mailbox.enqueue(b"", b"third", message_id=message_id)
    expect_equal(payloads_of(await drain(mailbox)), [b"third"], "what was stored after no time at all")


@check(Capability.DEDUPE)
async def check_message_outlives_the_time(sandbox: Sandbox) -> None:
    """A message that is still in the mailbox when the time is over is not stored again."""
    mailbox = await sandbox.open()
    message_id = uuid4()
    await mailbox.enqueue(b"", b"first", message_id=message_id, dedupe_for=0.01)
    await asyncio.sleep(0.01 + CLOCK_SLACK)
    await mailbox.enqueue(b"", b"second", message_id=message_id)
    expect_equal(payloads_of(await drain(mailbox)), [b"first"], "messages")


@check(Capability.DEDUPE)
async def check_ids_without_the_option_are_free_at_once(sandbox: Sandbox) -> None:
    """Other ids of the mailbox are free after their ack, and so is a known id in another mailbox."""
    mailbox, other = await sandbox.open(), await sandbox.open("other")
    known, free = uuid4(), uuid4()
    await mailbox.enqueue(b"", b"known", message_id=known, dedupe_for=LONG)
    for payload in numbered(2):
        await mailbox.enqueue(b"", payload, message_id=free)
        await mailbox.ack(free)
    await mailbox.enqueue(b"", b"m2", message_id=free)
    await other.enqueue(b"", b"other", message_id=known)
    expect_equal(payloads_of(await drain(mailbox)), [b"known", b"m2"], "messages of the mailbox")
    expect_equal(payloads_of(await drain(other)), [b"other"], "messages of another mailbox")


@check(Capability.DEDUPE, Capability.ENQUEUE_MANY)
async def check_known_ids_in_a_batch(sandbox: Sandbox) -> None:
    """In a batch, known ids are skipped and the others are stored, even if one comes twice."""
    mailbox = await sandbox.open()
    ids = [uuid4() for _ in range(3)]
    await mailbox.enqueue(b"", b"first", message_id=ids[0], dedupe_for=LONG)
    await mailbox.ack(ids[0])
    batch = [NewMessage(b"", b"%d" % n, message_id=one, dedupe_for=LONG) for n, one in enumerate([*ids, ids[1]])]
    expect_equal(await mailbox.enqueue_many(batch), [*ids, ids[1]], "ids")
    expect_equal(payloads_of(await drain(mailbox)), [b"1", b"2"], "messages")
    expect_equal(await mailbox.ack_many(ids), 2, "acknowledged messages")
    await mailbox.enqueue_many(batch)
    expect_equal(await drain(mailbox), [], "what a repeated batch stored")


@check(Capability.DEDUPE, Capability.ACK_AND_SEND)
async def check_known_ids_of_sends(sandbox: Sandbox) -> None:
    """A send with a known id stores nothing, but the acknowledgement counts."""
    mailbox, target = await sandbox.open(), await sandbox.open("target")
    await send(mailbox, numbered(2))
    message = NewMessage(b"", b"sent", message_id=uuid4(), dedupe_for=LONG)
    for record in await drain(mailbox):
        expect_equal(await mailbox.ack_and_send(record.id, [(target, message)]), True, "ack_and_send")
        for sent in await drain(target):
            await target.ack(sent.id)
    expect_equal((await target.status()).ever_queued, 1, "messages that ever came into the target")


@check(Capability.DEDUPE, Capability.ACK_AND_SEND)
async def check_message_with_a_known_id_may_go_on_under_it(sandbox: Sandbox) -> None:
    """A message's holder can send it on to its own mailbox while its id is known; for all others the id stays known."""
    mailbox = await sandbox.open()
    message_id = uuid4()
    await mailbox.enqueue(b"", b"step 0", message_id=message_id, dedupe_for=LONG)
    for step in range(1, 4):
        [record] = await mailbox.dequeue()
        expect_equal(record.payload, b"step %d" % (step - 1), "payload")
        # the second one is a repeat, and a shorter time does not free the id earlier
        again = [NewMessage(b"", b"step %d" % n, message_id=message_id, dedupe_for=0.001) for n in (step, 9)]
        sent = await mailbox.ack_and_send(message_id, [(mailbox, message) for message in again])
        expect_equal(sent, True, "ack_and_send")
    await asyncio.sleep(0.01)
    expect_equal(payloads_of(await mailbox.dequeue()), [b"step 3"], "payloads at last")
    await mailbox.ack(message_id)
    await _repeat(mailbox, message_id, "after its ack")
    expect_equal((await mailbox.status()).ever_queued, 4, "messages that ever came")


@check(Capability.DEDUPE, Capability.DEPTH_OBSERVER)
async def check_repeat_tells_no_observer(sandbox: Sandbox) -> None:
    """A call that stores nothing because its id is known is not reported to the observer."""
    mailbox = await sandbox.open()
    message_id = uuid4()
    await mailbox.enqueue(b"", b"", message_id=message_id, dedupe_for=LONG)
    await mailbox.ack(message_id)
    depths: list[int] = []

    class Observer:
        def on_depth_change(self, queued_messages: int) -> None:
            depths.append(queued_messages)

    mailbox.set_depth_observer(Observer())
    await mailbox.enqueue(b"", b"", message_id=message_id)
    expect_equal(depths, [], "what the observer was told")
    mailbox.set_depth_observer(None)


@check(Capability.DEDUPE)
async def check_many_ids_run_out(sandbox: Sandbox) -> None:
    """Ids whose time is over are forgotten as new ones arrive, and all the new ones are known."""
    mailbox = await sandbox.open()
    for _ in range(120):
        await mailbox.enqueue(b"", b"", message_id=uuid4(), dedupe_for=0.001)
    await asyncio.sleep(0.001 + CLOCK_SLACK)
    ids = [uuid4() for _ in range(5)]
    for message_id in ids:
        await mailbox.enqueue(b"", b"", message_id=message_id, dedupe_for=LONG)
    while records := await mailbox.dequeue():
        for record in records:
            await mailbox.ack(record.id)
    for message_id in ids:
        await _repeat(mailbox, message_id, "after others ran out")


@check(Capability.DEDUPE)
async def check_bad_dedupe_for_is_refused(sandbox: Sandbox) -> None:
    """``dedupe_for`` that is not a time, or comes without a ``message_id``, is refused by name; nothing is stored."""
    mailbox = await sandbox.open()
    bad: list[Any] = [-1, math.nan, math.inf, "1", True, timedelta(seconds=-1), 4e9]
    for value in bad:
        await expect_error(
            (TypeError, ValueError),
            lambda value=value: mailbox.enqueue(b"", b"", message_id=uuid4(), dedupe_for=value),
            naming="dedupe_for",
            what=f"dedupe_for={value!r}",
        )
    await expect_error(
        ValueError, lambda: mailbox.enqueue(b"", b"", dedupe_for=1), naming="message_id", what="without a message_id"
    )
    expect_equal((await mailbox.status()).queued_messages, 0, "queued messages")
