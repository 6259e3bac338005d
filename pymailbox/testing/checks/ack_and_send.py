"""``ack_and_send``: a step from actor to actor happens once or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

from ...contract.capabilities import Capability
from ...contract.errors import MailboxClosedError
from ...contract.mailbox import Mailbox
from ...contract.values import MailboxStats, MessagePriority, MessageRecord, NewMessage
from .._expect import expect, expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, payloads_of, recover_until, send
from .._suite import check

HIGH = MessagePriority.HIGH


async def _counts(mailbox: Mailbox) -> tuple[int, int]:
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages


async def _take(mailbox: Mailbox, payload: bytes = b"step") -> MessageRecord:
    """A new message that the handle holds."""
    await mailbox.enqueue(b"sender", payload)
    records = await mailbox.dequeue()
    expect_equal(payloads_of(records), [payload], "payloads")
    return records[0]


def _message(payload: bytes = b"result", **arguments: Any) -> NewMessage:
    return NewMessage(b"actor", payload, **arguments)


class _Elsewhere(Mailbox):
    """A mailbox that is in no database."""

    async def enqueue(self, *arguments: Any, **keywords: Any) -> UUID:
        raise AssertionError("it was used")

    async def dequeue(self, *arguments: Any, **keywords: Any) -> list[MessageRecord]:
        raise AssertionError("it was used")

    async def ack(self, message_id: UUID) -> bool:
        raise AssertionError("it was used")

    async def status(self) -> MailboxStats:
        raise AssertionError("it was used")

    async def close(self) -> None:
        pass


class _Recorder:
    def __init__(self) -> None:
        self.depths: list[int] = []

    def on_depth_change(self, queued_messages: int) -> None:
        self.depths.append(queued_messages)


@check(Capability.ACK_AND_SEND)
async def check_it_acks_and_sends(sandbox: Sandbox) -> None:
    """The message is gone, and each of the others is in its mailbox, with everything that it was given."""
    here, there, third = await sandbox.open("here"), await sandbox.open("there"), await sandbox.open("third")
    record = await _take(here)
    sends = [(there, _message(b"a", priority=HIGH)), (third, _message(b"b")), (there, _message(b"c"))]
    expect(await here.ack_and_send(record.id, sends) is True, "ack_and_send is not True")
    expect_equal(await _counts(here), (0, 0), "queued and inflight messages here")
    expect_equal(await here.ack(record.id), False, "ack of what is acked")
    came = [(r.sender, r.payload, r.priority, r.delivery_count) for r in await drain(there)]
    wanted = [(b"actor", b"a", HIGH, 1), (b"actor", b"c", MessagePriority.NORMAL, 1)]
    expect_equal(came, wanted, "what came there")
    expect_equal(payloads_of(await drain(third)), [b"b"], "payloads of the third mailbox")


@check(Capability.ACK_AND_SEND)
async def check_what_is_not_held_is_not_sent_on(sandbox: Sandbox) -> None:
    """For a message that is queued, held by another handle, acked or unknown it is False; nothing is sent or acked."""
    here, other, there = await sandbox.open("here"), await sandbox.open("here"), await sandbox.open("there")
    acked = await _take(here)
    await here.ack(acked.id)
    others = await _take(other, b"another's")
    queued = await here.enqueue(b"sender", b"queued")
    for message_id in (acked.id, others.id, queued, uuid4()):
        answer = await here.ack_and_send(message_id, [(there, _message()), (here, _message())])
        expect(answer is False, "ack_and_send of what is not held is not False")
    expect_equal(await _counts(here), (1, 1), "queued and inflight messages here")
    expect_equal(await _counts(there), (0, 0), "queued and inflight messages there")
    expect_equal(await other.ack(others.id), True, "ack of the other handle's message")


@check(Capability.ACK_AND_SEND)
async def check_it_happens_once(sandbox: Sandbox) -> None:
    """Of several calls for one message, at once or later, one is True, and its messages are sent once."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    for _ in range(3):
        record = await _take(here)
        answers = await asyncio.gather(*(here.ack_and_send(record.id, [(there, _message())]) for _ in range(3)))
        expect_equal(sorted(answers), [False, False, True], "answers of three calls at once")
        expect_equal(await here.ack_and_send(record.id, [(there, _message())]), False, "one more")
    expect_equal(await _counts(there), (3, 0), "queued and inflight messages there")


@check(Capability.ACK_AND_SEND)
async def check_it_races_with_an_ack(sandbox: Sandbox) -> None:
    """If it runs at the same time as an ``ack``, one of them is True; if that is the ``ack``, nothing is sent."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    sent = 0
    for number in range(6):
        record = await _take(here)
        calls = [here.ack_and_send(record.id, [(there, _message())]), here.ack(record.id)]
        answers = await asyncio.gather(*(calls if number % 2 else reversed(calls)))
        expect_equal(sorted(answers), [False, True], "answers")
        sent += answers[0 if number % 2 else 1]
    expect_equal(await _counts(there), (sent, 0), "queued and inflight messages there")


@check(Capability.ACK_AND_SEND)
async def check_nothing_to_send_is_an_ack(sandbox: Sandbox) -> None:
    """Without messages it acknowledges what this handle holds."""
    here = await sandbox.open()
    record = await _take(here)
    expect_equal([await here.ack_and_send(record.id, []) for _ in range(2)], [True, False], "answers")
    expect_equal(await _counts(here), (0, 0), "queued and inflight messages")


@check(Capability.ACK_AND_SEND)
async def check_own_mailbox_may_be_a_target(sandbox: Sandbox) -> None:
    """A message may be sent to the mailbox that it came from, and goes to its end."""
    here = await sandbox.open()
    record = await _take(here)
    await send(here, numbered(2))
    expect_equal(await here.ack_and_send(record.id, [(here, _message())]), True, "answer")
    expect_equal(payloads_of(await drain(here)), [*numbered(2), b"result"], "payloads")


@check(Capability.ACK_AND_SEND)
async def check_any_handle_of_a_target_will_do(sandbox: Sandbox) -> None:
    """Any handle can name its mailbox as a target; a mailbox that is named twice gets its messages in order."""
    here, there, too = await sandbox.open("here"), await sandbox.open("there"), await sandbox.open("there")
    record = await _take(here)
    sends = [([there, too][number % 2], _message(payload)) for number, payload in enumerate(numbered(6))]
    expect_equal(await here.ack_and_send(record.id, (pair for pair in sends)), True, "answer")
    expect_equal(payloads_of(await drain(there)), numbered(6), "payloads")


@check(Capability.ACK_AND_SEND)
async def check_many_messages_in_one_step(sandbox: Sandbox) -> None:
    """Hundreds of messages are sent in one step, in order."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    record = await _take(here)
    answer = await here.ack_and_send(record.id, [(there, _message(payload)) for payload in numbered(500)])
    expect_equal(answer, True, "answer")
    expect_equal(payloads_of(await drain(there)), numbered(500), "payloads")


@check(Capability.ACK_AND_SEND, Capability.MESSAGE_ID)
async def check_message_may_go_on_under_its_own_id(sandbox: Sandbox) -> None:
    """The ack comes first, so a message can be sent on under its own id, to another mailbox or to the same one."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    for record in (await _take(here), await _take(here)):
        for target in (here, there):
            onward = _message(b"onward", message_id=record.id)
            expect_equal(await here.ack_and_send(record.id, [(target, onward)]), True, "answer")
            records = await drain(target)
            expect_equal([(r.id, r.payload, r.delivery_count) for r in records], [(record.id, b"onward", 1)], "came")
        expect_equal(await there.ack(record.id), True, "ack there")
        expect_equal(await here.ack(record.id), False, "ack here")


@check(Capability.ACK_AND_SEND, Capability.MESSAGE_ID)
async def check_target_that_has_the_id_stores_nothing(sandbox: Sandbox) -> None:
    """A target that already has an id stores nothing under it; the rest is sent, and the call is True."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    known, twice = uuid4(), uuid4()
    await there.enqueue(b"sender", b"known", message_id=known)
    record = await _take(here)
    sends = [
        (there, _message(b"known again", message_id=known)),
        (there, _message(b"first", message_id=twice)),
        (there, _message(b"second", message_id=twice)),
        (there, _message(b"plain")),
    ]
    expect_equal(await here.ack_and_send(record.id, sends), True, "answer")
    expect_equal(await _counts(here), (0, 0), "queued and inflight messages here")
    expect_equal(payloads_of(await drain(there)), [b"known", b"first", b"plain"], "payloads there")


@check(Capability.ACK_AND_SEND, Capability.DELAY)
async def check_sent_message_may_have_a_delay(sandbox: Sandbox) -> None:
    """A message that is sent with a delay is not handed out before it is due."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    record = await _take(here)
    sends = [(there, _message(b"far", delay=1000)), (there, _message(b"near", delay=0.05))]
    await here.ack_and_send(record.id, sends)
    expect_equal(await _counts(there), (2, 0), "queued and inflight messages there")
    expect_equal(payloads_of(await there.dequeue(wait=60)), [b"near"], "payloads")
    expect_equal(await there.dequeue(), [], "what comes before its time")


@check(Capability.ACK_AND_SEND)
async def check_closed_target_is_refused(sandbox: Sandbox) -> None:
    """A closed target is a ``MailboxClosedError``; nothing is acked, and nothing is sent to the others."""
    here, there, closed = await sandbox.open("here"), await sandbox.open("there"), await sandbox.open("closed")
    record = await _take(here)
    await closed.close()
    sends = [(there, _message()), (closed, _message()), (here, _message())]
    await expect_error(MailboxClosedError, here.ack_and_send, record.id, sends, what="ack_and_send")
    expect_equal(await _counts(there), (0, 0), "queued and inflight messages there")
    expect_equal(await _counts(here), (0, 1), "queued and inflight messages here")
    expect_equal(await here.ack_and_send(record.id, sends[:1]), True, "the call without the closed target")


@check(Capability.ACK_AND_SEND)
async def check_mailbox_of_another_database_is_refused(sandbox: Sandbox) -> None:
    """A target in another database is a ``ValueError``; nothing is acked, and nothing is sent to the others."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    record = await _take(here)
    sends = [(there, _message()), (_Elsewhere(), _message())]
    await expect_error(ValueError, here.ack_and_send, record.id, sends, naming="messages[1]", what="ack_and_send")
    expect_equal(await _counts(there), (0, 0), "queued and inflight messages there")
    expect_equal(await here.ack(record.id), True, "ack of the message, which is still held")


@check(Capability.ACK_AND_SEND)
async def check_bad_arguments_are_refused(sandbox: Sandbox) -> None:
    """A bad argument is an error that names it; nothing is acked or sent."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    record = await _take(here)
    good = (there, _message())

    def torn() -> Iterator[Any]:
        yield good
        raise ZeroDivisionError

    for bad_id in (str(record.id), record.id.bytes, None):
        await expect_error(TypeError, here.ack_and_send, bad_id, [good], naming="message_id", what="ack_and_send")
    no_pairs: list[Any] = [
        None,
        5,
        "text",
        [good, _message()],
        [good, None],
        [good, (there,)],
        [good, (there, b"bytes")],
    ]
    for bad in no_pairs:
        await expect_error(TypeError, here.ack_and_send, record.id, bad, naming="messages", what=f"with {bad!r}")
    bad_pairs: list[Any] = [("there", _message()), (None, _message()), (there, NewMessage(None, b""))]  # type: ignore[arg-type]
    for bad in bad_pairs:
        pairs, what = [good, bad], f"with {bad!r}"
        await expect_error(
            (TypeError, ValueError), here.ack_and_send, record.id, pairs, naming="messages[1]", what=what
        )
    await expect_error(ZeroDivisionError, here.ack_and_send, record.id, torn(), what="an iterable that raises")
    expect_equal(await _counts(there), (0, 0), "queued and inflight messages there")
    expect_equal(await here.ack(record.id), True, "ack of the message, which is still held")


@check(Capability.ACK_AND_SEND)
async def check_buffer_sent_is_taken_at_the_call(sandbox: Sandbox) -> None:
    """What is sent is stored as it was at the call, even if the buffer changes before the call runs."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    record = await _take(here)
    buffer = bytearray(b"result")
    call = here.ack_and_send(record.id, [(there, NewMessage(b"actor", buffer))])
    buffer[:] = b"spoilt"
    await call
    expect_equal(payloads_of(await drain(there)), [b"result"], "payloads")


@check(Capability.ACK_AND_SEND, Capability.DEPTH_OBSERVER)
async def check_targets_observers_are_told_once(sandbox: Sandbox) -> None:
    """A target's observer is called once, before the call returns, with the depth after all its messages."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    await send(there, numbered(2))
    record, again = await _take(here), await _take(here)
    mine, theirs = _Recorder(), _Recorder()
    here.set_depth_observer(mine)
    there.set_depth_observer(theirs)
    message_id = await there.enqueue(b"sender", b"known")
    await here.ack_and_send(record.id, [(there, _message()), (there, _message())])
    expect_equal((mine.depths, theirs.depths), ([], [3, 5]), "depths")
    if Capability.MESSAGE_ID in there.capabilities:
        await here.ack_and_send(again.id, [(there, _message(message_id=message_id))])
    await here.ack_and_send(again.id, [(there, _message())] * 2 if Capability.MESSAGE_ID in there.capabilities else [])
    expect_equal((mine.depths, theirs.depths), ([], [3, 5]), "depths after calls that stored nothing")
    await here.ack_and_send((await _take(here)).id, [(here, _message())])
    expect_equal((mine.depths, theirs.depths), ([1, 1], [3, 5]), "depths after a message to its own mailbox")


@check(Capability.ACK_AND_SEND, Capability.WAIT)
async def check_targets_waiters_wake(sandbox: Sandbox) -> None:
    """A dequeue that waits for ever at a target returns with what was sent there."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    for payload in numbered(3):
        record = await _take(here)
        waiting = asyncio.ensure_future(there.dequeue(wait=1e9))
        await asyncio.sleep(0.02)
        await here.ack_and_send(record.id, [(there, _message(payload))])
        expect_equal(payloads_of(await waiting), [payload], "payloads")


@check(Capability.ACK_AND_SEND)
async def check_cancelled_step_happened_or_did_not(sandbox: Sandbox) -> None:
    """A call that is cancelled at any moment did both or neither; if it is repeated, it has happened once."""
    for steps in range(8):
        here, there = await sandbox.open(f"here{steps}"), await sandbox.open(f"there{steps}")
        record = await _take(here)
        call = asyncio.ensure_future(here.ack_and_send(record.id, [(there, _message())]))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await here.ack_and_send(record.id, [(there, _message())])
        expect_equal(
            (await _counts(here), await _counts(there)), ((0, 0), (1, 0)), f"here and there, after {steps} steps"
        )


@check(Capability.ACK_AND_SEND)
async def check_steps_both_ways_at_once(sandbox: Sandbox) -> None:
    """Two actors that send to each other at once lose and duplicate no message, and do not block each other."""
    ping, pong = await sandbox.open("ping"), await sandbox.open("pong")
    await send(ping, numbered(20, "ping"))
    await send(pong, numbered(20, "pong"))

    async def pass_on(mine: Mailbox, other: Mailbox) -> None:
        for record in await drain(mine):
            if record.payload.startswith(b"p"):
                onward = [(other, NewMessage(b"actor", b"from " + record.payload))]
                expect_equal(await mine.ack_and_send(record.id, onward), True, "answer")

    # what the other has sent meanwhile may be taken too, and stays inflight
    await asyncio.gather(pass_on(ping, pong), pass_on(pong, ping))
    for mailbox, other in ((ping, "pong"), (pong, "ping")):
        await mailbox.close()
        again = await sandbox.open("ping" if mailbox is ping else "pong")
        expect_equal(payloads_of(await drain(again)), numbered(20, f"from {other}"), "payloads")


@check(Capability.ACK_AND_SEND, Capability.RECOVER)
async def check_step_before_a_death_is_done(sandbox: Sandbox) -> None:
    """After its holder's death a step that had returned is done, and another can do one that had not begun."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    ids = [await here.enqueue(b"sender", payload) for payload in numbered(2)]

    async def do_one_step(holder: Mailbox) -> None:
        await holder.dequeue()
        await holder.ack_and_send(ids[0], [(there, _message(b"done by the first"))])

    await sandbox.die_after(do_one_step, "here")
    await recover_until(here)
    [record] = await here.dequeue()
    expect_equal(record.id, ids[1], "id of what came back")
    await here.ack_and_send(record.id, [(there, _message(b"done by the second"))])
    expect_equal(payloads_of(await drain(there)), [b"done by the first", b"done by the second"], "payloads")
