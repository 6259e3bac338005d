"""The fault-injecting mailbox: without faults it keeps every promise, and each fault does what it says."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from pymailbox import ConnectionLostError, Mailbox, MailboxClosedError, NewMessage, StorageFullError, open_mailbox
from pymailbox.testing import Fault, FaultKind, FaultyMailbox, HolderDied, factory_at, run_checks, run_program
from tests.unit.example_mailboxes import Database, SeedMailbox, SmallMailbox


@pytest.fixture
def location() -> str:
    """A mailbox of this test alone."""
    return f"memory://{uuid4()}"


async def faulty(location: str, *faults: Fault, **options: Any) -> FaultyMailbox:
    return FaultyMailbox(await open_mailbox(location, **options), faults)


async def queued(location: str) -> list[bytes]:
    async with open_mailbox(location) as mailbox:
        return [record.payload for record in await mailbox.peek(1000)]


# -- without faults ----------------------------------------------------------------------------------------------------


async def _open_memory(name: str, **options: Any) -> Mailbox:
    return FaultyMailbox(await factory_at("memory://")(name, **options))


@pytest.mark.slow
async def test_without_faults_it_keeps_every_promise() -> None:
    results = await run_checks(_open_memory)
    assert [result for result in results if result.outcome != "passed"] == []


@pytest.mark.parametrize("seed", range(5))
async def test_without_faults_any_mailbox_passes_programs(seed: int) -> None:
    database = Database(SmallMailbox)

    async def factory(name: str, **options: Any) -> Mailbox:
        return FaultyMailbox(await database.open(name, **options))

    await run_program(_open_memory, seed)
    await run_program(factory, seed)


async def test_it_claims_what_its_mailbox_can() -> None:
    mailbox = FaultyMailbox(await Database(SeedMailbox).open("seed"))
    assert mailbox.capabilities == frozenset()
    await mailbox.enqueue(b"sender", b"payload")
    assert [record.payload for record in await mailbox.dequeue(wait=1)] == [b"payload"]
    await mailbox.close()


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_lost_before_nothing_happens(location: str) -> None:
    async with await faulty(location, Fault(FaultKind.LOST_BEFORE, "enqueue", nth=2)) as mailbox:
        await mailbox.enqueue(b"", b"first")
        with pytest.raises(ConnectionLostError, match="before anything happened"):
            await mailbox.enqueue(b"", b"lost")
        await mailbox.enqueue(b"", b"third")
        assert await queued(location) == [b"first", b"third"]
        assert mailbox.struck == [("enqueue", FaultKind.LOST_BEFORE)]


async def test_lost_after_it_has_happened(location: str) -> None:
    async with await faulty(location, Fault(FaultKind.LOST_AFTER, "enqueue")) as mailbox:
        message_id = uuid4()
        for payload in (b"first", b"repeated"):
            with suppress(ConnectionLostError):
                await mailbox.enqueue(b"", payload, message_id=message_id)
        assert await queued(location) == [b"first"]


async def test_lost_answer_of_a_dequeue_strands_it_until_the_handle_closes(location: str) -> None:
    mailbox = await faulty(location, Fault(FaultKind.LOST_AFTER, "dequeue"))
    await mailbox.enqueue(b"", b"payload")
    with pytest.raises(ConnectionLostError):
        await mailbox.dequeue()
    assert (await mailbox.status()).inflight_messages == 1
    await mailbox.close()
    async with open_mailbox(location) as other:
        assert [record.delivery_count for record in await other.dequeue()] == [1]


async def test_full_storage_lets_go_on_what_needs_no_room(location: str) -> None:
    async with await faulty(location) as mailbox, open_mailbox(location) as target:
        ids = [await mailbox.enqueue(b"", b"%d" % number) for number in range(3)]
        mailbox.plan(Fault(FaultKind.FULL, times=None))
        for _ in range(2):
            with pytest.raises(StorageFullError):
                await mailbox.enqueue(b"", b"no room")
        with pytest.raises(StorageFullError):
            await mailbox.enqueue_many([NewMessage(b"", b"no room")])
        await mailbox.dequeue()
        with pytest.raises(StorageFullError):
            await mailbox.ack_and_send(ids[0], [(target, NewMessage(b"", b"no room"))])
        with pytest.raises(StorageFullError):
            await mailbox.dead_letter(ids[0], "no room")
        assert await mailbox.ack(ids[0])
        assert await mailbox.nack(ids[1])
        assert [record.payload for record in await mailbox.dequeue()] == [b"1"]
        mailbox.heal()
        await mailbox.enqueue(b"", b"room")
        assert sorted(await queued(location)) == [b"1", b"2", b"room"]


async def test_what_is_refused_is_not_stored(location: str) -> None:
    async with await faulty(location, Fault(FaultKind.REFUSED, "enqueue", nth=2)) as mailbox:
        await mailbox.enqueue(b"", b"1")
        with pytest.raises(ValueError, match="enqueue: refused, as planned"):
            await mailbox.enqueue(b"", b"2")
        await mailbox.enqueue(b"", b"3")
        assert await mailbox.ack((await mailbox.dequeue())[0].id)
    assert await queued(location) == [b"3"]


async def test_faults_beside_it_strike_what_is_opened_there(location: str) -> None:
    lost = Fault(FaultKind.LOST_BEFORE, "enqueue", nth=2)
    async with FaultyMailbox(await open_mailbox(location), beside=[lost]) as mailbox:
        nearby = mailbox._nearby
        assert nearby is not None
        for _ in range(2):
            await mailbox.enqueue(b"", b"not beside")
        async with await nearby.open(f"{mailbox.name}-1") as first, await nearby.open(f"{mailbox.name}-2") as second:
            await first.enqueue(b"", b"1")
            with pytest.raises(ConnectionLostError):
                await second.enqueue(b"", b"2")
            [held] = await first.dequeue()
            assert await first.ack_and_send(held.id, [(mailbox, NewMessage(b"", b"3"))])
            assert mailbox.struck == [("enqueue", FaultKind.LOST_BEFORE)]
            mailbox.plan(Fault(FaultKind.LOST_BEFORE, times=None))
            await second.status()
        assert {f"{mailbox.name}-1", f"{mailbox.name}-2"} <= set(await nearby.names())
        assert await nearby.delete(f"{mailbox.name}-1")
    assert await queued(location) == [b"not beside", b"not beside", b"3"]


async def test_any_verb_is_struck_for_a_while(location: str) -> None:
    async with await faulty(location, Fault(FaultKind.LOST_BEFORE, nth=2, times=3)) as mailbox:
        verbs = (mailbox.status, mailbox.peek, mailbox.purge, mailbox.dead_letters, mailbox.status)
        outcomes = [await _outcome(verb()) for verb in verbs]
        assert outcomes == [None, ConnectionLostError, ConnectionLostError, ConnectionLostError, None]


async def _outcome(call: Any) -> type[BaseException] | None:
    try:
        await call
    except BaseException as error:
        return type(error)
    return None


async def test_probability_is_decided_by_the_seed() -> None:
    async def struck(seed: int) -> list[bool]:
        fault = Fault(FaultKind.LOST_BEFORE, "status", times=None, probability=0.5)
        async with FaultyMailbox(await open_mailbox("memory://"), [fault], seed=seed) as mailbox:
            return [await _outcome(mailbox.status()) is not None for _ in range(40)]

    first = await struck(1)
    assert await struck(1) == first
    assert await struck(2) != first
    assert 5 < sum(first) < 35


# -- death -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "left"), [(FaultKind.DEATH_BEFORE, [b"first", b"second"]), (FaultKind.DEATH_AFTER, [b"second"])]
)
async def test_death_brings_back_what_was_held(kind: FaultKind, left: list[bytes], location: str) -> None:
    mailbox = await faulty(location, Fault(kind, "ack"))
    await mailbox.enqueue_many([NewMessage(b"", b"first"), NewMessage(b"", b"second")])
    records = await mailbox.dequeue()
    with pytest.raises(HolderDied):
        await mailbox.ack(records[0].id)
    with pytest.raises(HolderDied):
        await mailbox.status()
    with pytest.raises(HolderDied):
        await anext(mailbox.messages())
    await mailbox.close()
    async with open_mailbox(location) as other:
        # each in a batch of its own, since one of them may have been the killer
        again = [await other.dequeue() for _ in left]
        assert [[(r.payload, r.delivery_count) for r in batch] for batch in again] == [[(p, 2)] for p in left]


async def test_death_ends_calls_under_way(location: str) -> None:
    mailbox = await faulty(location)

    async def loop() -> None:
        async for _ in mailbox.messages():
            pass

    calls = [asyncio.ensure_future(mailbox.dequeue(wait=math.inf)), asyncio.ensure_future(loop())]
    await asyncio.sleep(0.01)
    await mailbox.die()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [HolderDied, HolderDied]
    await mailbox.die()


async def test_death_inside_a_loop_over_messages(location: str) -> None:
    mailbox = await faulty(location, Fault(FaultKind.DEATH_BEFORE, "ack", nth=2))
    await mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(4)])

    async def actor(mailbox: Mailbox) -> None:
        async for record in mailbox.messages():
            try:
                await mailbox.ack(record.id)
            except Exception as error:
                raise AssertionError("a handler ran in a process that has ended") from error

    with pytest.raises(HolderDied):
        await actor(mailbox)
    assert await queued(location) == [b"1", b"2", b"3"]


async def test_mailbox_that_others_refer_to_dies_for_them_too(location: str) -> None:
    kept = await open_mailbox(location)
    await FaultyMailbox(kept).die()
    with pytest.raises(MailboxClosedError):
        await kept.dequeue()
    await kept.close()


async def test_step_to_another_faulty_mailbox(location: str) -> None:
    here, there = await faulty(location), await faulty(f"{location}-target")
    await here.enqueue(b"", b"step")
    [record] = await here.dequeue()
    assert await here.ack_and_send(record.id, [(there, NewMessage(b"", b"result"))])
    assert [r.payload for r in await there.dequeue()] == [b"result"]
    await there.die()
    await here.enqueue(b"", b"step")
    [record] = await here.dequeue()
    with pytest.raises(HolderDied):
        await here.ack_and_send(record.id, [(there, NewMessage(b"", b"result"))])
    await here.close()


# -- plans -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"kind": FaultKind.LOST_AFTER, "verb": "send"}, "verb"),
        ({"kind": FaultKind.FULL, "verb": "ack"}, "verb"),
        ({"kind": FaultKind.REFUSED, "verb": "ack"}, "verb"),
        ({"kind": FaultKind.FULL, "nth": 0}, "nth"),
        ({"kind": FaultKind.FULL, "times": 0}, "times"),
        ({"kind": FaultKind.FULL, "probability": 1.5}, "probability"),
    ],
)
def test_impossible_fault_is_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Fault(**arguments)


async def test_call_that_begins_while_its_holder_dies_dies_with_it(location: str) -> None:
    mailbox = await faulty(location)
    death = asyncio.ensure_future(mailbox.die())
    waiting = asyncio.ensure_future(mailbox.dequeue(wait=math.inf))
    await death
    with pytest.raises(HolderDied):
        await waiting


# -- a dequeue that acknowledges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["dequeue", "ack_many", None])
async def test_dequeue_that_acknowledges_is_struck_as_a_whole(verb: str | None, location: str) -> None:
    """Whichever of its verbs a fault is planned for."""
    async with await faulty(location) as mailbox, open_mailbox(location) as watcher:
        ids = [await mailbox.enqueue(b"", payload) for payload in (b"1", b"2")]
        await mailbox.dequeue(1)
        mailbox.plan(Fault(FaultKind.LOST_BEFORE, verb), Fault(FaultKind.LOST_AFTER, verb, nth=2))
        for left in ((1, 1), (0, 1)):
            with pytest.raises(ConnectionLostError):
                await mailbox.dequeue(ack=ids[:1])
            stats = await watcher.status()
            assert (stats.queued_messages, stats.inflight_messages) == left
        assert await watcher.ack(ids[0]) is False
        assert [one for one, _ in mailbox.struck] == [verb or "dequeue"] * 2


async def test_dequeue_that_acknowledges_is_one_call_of_each_verb(location: str) -> None:
    async with await faulty(location, Fault(FaultKind.LOST_BEFORE, "ack_many", nth=3)) as mailbox:
        message_id = await mailbox.enqueue(b"", b"")
        await mailbox.ack_many([])
        await mailbox.dequeue(ack=[])
        await mailbox.dequeue()
        with pytest.raises(ConnectionLostError):
            await mailbox.dequeue(ack=[message_id])
        assert await mailbox.ack(message_id)
