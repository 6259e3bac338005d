"""Several handles that send, take and ack at once, and calls beside other tasks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import uuid4

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import MessageRecord
from .._expect import expect, expect_equal
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check
from .._verbs import USES, VerbCall, verbs_of

_MANY_CALLS = 50_000
"""Calls after which others must have had their turn: they take several times as long as a turn may be late, which for a
browser's timers is up to 75 milliseconds."""


@check()
async def check_each_message_is_processed_once(sandbox: Sandbox) -> None:
    """With several producers and consumers working, each message is handed out once and acked once."""
    producers = {name: await sandbox.open() for name in (b"p0", b"p1")}
    consumers = [await sandbox.open() for _ in range(3)]
    wanted = {name: [b"%s-%d" % (name, number) for number in range(60)] for name in producers}
    taken: list[list[MessageRecord]] = [[] for _ in consumers]

    async def produce(name: bytes, mailbox: Mailbox) -> None:
        for payload in wanted[name]:
            await mailbox.enqueue(name, payload)

    async def consume(mailbox: Mailbox, into: list[MessageRecord]) -> None:
        while sum(map(len, taken)) < 120:
            for record in await mailbox.dequeue(wait=0.05):
                into.append(record)
                expect_equal(await mailbox.ack(record.id), True, f"ack of {record.payload!r}")

    # no TaskGroup: a lost message would keep the others waiting, and the first failure should surface as it is
    await asyncio.gather(
        *(produce(name, mailbox) for name, mailbox in producers.items()),
        *(consume(mailbox, into) for mailbox, into in zip(consumers, taken, strict=True)),
    )
    counts = Counter(payload for records in taken for payload in payloads_of(records))
    expect_equal(counts, Counter(payload for payloads in wanted.values() for payload in payloads), "payloads")
    for records in taken:
        for name, payloads in wanted.items():
            order = [payloads.index(record.payload) for record in records if record.sender == name]
            expect_equal(order, sorted(order), f"order in which one consumer got the messages of {name!r}")
    stats = await consumers[0].status()
    expect_equal((stats.queued_messages, stats.inflight_messages), (0, 0), "queued and inflight messages")


@check()
async def check_enqueue_against_dequeue_loses_nothing(sandbox: Sandbox) -> None:
    """Enqueues and dequeues that run at once do not lose, repeat or reorder a message."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    taken: list[MessageRecord] = []
    for round_number in range(5):
        results = await asyncio.gather(
            *(
                call
                for payload in numbered(6, f"round{round_number}-")
                for call in (mailbox.enqueue(b"sender", payload), other.dequeue())
            )
        )
        for result in results:
            if isinstance(result, list):
                taken += result
        taken += await drain(other)
    wanted = [payload for round_number in range(5) for payload in numbered(6, f"round{round_number}-")]
    expect_equal(sorted(payloads_of(taken)), sorted(wanted), "payloads")


@check()
async def check_mailboxes_work_side_by_side(sandbox: Sandbox) -> None:
    """Calls on several mailboxes of one database that run at once stay in their mailboxes, each in order."""
    mailboxes = [await sandbox.open(label) for label in ("a", "b", "c")]
    labelled = list(enumerate(mailboxes))
    await asyncio.gather(
        *(mailbox.enqueue(b"%d" % number, payload) for payload in numbered(20) for number, mailbox in labelled)
    )
    for number, records in enumerate(await asyncio.gather(*(drain(mailbox) for mailbox in mailboxes))):
        expect_equal(payloads_of(records), numbered(20), f"payloads of mailbox {number}")
        expect({record.sender for record in records} == {b"%d" % number}, f"mailbox {number} has a stranger's message")
    await send(mailboxes[0], numbered(2))
    depths = [(await mailbox.status()).queued_messages for mailbox in mailboxes]
    expect_equal(depths, [2, 0, 0], "queued messages")


@check(Capability.WAIT)
async def check_verbs_let_other_tasks_run(sandbox: Sandbox) -> None:
    """However many calls are awaited in a row with nothing between them, other tasks get their turn."""
    mailbox = await sandbox.open()
    calls = {name: call for name, call in verbs_of(mailbox, to_the_end=True).items() if USES[name].touches_storage}
    # first those that leave nothing behind, however often they are called
    calls = dict(sorted(calls.items(), key=lambda use: USES[use[0]].stores))
    of_nothing: dict[Capability, VerbCall] = {
        Capability.ENQUEUE_MANY: lambda mailbox: mailbox.enqueue_many([]),
        Capability.ACK_MANY: lambda mailbox: mailbox.ack_many([]),
        Capability.ACK_AND_SEND: lambda mailbox: mailbox.ack_and_send(uuid4(), []),
    }
    for capability in mailbox.capabilities & of_nothing.keys():
        calls[f"{capability} of nothing"] = of_nothing[capability]
    for name, call in calls.items():
        await _expect_interruption(partial(call, mailbox), name)


async def _expect_interruption(verb: Callable[[], Awaitable[object]], what: str) -> None:
    others_ran: list[bool] = []
    asyncio.get_running_loop().call_soon(others_ran.append, True)
    for _ in range(_MANY_CALLS):
        await verb()
        if others_ran:
            return
    raise AssertionError(f"{what}: nothing else ran during {_MANY_CALLS} calls")


@check(Capability.WAIT)
async def check_timeout_ends_a_loop_of_verbs(sandbox: Sandbox) -> None:
    """``asyncio.timeout`` ends a loop that does nothing but await one call after another."""
    mailbox = await sandbox.open()
    try:
        async with asyncio.timeout(0.005):
            for _ in range(_MANY_CALLS):
                await mailbox.status()
    except TimeoutError:
        return
    raise AssertionError(f"a timeout of 5 milliseconds did not end {_MANY_CALLS} calls")
