"""``relay``: whatever happens on the way, each message arrives once, in its order, and nothing is held in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from uuid import uuid4

from ...actors import RetryPolicy
from ...contract.capabilities import Capability
from ...contract.errors import MailboxClosedError, UnsupportedError
from ...contract.mailbox import Mailbox
from ...contract.values import MessagePriority, MessageRecord
from ...relaying import Relayer, RelayStatus, relay
from ...relaying.cursor import pack_sent
from .._expect import PATIENCE, eventually, expect, expect_equal, expect_error, expect_no_repeats
from .._sandbox import Sandbox, at_work, drain, numbered, payloads_of, send
from .._suite import check
from ..faults import Fault, FaultKind, FaultyMailbox, HolderDied

_NEEDS: Final = (
    Capability.ACK_AND_SEND,
    Capability.MESSAGE_ID,
    Capability.DEDUPE,
    Capability.ASK,
    Capability.RELEASE,
    Capability.RECOVER,
    Capability.GET,
    Capability.PEEK,
)

_SOON = RetryPolicy(first_delay=0.01, longest_delay=0.05)
_A_MOMENT = 0.03
"""Seconds in which a relay would claim what it may not claim yet."""

_A_MOMENT_LATER = RetryPolicy(first_delay=0.05, factor=1.0, jitter=0.0)


def _relay(source: Mailbox, target: Mailbox, **options: Any) -> Relayer:
    """One that is known at the target by the real name of its source in the sandbox."""
    given: dict[str, Any] = {"retry": _SOON, "name": getattr(source, "name", None)} | options
    return relay(source, target, **given)


@asynccontextmanager
async def _relaying(source: Mailbox, target: Mailbox, **options: Any) -> AsyncIterator[Relayer]:
    """A running relay, which is stopped at the end; see ``at_work``."""
    async with at_work(one := _relay(source, target, **options), "relay"):
        yield one


async def _counts(mailbox: Mailbox) -> tuple[int, int]:
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages


async def _all_sent(source: Mailbox) -> None:
    await eventually(partial(_counts, source), (0, 0), "queued and inflight messages of the source")


async def _arrive(target: Mailbox, payloads: Iterable[bytes]) -> list[MessageRecord]:
    """What is in the target, once all of it is there, and nothing else."""
    wanted = list(payloads)

    async def there() -> list[bytes]:
        return payloads_of(await target.peek(10_000))

    await eventually(there, wanted, "messages of the target")
    return await target.peek(10_000)


async def _active(one: Relayer) -> bool:
    return (await one.status()).active


async def _connected(one: Relayer) -> bool:
    return (await one.status()).connected


async def _sent(*relays: Relayer) -> int:
    return sum([(await one.status()).sent for one in relays])


async def _says(one: Relayer, word: str) -> bool:
    return word in ((await one.status()).last_error or "")


async def _cursor(sandbox: Sandbox, source: Mailbox, target: Mailbox) -> Mailbox:
    return await sandbox.beside(target, f"relay:{getattr(source, 'name', '')}")


# -- what arrives ------------------------------------------------------------------------------------------------------


@check(*_NEEDS, Capability.HEADERS)
async def check_each_message_arrives_as_it_was(sandbox: Sandbox) -> None:
    """A relayed message has the id, sender, payload, priority and headers that it had; then the source is empty."""
    source, target = await sandbox.open("source"), await sandbox.open("target")
    given = uuid4()
    made = await source.enqueue(b"alice", b"plain", MessagePriority.HIGH)
    await source.enqueue(b"bob", bytes(range(256)), message_id=given, headers={"trace": "ü"})
    async with _relaying(source, target):
        first, second = await _arrive(target, [b"plain", bytes(range(256))])
        await _all_sent(source)
    expect_equal((first.id, first.sender, first.priority), (made, b"alice", MessagePriority.HIGH), "the first message")
    expect_equal((second.id, second.sender, second.priority), (given, b"bob", MessagePriority.NORMAL), "the second")
    expect_equal(dict(second.headers), {"trace": "ü"}, "headers")
    expect_equal((first.delivery_count, second.delivery_count), (0, 0), "delivery counts at the target")


@check(*_NEEDS)
async def check_order_is_kept(sandbox: Sandbox) -> None:
    """Messages arrive in their order within a priority, however many are sent at once, and others as they come."""
    source, sender, target = await sandbox.open("source"), await sandbox.open("source"), await sandbox.open("target")
    await send(sender, numbered(20))
    await send(sender, numbered(5, "high"), priority=MessagePriority.HIGH)
    async with _relaying(source, target, batch=7):
        await _arrive(target, numbered(5, "high") + numbered(20))
        await send(sender, numbered(20, "later"))
        await _arrive(target, numbered(5, "high") + numbered(20) + numbered(20, "later"))
        await _all_sent(source)


@check(*_NEEDS)
async def check_id_that_the_target_has_stops_nothing(sandbox: Sandbox) -> None:
    """A message whose id is already in the target is not stored again there, and those beside it arrive."""
    source, target = await sandbox.open("source"), await sandbox.open("target")
    known = uuid4()
    await target.enqueue(b"sender", b"there", message_id=known)
    await send(source, [b"before"])
    await source.enqueue(b"sender", b"again", message_id=known)
    await send(source, [b"after"])
    async with _relaying(source, target):
        await _arrive(target, [b"there", b"before", b"after"])
        await _all_sent(source)


@check(*_NEEDS)
async def check_id_that_comes_again_is_a_new_message(sandbox: Sandbox) -> None:
    """A message that gets the id of one that was relayed and handled is relayed too, also by another relay."""
    source, target = await sandbox.open("source"), await sandbox.open("target")
    again = uuid4()
    for payload in numbered(3):
        await source.enqueue(b"sender", payload, message_id=again)
        async with _relaying(source, target):
            await _arrive(target, [payload])
            await _all_sent(source)
        await target.ack(again)
        await asyncio.sleep(0.002)  # it is made in another millisecond


@check(*_NEEDS, Capability.DELAY)
async def check_end_of_a_relay_leaves_what_has_an_id_again(sandbox: Sandbox) -> None:
    """A message that got the id of one that was relayed and handled is still there after the relay was stopped."""
    source, target = await sandbox.open("source"), await sandbox.open("target")
    again = uuid4()
    await source.enqueue(b"sender", b"first", message_id=again)
    async with _relaying(source, target):
        await _arrive(target, [b"first"])
        await _all_sent(source)
        await target.ack(again)
        await asyncio.sleep(0.002)  # it is made in another millisecond
        await source.enqueue(b"sender", b"second", message_id=again, delay=3600.0)
    expect_equal(payloads_of(await source.peek()), [b"second"], "messages of the source after the end of the relay")


@check(*_NEEDS)
async def check_relays_both_ways_at_once(sandbox: Sandbox) -> None:
    """Two relays between the same two places, one for each direction, do not disturb each other."""
    out, server_in, server_out, inbox = [await sandbox.open(label) for label in ("out", "-in", "-out", "in")]
    async with _relaying(out, server_in, batch=3), _relaying(server_out, inbox, batch=3):
        await asyncio.gather(send(out, numbered(20, "up")), send(server_out, numbered(20, "down")))
        await _arrive(server_in, numbered(20, "up"))
        await _arrive(inbox, numbered(20, "down"))


@check(*_NEEDS)
async def check_sources_of_one_name_have_their_own_cursors(sandbox: Sandbox) -> None:
    """Without a name each source has a cursor of its own at the target, so many are relayed into it at once."""
    sources, target = [await sandbox.open(f"source{number}") for number in range(3)], await sandbox.open("target")
    for source in sources:
        await send(source, [b"m"])
    async with (
        _relaying(sources[0], target, name=None) as first,
        _relaying(sources[1], target, name=None) as second,
        _relaying(sources[2], target, name=None) as third,
    ):
        await _arrive(target, [b"m"] * 3)
        for one in (first, second, third):
            await eventually(partial(_active, one), True, "whether a relay is active")


# -- hops that are repeated --------------------------------------------------------------------------------------------


@check(*_NEEDS)
async def check_hop_before_a_death_is_not_repeated(sandbox: Sandbox) -> None:
    """A relay that dies between its hop and its acknowledgement: the next one acknowledges, and sends nothing again."""
    source, target = await sandbox.open("source"), await sandbox.open("target")
    await send(source, numbered(10))
    dying = FaultyMailbox(await sandbox.open("source"), [Fault(FaultKind.DEATH_BEFORE, "ack_many")])
    to = [await sandbox.open("target")]
    died = (HolderDied, MailboxClosedError)
    await expect_error(died, partial(_relay_alone, dying, to[0], batch=4), what="the relay that dies")
    await sandbox.let_die(to)
    arrived = payloads_of(await drain(target))
    await target.ack_many([record.id for record in await target.peek(100)])
    expect(arrived in (numbered(4), numbered(8)), f"not of the hop, nor of the next one under way: {arrived}")
    async with _relaying(source, target, batch=4):
        await _arrive(target, numbered(10)[len(arrived) :])
        await _all_sent(source)


async def _relay_alone(source: Mailbox, target: Mailbox, **options: Any) -> None:
    """Relays until the relay ends by itself."""
    async with asyncio.timeout(PATIENCE):
        await _relay(source, target, **options)


async def _handled(consumer: Mailbox, source: Mailbox, count: int) -> list[bytes]:
    """What a consumer of the target gets, who acknowledges at once, until there is nothing left anywhere."""
    got: list[bytes] = []
    while len(got) < count and (records := await consumer.dequeue(wait=PATIENCE)):
        got += payloads_of(records)
        await consumer.ack_many([record.id for record in records])
    await _all_sent(source)
    return got + payloads_of(await drain(consumer))


@check(*_NEEDS)
async def check_acknowledgements_that_are_lost_double_nothing(sandbox: Sandbox) -> None:
    """Where the source's acknowledgements fail for a while, each message still comes once, though handled meanwhile."""
    lost = Fault(FaultKind.LOST_BEFORE, "ack_many", times=2)
    source, target = FaultyMailbox(await sandbox.open("source"), [lost]), await sandbox.open("target")
    await send(source, numbered(12))
    consumer = await sandbox.open("target")
    async with _relaying(source, target, batch=4, retry=_A_MOMENT_LATER):
        got = await _handled(consumer, source, 12)
    expect_equal(got, numbered(12), "what the consumer of the target got")


@check(*_NEEDS)
async def check_hop_whose_outcome_is_unknown(sandbox: Sandbox) -> None:
    """A hop that seems to have failed is not made again if it has happened, and is made again if it has not."""
    source, consumer = await sandbox.open("source"), await sandbox.open("target")
    faults = [Fault(FaultKind.LOST_AFTER, "ack_and_send", nth=3), Fault(FaultKind.LOST_BEFORE, "ack_and_send", nth=5)]
    target = FaultyMailbox(await sandbox.open("target"), beside=faults)
    await send(source, numbered(20))
    async with _relaying(source, target, batch=4, retry=_A_MOMENT_LATER) as one:
        got = await _handled(consumer, source, 20)
        await eventually(partial(_sent, one), 20, "messages sent")
    expect_equal(got, numbered(20), "what the consumer of the target got")
    expect_equal(len(target.struck), 2, "hops that seemed to fail")


@check(*_NEEDS)
async def check_relay_that_comes_back_late_begins_anew(sandbox: Sandbox) -> None:
    """A relay whose cursor somebody else has had meanwhile sends nothing by it, and then goes on from the new one."""
    source, target = await sandbox.open("source"), await sandbox.open("target")
    async with _relaying(source, target):
        await send(source, [b"first"])
        await _arrive(target, [b"first"])
        await _all_sent(source)
        # another relay sends a message in the name of this one, which then acknowledges instead of sending
        cursor = await _cursor(sandbox, source, target)
        (held,) = await cursor.peek()
        expect_equal(await _counts(cursor), (0, 1), "cursors")
        await cursor.ack(held.id)
        await cursor.enqueue(b"", held.payload, message_id=uuid4())
        await send(source, [b"second"])
        await _arrive(target, [b"first", b"second"])
        await _all_sent(source)
    expect_equal(await _counts(cursor), (1, 0), "cursors at the end")


# -- several relays ----------------------------------------------------------------------------------------------------


@check(*_NEEDS)
async def check_one_relay_works_at_a_time(sandbox: Sandbox) -> None:
    """Of two relays of one source one works at a time; the other takes over when that one is stopped."""
    sources = [await sandbox.open("source") for _ in range(2)]
    target = await sandbox.open("target")
    async with _relaying(sources[0], target) as first:
        await eventually(partial(_active, first), True, "whether the first relay is active")
        async with _relaying(sources[1], target) as second:
            await send(sources[0], numbered(10))
            await _arrive(target, numbered(10))
            await eventually(partial(_sent, first, second), 10, "messages sent by both")
            statuses = [await one.status() for one in (first, second)]
            expect_equal(sum(status.active for status in statuses), 1, "active relays")
            working, waiting = (first, second) if statuses[0].active else (second, first)
            working.stop()
            await eventually(partial(_active, waiting), True, "whether the other relay is active")
            await send(sources[0], numbered(10, "later"))
            await _arrive(target, numbered(10) + numbered(10, "later"))


@check(*_NEEDS)
async def check_another_relay_takes_over_after_a_death(sandbox: Sandbox) -> None:
    """When a relay dies, another one that waits goes on where it was."""
    source, target = await sandbox.open("source"), await sandbox.open("target")
    dying = [await sandbox.open("source"), await sandbox.open("target")]
    first = asyncio.ensure_future(_relay_alone(dying[0], dying[1]))
    try:
        await send(source, numbered(5))
        await _arrive(target, numbered(5))
        async with _relaying(source, target) as second:
            await eventually(partial(_connected, second), True, "whether the second relay is connected")
            await sandbox.let_die(dying)
            await send(source, numbered(5, "later"))
            await _arrive(target, numbered(5) + numbered(5, "later"))
            expect((await second.status()).active, "the second relay is not active")
    finally:
        first.cancel()
        await asyncio.wait([first])


@check(*_NEEDS)
async def check_what_a_dead_relay_had_comes_first(sandbox: Sandbox) -> None:
    """A relay that takes over from a dead one sends nothing before all that it had claimed is back in its place."""
    source, target = await sandbox.open("source"), await sandbox.open("target")
    await send(source, numbered(4))
    dying = [await _cursor(sandbox, source, target), await sandbox.open("source")]
    await dying[0].enqueue(b"", pack_sent(()))
    expect_equal(len(await dying[0].dequeue(1)), 1, "cursors")
    expect_equal(payloads_of(await dying[1].dequeue(2)), numbered(2), "what the dead relay had claimed")
    still_held = [dying.pop()]
    await sandbox.let_die(dying)
    async with _relaying(source, target) as one:
        await eventually(partial(_active, one), True, "whether the relay is active")
        await asyncio.sleep(_A_MOMENT)
        expect_equal(payloads_of(await target.peek()), [], "messages of the target, before the first ones are back")
        await sandbox.let_die(still_held)
        await _arrive(target, numbered(4))
        await _all_sent(source)


# -- obstacles ---------------------------------------------------------------------------------------------------------


@check(*_NEEDS)
async def check_nothing_is_claimed_while_nothing_can_be_sent(sandbox: Sandbox) -> None:
    """While the target cannot be reached nothing is inflight at the source, and the status says since when."""
    source = await sandbox.open("source")
    away = Fault(FaultKind.LOST_BEFORE, times=None)
    target = FaultyMailbox(await sandbox.open("target"), beside=[away])
    await send(source, numbered(5))
    async with _relaying(source, target) as one:
        await eventually(partial(_says, one, "lost"), True, "whether the status says that the connection is lost")
        for _ in range(10):
            expect_equal(await _counts(source), (5, 0), "queued and inflight messages while nothing can be sent")
            await asyncio.sleep(0.01)
        status = await one.status()
        expect_equal((status.waiting, status.sent, status.active), (5, 0, False), "waiting, sent, active")
        expect(not status.connected and status.disconnected_since is not None, f"it does not say so: {status}")
        target.heal()
        await _arrive(target, numbered(5))
        await _all_sent(source)
        status = await one.status()
        expect(
            status.connected and status.active and status.last_success_at is not None, f"it does not say so: {status}"
        )
        expect_equal((status.waiting, status.sent), (0, 5), "waiting, sent")


@check(*_NEEDS)
async def check_source_that_cannot_be_reached(sandbox: Sandbox) -> None:
    """While the source cannot be reached the status says since when, however often that is tried."""
    source = FaultyMailbox(await sandbox.open("source"))
    target = await sandbox.open("target")
    async with _relaying(source, target) as one:
        await send(source, [b"before"])
        await _arrive(target, [b"before"])
        source.plan(Fault(FaultKind.LOST_BEFORE, times=None))
        await send(await sandbox.open("source"), [b"after"])  # which ends the wait
        statuses: list[RelayStatus] = []
        async with asyncio.timeout(PATIENCE):
            while len({status.last_error_at for status in statuses}) < 4:
                statuses.append(await one.status())
                await asyncio.sleep(0.005)
        since = {status.disconnected_since for status in statuses if status.last_error_at is not None}
        expect_equal(len(since), 1, "times since when it is not connected")
        expect(None not in since, "it says that it is connected")
        source.heal()
        await _arrive(target, [b"before", b"after"])
        await eventually(partial(_connected, one), True, "whether it is connected")


@check(*_NEEDS)
async def check_full_target_is_waited_for(sandbox: Sandbox) -> None:
    """While the target is full the messages stay queued at the source, and the status says so."""
    source = await sandbox.open("source")
    full = Fault(FaultKind.FULL, "ack_and_send", nth=2, times=None)
    target = FaultyMailbox(await sandbox.open("target"), beside=[full])
    await send(source, numbered(5))
    async with _relaying(source, target, retry=RetryPolicy(first_delay=0.05, longest_delay=0.1)) as one:
        await eventually(partial(_says, one, "full"), True, "whether the status says that the target is full")
        await eventually(partial(_counts, source), (5, 0), "queued and inflight messages while the target is full")
        expect((await one.status()).connected, "the relay of a full target says that it is not connected")
        target.heal()
        await _arrive(target, numbered(5))
        await _all_sent(source)


@check(*_NEEDS, Capability.DEAD_LETTERS)
async def check_message_that_is_refused_becomes_a_dead_letter(sandbox: Sandbox) -> None:
    """What the target refuses for good is a dead letter of the source, with the reason, and the next ones go on."""
    source = await sandbox.open("source")
    refusals = [Fault(FaultKind.REFUSED, "ack_and_send", nth=nth) for nth in (2, 4)]  # of all, and of the second alone
    target = FaultyMailbox(await sandbox.open("target"), beside=refusals)
    await send(source, numbered(5))
    async with _relaying(source, target):
        await _arrive(target, [payload for payload in numbered(5) if payload != b"m1"])
        await _all_sent(source)
    (letter,) = await source.dead_letters()
    expect_equal(letter.record.payload, b"m1", "the dead letter")
    expect("refused, as planned" in letter.reason, f"the reason does not say why: {letter.reason}")


# -- its end -----------------------------------------------------------------------------------------------------------


@check(*_NEEDS)
async def check_stop_leaves_nothing_inflight(sandbox: Sandbox) -> None:
    """A relay that is stopped, or cancelled, ends; what it has claimed and not sent is queued, and arrives later."""
    source, sender, target = await sandbox.open("source"), await sandbox.open("source"), await sandbox.open("target")
    for turns in range(12):
        await send(sender, numbered(5, f"{turns}-"))
        task = asyncio.ensure_future(one := _relay(source, target, batch=2))
        for _ in range(turns * 4):  # up to where it waits for messages
            await asyncio.sleep(0)
        if turns % 2:
            one.stop()
        else:
            task.cancel()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([task])
        expect_equal(task.cancelled(), turns % 2 == 0, "whether the relay's task counts as cancelled")
        expect_equal((await _counts(source))[1], 0, "inflight messages after the end of a relay")
    async with _relaying(source, target):
        arrived = await _arrive(target, [payload for turns in range(12) for payload in numbered(5, f"{turns}-")])
    expect_no_repeats([record.id.int for record in arrived], "ids")


@check(*_NEEDS)
async def check_closing_ends_a_relay(sandbox: Sandbox) -> None:
    """A relay ends, without an error, when its source or its target is closed."""
    for closed in range(2):
        mailboxes = await sandbox.open("source"), await sandbox.open("target")
        task = asyncio.ensure_future(one := _relay(*mailboxes))
        await eventually(partial(_active, one), True, "whether the relay is active")
        await mailboxes[closed].close()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([task])
        task.result()
        await mailboxes[1 - closed].close()


@check(*_NEEDS)
async def check_closed_mailbox_is_named(sandbox: Sandbox) -> None:
    """A relay of a mailbox that was closed before it began raises ``MailboxClosedError``, which names it."""
    for index, name in enumerate(("source", "target")):
        mailboxes = await sandbox.open("source"), await sandbox.open("target")
        await send(mailboxes[0], [b"m"])
        await mailboxes[index].close()
        await expect_error(MailboxClosedError, partial(_relay_alone, *mailboxes), naming=name, what=f"a closed {name}")
    expect_equal(await _counts(await sandbox.open("source")), (2, 0), "messages of the source")


@check(*_NEEDS)
async def check_bad_arguments_are_refused(sandbox: Sandbox) -> None:
    """``relay`` refuses bad arguments, and one mailbox as both, with an error that names the argument."""
    source, target = await sandbox.open("source"), await sandbox.open("target")
    await send(source, [b"m"])
    bad: list[tuple[str, tuple[Any, Any], dict[str, Any]]] = [
        ("source", ("outbox", target), {}),
        ("target", (source, None), {}),
        ("target", (source, source), {}),
        ("target", (source, await sandbox.open("source")), {}),
        *(("batch", (source, target), {"batch": value}) for value in (0, -1, 1.5, True, None, "1")),
        *(("retry", (source, target), {"retry": value}) for value in (3, RetryPolicy(max_deliveries=3))),
        *(("name", (source, target), {"name": value}) for value in (b"n", "", "x" * 200, "a\nb")),
        ("at_least_once", (source, target), {"at_least_once": 1}),
    ]
    for name, mailboxes, options in bad:
        call = partial(_relay_any, *mailboxes, **options)
        await expect_error((TypeError, ValueError), call, naming=name, what=f"relay with {options or mailboxes}")
    expect_equal(await _counts(source), (1, 0), "messages of the source")


async def _relay_any(source: Any, target: Any, **options: Any) -> None:
    await relay(source, target, **options)


@check(*_NEEDS)
async def check_target_that_cannot_take_each_once(sandbox: Sandbox) -> None:
    """A target without ``ack_and_send`` is refused, and taken with ``at_least_once``: then everything arrives too."""
    source, lesser = await sandbox.open("source"), FaultyMailbox(await sandbox.open("target"))
    lesser.capabilities -= {Capability.ACK_AND_SEND}  # type: ignore[misc]
    await send(source, numbered(5))
    call = partial(_relay_any, source, lesser)
    await expect_error(UnsupportedError, call, naming="target", what="a relay to a target that lacks ack_and_send")
    async with _relaying(source, lesser, at_least_once=True, batch=2):
        await _arrive(lesser, numbered(5))
        await _all_sent(source)


@check(*_NEEDS)
async def check_status_survives_as_data(sandbox: Sandbox) -> None:
    """``RelayStatus`` becomes plain data and comes back without loss, before, during and after the relay."""
    source, target = await sandbox.open("source"), await sandbox.open("target")
    await send(source, numbered(3))
    one = _relay(source, target)
    statuses = [await one.status()]
    task = asyncio.ensure_future(one)
    await _all_sent(source)
    statuses.append(await one.status())
    one.stop()
    await task
    statuses.append(await one.status())
    expect_equal([(status.waiting, status.sent) for status in statuses], [(3, 0), (0, 3), (0, 3)], "waiting, sent")
    expect_equal([status.active for status in statuses], [False, True, False], "active")
    expect_equal([RelayStatus.from_dict(status.to_dict()) for status in statuses], statuses, "statuses")
