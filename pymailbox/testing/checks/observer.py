"""``set_depth_observer``: exactly one report of each enqueue call, before the call returns."""

from __future__ import annotations

import asyncio
import logging
import math
from uuid import uuid4

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import MessagePriority, NewMessage
from .._expect import eventually, expect, expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, recover_until, send
from .._suite import check


class Recorder:
    """An observer that records its calls."""

    def __init__(self) -> None:
        self.depths: list[int] = []

    def on_depth_change(self, queued_messages: int) -> None:
        self.depths.append(queued_messages)


class _Logged(logging.Handler):
    """Catches what is logged, wherever in the logging tree it begins."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors.append(record.exc_info and record.exc_info[1])


@check(Capability.DEPTH_OBSERVER)
async def check_three_enqueues_make_three_calls(sandbox: Sandbox) -> None:
    """Three enqueues make exactly three calls, the last with 3."""
    mailbox = await sandbox.open()
    recorder = Recorder()
    expect(mailbox.set_depth_observer(recorder) is True, "set_depth_observer did not return True")
    await send(mailbox, numbered(3))
    expect_equal(recorder.depths, [1, 2, 3], "depths")


@check(Capability.DEPTH_OBSERVER, Capability.WAIT, needs_limit=True)
async def check_depth_counts_what_a_waiting_call_takes(sandbox: Sandbox) -> None:
    """The depth is the count just after the call's messages, even if a waiting call takes them at once."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    recorder = Recorder()
    mailbox.set_depth_observer(recorder)
    for handle in (mailbox, other, mailbox):
        waiting = asyncio.ensure_future(handle.dequeue(1, wait=math.inf))
        await asyncio.sleep(0.02)
        await mailbox.enqueue(b"sender", b"payload")
        (record,) = await waiting
        await handle.ack(record.id)
    expect_equal(recorder.depths, [1, 1, 1], "depths")
    waiting = asyncio.ensure_future(other.dequeue(1, wait=math.inf))
    await asyncio.sleep(0.02)
    await mailbox.enqueue_many([NewMessage(b"sender", payload) for payload in numbered(3)])
    await waiting
    expect_equal(recorder.depths[3:], [3], "depths of a batch")


@check(Capability.DEPTH_OBSERVER)
async def check_observer_is_called_before_enqueue_returns(sandbox: Sandbox) -> None:
    """The observer has been called by the time ``enqueue`` returns, and not before the call."""
    mailbox = await sandbox.open()
    recorder = Recorder()
    mailbox.set_depth_observer(recorder)
    for number in range(1, 4):
        call = mailbox.enqueue(b"sender", b"payload")
        expect_equal(len(recorder.depths), number - 1, "calls before the enqueue ran")
        await call
        expect_equal(len(recorder.depths), number, "calls when the enqueue returned")


@check(Capability.DEPTH_OBSERVER)
async def check_observer_is_told_what_is_queued(sandbox: Sandbox) -> None:
    """The depth counts queued messages of every handle and priority, but not those inflight."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(other, numbered(3))
    recorder = Recorder()
    mailbox.set_depth_observer(recorder)
    for depth in (4, 1):
        # what the other handle enqueued may be reported too, a moment later
        recorder.depths.clear()
        await mailbox.enqueue(b"sender", b"payload", MessagePriority.HIGH)
        expect(depth in recorder.depths, f"the observer was told {recorder.depths}, not {depth}")
        await drain(other)


@check(Capability.DEPTH_OBSERVER)
async def check_observer_of_gathered_enqueues(sandbox: Sandbox) -> None:
    """Enqueues that run at once are reported one by one, each with the count just after its own message."""
    mailbox = await sandbox.open()
    recorder = Recorder()
    mailbox.set_depth_observer(recorder)
    await asyncio.gather(*(mailbox.enqueue(b"sender", payload) for payload in numbered(20)))
    expect_equal(recorder.depths, list(range(1, 21)), "depths")


@check(Capability.DEPTH_OBSERVER, Capability.ENQUEUE_MANY)
async def check_batch_is_one_call(sandbox: Sandbox) -> None:
    """A batch is reported once, an empty batch not at all."""
    mailbox = await sandbox.open()
    recorder = Recorder()
    mailbox.set_depth_observer(recorder)
    await mailbox.enqueue(b"sender", b"payload")
    await mailbox.enqueue_many([NewMessage(b"sender", payload) for payload in numbered(5)])
    await mailbox.enqueue_many([])
    await mailbox.enqueue(b"sender", b"payload")
    expect_equal(recorder.depths, [1, 6, 7], "depths")


@check(Capability.DEPTH_OBSERVER, Capability.MESSAGE_ID)
async def check_deduplicated_enqueue_is_no_call(sandbox: Sandbox) -> None:
    """An enqueue that stores nothing is not reported."""
    mailbox = await sandbox.open()
    recorder = Recorder()
    message_id = await mailbox.enqueue(b"sender", b"payload")
    mailbox.set_depth_observer(recorder)
    await mailbox.enqueue(b"sender", b"payload", message_id=message_id)
    await drain(mailbox)
    await mailbox.enqueue(b"sender", b"payload", message_id=message_id)
    expect_equal(recorder.depths, [], "depths of enqueues that stored nothing")


@check(Capability.DEPTH_OBSERVER, Capability.MESSAGE_ID, Capability.ENQUEUE_MANY)
async def check_partly_deduplicated_batch_is_one_call(sandbox: Sandbox) -> None:
    """A batch is reported if any of its messages was stored, and not if none was."""
    mailbox = await sandbox.open()
    recorder = Recorder()
    message_id = await mailbox.enqueue(b"sender", b"payload")
    known, new = NewMessage(b"sender", b"known", message_id=message_id), NewMessage(b"sender", b"new")
    mailbox.set_depth_observer(recorder)
    await mailbox.enqueue_many([known, known])
    await mailbox.enqueue_many([known, new, known, new])
    expect_equal(recorder.depths, [3], "depths")


@check(Capability.DEPTH_OBSERVER)
async def check_other_verbs_are_no_calls(sandbox: Sandbox) -> None:
    """Only enqueues are reported, not dequeue, ack, status, close or a refused enqueue."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(3))
    recorder = Recorder()
    mailbox.set_depth_observer(recorder)
    held = await drain(other)
    await mailbox.ack(held[0].id)
    await mailbox.status()
    if Capability.PURGE in mailbox.capabilities:
        await mailbox.purge()
    await expect_error(TypeError, mailbox.enqueue, b"sender", "text")
    await other.close()
    await asyncio.sleep(0.02)
    expect_equal(recorder.depths, [], "depths without any enqueue")


@check(Capability.DEPTH_OBSERVER)
async def check_observer_hears_of_other_handles(sandbox: Sandbox) -> None:
    """What other handles enqueue is reported too, a moment later; several enqueues may share a report."""
    mailbox, other, third = [await sandbox.open() for _ in range(3)]
    recorder = Recorder()
    mailbox.set_depth_observer(recorder)

    async def last_depth() -> int | None:
        return recorder.depths[-1] if recorder.depths else None

    await other.enqueue(b"sender", b"payload")
    await eventually(last_depth, 1, "the depth told last, after another handle's enqueue")
    await asyncio.gather(send(other, numbered(5)), send(third, numbered(5)))
    await eventually(last_depth, 11, "the depth told last, after enqueues of two other handles")
    expect(len(recorder.depths) <= 11, f"11 enqueues were told {len(recorder.depths)} times")


@check(Capability.DEPTH_OBSERVER, Capability.DEAD_LETTERS)
async def check_redrive_is_a_call(sandbox: Sandbox) -> None:
    """A ``redrive`` is reported before it returns, and to other handles a moment later; a False one is not reported."""
    mailbox = await sandbox.open()
    own, others = Recorder(), Recorder()
    await send(mailbox, numbered(1))
    [record] = await mailbox.dequeue()
    await mailbox.dead_letter(record.id, "on purpose")
    await send(mailbox, numbered(2))
    other = await sandbox.open()  # which does not hear of what happened before
    mailbox.set_depth_observer(own)
    other.set_depth_observer(others)
    await mailbox.redrive(uuid4())
    expect_equal(own.depths, [], "depths of a redrive that was False")
    await mailbox.redrive(record.id)
    expect_equal(own.depths, [3], "depths when the redrive returned")

    async def depths() -> list[int]:
        return others.depths

    await eventually(depths, [3], "depths of the other handle's observer")


@check(Capability.DEPTH_OBSERVER, Capability.NACK, Capability.RECOVER, Capability.RELEASE)
async def check_what_comes_back_is_no_call(sandbox: Sandbox) -> None:
    """A nack, recovery, release or death is not reported: no message is new."""
    mailbox, closing = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(3))
    recorder, other = Recorder(), await sandbox.open()  # which does not hear of what happened before
    for handle in (mailbox, other):
        handle.set_depth_observer(recorder)

    async def take_one(holder: Mailbox) -> None:
        await holder.dequeue()

    for record in await drain(mailbox):
        await mailbox.nack(record.id, error="on purpose")
    await drain(closing)
    await closing.close()
    await sandbox.die_after(take_one)
    await recover_until(mailbox)
    await asyncio.sleep(0.05)
    expect_equal(recorder.depths, [], "depths without any enqueue")


@check(Capability.DEPTH_OBSERVER)
async def check_observer_is_replaced_and_removed(sandbox: Sandbox) -> None:
    """A new observer replaces the old one; ``None`` removes it."""
    mailbox = await sandbox.open()
    first, second = Recorder(), Recorder()
    mailbox.set_depth_observer(first)
    await mailbox.enqueue(b"sender", b"payload")
    mailbox.set_depth_observer(second)
    await mailbox.enqueue(b"sender", b"payload")
    expect(mailbox.set_depth_observer(None) is True, "set_depth_observer(None) did not return True")
    await mailbox.enqueue(b"sender", b"payload")
    await send(await sandbox.open(), numbered(2))
    await asyncio.sleep(0.05)
    expect_equal((first.depths, second.depths), ([1], [2]), "depths of both observers")


@check(Capability.DEPTH_OBSERVER)
async def check_observer_that_raises_is_logged_and_harms_nothing(sandbox: Sandbox) -> None:
    """An observer's error is logged; the message is stored, the call returns, and the next one is reported too."""
    mailbox = await sandbox.open()
    # the second is what an observer gets that asks for the result of a cancelled task
    failures = [RuntimeError("an observer that raises, on purpose"), asyncio.CancelledError("on purpose")]

    class Raiser(Recorder):
        def on_depth_change(self, queued_messages: int) -> None:
            super().on_depth_change(queued_messages)
            raise failures[queued_messages - 1]

    raiser, logged = Raiser(), _Logged()
    mailbox.set_depth_observer(raiser)
    logging.getLogger().addHandler(logged)
    try:
        ids = [await mailbox.enqueue(b"sender", b"payload") for _ in range(2)]
    finally:
        logging.getLogger().removeHandler(logged)
    expect_equal(raiser.depths, [1, 2], "depths")
    expect_equal([record.id for record in await drain(mailbox)], ids, "ids")
    expect_equal([logged.errors.count(failure) for failure in failures], [1, 1], "times that each error was logged")
