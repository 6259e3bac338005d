"""The actor loop beyond the conformance checks: its commits, and what it does when the storage, or Python, fails."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import time
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pymailbox import (
    Capability,
    ConnectionLostError,
    Consumer,
    Context,
    MailboxError,
    MemoryMailbox,
    MessageRecord,
    NewMessage,
    Reject,
    RetryPolicy,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
    UnsupportedError,
    open_mailbox,
)
from pymailbox.actors import consumer as consumer_module
from pymailbox.actors import retrying as storage_module
from pymailbox.actors.holds import Hold
from pymailbox.actors.pace import SOON, Pace
from pymailbox.actors.retrying import RetryingMailbox
from pymailbox.actors.stopping import Stop
from pymailbox.testing import Fault, FaultKind, FaultyMailbox
from tests.unit.example_mailboxes import Database, SeedMailbox, SmallMailbox
from tests.unit.staged_mailboxes import StagedMailbox

AT_ONCE = RetryPolicy(first_delay=0.0)

variable = contextvars.ContextVar("variable", default="")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come soon."""
    monkeypatch.setattr(storage_module, "_PAUSES", RetryPolicy(first_delay=0.001, longest_delay=0.002))


async def until(seen: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 10
    while not seen():
        assert loop.time() < deadline, "it never came about"
        await asyncio.sleep(0.001)


async def left(mailbox: StagedMailbox) -> tuple[int, int]:
    """Queued and inflight messages."""
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages


async def fill(mailbox: StagedMailbox, count: int = 3, sender: bytes = b"sender") -> None:
    for number in range(count):
        await mailbox.enqueue(sender, b"%d" % number)


async def rest(mailbox: StagedMailbox) -> list[tuple[bytes, int]]:
    """What another handle gets, with delivery counts."""
    async with StagedMailbox(mailbox.name) as other:
        return [(record.payload, record.delivery_count) for record in await other.dequeue()]


# -- commits -----------------------------------------------------------------------------------------------------------


async def test_next_batch_is_claimed_with_the_last_acks() -> None:
    async with StagedMailbox("with-acks", batch_size=2) as mailbox:
        await fill(mailbox, 4)
        consumer = mailbox.consume(lambda message: None)
        task = asyncio.ensure_future(consumer)
        await until(lambda: mailbox.events.count("ack begins") >= 3)
        consumer.stop()
        await task
        first_claim = mailbox.events.index("claim ends")
        second_claim = mailbox.events.index("claim begins", first_claim)
        # one call, and so one transaction
        assert mailbox.events[second_claim - 1] == "ack begins"


async def test_acks_that_come_during_a_commit_share_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "soon", lambda pace: 100)
    monkeypatch.setattr(consumer_module, "LINGER", 0.0)
    monkeypatch.setattr(consumer_module, "SOON", 60.0)
    async with StagedMailbox("shared-acks") as mailbox:
        await fill(mailbox, 10)
        mailbox.held_up["ack"] = asyncio.Event()
        seen: list[bytes] = []

        async def handler(message: MessageRecord) -> None:
            await asyncio.sleep(0.001)
            seen.append(message.payload)

        consumer = mailbox.consume(handler)
        task = asyncio.ensure_future(consumer)
        await until(lambda: len(seen) == 10)
        mailbox.held_up["ack"].set()
        await until(lambda: not any(mailbox._namespace.store(mailbox.name).bodies.lanes))
        consumer.stop()
        await task
        assert mailbox.events.count("ack begins") == 2
        assert await left(mailbox) == (0, 0)


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
async def test_slow_handler_costs_one_call_a_message(scheme: str, tmp_path: Path) -> None:
    """Each call that claims one message acknowledges the previous one."""
    location = "memory://" if scheme == "memory" else f"sqlite:///{tmp_path}/inbox.db"
    async with open_mailbox(location, batch_size=1) as mailbox:
        calls: list[tuple[str, int]] = []

        def noted(verb: str) -> None:
            call = getattr(mailbox, verb)

            async def note(*given: Any) -> Any:
                ack = given[2] if len(given) > 2 else None
                calls.append((verb, len(ack.ids) if ack else 0))
                return await call(*given)

            setattr(mailbox, verb, note)

        for verb in ("_claim", "_ack", "_ack_held", "_ack_and_send", "_release"):
            noted(verb)
        await mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(5)])
        seen: list[bytes] = []
        consumer = mailbox.consume(lambda message: seen.append(message.payload))
        task = asyncio.ensure_future(consumer)
        while (stats := await mailbox.status()).queued_messages + stats.inflight_messages:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        consumer.stop()
        await task
        assert seen == [b"%d" % number for number in range(5)]
        assert calls == [("_claim", 0)] + [("_claim", 1)] * 5


@pytest.mark.parametrize("moment", ["before it is committed", "while it waits"])
async def test_stop_acknowledges_what_went_along_with_a_claim(moment: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="pymailbox")
    async with StagedMailbox(moment) as mailbox:
        await fill(mailbox, 1)
        if moment == "before it is committed":
            mailbox.held_up["ack"] = asyncio.Event()
        consumer = mailbox.consume(lambda message: None)
        task = asyncio.ensure_future(consumer)
        await until(lambda: mailbox.events.count("ack begins"))
        if moment == "while it waits":
            await until(lambda: not any(mailbox._namespace.store(mailbox.name).bodies.lanes))
        consumer.stop()
        await asyncio.sleep(0)
        mailbox.held_up.get("ack", asyncio.Event()).set()
        await asyncio.wait_for(task, 10)
        assert await left(mailbox) == (0, 0)
        # cut off, it may or may not have happened, so it is repeated; reported, it has happened
        assert mailbox.events.count("ack begins") == (2 if moment == "before it is committed" else 1)
        assert not caplog.records


async def test_claim_that_fails_with_acks_repeats_them_first() -> None:
    async with StagedMailbox("acks-first", batch_size=1) as mailbox:
        await fill(mailbox, 3)
        mailbox.fail_next("ack", *[ConnectionLostError() for _ in range(3)])
        seen: list[bytes] = []
        consumer = mailbox.consume(lambda message: seen.append(message.payload))
        task = asyncio.ensure_future(consumer)
        await until(lambda: len(seen) == 3)
        consumer.stop()
        await task
        first = mailbox.events.index("ack begins")
        claims = [index for index, event in enumerate(mailbox.events) if event == "claim begins" and index > first + 1]
        # the call that failed, two repetitions of its acknowledgement that fail, and the one that works
        assert mailbox.events[: claims[0]].count("ack ends") == 4
        assert await left(mailbox) == (0, 0)
        assert seen == [b"0", b"1", b"2"]


async def test_claim_whose_answer_is_lost_has_acknowledged(caplog: pytest.LogCaptureFixture) -> None:
    """What went along is acknowledged, what was claimed comes back with the handle, and neither is reported."""
    caplog.set_level("INFO", logger="pymailbox")
    location = f"memory://{uuid4()}"
    mailbox = FaultyMailbox(await open_mailbox(location, batch_size=1), [Fault(FaultKind.LOST_AFTER, "dequeue", nth=2)])
    for number in range(2):
        await mailbox.enqueue(b"", b"%d" % number)
    seen: list[bytes] = []
    consumer = mailbox.consume(lambda message: seen.append(message.payload))
    task = asyncio.ensure_future(consumer)
    await until(lambda: mailbox.struck)
    consumer.stop()
    await task
    await mailbox.close()
    async with open_mailbox(location) as other:
        assert [(record.payload, record.delivery_count) for record in await other.dequeue()] == [(b"1", 1)]
    assert seen == [b"0"]
    assert not [record for record in caplog.records if "taken back" in record.getMessage()]


async def test_claim_settles_only_what_is_still_held() -> None:
    async with StagedMailbox("held-only", batch_size=1) as mailbox, StagedMailbox("held-only") as other:
        await fill(mailbox, 2)
        counts: list[tuple[bytes, int]] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            counts.append((message.payload, message.delivery_count))
            if len(counts) == 1:
                # as after a death that others assumed
                await MemoryMailbox._release(mailbox, [message.id])
                [taken] = await other.dequeue(1)
                assert taken.id == message.id
            else:
                context.stop()

        await mailbox.consume(handler)
        assert counts == [(b"0", 1), (b"1", 1)]
        assert await left(other) == (0, 1)


# -- a storage that fails ----------------------------------------------------------------------------------------------


def locked() -> MailboxError:
    return StorageUnavailableError("another program keeps it locked", passing=True)


@pytest.mark.parametrize("error", [ConnectionLostError, StorageFullError, locked])
@pytest.mark.parametrize("verb", ["count", "claim", "ack", "nack", "bury"])
async def test_what_passes_by_itself_is_waited_for(verb: str, error: Callable[[], MailboxError]) -> None:
    async with StagedMailbox(f"{verb}-{error.__name__}") as mailbox:
        await fill(mailbox, 3)
        mailbox.fail_next(verb, *[error() for _ in range(5)])
        runs: list[tuple[bytes, int]] = []

        def handler(message: MessageRecord) -> None:
            runs.append((message.payload, message.delivery_count))
            if message.payload == b"1" and message.delivery_count == 1:
                raise ValueError("on purpose")
            if message.payload == b"2":
                raise Reject

        consumer = mailbox.consume(handler, retry=AT_ONCE)
        task = asyncio.ensure_future(consumer)
        await until(lambda: not mailbox.faults[verb] and len(runs) == 4)
        consumer.stop()
        await task
        assert sorted(runs) == [(b"0", 1), (b"1", 1), (b"1", 2), (b"2", 1)]
        stats = await mailbox.status()
        assert (stats.queued_messages, stats.inflight_messages, stats.dead_letters) == (0, 0, 1)


async def test_nothing_is_claimed_while_acks_fail() -> None:
    async with StagedMailbox("acks-fail", batch_size=2) as mailbox:
        await fill(mailbox, 6)
        mailbox.fail_next("ack", *[ConnectionLostError() for _ in range(20)])
        seen: list[bytes] = []
        consumer = mailbox.consume(lambda message: seen.append(message.payload))
        task = asyncio.ensure_future(consumer)
        await until(lambda: len(mailbox.faults["ack"]) < 5)
        # the claim that was made together with the first acknowledgement, and none after it
        assert len(seen) <= 4
        await until(lambda: len(seen) == 6)
        consumer.stop()
        await task


async def test_full_storage_is_a_failed_delivery_for_what_is_sent() -> None:
    async with StagedMailbox("full") as mailbox, StagedMailbox("full-out") as outbox:
        await fill(mailbox, 2)
        mailbox.fail_next("ack_and_send", StorageFullError("no room"))
        runs: list[tuple[bytes, int]] = []

        def handler(message: MessageRecord, context: Context) -> None:
            runs.append((message.payload, message.delivery_count))
            context.send(outbox, b"me", message.payload)
            if len(runs) == 3:
                context.stop()

        await mailbox.consume(handler, retry=AT_ONCE)
        assert sorted(runs) == [(b"0", 1), (b"0", 2), (b"1", 1)]
        assert await left(outbox) == (2, 0)


async def test_lost_connection_repeats_the_commit_not_the_handler() -> None:
    async with StagedMailbox("lost") as mailbox, StagedMailbox("lost-out") as outbox:
        await fill(mailbox, 1)
        mailbox.fail_next("ack_and_send", *[ConnectionLostError() for _ in range(3)])
        runs: list[int] = []

        def handler(message: MessageRecord, context: Context) -> None:
            runs.append(message.delivery_count)
            context.send(outbox, b"me", b"once")

        consumer = mailbox.consume(handler)
        task = asyncio.ensure_future(consumer)
        await until(lambda: not mailbox.faults["ack_and_send"])
        consumer.stop()
        await task
        assert runs == [1]
        assert await left(outbox) == (1, 0)


@pytest.mark.parametrize("error", [StorageCorruptError, StorageUnavailableError])
@pytest.mark.parametrize("verb", ["claim", "ack", "nack", "bury"])
async def test_other_errors_end_it(verb: str, error: type[MailboxError]) -> None:
    async with StagedMailbox(f"ends-{verb}-{error.__name__}") as mailbox:
        await fill(mailbox, 8)
        mailbox.fail_next(verb, error("on purpose"))

        async def handler(message: MessageRecord) -> None:
            await asyncio.sleep(0.001)
            if message.payload == b"1":
                raise ValueError("on purpose")
            if message.payload == b"2":
                raise Reject

        with pytest.raises(error, match="on purpose"):
            await mailbox.consume(handler, concurrency=3)
        queued, inflight = await left(mailbox)
        # an acknowledgement that failed leaves its messages with the handle; all others are handled or back
        assert inflight <= (3 if verb == "ack" else 0)
        assert queued + inflight > 0


async def test_claim_under_way_does_not_overtake_a_failed_message() -> None:
    async with StagedMailbox("overtaking", batch_size=2) as mailbox:
        await fill(mailbox, 4)
        seen: list[bytes] = []

        def handler(message: MessageRecord, context: Context) -> None:
            if message.delivery_count == 1 and message.payload == b"0":
                # the next claim takes what comes behind it, and returns late
                mailbox.claims_held_up = asyncio.Event()
                raise ValueError("on purpose")
            seen.append(message.payload)
            if len(seen) == 4:
                context.stop()

        policy = RetryPolicy(first_delay=0.05, jitter=0.0)
        task = asyncio.ensure_future(mailbox.consume(handler, retry=policy, ordered_by_sender=True))
        await until(lambda: mailbox.events.count("claim ends") == 2)
        await until(lambda: "nack ends" in mailbox.events)
        assert mailbox.claims_held_up is not None
        mailbox.claims_held_up.set()
        await task
        assert seen == [b"0", b"1", b"2", b"3"]


async def test_slow_claim_is_left_alone_while_a_sender_waits() -> None:
    class Slow(StagedMailbox):
        async def _claim(self, *arguments: Any) -> list[MessageRecord]:
            await asyncio.sleep(1.5 * SOON)
            return await super()._claim(*arguments)

    async with Slow("slow-claims") as mailbox:
        await fill(mailbox, 20, b"anna")
        await fill(mailbox, 1, b"ben")

        def handler(message: MessageRecord, context: Context) -> None:
            if message.sender == b"anna":
                raise ValueError("on purpose")
            context.stop()

        never = RetryPolicy(first_delay=1e6, longest_delay=1e6)
        async with asyncio.timeout(10):
            await mailbox.consume(handler, concurrency=2, retry=never, ordered_by_sender=True)


async def test_stop_gives_a_failing_storage_one_more_try() -> None:
    async with StagedMailbox("last-try") as mailbox:
        await fill(mailbox, 1)
        mailbox.fail_next("ack", *[ConnectionLostError("gone for good") for _ in range(10_000)])
        consumer = mailbox.consume(lambda message: None)
        task = asyncio.ensure_future(consumer)
        await until(lambda: len(mailbox.faults["ack"]) < 9_998)
        consumer.stop()
        with pytest.raises(ConnectionLostError, match="gone for good"):
            await task


async def test_message_that_was_taken_back_sends_nothing() -> None:
    async with StagedMailbox("taken") as mailbox, StagedMailbox("taken-out") as outbox:
        await fill(mailbox, 1)

        async def handler(message: MessageRecord, context: Context) -> None:
            context.send(outbox, b"me", b"never")
            await mailbox._release([message.id])
            context.stop()

        await mailbox.consume(handler)
        assert await left(outbox) == (0, 0)
        assert await rest(mailbox) == [(b"0", 1)]


@pytest.mark.parametrize("closed", [True, False])
async def test_target_that_cannot_be_sent_to_is_a_failure(closed: bool) -> None:
    async with StagedMailbox("bad-target") as mailbox, await open_mailbox("memory://closed") as other:
        seed = await Database(SeedMailbox).open("elsewhere")
        if closed:
            await other.close()
        await fill(mailbox, 1)

        def handler(message: MessageRecord, context: Context) -> None:
            context.send(other if closed else seed, b"me", b"never")

        consumer = mailbox.consume(handler, retry=RetryPolicy(max_deliveries=1))
        task = asyncio.ensure_future(consumer)
        await until(lambda: "bury ends" in mailbox.events)
        consumer.stop()
        await task
        [letter] = await mailbox.dead_letters()
        assert ("MailboxClosedError" if closed else "is not in the same database") in letter.reason
        await mailbox.discard(letter.record.id)


# -- how it ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("asynchronous", [True, False])
async def test_interrupt_in_a_handler_ends_it(kind: type[BaseException], asynchronous: bool) -> None:
    async with StagedMailbox(f"{kind.__name__}-{asynchronous}") as mailbox:
        await fill(mailbox, 3)

        def synchronous_handler(message: MessageRecord) -> None:
            raise kind

        async def asynchronous_handler(message: MessageRecord) -> None:
            await asyncio.sleep(0)
            raise kind

        with pytest.raises(kind):
            await mailbox.consume(asynchronous_handler if asynchronous else synchronous_handler)
        assert await rest(mailbox) == [(b"0", 1), (b"1", 1), (b"2", 1)]


def test_end_of_the_loop_gives_everything_back() -> None:
    """``asyncio.run`` cancels every task when it ends: the consumer's, and those of its handlers."""

    async def main() -> None:
        mailbox = StagedMailbox("end-of-loop")
        kept.append(mailbox)
        await fill(mailbox, 5)
        begun = asyncio.Event()

        async def handler(message: MessageRecord) -> None:
            begun.set()
            await asyncio.sleep(60)

        kept.append(asyncio.ensure_future(mailbox.consume(handler, concurrency=2)))
        await begun.wait()

    async def look() -> list[tuple[bytes, int]]:
        async with StagedMailbox("end-of-loop") as other:
            return [(record.payload, record.delivery_count) for record in await other.dequeue()]

    kept: list[Any] = []
    asyncio.run(main())
    assert asyncio.run(look()) == [(b"%d" % number, 1) for number in range(5)]
    with pytest.warns(ResourceWarning):  # noqa: PT031  the mailbox was never closed
        kept.clear()
        gc.collect()


async def test_handlers_that_are_cancelled_with_their_consumer_have_not_failed() -> None:
    async with StagedMailbox("together") as mailbox:
        await fill(mailbox, 2)
        begun = asyncio.Event()

        async def handler(message: MessageRecord) -> None:
            begun.set()
            await asyncio.sleep(60)

        consumer = mailbox.consume(handler)
        task = asyncio.ensure_future(consumer)
        await begun.wait()
        for one in (*consumer._handling, task):
            one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await rest(mailbox) == [(b"0", 1), (b"1", 1)]


async def test_handler_that_will_not_be_ended_is_acked() -> None:
    async with StagedMailbox("stubborn") as mailbox:
        await fill(mailbox, 1)
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def handler(message: MessageRecord) -> None:
            begun.set()
            while not may_end.is_set():
                try:
                    await may_end.wait()
                except asyncio.CancelledError:
                    continue

        task = asyncio.ensure_future(mailbox.consume(handler))
        await begun.wait()
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0.01)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await left(mailbox) == (0, 0)


async def test_third_cancellation_waits_for_nothing() -> None:
    async with StagedMailbox("hung") as mailbox:
        await fill(mailbox, 1)
        mailbox.held_up["ack"] = asyncio.Event()
        task = asyncio.ensure_future(mailbox.consume(lambda message: None))
        await until(lambda: "ack begins" in mailbox.events)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_handler_that_outlives_a_stop_is_ended_by_a_timeout() -> None:
    async with StagedMailbox("outlives") as mailbox:
        await fill(mailbox, 1)

        begun = asyncio.Event()

        async def handler(message: MessageRecord, context: Context) -> None:
            context.stop()
            begun.set()
            await asyncio.sleep(60)

        task = asyncio.ensure_future(mailbox.consume(handler))
        await begun.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.02)
        assert await rest(mailbox) == [(b"0", 1)]


@pytest.mark.parametrize("in_order", [True, False])
async def test_stop_does_not_wait_for_the_next_attempt(in_order: bool) -> None:
    async with StagedMailbox(f"no-wait-{in_order}") as mailbox:
        await fill(mailbox, 3)

        def handler(message: MessageRecord) -> None:
            raise ValueError("on purpose")

        never = RetryPolicy(first_delay=1e6, longest_delay=1e6)
        consumer = mailbox.consume(handler, retry=never, ordered_by_sender=in_order)
        task = asyncio.ensure_future(consumer)
        await until(lambda: len(consumer._waiting) == 1 if in_order else mailbox.events.count("nack ends") == 3)
        consumer.stop()
        await asyncio.wait_for(task, 10)
        assert await left(mailbox) == (3, 0)
        # in order nothing may overtake what failed, so that it comes back without a delay
        assert await rest(mailbox) == ([(b"0", 2), (b"1", 1), (b"2", 1)] if in_order else [])


async def test_page_that_is_left_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "PAUSE_AFTER_UNLOAD", 1000.0)
    async with StagedMailbox("left-page") as mailbox, StagedMailbox("left-page") as other:
        await fill(mailbox, 4)
        seen: list[bytes] = []
        may_end = asyncio.Event()

        async def handler(message: MessageRecord) -> None:
            seen.append(message.payload)
            await may_end.wait()

        consumer = mailbox.consume(handler)
        task = asyncio.ensure_future(consumer)
        await until(lambda: seen)
        mailbox.leave_page()
        may_end.set()
        await until(lambda: "ack ends" in mailbox.events)
        # what ran has been acknowledged; what had not begun is for others, as if it had not been handed out
        taken = await other.dequeue(2)
        assert [(record.payload, record.delivery_count) for record in taken] == [(b"1", 1), (b"2", 1)]
        assert seen == [b"0"]
        consumer._resume()
        await until(lambda: len(seen) == 2)
        assert seen == [b"0", b"3"]
        consumer.stop()
        await task
        assert mailbox.life_over_callbacks == []


async def test_no_second_handler_of_a_message_that_went_back_and_came_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "PAUSE_AFTER_UNLOAD", 1000.0)
    async with StagedMailbox("left-again") as mailbox:
        await fill(mailbox, 1)
        seen: list[bytes] = []
        may_end = asyncio.Event()

        async def handler(message: MessageRecord) -> None:
            seen.append(message.payload)
            await may_end.wait()

        consumer = mailbox.consume(handler, concurrency=2)
        task = asyncio.ensure_future(consumer)
        await until(lambda: seen and mailbox.events.count("claim begins") == 2)
        mailbox.leave_page()
        assert await left(mailbox) == (1, 0)
        consumer._resume()
        await until(lambda: not consumer._pauses and mailbox.events.count("claim ends") >= 3)
        assert await left(mailbox) == (0, 1)
        await fill(mailbox, 1)
        await until(lambda: len(seen) == 2)
        may_end.set()
        await until(lambda: not consumer._handling)
        consumer.stop()
        await task
        assert await left(mailbox) == (0, 0)
        assert len(seen) == 2


@pytest.mark.parametrize("how", ["never claimed", "claimed by the same consumer"])
async def test_late_ack_takes_no_other_message_that_has_got_the_id(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(consumer_module, "PAUSE_AFTER_UNLOAD", 1000.0)
    message_id = uuid4()
    async with StagedMailbox(how) as mailbox, StagedMailbox(how) as other:
        await mailbox.enqueue(b"", b"first", message_id=message_id)
        seen: list[bytes] = []
        may_end = asyncio.Event()

        async def handler(message: MessageRecord) -> None:
            seen.append(message.payload)
            await may_end.wait()

        consumer = mailbox.consume(handler, concurrency=2)
        task = asyncio.ensure_future(consumer)
        await until(lambda: seen)
        mailbox.leave_page()
        assert await other.ack(message_id)
        await asyncio.sleep(0.002)
        await other.enqueue(b"", b"second", message_id=message_id)
        if how == "claimed by the same consumer":
            consumer._resume()
            await until(lambda: len(seen) == 2)
        may_end.set()
        await until(lambda: not (consumer._handling or consumer._handled_late or consumer._writes))
        consumer.stop()
        await task
        assert (seen, await left(mailbox)) == (
            ([b"first"], (1, 0)) if how == "never claimed" else ([b"first", b"second"], (0, 0))
        )


async def test_acknowledgements_of_two_messages_with_one_id_are_told_apart() -> None:
    async with StagedMailbox("ids-again") as mailbox:
        first, second = asyncio.Event(), asyncio.Event()
        message_id = await mailbox.enqueue(b"", b"")
        [record] = await mailbox.dequeue()
        holds = [Hold(record), Hold(replace(record, created_at=record.created_at + timedelta(seconds=1)))]
        retrying = RetryingMailbox(mailbox, Stop())
        mailbox.held_up["ack"] = first
        acks = [asyncio.ensure_future(retrying.ack([holds[0]]))]
        await until(lambda: mailbox.events.count("ack begins") == 1)
        mailbox.held_up["ack"] = second
        acks.append(asyncio.ensure_future(retrying.ack([holds[1]])))
        first.set()
        await acks[0]
        assert (await mailbox.get(message_id), retrying.acknowledging) == (None, {holds[1]})
        second.set()
        await acks[1]
        assert not retrying.acknowledging


async def test_page_that_is_left_while_a_message_is_acknowledged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="pymailbox")
    monkeypatch.setattr(consumer_module, "PAUSE_AFTER_UNLOAD", 1000.0)
    async with StagedMailbox("left-ack") as mailbox:
        await fill(mailbox, 1)
        mailbox.held_up["ack"] = asyncio.Event()
        seen: list[bytes] = []
        consumer = mailbox.consume(lambda message: seen.append(message.payload))
        task = asyncio.ensure_future(consumer)
        await until(lambda: "ack begins" in mailbox.events)
        mailbox.leave_page()
        mailbox.held_up["ack"].set()
        await until(lambda: not any(mailbox._namespace.store(mailbox.name).bodies.lanes))
        consumer.stop()
        await task
        assert seen == [b"0"]
        assert not caplog.records  # of a message that may be handled again


# -- other tasks -------------------------------------------------------------------------------------------------------


async def through_create_task(consumer: Consumer) -> None:
    await asyncio.create_task(consumer)


async def through_a_group(consumer: Consumer) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(consumer)


async def through_gather(consumer: Consumer) -> None:
    await asyncio.gather(consumer, asyncio.sleep(0))


@pytest.mark.parametrize("run", [through_create_task, through_a_group, through_gather])
async def test_consumer_is_a_coroutine(run: Callable[[Consumer], Awaitable[None]]) -> None:
    async with StagedMailbox(run.__name__) as mailbox:
        await fill(mailbox, 1)
        await run(mailbox.consume(lambda message, context: context.stop()))
        assert await left(mailbox) == (0, 0)


async def test_forgotten_await_is_reported() -> None:
    async with StagedMailbox("forgotten") as mailbox:
        with pytest.warns(RuntimeWarning, match="never awaited"):  # noqa: PT031
            mailbox.consume(lambda message: None)
            gc.collect()


async def test_stop_before_the_start() -> None:
    async with StagedMailbox("early") as mailbox:
        await fill(mailbox, 1)
        consumer = mailbox.consume(lambda message: None)
        consumer.stop()
        await consumer
        assert await rest(mailbox) == [(b"0", 1)]


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_handlers_let_other_tasks_run(asynchronous: bool) -> None:
    async with await open_mailbox("memory://") as mailbox:
        for _ in range(50):
            await mailbox.enqueue(b"", b"")
        handled = 0
        handled_at: list[int] = []

        def handle(message: MessageRecord, context: Context) -> None:
            nonlocal handled
            handled += 1
            if asynchronous:
                time.sleep(1.5 * consumer_module.AT_ONCE)  # quicker ones may follow each other at once
            if handled == 50:
                context.stop()

        async def handler(message: MessageRecord, context: Context) -> None:
            handle(message, context)

        async def look() -> None:
            while handled < 50:
                handled_at.append(handled)
                await asyncio.sleep(0)

        await asyncio.gather(mailbox.consume(handler if asynchronous else handle), look())
        assert len(set(handled_at)) >= 50


@pytest.mark.parametrize("pause", [None, 0, 0.001])
async def test_context_variables_of_a_handler_are_its_own(pause: float | None) -> None:
    async with await open_mailbox("memory://") as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(5)])
        seen: list[str] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            seen.append(variable.get())
            variable.set("of another handler")
            if pause is not None:
                await asyncio.sleep(pause)
            if len(seen) == 5:
                context.stop()

        variable.set("of the consumer")
        await mailbox.consume(handler)
        assert seen == ["of the consumer"] * 5


@pytest.mark.parametrize("fails", [True, False])
async def test_context_is_over_with_its_handler(fails: bool) -> None:
    async with StagedMailbox("over") as mailbox:
        await fill(mailbox, 1)
        contexts: list[Context] = []

        def handler(message: MessageRecord, context: Context) -> None:
            contexts.append(context)
            context.stop()
            if fails:
                raise ValueError("on purpose")

        await mailbox.consume(handler)
        with pytest.raises(RuntimeError, match="before it returns"):
            contexts[0].send(mailbox, b"me", b"late")
        await mailbox.purge()


async def test_bad_send_raises_where_it_is_made() -> None:
    async with StagedMailbox("bad-send") as mailbox:
        await fill(mailbox, 1)
        errors: list[str] = []

        def handler(message: MessageRecord, context: Context) -> None:
            for arguments in ((None, b"", b""), (mailbox, "me", b""), (mailbox, b"me", None), (mailbox, b"", b"", 3)):
                with pytest.raises(TypeError) as caught:
                    context.send(*arguments)
                errors.append(str(caught.value).split()[0])
            context.stop()

        await mailbox.consume(handler)
        assert errors == ["mailbox", "sender", "payload", "priority"]


@pytest.mark.parametrize("generator", [True, False])
async def test_generator_is_no_handler(generator: bool) -> None:
    def synchronous(message: MessageRecord) -> Any:
        yield

    async def asynchronous(message: MessageRecord) -> Any:
        yield

    async with StagedMailbox("generator") as mailbox:
        with pytest.raises(TypeError, match="must not be a generator"):
            mailbox.consume(synchronous if generator else asynchronous)


# -- the core verbs alone ----------------------------------------------------------------------------------------------


async def seed_mailbox(count: int) -> Any:
    mailbox = await Database(SeedMailbox).open("inbox")
    for number in range(count):
        await mailbox.enqueue(b"sender", b"%d" % number)
    return mailbox


@pytest.mark.parametrize("in_order", [True, False])
async def test_without_nack_a_failed_message_is_tried_again_from_memory(in_order: bool) -> None:
    mailbox = await seed_mailbox(3)
    runs: list[tuple[bytes, int]] = []

    def handler(message: MessageRecord, context: Context) -> None:
        runs.append((message.payload, message.delivery_count))
        if message.payload == b"0" and message.delivery_count < 3:
            raise ValueError("on purpose")
        if len(runs) == 5:
            context.stop()

    await mailbox.consume(handler, retry=RetryPolicy(first_delay=0.01), ordered_by_sender=in_order)
    if in_order:
        assert runs == [(b"0", 1), (b"0", 2), (b"0", 3), (b"1", 1), (b"2", 1)]
    assert sorted(runs) == [(b"0", 1), (b"0", 2), (b"0", 3), (b"1", 1), (b"2", 1)]
    assert (await mailbox.status()).inflight_messages == 0


@pytest.mark.parametrize("in_order", [True, False])
async def test_without_release_and_delay_a_failed_message_is_nacked_after_its_pause(in_order: bool) -> None:
    class Lesser(SmallMailbox):
        capabilities = frozenset(Capability) - {Capability.RELEASE, Capability.DELAY}

    async with await Database(Lesser).open("inbox") as mailbox:
        await mailbox.enqueue(b"sender", b"0")
        counts: list[int] = []

        def handler(message: MessageRecord, context: Context) -> None:
            counts.append(message.delivery_count)
            if message.delivery_count < 3:
                raise ValueError("on purpose")
            context.stop()

        running = mailbox.consume(handler, retry=RetryPolicy(first_delay=0.01), ordered_by_sender=in_order)
        await asyncio.wait_for(running, 10)
        assert counts == [1, 2, 3]


@pytest.mark.parametrize("error", [Reject("no good"), ValueError("no good")])
async def test_without_dead_letters_giving_up_ends_it(error: Exception) -> None:
    mailbox = await seed_mailbox(1)

    def handler(message: MessageRecord) -> None:
        raise error

    with pytest.raises(type(error), match="no good") as caught:
        await mailbox.consume(handler, retry=RetryPolicy(first_delay=0.0, max_deliveries=2))
    assert "SeedMailbox has no dead letters" in caught.value.__notes__[0]
    assert (await mailbox.status()).inflight_messages == 1


async def test_without_release_a_stop_finishes_what_was_claimed() -> None:
    mailbox = await seed_mailbox(15)  # it claims ten at a time
    seen: list[bytes] = []

    def handler(message: MessageRecord, context: Context) -> None:
        seen.append(message.payload)
        context.stop()

    await mailbox.consume(handler)
    assert seen == [b"%d" % number for number in range(10)]
    stats = await mailbox.status()
    assert (stats.queued_messages, stats.inflight_messages) == (5, 0)


async def test_without_release_a_stop_does_not_try_failures_again() -> None:
    mailbox = await seed_mailbox(2)
    runs: list[bytes] = []

    def handler(message: MessageRecord, context: Context) -> None:
        runs.append(message.payload)
        context.stop()
        raise ValueError("on purpose")

    await asyncio.wait_for(mailbox.consume(handler), 10)
    assert runs == [b"0", b"1"]


async def test_without_release_a_second_cancellation_handles_no_more() -> None:
    mailbox = await seed_mailbox(5)
    begun: list[bytes] = []

    async def handler(message: MessageRecord) -> None:
        begun.append(message.payload)
        await asyncio.sleep(60)

    task = asyncio.ensure_future(mailbox.consume(handler))
    await until(lambda: begun)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert begun == [b"0"]
    assert (await mailbox.status()).inflight_messages == 5


async def test_without_ack_and_send_nothing_can_be_sent() -> None:
    mailbox = await seed_mailbox(1)
    errors: list[str] = []

    def handler(message: MessageRecord, context: Context) -> None:
        with pytest.raises(UnsupportedError) as caught:
            context.send(mailbox, b"me", b"never")
        errors.append(str(caught.value))
        context.stop()

    await mailbox.consume(handler)
    assert "SeedMailbox cannot commit" in errors[0]
    assert "message_id" in errors[0]


async def test_no_warning_is_left_behind() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with StagedMailbox("quiet") as mailbox:
            await fill(mailbox, 1)
            await mailbox.consume(lambda message, context: context.stop())
        gc.collect()
