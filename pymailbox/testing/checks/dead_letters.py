"""Dead letters: messages given up with a reason, and kept until somebody decides."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import DeadLetter, MailboxStats, MessagePriority, MessageRecord
from .._expect import expect, expect_equal
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check

HIGH = MessagePriority.HIGH


async def _counts(mailbox: Mailbox) -> tuple[int, int, int]:
    """Queued, inflight and dead."""
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages, stats.dead_letters


async def _take(mailbox: Mailbox) -> MessageRecord:
    """The next message, which has to come alone."""
    records = await mailbox.dequeue()
    expect_equal(len(records), 1, "messages handed out")
    return records[0]


async def _only_letter(mailbox: Mailbox) -> DeadLetter:
    letters = await mailbox.dead_letters()
    expect_equal(len(letters), 1, "dead letters")
    return letters[0]


async def _kill(mailbox: Mailbox, payload: bytes = b"payload", **arguments: object) -> UUID:
    """Enqueues a message and makes it a dead letter."""
    await send(mailbox, [payload], **arguments)
    record = await _take(mailbox)
    await mailbox.dead_letter(record.id, "on purpose")
    return record.id


@check(Capability.DEAD_LETTERS)
async def check_no_dead_letters_in_a_new_mailbox(sandbox: Sandbox) -> None:
    """An empty mailbox has no dead letters, and says so."""
    mailbox = await sandbox.open()
    expect_equal(await mailbox.dead_letters(), [], "dead letters")
    expect_equal(await _counts(mailbox), (0, 0, 0), "queued, inflight and dead messages")


@check(Capability.DEAD_LETTERS)
async def check_dead_letter_says_what_and_why(sandbox: Sandbox) -> None:
    """A dead letter has the record as it was handed out, the reason, and the time of death."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"alice", b"\x00payload", HIGH)
    record = await _take(mailbox)
    reason = "no such account: Zoë, 50 €, 🙃\n" + "x" * 3000
    before = datetime.now(UTC)
    expect(await mailbox.dead_letter(record.id, reason) is True, "dead_letter is not True")
    after = datetime.now(UTC)
    letter = await _only_letter(mailbox)
    expect_equal(letter.record, record, "record")
    expect_equal((letter.reason, letter.error), (reason, None), "reason and error")
    expect_equal(letter.died_at.utcoffset(), timedelta(0), "offset of died_at")
    slack = timedelta(milliseconds=20)
    expect(before - slack <= letter.died_at <= after + slack, f"died_at is {letter.died_at}, it was {before}")
    expect_equal(DeadLetter.from_dict(letter.to_dict()), letter, "the letter, there and back")


@check(Capability.DEAD_LETTERS)
async def check_dead_letters_are_not_handed_out(sandbox: Sandbox) -> None:
    """A dead letter is neither queued nor inflight, is not shown by ``peek`` and not deleted by ``purge``."""
    mailbox = await sandbox.open()
    await _kill(mailbox)
    await mailbox.enqueue(b"sender", b"other")
    expect_equal(await _counts(mailbox), (1, 0, 1), "queued, inflight and dead messages")
    if Capability.PEEK in mailbox.capabilities:
        expect_equal(payloads_of(await mailbox.peek()), [b"other"], "payloads that peek shows")
    if Capability.PURGE in mailbox.capabilities:
        expect_equal(await mailbox.purge(), 1, "messages that purge deleted")
    else:
        expect_equal(payloads_of(await drain(mailbox)), [b"other"], "payloads")
    expect_equal(await mailbox.dequeue(), [], "what is handed out")
    expect_equal((await mailbox.status()).dead_letters, 1, "dead letters")


@check(Capability.DEAD_LETTERS)
async def check_dead_letter_of_what_is_not_held_is_false(sandbox: Sandbox) -> None:
    """``dead_letter`` of a message that is queued, held by another handle, acked, dead or unknown is False."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    dead = await _kill(mailbox)
    await mailbox.enqueue(b"sender", b"acked")
    acked = await _take(mailbox)
    await mailbox.ack(acked.id)
    await mailbox.enqueue(b"sender", b"another's")
    others = await _take(other)
    queued = await mailbox.enqueue(b"sender", b"queued")
    for message_id in (dead, acked.id, others.id, queued, uuid4()):
        expect(await mailbox.dead_letter(message_id, "no") is False, "dead_letter of what is not held is not False")
    expect_equal(await _counts(mailbox), (1, 1, 1), "queued, inflight and dead messages")
    expect_equal((await _only_letter(mailbox)).reason, "on purpose", "reason of the one that was dead before")
    expect_equal(await other.ack(others.id), True, "ack of the other handle's message")


@check(Capability.DEAD_LETTERS)
async def check_newest_dead_letter_comes_first(sandbox: Sandbox) -> None:
    """``dead_letters`` gives the newest first: up to its limit, or a batch without one."""
    mailbox, small = await sandbox.open(), await sandbox.open(batch_size=5)
    await send(mailbox, numbered(40))
    records = await drain(mailbox)
    for record in reversed(records[:20]):
        await mailbox.dead_letter(record.id, "on purpose")
    for record in records[20:]:
        await mailbox.dead_letter(record.id, "on purpose")
    newest_first = [*reversed(records[20:]), *records[:20]]
    for handle, limit, size in ((mailbox, None, 32), (small, None, 5), (small, 3, 3), (mailbox, 1000, 40)):
        letters = await handle.dead_letters(limit)
        wanted = payloads_of(newest_first[:size])
        expect_equal([letter.record.payload for letter in letters], wanted, f"payloads with limit={limit}")


@check(Capability.DEAD_LETTERS, Capability.NACK)
async def check_failed_deliveries_make_a_dead_letter(sandbox: Sandbox) -> None:
    """The ``max_deliveries``-th failed delivery makes a message a dead letter that says why."""
    mailbox = await sandbox.open(max_deliveries=3)
    await mailbox.enqueue(b"sender", b"payload")
    for number in range(1, 4):
        expect_equal(await _counts(mailbox), (1, 0, 0), "queued, inflight and dead messages")
        record = await _take(mailbox)
        expect_equal(record.delivery_count, number, "delivery count")
        expect(await mailbox.nack(record.id, error=f"error {number}") is True, "nack is not True")
    expect_equal(await _counts(mailbox), (0, 0, 1), "queued, inflight and dead messages")
    letter = await _only_letter(mailbox)
    expect_equal(letter.record, record, "record")
    expect_equal(letter.error, "error 3", "error")
    expect("3" in letter.reason, f"the reason does not say how often it failed: {letter.reason!r}")
    expect_equal(await mailbox.nack(record.id), False, "nack of the dead letter")


@check(Capability.DEAD_LETTERS, Capability.NACK)
async def check_max_deliveries_is_the_last_holders(sandbox: Sandbox) -> None:
    """The ``max_deliveries`` of the handle that last held the message decides, whatever the others'."""
    patient, strict = await sandbox.open(), await sandbox.open(max_deliveries=2)
    await patient.enqueue(b"sender", b"payload")
    for _ in range(5):
        await patient.nack((await _take(patient)).id)
    expect_equal(await _counts(patient), (1, 0, 0), "queued, inflight, dead after 5 failures without a limit")
    await strict.nack((await _take(strict)).id)
    expect_equal(await _counts(patient), (0, 0, 1), "queued, inflight, dead after one beyond the limit")


@check(Capability.DEAD_LETTERS, Capability.NACK)
async def check_last_error_is_kept(sandbox: Sandbox) -> None:
    """A dead letter has the last ``error`` that a ``nack`` gave, however it died."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload")
    for error in ("first", "second: Zoë, 🙃", None):
        await mailbox.nack((await _take(mailbox)).id, error=error)
    record = await _take(mailbox)
    await mailbox.dead_letter(record.id, "given up")
    letter = await _only_letter(mailbox)
    expect_equal((letter.reason, letter.error), ("given up", "second: Zoë, 🙃"), "reason and error")
    expect_equal(letter.record.delivery_count, 4, "delivery count")


@check(Capability.DEAD_LETTERS, Capability.RELEASE)
async def check_release_is_no_failed_delivery(sandbox: Sandbox) -> None:
    """What a handle gives back when it is closed has not failed, however often that happens."""
    watcher = await sandbox.open()
    await watcher.enqueue(b"sender", b"payload")
    for _ in range(3):
        holder = await sandbox.open(max_deliveries=1)
        await _take(holder)
        await holder.close()
        expect_equal(await _counts(watcher), (1, 0, 0), "queued, inflight and dead messages")


@check(Capability.DEAD_LETTERS)
async def check_redrive_puts_it_at_the_end_as_new(sandbox: Sandbox) -> None:
    """A redriven message is at the end of its priority, with its id, bytes and ``created_at``, as never handed out."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"alice", b"dead", HIGH)
    record = await _take(mailbox)
    await mailbox.dead_letter(record.id, "on purpose")
    await send(mailbox, numbered(1))
    await send(mailbox, numbered(2, "high"), priority=HIGH)
    await asyncio.sleep(0.005)  # so that a new created_at would differ
    expect(await mailbox.redrive(record.id) is True, "redrive is not True")
    expect_equal(await _counts(mailbox), (4, 0, 0), "queued, inflight and dead messages")
    if Capability.PEEK in mailbox.capabilities:
        shown = {shown.id: shown.delivery_count for shown in await mailbox.peek()}
        expect_equal(shown[record.id], 0, "delivery count while it is queued")
    await send(mailbox, [b"later high"], priority=HIGH)
    records = await drain(mailbox)
    expect_equal(payloads_of(records), [b"high0", b"high1", b"dead", b"later high", b"m0"], "payloads")
    expect_equal(records[2], record, "the record, which is handed out for the first time again")
    expect_equal([await mailbox.ack(record.id), await mailbox.ack(record.id)], [True, False], "answers of ack")


@check(Capability.DEAD_LETTERS, Capability.NACK)
async def check_redriven_message_has_no_past(sandbox: Sandbox) -> None:
    """Failures and errors from before a ``redrive`` no longer count."""
    mailbox = await sandbox.open(max_deliveries=2)
    await mailbox.enqueue(b"sender", b"payload")
    message_id = UUID(int=0)
    for _ in range(2):
        for _ in range(2):
            expect_equal(await _counts(mailbox), (1, 0, 0), "queued, inflight and dead messages")
            record = await _take(mailbox)
            message_id = record.id
            await mailbox.nack(message_id, error="an old error")
        expect_equal(await _counts(mailbox), (0, 0, 1), "queued, inflight and dead messages")
        expect_equal(await mailbox.redrive(message_id), True, "redrive")
    record = await _take(mailbox)
    await mailbox.dead_letter(record.id, "on purpose")
    expect_equal((await _only_letter(mailbox)).error, None, "error after a redrive")


@check(Capability.DEAD_LETTERS)
async def check_redrive_and_discard_are_true_once(sandbox: Sandbox) -> None:
    """``redrive`` and ``discard`` of a dead letter are True once; a discarded one is gone for good."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    redriven, discarded = await _kill(mailbox, b"redriven"), await _kill(other, b"discarded")
    answers = await asyncio.gather(mailbox.redrive(redriven), other.redrive(redriven), mailbox.redrive(redriven))
    expect_equal(sorted(answers), [False, False, True], "answers of redrive")
    answers = await asyncio.gather(mailbox.discard(discarded), other.discard(discarded), mailbox.redrive(discarded))
    expect_equal(sorted(answers), [False, False, True], "answers of discard and redrive")
    expect_equal([await mailbox.discard(discarded) for _ in range(2)], [False, False], "discard of a gone message")
    expect_equal(await mailbox.redrive(redriven), False, "redrive of a queued message")
    expect_equal((await mailbox.status()).dead_letters, 0, "dead letters")
    taken = payloads_of(await drain(mailbox))
    expect(taken in ([b"redriven"], [b"redriven", b"discarded"]), f"handed out: {taken}")


@check(Capability.DEAD_LETTERS)
async def check_only_dead_letters_are_redriven_or_discarded(sandbox: Sandbox) -> None:
    """``redrive`` and ``discard`` of a message that is queued, inflight, acked or unknown are False and do nothing."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"acked")
    acked = await _take(mailbox)
    await mailbox.ack(acked.id)
    await mailbox.enqueue(b"sender", b"held")
    held = await _take(mailbox)
    queued = await mailbox.enqueue(b"sender", b"queued")
    for message_id in (acked.id, held.id, queued, uuid4()):
        expect(await mailbox.redrive(message_id) is False, "redrive of what is not dead is not False")
        expect(await mailbox.discard(message_id) is False, "discard of what is not dead is not False")
    expect_equal(await _counts(mailbox), (1, 1, 0), "queued, inflight and dead messages")
    expect_equal(payloads_of(await drain(mailbox)), [b"queued"], "payloads")


@check(Capability.DEAD_LETTERS)
async def check_ack_of_a_dead_letter_is_false(sandbox: Sandbox) -> None:
    """``ack`` of a dead letter is False, and it stays."""
    mailbox = await sandbox.open()
    dead = await _kill(mailbox)
    expect_equal(await mailbox.ack(dead), False, "ack of a dead letter")
    if Capability.ACK_MANY in mailbox.capabilities:
        expect_equal(await mailbox.ack_many([dead]), 0, "ack_many of a dead letter")
    expect_equal(await mailbox.redrive(dead), True, "redrive after the ack")
    expect_equal(payloads_of(await drain(mailbox)), [b"payload"], "payloads")


@check(Capability.DEAD_LETTERS, Capability.MESSAGE_ID)
async def check_id_of_a_dead_letter_is_known(sandbox: Sandbox) -> None:
    """While its message is a dead letter an id stores nothing again; after ``discard`` it is free."""
    mailbox = await sandbox.open()
    given = uuid4()
    ids = [await _kill(mailbox, b"given", message_id=given), await _kill(mailbox, b"made")]
    expect_equal(ids[0], given, "the id that was given")
    for message_id in ids:
        kept = await mailbox.enqueue(b"sender", b"again", message_id=message_id)
        expect_equal((kept, await _counts(mailbox)), (message_id, (0, 0, 2)), "id, and queued, inflight, dead")
    for message_id in ids:
        await mailbox.discard(message_id)
        await mailbox.enqueue(b"sender", b"new", message_id=message_id)
        await mailbox.enqueue(b"sender", b"again", message_id=message_id)
    records = await drain(mailbox)
    expect_equal([(r.id, r.payload, r.delivery_count) for r in records], [(i, b"new", 1) for i in ids], "what came")


@check(Capability.DEAD_LETTERS, Capability.MESSAGE_ID)
async def check_redriven_message_keeps_its_id(sandbox: Sandbox) -> None:
    """After a ``redrive`` the id still stores nothing again until the message is acked."""
    mailbox = await sandbox.open()
    for message_id in (await _kill(mailbox, message_id=uuid4()), await _kill(mailbox)):
        await mailbox.redrive(message_id)
        await mailbox.enqueue(b"sender", b"again", message_id=message_id)
        expect_equal([r.id for r in await drain(mailbox)], [message_id], "ids handed out")
        await mailbox.enqueue(b"sender", b"again", message_id=message_id)
        expect_equal(await mailbox.ack(message_id), True, "ack")
        await mailbox.enqueue(b"sender", b"new", message_id=message_id)
        expect_equal(payloads_of(await drain(mailbox)), [b"new"], "payloads after the ack")
        await mailbox.ack(message_id)


@check(Capability.DEAD_LETTERS)
async def check_dead_letters_survive_reopening(sandbox: Sandbox) -> None:
    """Dead letters outlive the handle that made them, and every handle sees them; other mailboxes do not."""
    first, elsewhere = await sandbox.open(), await sandbox.open("elsewhere")
    dead = await _kill(first)
    letter = await _only_letter(first)
    await first.close()
    second = await sandbox.open()
    expect_equal(await second.dead_letters(), [letter], "dead letters")
    expect_equal(await elsewhere.dead_letters(), [], "dead letters of another mailbox")
    expect_equal(await elsewhere.redrive(dead), False, "redrive in another mailbox")
    expect_equal(await second.redrive(dead), True, "redrive")


@check(Capability.DEAD_LETTERS)
async def check_dead_letter_against_ack(sandbox: Sandbox) -> None:
    """If an ``ack`` and a ``dead_letter`` run at once, one is True, and the counts agree with it."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(6))
    dead = 0
    for number, record in enumerate(await drain(mailbox)):
        calls = [mailbox.ack(record.id), mailbox.dead_letter(record.id, "on purpose")]
        answers = await asyncio.gather(*(calls if number % 2 else reversed(calls)))
        expect_equal(sorted(answers), [False, True], "answers of ack and dead_letter")
        dead += answers[1 if number % 2 else 0]
    expect_equal(await _counts(mailbox), (0, 0, dead), "queued, inflight and dead messages")


@check(Capability.DEAD_LETTERS)
async def check_stats_with_dead_letters_cross_as_json(sandbox: Sandbox) -> None:
    """``MailboxStats`` with dead letters convert to plain data and back without loss."""
    mailbox = await sandbox.open()
    await _kill(mailbox)
    stats = await mailbox.status()
    expect_equal(stats.to_dict()["dead_letters"], 1, "dead letters in to_dict()")
    expect_equal(MailboxStats.from_dict(stats.to_dict()), stats, "the stats, there and back")


@check(Capability.DEAD_LETTERS)
async def check_offset_passes_over_the_newest(sandbox: Sandbox) -> None:
    """``offset`` skips that many of the newest."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(5))
    for record in await drain(mailbox):
        await mailbox.dead_letter(record.id, "reason")
    newest_first = numbered(5)[::-1]
    for offset in range(7):
        letters = await mailbox.dead_letters(offset=offset)
        expect_equal(payloads_of(letter.record for letter in letters), newest_first[offset:], f"from {offset} on")
        two = await mailbox.dead_letters(2, offset=offset)
        expect_equal(
            payloads_of(letter.record for letter in two), newest_first[offset : offset + 2], f"two from {offset} on"
        )
