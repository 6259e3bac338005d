"""``ask`` and ``Context.reply``: each question gets its own answer, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID, uuid4

from ...actors import Context, ask
from ...actors.asking import Asker
from ...actors.reply_mailboxes import name_of
from ...contract.capabilities import Capability
from ...contract.companions import Nearby, Unless, companion_of
from ...contract.errors import MailboxClosedError
from ...contract.mailbox import Mailbox
from ...contract.values import MessagePriority, MessageRecord
from .._expect import PATIENCE, eventually, expect, expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, outcome_of, payloads_of, send
from .._suite import check
from .consuming import AT_ONCE, OnPurposeError, all_handled, consuming

_NEEDS = (Capability.ASK, Capability.HEADERS, Capability.ACK_AND_SEND)
_Waiting: TypeAlias = asyncio.Task[MessageRecord | Exception]

_SOON = 0.05
"""Seconds during which nobody answers, on purpose."""


def _echo(message: MessageRecord, context: Context) -> None:
    context.reply(b"re: " + message.payload)


def _nearby(mailbox: Mailbox) -> Nearby:
    nearby = mailbox._nearby
    if nearby is None:
        raise AssertionError("the mailbox claims ask, and cannot make a mailbox beside itself")
    return nearby


@asynccontextmanager
async def _asking(mailbox: Mailbox, payload: bytes, **options: Any) -> AsyncIterator[_Waiting]:
    """A waiting question; its outcome is the answer or an exception."""
    task = asyncio.ensure_future(outcome_of(ask(mailbox, payload, timeout=PATIENCE, **options)))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _awaited(mailbox: Mailbox) -> int:
    """How many questions of a handle are waiting: each from the moment that it is sent."""
    return sum(map(len, (await companion_of(mailbox, Asker))._waiting.values()))


async def _answer(question: _Waiting) -> MessageRecord:
    outcome = await question
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@check(*_NEEDS)
async def check_answer_is_the_reply(sandbox: Sandbox) -> None:
    """``ask`` gives the record that the handler replied with: its payload, sender, priority and headers."""
    asker, inbox = await sandbox.open(), await sandbox.open()
    asked: list[MessageRecord] = []

    def handler(message: MessageRecord, context: Context) -> None:
        asked.append(message)
        context.reply(b"4", sender=b"shop", priority=MessagePriority.HIGH, headers={"currency": "EUR"})

    async with consuming(inbox, handler):
        high = MessagePriority.HIGH
        answer = await ask(asker, b"tea", timeout=PATIENCE, sender=b"alice", priority=high, headers={"trace": "1"})
        await all_handled(asker)
    expect_equal((answer.payload, answer.sender, answer.priority), (b"4", b"shop", high), "the answer")
    expect_equal(answer.headers.get("currency"), "EUR", "a header of the answer")
    [question] = asked
    expect_equal((question.payload, question.sender, question.priority), (b"tea", b"alice", high), "the question")
    expect_equal(question.headers.get("trace"), "1", "a header of the question")
    correlation_ids = [record.headers.get("correlation-id") for record in (question, answer)]
    expect(correlation_ids[0] is not None, "the question has no correlation-id")
    expect_equal(correlation_ids[1], correlation_ids[0], "the correlation-id of the answer")


@check(*_NEEDS)
async def check_many_questions_share_a_mailbox(sandbox: Sandbox) -> None:
    """Simultaneous questions of one handle share a reply mailbox, and each gets its own answer."""
    asker, inbox = await sandbox.open(), await sandbox.open()
    reply_to: set[str | None] = set()
    all_there = asyncio.Event()
    begun: list[bytes] = []

    async def handler(message: MessageRecord, context: Context) -> None:
        reply_to.add(message.headers.get("reply-to"))
        begun.append(message.payload)
        if len(begun) == 12:
            all_there.set()
        await all_there.wait()
        for _ in range(12 - len(context.message.payload)):
            await asyncio.sleep(0)
        _echo(message, context)

    async with consuming(inbox, handler, concurrency=12):
        questions = [b"q" * (number + 1) for number in range(12)]
        answers = await asyncio.gather(*(ask(asker, question, timeout=PATIENCE) for question in questions))
    expect_equal(payloads_of(answers), [b"re: " + question for question in questions], "answers")
    expect_equal(len(reply_to), 1, "mailboxes for answers")


@check(*_NEEDS)
async def check_askers_get_their_own_answers(sandbox: Sandbox) -> None:
    """Several handles that ask the same mailbox each get the answers to their own questions."""
    askers, inbox = [await sandbox.open() for _ in range(3)], await sandbox.open()
    async with consuming(inbox, _echo):
        for round_number in range(3):
            questions = [b"%d of %d" % (round_number, number) for number in range(3)]
            asked = [ask(one, question, timeout=PATIENCE) for one, question in zip(askers, questions, strict=True)]
            answers = await asyncio.gather(*asked)
            expect_equal(payloads_of(answers), [b"re: " + question for question in questions], "answers")


@check(*_NEEDS, Capability.NACK)
async def check_reply_commits_with_the_ack(sandbox: Sandbox) -> None:
    """What a handler replied before it failed is not sent; the answer comes when its message is acknowledged."""
    asker, inbox = await sandbox.open(), await sandbox.open()
    waiting: list[bool] = []

    async def handler(message: MessageRecord, context: Context) -> None:
        buffer = bytearray(b"attempt %d" % message.delivery_count)
        context.reply(buffer)
        buffer[:] = b"?" * len(buffer)
        await asyncio.sleep(_SOON)
        waiting.append(not question.done())
        if message.delivery_count == 1:
            raise OnPurposeError

    async with consuming(inbox, handler, retry=AT_ONCE), _asking(asker, b"work") as question:
        answer = await _answer(question)
        stats = await asker.status()
    expect_equal(waiting, [True, True], "whether the question still waited while a handler ran")
    expect_equal(answer.payload, b"attempt 2", "the answer")
    expect_equal((stats.queued_messages, stats.inflight_messages), (0, 0), "messages when the answer was there")


@check(*_NEEDS)
async def check_no_answer_in_time(sandbox: Sandbox) -> None:
    """Without an answer in time ``ask`` raises ``TimeoutError``; one that comes later is dropped and kept nowhere."""
    asker, inbox = await sandbox.open(), await sandbox.open()
    names: list[str] = []
    too_late = asyncio.Event()

    async def handler(message: MessageRecord, context: Context) -> None:
        names.append(message.headers["reply-to"])
        if message.payload == b"late":
            await too_late.wait()
        _echo(message, context)

    async with consuming(inbox, handler):
        seconds = _SOON
        while not names:  # in so short a time the question may not even be stored
            await expect_error(TimeoutError, partial(ask, asker, b"late", timeout=seconds))
            seconds *= 2
        too_late.set()
        await all_handled(inbox)
        answer = await ask(asker, b"in time", timeout=PATIENCE)
        expect_equal(answer.payload, b"re: in time", "the answer to the next question")
        expect_equal(len(set(names)), 1, "mailboxes for answers")
        await _nothing_waits_in(sandbox, asker, names[0])


async def _nothing_waits_in(sandbox: Sandbox, mailbox: Mailbox, name: str) -> None:
    """Another mailbox of the same database has only what its reader holds for good."""
    beside = await sandbox.beside(mailbox, name)

    async def answers() -> int:
        stats = await beside.status()
        return stats.queued_messages + stats.inflight_messages - 1

    await eventually(answers, 0, "answers that nobody took")


@check(*_NEEDS)
async def check_cancelled_ask(sandbox: Sandbox) -> None:
    """A cancelled ``ask`` leaves its question in the mailbox; the answer goes to no other question."""
    asker, inbox = await sandbox.open(), await sandbox.open()
    async with _asking(asker, b"given up") as question:
        await eventually(lambda: _queued(inbox), 1, "queued messages")
        question.cancel()
        await asyncio.wait([question])
        expect(question.cancelled(), "the cancelled ask did not end with CancelledError")
    async with _asking(asker, b"another") as question:
        await eventually(lambda: _queued(inbox), 2, "queued messages")
        async with consuming(inbox, _echo):
            await all_handled(inbox)
            answer = await _answer(question)
    expect_equal(answer.payload, b"re: another", "the answer to the next question")


async def _queued(mailbox: Mailbox) -> int:
    return (await mailbox.status()).queued_messages


@check(*_NEEDS)
async def check_closing_ends_questions(sandbox: Sandbox) -> None:
    """Closing the handle ends its waiting questions with ``MailboxClosedError`` and deletes its reply mailbox."""
    asker, inbox = await sandbox.open(), await sandbox.open()
    async with _asking(asker, b"one") as one, _asking(asker, b"two") as two:
        await eventually(lambda: _queued(inbox), 2, "queued messages")
        name = (await inbox.dequeue())[0].headers["reply-to"]
        names = await _nearby(inbox).names()
        expect(name in names, f"there is no mailbox {name!r}, which a question names in reply-to")
        await asker.close()
        await asyncio.wait([one, two], timeout=PATIENCE)
        for question in (one, two):
            expect(question.done(), "a question still waits after its handle was closed")
            error = await question
            expect(isinstance(error, MailboxClosedError), f"a question ended with {error!r}")
    expect(name not in await _nearby(inbox).names(), f"the mailbox {name!r} is there after its asker was closed")
    await expect_error(MailboxClosedError, lambda: ask(asker, b"three", timeout=PATIENCE))


@check(*_NEEDS, Capability.RECOVER)
async def check_death_of_an_asker(sandbox: Sandbox) -> None:
    """When a handle dies, its questions end, and its reply mailbox is left behind, held by nobody."""
    asker, inbox = await sandbox.open(), await sandbox.open()
    async with _asking(asker, b"last") as question:
        await eventually(lambda: _queued(inbox), 1, "queued messages")
        name = (await inbox.peek())[0].headers["reply-to"]
        dying = [asker]
        del asker
        await sandbox.let_die(dying)
        await asyncio.wait([question], timeout=PATIENCE)
        expect(question.done(), "a question still waits after its handle died")
        error = await question
        expect(isinstance(error, MailboxClosedError), f"the question ended with {error!r}")
    nearby = _nearby(inbox)
    expect(name in await nearby.names(), f"the mailbox {name!r} is not there after its asker died")
    left = await sandbox.beside(inbox, name)

    async def held() -> int:
        await left.recover()
        return (await left.status()).inflight_messages

    await eventually(held, 0, "messages that the dead asker holds")
    await nearby.delete(name)


@check(*_NEEDS)
async def check_answer_to_nobody(sandbox: Sandbox) -> None:
    """An answer to a closed asker is dropped: the question is acknowledged, and no mailbox is made."""
    asker, inbox = await sandbox.open(), await sandbox.open()
    answered: list[bytes] = []
    names: set[str] = set()

    async def handler(message: MessageRecord, context: Context) -> None:
        answered.append(message.payload)
        names.add(message.headers["reply-to"])
        _echo(message, context)
        if message.payload == b"closes":
            await asker.close()

    async with consuming(inbox, handler):
        await ask(asker, b"first", timeout=PATIENCE)  # so that the answering side knows the mailbox
        async with _asking(asker, b"closes") as question:
            await asyncio.wait([question], timeout=PATIENCE)
            expect(isinstance(await question, MailboxClosedError), "a question of a closed handle")
            await all_handled(inbox)
    late = await sandbox.open()
    async with _asking(late, b"later") as question:
        await eventually(lambda: _queued(inbox), 1, "queued messages")
        await late.close()
        await asyncio.wait([question], timeout=PATIENCE)
    async with consuming(inbox, handler):
        await all_handled(inbox)
    expect_equal(answered, [b"first", b"closes", b"later"], "questions that were answered")
    expect_equal(names.intersection(await _nearby(inbox).names()), set(), "mailboxes for answers to nobody")


@check(*_NEEDS, Capability.MESSAGE_ID)
async def check_same_question_again(sandbox: Sandbox) -> None:
    """A question that is asked again under its ``message_id`` is stored once, and both calls get the answer."""
    asker, inbox = await sandbox.open(), await sandbox.open()
    message_id = uuid4()
    async with _asking(asker, b"one", message_id=message_id) as one:
        await eventually(lambda: _queued(inbox), 1, "queued messages")
        async with _asking(asker, b"one", message_id=message_id) as again:
            await eventually(partial(_awaited, asker), 2, "answers that are waited for")  # while the first one is there
            async with consuming(inbox, _echo):
                answers = [await _answer(one), await _answer(again)]
    expect_equal(payloads_of(answers), [b"re: one"] * 2, "answers")
    expect_equal((await inbox.status()).ever_queued, 1, "questions that were stored")


@check(*_NEEDS)
async def check_reply_to_any_mailbox(sandbox: Sandbox) -> None:
    """A reply goes to any mailbox that ``reply-to`` names, with the question's ``correlation-id``; none is made."""
    inbox, answers = await sandbox.open("-in"), await sandbox.open("-answers")
    answers_name, missing = sandbox.name_of("-answers"), sandbox.name_of("-answers-missing")
    for number, name in enumerate((answers_name, missing)):
        await send(inbox, numbered(1), headers={"reply-to": name, "correlation-id": f"id {number}"})
    await send(inbox, [b"m1"], headers={"reply-to": answers_name})
    async with consuming(inbox, _echo):
        await all_handled(inbox)
    records = await drain(answers)
    got = [(record.payload, record.headers.get("correlation-id")) for record in records]
    expect_equal(got, [(b"re: m0", "id 0"), (b"re: m1", None)], "answers and their correlation ids")
    expect(missing not in await _nearby(inbox).names(), "a mailbox was made for an answer to nobody")


@check(*_NEEDS, Capability.MESSAGE_ID, Capability.RELEASE)
async def check_left_over_mailboxes_are_deleted(sandbox: Sandbox) -> None:
    """A reply mailbox whose asker died is deleted when another handle asks; that of a living asker is not."""
    asker, inbox = await sandbox.open(), await sandbox.open()
    nearby = _nearby(inbox)
    # as if they had been made an hour ago
    markers = [UUID(int=uuid4().int & (1 << 76) - 1 | 0x18A_5A4B_C3D2 << 80 | 7 << 76) for _ in range(2)]
    markers = [UUID(int=marker.int & ~(3 << 62) | 2 << 62) for marker in markers]
    dead, living = map(name_of, markers)
    left = await sandbox.beside(inbox, dead)
    await left.enqueue(b"", b"", message_id=markers[0])
    await left.enqueue(b"", b"an answer")
    held = await sandbox.beside(inbox, living)
    await held.enqueue(b"", b"", message_id=markers[1])
    await held.dequeue()
    async with consuming(inbox, _echo):
        await ask(asker, b"one", timeout=PATIENCE)

        async def there() -> set[str]:
            return {dead, living}.intersection(await nearby.names())

        await eventually(there, {living}, "reply mailboxes of others")
        await asyncio.sleep(_SOON)  # time for one too many
        expect_equal(await there(), {living}, "reply mailboxes of others, a moment later")
    await held.close()
    await nearby.delete(living)


@check(*_NEEDS, Capability.MESSAGE_ID, Capability.RELEASE)
async def check_marker_keeps_a_mailbox(sandbox: Sandbox) -> None:
    """While an asker marks a reply mailbox as its own, or holds the marker, others do not delete it."""
    inbox = await sandbox.open()
    nearby, marker = _nearby(inbox), uuid4()
    name = name_of(marker)
    mine = await sandbox.beside(inbox, name)
    for _ in range(10):
        await asyncio.gather(mine.enqueue(b"", b"", message_id=marker), nearby.delete(name, Unless(marker)))
        expect(await mine.get(marker) is not None, "a mailbox was deleted that had its marker")
        await mine.ack(marker)
    mine = await sandbox.beside(inbox, name)  # the first handle may be on a mailbox that no longer exists
    await mine.enqueue(b"", b"", message_id=marker)
    expect_equal(await nearby.delete(name, Unless(marker)), False, "whether it was deleted with its marker")
    await mine.dequeue()
    kept = await nearby.delete(name, Unless(marker, held_only=True))
    expect_equal((kept, await mine.get(marker) is None), (False, False), "whether it was deleted while that was held")
    await mine._release([marker])
    expect_equal(await nearby.delete(name, Unless(marker, held_only=True)), True, "whether it was deleted at last")
