"""Gone holders: what they held comes back, and a message that kills its consumers is found out."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from typing import Any
from uuid import uuid4

from ...contract.capabilities import Capability
from ...contract.limits import LARGEST_MESSAGE
from ...contract.mailbox import Mailbox
from ...contract.values import MessagePriority, MessageRecord
from .._expect import eventually, expect, expect_equal, expect_no_repeats
from .._sandbox import Sandbox, drain, numbered, payloads_of, recover_until, send
from .._suite import check

HIGH = MessagePriority.HIGH

_LONG_QUEUE = 2000
"""Messages, at most one every 10 milliseconds."""


async def _counts(mailbox: Mailbox) -> tuple[int, int, int]:
    """Queued, inflight and dead."""
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages, stats.dead_letters


async def _take(mailbox: Mailbox) -> list[MessageRecord]:
    return await mailbox.dequeue()


async def _batches(mailbox: Mailbox) -> list[list[bytes]]:
    """The payloads of each batch until nothing is left; everything stays inflight."""
    batches = []
    while batch := await mailbox.dequeue():
        batches.append(payloads_of(batch))
    return batches


@check(Capability.RECOVER)
async def check_messages_of_a_dead_holder_come_back(sandbox: Sandbox) -> None:
    """What a holder had when it died is queued again, at its old place and with its old priority."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(3))
    await send(mailbox, numbered(2, "high"), priority=HIGH)
    taken = await sandbox.die_after(drain)
    expect_equal(len(taken), 5, "messages that the holder had")
    await send(mailbox, numbered(1, "later"))
    await send(mailbox, numbered(1, "later high"), priority=HIGH)
    await recover_until(mailbox)
    expect_equal(await _counts(mailbox), (7, 0, 0), "queued, inflight and dead messages")
    wanted = [b"high0", b"high1", b"later high0", *numbered(3), b"later0"]
    records = await drain(mailbox)
    expect_equal(payloads_of(records), wanted, "payloads")
    expect_equal({r.id for r in taken} - {r.id for r in records}, set(), "ids that did not come back")
    expect_equal([await mailbox.ack(record.id) for record in records], [True] * 7, "acks")


@check(Capability.RECOVER)
async def check_recovered_message_comes_in_a_batch_of_its_own(sandbox: Sandbox) -> None:
    """What a dead holder had is handed out one by one, so that a message that kills its consumer is found out."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2, "high"), priority=HIGH)
    await send(mailbox, numbered(3))
    await sandbox.die_after(_take)
    await send(mailbox, numbered(2, "later high"), priority=HIGH)
    await send(mailbox, numbered(2, "later"))
    await recover_until(mailbox)
    wanted = [[b"high0"], [b"high1"], numbered(2, "later high"), [b"m0"], [b"m1"], [b"m2"], numbered(2, "later")]
    expect_equal(await _batches(mailbox), wanted, "batches")


@check(Capability.RECOVER)
async def check_death_counts_as_a_delivery(sandbox: Sandbox) -> None:
    """The hand-out to a holder that died still counts in ``delivery_count``."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    for number in range(1, 4):
        taken = await sandbox.die_after(drain)
        expect_equal([record.delivery_count for record in taken], [number] * 2, "delivery counts")
        await recover_until(mailbox)
    expect_equal([record.delivery_count for record in await drain(mailbox)], [4, 4], "delivery counts at last")


@check(Capability.RECOVER, Capability.DEAD_LETTERS)
async def check_neighbours_are_not_blamed(sandbox: Sandbox) -> None:
    """A death is not a failed delivery for messages that were handed out together."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(3))
    await sandbox.die_after(_take, max_deliveries=1)
    await recover_until(mailbox)
    expect_equal(await _counts(mailbox), (3, 0, 0), "queued, inflight and dead messages")


@check(Capability.RECOVER, Capability.DEAD_LETTERS)
async def check_rest_of_a_batch_is_not_blamed(sandbox: Sandbox) -> None:
    """The last unacked message of a batch does not count as handed out alone."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(3))

    async def ack_all_but_one(holder: Mailbox) -> None:
        for record in (await holder.dequeue())[:2]:
            await holder.ack(record.id)

    await sandbox.die_after(ack_all_but_one, max_deliveries=1)
    await recover_until(mailbox)
    expect_equal(await _counts(mailbox), (1, 0, 0), "queued, inflight and dead messages")


@check(Capability.RECOVER, Capability.DEAD_LETTERS)
async def check_death_is_a_failed_delivery_of_one_alone(sandbox: Sandbox) -> None:
    """After ``max_deliveries`` deaths a message that was handed out alone is a dead letter that says why."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    # first together, so neither is blamed, and then each time alone
    for number in range(1, 4):
        expect_equal(await _counts(mailbox), (2, 0, 0), "queued, inflight and dead messages")
        taken = await sandbox.die_after(_take, max_deliveries=2)
        expect_equal(payloads_of(taken), numbered(2) if number == 1 else [b"m0"], "payloads of the batch")
        await recover_until(mailbox)
    expect_equal(await _counts(mailbox), (1, 0, 1), "queued, inflight and dead messages")
    [letter] = await mailbox.dead_letters()
    expect_equal((letter.record.payload, letter.record.delivery_count), (b"m0", 3), "the dead letter")
    expect("died" in letter.reason, f"the reason does not say that its holder died: {letter.reason!r}")
    expect_equal(payloads_of(await drain(mailbox)), [b"m1"], "payloads")


@check(Capability.RECOVER, Capability.DEAD_LETTERS, Capability.NACK)
async def check_deaths_and_nacks_add_up(sandbox: Sandbox) -> None:
    """Solo deaths and nacks count together, and a dead letter after a death has the last ``error`` of a ``nack``."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload")
    for number in range(3):
        [record] = await mailbox.dequeue()
        await mailbox.nack(record.id, error=f"error {number}")
    await sandbox.die_after(_take, max_deliveries=5)
    await recover_until(mailbox)
    expect_equal(await _counts(mailbox), (1, 0, 0), "queued, inflight and dead messages after 4 failures")
    await sandbox.die_after(_take, max_deliveries=5)
    await recover_until(mailbox)
    expect_equal(await _counts(mailbox), (0, 0, 1), "queued, inflight and dead messages after 5 failures")
    expect_equal((await mailbox.dead_letters())[0].error, "error 2", "error of the dead letter")


@check(Capability.RECOVER, Capability.DEAD_LETTERS)
async def check_max_deliveries_of_the_dead_holder_decides(sandbox: Sandbox) -> None:
    """The ``max_deliveries`` of the handle that died decides, not that of the one that recovers."""
    strict = await sandbox.open(max_deliveries=1)
    await strict.enqueue(b"sender", b"payload")
    for _ in range(3):
        await sandbox.die_after(_take)
        await recover_until(strict)
        expect_equal(await _counts(strict), (1, 0, 0), "queued, inflight and dead messages, without a limit")
    patient = await sandbox.open()
    await sandbox.die_after(_take, max_deliveries=1)
    await recover_until(patient)
    expect_equal(await _counts(strict), (0, 0, 1), "queued, inflight and dead messages, beyond the limit")


@check(Capability.RECOVER, Capability.DEAD_LETTERS)
async def check_message_alone_for_its_size_is_blamed(sandbox: Sandbox) -> None:
    """A message that was alone because the next did not fit into its batch counts as handed out alone."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"", b"alone")
    await mailbox.enqueue(b"", bytes(LARGEST_MESSAGE))

    async def take(holder: Mailbox) -> int:
        return len(await holder.dequeue())

    expect_equal(await sandbox.die_after(take, max_deliveries=1), 1, "messages in a batch that has no room for two")
    await recover_until(mailbox)
    expect_equal(await _counts(mailbox), (1, 0, 1), "queued, inflight and dead messages")


@check(Capability.RECOVER, Capability.NACK)
async def check_nacked_message_is_no_suspect_any_more(sandbox: Sandbox) -> None:
    """A recovered message that its next holder nacked is handed out with others again."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    await sandbox.die_after(_take)
    await recover_until(mailbox)
    for record in [*await mailbox.dequeue(), *await mailbox.dequeue()]:
        await mailbox.nack(record.id)
    await send(mailbox, numbered(1, "later"))
    expect_equal(await _batches(mailbox), [[b"m0", b"m1", b"later0"]], "batches")


@check(Capability.RECOVER, Capability.RELEASE)
async def check_released_suspect_is_a_suspect_still(sandbox: Sandbox) -> None:
    """A recovered message that was only released counts as never handed out: it comes alone again."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    await sandbox.die_after(_take)
    await recover_until(mailbox)
    holder = await sandbox.open()
    await drain(holder)
    await holder.close()
    await send(mailbox, numbered(1, "later"))
    expect_equal(await _batches(mailbox), [[b"m0"], [b"m1"], [b"later0"]], "batches")


@check(Capability.RECOVER)
async def check_recover_says_how_many(sandbox: Sandbox) -> None:
    """``recover`` returns how many messages it brought back: 0 if nobody has died or others were quicker."""
    mailbox, living = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(2, "living"))
    await drain(living)
    expect_equal(await mailbox.recover(), 0, "messages recovered before any death")
    await send(mailbox, numbered(5))
    await sandbox.die_after(_take)
    # all at once, or none if the mailbox has recovered by itself
    recovered = await recover_until(mailbox, inflight=2)
    expect(recovered in (0, 5), f"{recovered} of 5 messages were recovered")
    expect_equal(await mailbox.recover(), 0, "messages recovered once more")


@check(Capability.RECOVER)
async def check_recovery_when_a_handle_is_opened(sandbox: Sandbox) -> None:
    """Opening a handle brings back what dead holders had, without a call to ``recover``."""
    await send(await sandbox.open(), numbered(3))
    await sandbox.die_after(_take)

    async def queued() -> int:
        handle = await sandbox.open()
        return (await handle.status()).queued_messages

    await eventually(queued, 3, "queued messages, seen by a handle that was opened after the death")


@check(Capability.RECOVER)
async def check_recovery_by_a_dequeue(sandbox: Sandbox) -> None:
    """A dequeue that finds too little brings back what dead holders had, without a call to ``recover``."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(3))
    await sandbox.die_after(_take)
    taken: list[bytes] = []

    async def look() -> list[bytes]:
        taken.extend(payloads_of(await mailbox.dequeue()))
        return taken

    await eventually(look, numbered(3), "payloads of dequeues after the death")


@check(Capability.RECOVER, needs_limit=True)
async def check_recovery_while_the_queue_is_long(sandbox: Sandbox) -> None:
    """What a dead holder had comes back even if each dequeue finds everything that it asks for."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"urgent", priority=HIGH)
    await sandbox.die_after(_take)
    await send(mailbox, numbered(3))
    for _ in range(_LONG_QUEUE):
        [record] = await mailbox.dequeue(1)
        await mailbox.ack(record.id)
        if record.payload == b"urgent":
            break
        await mailbox.enqueue(b"sender", b"another")
        await asyncio.sleep(0.01)
    else:
        raise AssertionError(f"{_LONG_QUEUE} messages came before the urgent one that a dead holder had")
    expect_equal((await mailbox.status()).queued_messages, 3, "messages behind the one that came back")


@check(Capability.RECOVER, Capability.WAIT)
async def check_recovery_while_waiting(sandbox: Sandbox) -> None:
    """A dequeue that waits returns when a holder dies and its messages come back."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    waiting: list[asyncio.Future[list[MessageRecord]]] = []

    async def take_while_another_waits(holder: Mailbox) -> None:
        expect_equal(payloads_of(await holder.dequeue()), numbered(2), "payloads of the holder")
        waiting.append(asyncio.ensure_future(mailbox.dequeue(wait=math.inf)))
        await asyncio.sleep(0.05)
        expect(not waiting[0].done(), "the dequeue got what a live holder has")

    await sandbox.die_after(take_while_another_waits)
    expect_equal(payloads_of(await waiting[0]), [b"m0"], "payloads of the one that waited")
    expect_equal(payloads_of(await mailbox.dequeue(wait=60)), [b"m1"], "payloads of its next dequeue")


@check(Capability.RECOVER)
async def check_live_holder_loses_nothing(sandbox: Sandbox) -> None:
    """However many handles are opened, closed, die, recover and dequeue, what a living holder has stays with it."""
    holder = await sandbox.open(lease=0.05)
    await send(holder, numbered(5))
    held = await drain(holder)
    for _ in range(3):
        other = await sandbox.open()
        expect_equal(await other.recover(), 0, "messages recovered from a live holder")
        expect_equal(await other.dequeue(wait=0.05), [], "messages taken from a live holder")
        await sandbox.die_after(_take)
        await other.close()
    expect_equal(await holder.recover(), 0, "messages that it recovered from itself")
    expect_equal((await holder.status()).inflight_messages, 5, "inflight messages")
    expect_equal([record.delivery_count for record in held], [1] * 5, "delivery counts")
    expect_equal([await holder.ack(record.id) for record in held], [True] * 5, "acks")


@check(Capability.RECOVER)
async def check_handles_race_to_recover(sandbox: Sandbox) -> None:
    """Handles that recover and dequeue at once bring each message back once and hand it out once."""
    handles = [await sandbox.open() for _ in range(3)]
    for _ in range(3):
        await send(handles[0], numbered(20))
        await sandbox.die_after(_take)
        payloads: list[bytes] = []
        recovered = 0

        async def look(payloads: list[bytes] = payloads) -> int:
            nonlocal recovered
            recovered += sum(await asyncio.gather(*(handle.recover() for handle in handles)))
            batches = await asyncio.gather(*(handle.dequeue() for handle in handles for _ in range(3)))
            for record in [record for batch in batches for record in batch]:
                payloads.append(record.payload)
                await handles[0].ack(record.id)
            return len(payloads)

        await eventually(look, 20, "messages handed out again")
        expect_no_repeats(payloads, "payloads")
        expect(recovered <= 20, f"{recovered} of 20 messages were recovered")
        expect_equal(await _counts(handles[0]), (0, 0, 0), "queued, inflight and dead messages")


@check(Capability.RECOVER)
async def check_acks_around_a_death(sandbox: Sandbox) -> None:
    """What was acked before its holder's death stays gone; a later ``ack`` counts, whether or not it came back."""
    mailbox = await sandbox.open()
    ids = [await mailbox.enqueue(b"sender", payload) for payload in numbered(4)]

    async def take_and_ack_one(holder: Mailbox) -> None:
        await holder.dequeue()
        await holder.ack(ids[0])

    await sandbox.die_after(take_and_ack_one)
    expect_equal(await mailbox.ack(ids[1]), True, "ack just after the death")
    await recover_until(mailbox)
    expect_equal(await mailbox.ack(ids[2]), True, "ack after the recovery")
    expect_equal(payloads_of(await drain(mailbox)), [b"m3"], "payloads")
    expect_equal([await mailbox.ack(message_id) for message_id in ids], [False] * 3 + [True], "acks once more")


@check(Capability.RECOVER, Capability.NACK)
async def check_new_handle_is_another_holder(sandbox: Sandbox) -> None:
    """A handle that is opened after a death does not hold what the dead one had."""
    await (await sandbox.open()).enqueue(b"sender", b"payload")
    [record] = await sandbox.die_after(_take)
    mailbox = await sandbox.open()
    expect_equal(await mailbox.nack(record.id), False, "nack of what the dead handle had")
    await recover_until(mailbox)
    expect_equal(await mailbox.nack(record.id), False, "nack after the recovery")
    expect_equal([r.delivery_count for r in await mailbox.dequeue()], [2], "delivery counts")


@check(Capability.RECOVER, Capability.MESSAGE_ID)
async def check_id_is_known_after_a_death(sandbox: Sandbox) -> None:
    """The id of a message whose holder died stores nothing again, before and after the recovery."""
    mailbox = await sandbox.open()
    message_id = uuid4()
    await mailbox.enqueue(b"sender", b"payload", message_id=message_id)
    await sandbox.die_after(_take)
    await mailbox.enqueue(b"sender", b"again", message_id=message_id)
    await recover_until(mailbox)
    await mailbox.enqueue(b"sender", b"again", message_id=message_id)
    expect_equal(payloads_of(await drain(mailbox)), [b"payload"], "payloads")


@check(Capability.RECOVER)
async def check_deaths_in_other_mailboxes_do_not_matter(sandbox: Sandbox) -> None:
    """A death in one mailbox changes nothing in another of the same database."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    await send(here, numbered(2, "here"))
    await send(there, numbered(2, "there"))
    held = await drain(there)
    await sandbox.die_after(_take, "here")
    await recover_until(here)
    expect_equal(await there.recover(), 0, "messages recovered in the other mailbox")
    expect_equal(await _counts(there), (0, 2, 0), "queued, inflight and dead messages of the other mailbox")
    expect_equal([await there.ack(record.id) for record in held], [True, True], "acks in the other mailbox")


@check(Capability.RECOVER)
async def check_many_messages_come_back_in_order(sandbox: Sandbox) -> None:
    """Hundreds of messages of several dead holders come back in order, each once."""
    mailbox = await sandbox.open()
    for first in range(0, 120, 40):
        await send(mailbox, numbered(120)[first : first + 40])
        await sandbox.die_after(drain)
    await recover_until(mailbox)
    expect_equal(payloads_of(await drain(mailbox)), numbered(120), "payloads")


@check(Capability.RECOVER)
async def check_handle_of_a_closed_loop_is_gone(sandbox: Sandbox) -> None:
    """What a handle held comes back after its event loop was closed, even if the handle is still referred to."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    if sys.platform == "emscripten":
        return  # there is only one event loop, and it is never closed
    left = [await _take_in_another_loop(sandbox)]
    await recover_until(mailbox)
    expect_equal(payloads_of(await drain(mailbox)), numbered(2), "payloads")
    await sandbox.let_be_collected(left)


@check(Capability.RECOVER, Capability.RELEASE)
async def check_handle_of_a_closed_loop_has_released(sandbox: Sandbox) -> None:
    """The end of an event loop is not a death: what its handles held is as if it had not been handed out."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload")
    if sys.platform == "emscripten":
        return  # there is only one event loop, and it is never closed
    limited: dict[str, Any] = {"max_deliveries": 1} if Capability.DEAD_LETTERS in mailbox.capabilities else {}
    left = [await _take_in_another_loop(sandbox, **limited)]
    await recover_until(mailbox)
    await _expect_released(mailbox)
    await sandbox.let_be_collected(left)


@check(Capability.RECOVER, Capability.RELEASE)
async def check_collected_handle_has_released(sandbox: Sandbox) -> None:
    """A handle that is collected unclosed gives back what it held, as ``close`` does, with a ``ResourceWarning``."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload")
    limited: dict[str, Any] = {"max_deliveries": 1} if Capability.DEAD_LETTERS in mailbox.capabilities else {}
    left = [await sandbox.open(**limited)]
    expect_equal(len(await left[0].dequeue()), 1, "messages in the batch")
    await sandbox.let_be_collected(left)
    await recover_until(mailbox)
    await _expect_released(mailbox)


@check(Capability.RECOVER, Capability.RELEASE)
async def check_collected_handle_blames_no_batch(sandbox: Sandbox) -> None:
    """A batch that a collected handle held is handed out in a batch again, at its old place."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(3))
    left = [await sandbox.open()]
    await left[0].dequeue()
    await send(mailbox, numbered(1, "later"))
    await sandbox.let_be_collected(left)
    await recover_until(mailbox)
    expect_equal(await _batches(mailbox), [[*numbered(3), b"later0"]], "batches")


async def _expect_released(mailbox: Mailbox) -> None:
    """Of one message."""
    expect_equal(await _counts(mailbox), (1, 0, 0), "queued, inflight and dead messages")
    expect_equal([record.delivery_count for record in await mailbox.dequeue()], [1], "delivery counts")


async def _take_in_another_loop(sandbox: Sandbox, **options: Any) -> Mailbox:
    """A handle that has taken a batch in an event loop that was then closed."""
    left: list[Mailbox] = []

    async def take() -> None:
        left.append(await sandbox.open(**options))
        await left[0].dequeue()

    thread = threading.Thread(target=lambda: asyncio.run(take()))
    thread.start()
    await asyncio.to_thread(thread.join)
    return left.pop()
