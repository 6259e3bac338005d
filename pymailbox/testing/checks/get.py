"""``get``: finds a message, wherever it is."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from ...contract.capabilities import Capability
from ...contract.values import DeadLetter, MessagePriority, MessageRecord, MessageStatus
from .._expect import expect, expect_equal, expect_error
from .._sandbox import Sandbox
from .._suite import check


def _record(found: MessageRecord | DeadLetter | None, when: str) -> MessageRecord:
    if not isinstance(found, MessageRecord):
        raise AssertionError(f"get gave {found!r} {when}")
    return found


@check(Capability.GET, Capability.NACK)
async def check_get_shows_a_message_wherever_it_is(sandbox: Sandbox) -> None:
    """A message is shown while it is queued, inflight and given back, with what is known about it; then it is gone."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    message_id = await mailbox.enqueue(b"sender", b"payload", MessagePriority.HIGH)
    queued = _record(await other.get(message_id), "while it is queued")
    expect_equal((queued.status, queued.delivery_count), (MessageStatus.QUEUED, 0), "status and delivery_count")
    [record] = await mailbox.dequeue()
    expect_equal(await other.get(message_id), record, "what is shown while it is inflight")
    await mailbox.nack(message_id, error="no")
    back = _record(await mailbox.get(message_id), "after a nack")
    expect_equal((back.status, back.delivery_count), (MessageStatus.QUEUED, 1), "status and delivery_count")
    expect_equal((back.sender, back.payload, back.priority), (b"sender", b"payload", MessagePriority.HIGH), "the rest")
    await mailbox.ack(message_id)
    expect_equal(await mailbox.get(message_id), None, "what there is after the ack")


@check(Capability.GET, Capability.MESSAGE_ID)
async def check_get_by_an_id_of_the_senders(sandbox: Sandbox) -> None:
    """The id that its sender gave finds a message; other ids find nothing, nor does this one in another mailbox."""
    mailbox, other = await sandbox.open(), await sandbox.open("other")
    message_id = uuid4()
    await mailbox.enqueue(b"", b"payload", message_id=message_id)
    expect_equal(_record(await mailbox.get(message_id), "by its own id").payload, b"payload", "payload")
    expect_equal(await mailbox.get(uuid4()), None, "what an unknown id gives")
    expect_equal(await other.get(message_id), None, "what the id gives in another mailbox")


@check(Capability.GET, Capability.DEAD_LETTERS, Capability.NACK)
async def check_get_shows_a_dead_letter(sandbox: Sandbox) -> None:
    """A dead letter is shown as by ``dead_letters``, with reason and error; redriven, it is a message again."""
    mailbox = await sandbox.open()
    message_id = await mailbox.enqueue(b"sender", b"payload")
    await mailbox.enqueue(b"", b"another")
    for record in await mailbox.dequeue():
        await mailbox.nack(record.id, error="no")
    for record in await mailbox.dequeue():
        await mailbox.dead_letter(record.id, "reason")
    letters = {letter.record.id: letter for letter in await mailbox.dead_letters()}
    expect_equal(await mailbox.get(message_id), letters[message_id], "the dead letter")
    expect_equal((letters[message_id].reason, letters[message_id].error), ("reason", "no"), "its reason and error")
    await mailbox.redrive(message_id)
    expect_equal(_record(await mailbox.get(message_id), "after a redrive").delivery_count, 0, "delivery_count")
    await mailbox.ack(message_id)
    expect_equal(await mailbox.get(message_id), None, "what there is after the ack")


@check(Capability.GET, Capability.DELAY)
async def check_get_changes_nothing(sandbox: Sandbox) -> None:
    """Looking hands nothing out, and shows when a delayed message is due."""
    mailbox = await sandbox.open()
    now = await mailbox.enqueue(b"", b"now")
    later = await mailbox.enqueue(b"", b"later", delay=timedelta(minutes=10))
    before = await mailbox.status()
    for _ in range(2):
        expect_equal(_record(await mailbox.get(now), "while it is queued").due_at, None, "due_at of what is due")
        delayed = _record(await mailbox.get(later), "while it is delayed")
        expect(delayed.due_at is not None, "due_at is missing")
        if delayed.due_at is not None:
            expect_equal(round((delayed.due_at - delayed.created_at).total_seconds()), 600, "seconds to its due time")
    expect_equal(await mailbox.status(), before, "counts")


@check(Capability.GET)
async def check_id_to_get_must_be_a_uuid(sandbox: Sandbox) -> None:
    """An id that is not a UUID is refused by name."""
    mailbox = await sandbox.open()
    for bad in (str(uuid4()), uuid4().bytes, 0, None):
        await expect_error(TypeError, mailbox.get, bad, naming="message_id", what=f"get({bad!r})")
