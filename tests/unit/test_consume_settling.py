"""Who decides about a message, and what is claimed, shown with slow or limited mailboxes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from pymailbox import (
    Capability,
    ConnectionLostError,
    Context,
    Mailbox,
    MailboxClosedError,
    MessagePriority,
    MessageRecord,
    NewMessage,
    Reject,
    RetryPolicy,
    StorageFullError,
    open_mailbox,
)
from pymailbox.actors import consumer as consumer_module
from pymailbox.actors import retrying as storage_module
from pymailbox.actors.delivery import LONGEST_LINE
from pymailbox.actors.pace import SOON, Pace
from pymailbox.testing import Fault, FaultKind, FaultyMailbox
from tests.unit.example_mailboxes import Database, SmallMailbox
from tests.unit.staged_mailboxes import StagedMailbox

AT_ONCE = RetryPolicy(first_delay=0.0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_PAUSES", RetryPolicy(first_delay=0.001, longest_delay=0.002))


async def until(seen: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not seen():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def left(mailbox: Any) -> tuple[int, int]:
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages


async def until_left(mailbox: Any, queued: int, inflight: int) -> None:
    async with asyncio.timeout(10):
        while await left(mailbox) != (queued, inflight):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


class Lesser(SmallMailbox):
    """Cannot check the holder of a message before acknowledging it."""

    capabilities = frozenset(Capability) - {Capability.ACK_AND_SEND, Capability.RELEASE}


# -- the last word -----------------------------------------------------------------------------------------------------


async def test_lesser_mailbox_leaves_what_was_nacked_by_hand() -> None:
    async with await Database(Lesser).open("inbox") as mailbox:
        await mailbox.enqueue(b"", b"x")
        counts: list[int] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            counts.append(message.delivery_count)
            if len(counts) == 1:
                await mailbox.nack(message.id)
            else:
                context.stop()

        await asyncio.wait_for(mailbox.consume(handler), 10)
        assert counts == [1, 2]
        assert await left(mailbox) == (0, 0)


async def test_faulty_mailbox_leaves_what_was_nacked_by_hand() -> None:
    async with FaultyMailbox(await open_mailbox("memory://"), [Fault(FaultKind.LOST_BEFORE, "ack_many")]) as mailbox:
        await mailbox.enqueue(b"", b"x")
        counts: list[int] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            counts.append(message.delivery_count)
            if len(counts) == 1:
                await context.mailbox.nack(message.id)
            else:
                context.stop()

        with suppress(ConnectionLostError):
            await asyncio.wait_for(mailbox.consume(handler), 10)
        assert counts == [1, 2]
        assert mailbox.struck == [("ack_many", FaultKind.LOST_BEFORE)]


@pytest.mark.parametrize("together", [True, False])
async def test_handler_may_ack_what_others_wait_with(together: bool) -> None:
    """What is acknowledged while it waits for its handler is no longer handled."""
    async with StagedMailbox("group") as mailbox:
        ids = await mailbox.enqueue_many([NewMessage(b"sender", b"%d" % number) for number in range(6)])
        seen: list[bytes] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            seen.append(message.payload)
            if message.payload == b"1":
                await until(lambda: all(one in consumer._holds._holds for one in ids[1:]))
                if together:
                    assert await mailbox.ack_many(iter(ids[1:5])) == 4
                else:
                    for one in ids[1:5]:
                        assert await mailbox.ack(message_id=one)
            if message.payload == b"5":
                context.stop()

        consumer = mailbox.consume(handler)
        await asyncio.wait_for(consumer, 10)
        assert seen == [b"0", b"1", b"5"]
        assert await left(mailbox) == (0, 0)


async def test_call_that_is_under_way_when_its_handler_ends_is_waited_for() -> None:
    async with StagedMailbox("under-way") as mailbox:
        await mailbox.enqueue(b"", b"x")
        mailbox.held_up["nack"] = asyncio.Event()
        nacking: list[asyncio.Task[bool]] = []
        counts: list[int] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            counts.append(message.delivery_count)
            if len(counts) == 1:
                nacking.append(asyncio.ensure_future(mailbox.nack(message.id)))
                await until(lambda: "nack begins" in mailbox.events)
            else:
                context.stop()

        task = asyncio.ensure_future(mailbox.consume(handler))
        await until(lambda: nacking and "nack begins" in mailbox.events)
        await asyncio.sleep(0.01)  # time for an acknowledgement that does not wait
        mailbox.held_up["nack"].set()
        await asyncio.wait_for(task, 10)
        assert nacking[0].result()
        assert counts == [1, 2]


@pytest.mark.parametrize("counted", [True, False])
async def test_call_that_nobody_knows_the_end_of(counted: bool) -> None:
    """A failed nack may have counted: then the message comes again, and the first handler's end does not touch it."""
    async with FaultyMailbox(await open_mailbox("memory://")) as mailbox:
        await mailbox.enqueue(b"", b"x")
        counts: list[int] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            counts.append(message.delivery_count)
            if len(counts) == 1:
                mailbox.plan(Fault(FaultKind.LOST_AFTER if counted else FaultKind.LOST_BEFORE, "nack"))
                with pytest.raises(ConnectionLostError):
                    await mailbox.nack(message.id)

        consumer = mailbox.consume(handler)
        task = asyncio.ensure_future(consumer)
        await until(lambda: len(counts) == 1 + counted)
        await until_left(mailbox, 0, 0)
        consumer.stop()
        await asyncio.wait_for(task, 10)
        assert counts == [1, 2][: 1 + counted]


async def test_failure_after_the_page_was_left_is_not_that_of_the_next_hand_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A claim under way may have got the message again."""
    monkeypatch.setattr(consumer_module, "PAUSE_AFTER_UNLOAD", 1000.0)
    async with StagedMailbox("left-and-failed") as mailbox:
        await mailbox.enqueue(b"", b"x")
        may_fail = asyncio.Event()
        counts: list[int] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            counts.append(message.delivery_count)
            if len(counts) > 1:
                context.stop()
                return
            await may_fail.wait()
            raise ValueError("on purpose")

        consumer = mailbox.consume(handler, concurrency=2, retry=AT_ONCE)
        task = asyncio.ensure_future(consumer)
        await until(lambda: counts)
        mailbox.leave_page()
        mailbox.claims_held_up = asyncio.Event()
        consumer._resume()
        await until_left(mailbox, 0, 1)
        may_fail.set()
        await until(lambda: "nack ends" in mailbox.events)
        mailbox.claims_held_up.set()
        await asyncio.wait_for(task, 10)
        assert counts == [1, 1]
        assert await left(mailbox) == (0, 0)


async def test_nack_by_hand_keeps_the_order_of_its_sender() -> None:
    async with StagedMailbox("order") as mailbox:
        for number in range(5):
            await mailbox.enqueue(b"sender", b"%d" % number)
        done: list[bytes] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            if message.payload == b"1" and message.delivery_count == 1:
                await until(lambda: len(consumer._buffer) == 3)
                await mailbox.nack(message.id)
                return
            done.append(message.payload)
            if len(done) == 5:
                context.stop()

        consumer = mailbox.consume(handler, concurrency=2, ordered_by_sender=True)
        await asyncio.wait_for(consumer, 10)
        assert done == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("end", ["cancelled", "failing"])
async def test_what_waits_for_its_sender_is_with_nobody_after_the_end(end: str) -> None:
    """Even if that happens while what waits behind a failed message is given back."""
    async with StagedMailbox(end) as mailbox:
        for number in range(5):
            await mailbox.enqueue(b"sender", b"%d" % number)

        async def handler(message: MessageRecord) -> None:
            if message.payload == b"1":
                await until(lambda: len(consumer._buffer) == 3)
                raise ValueError("on purpose")

        if end == "cancelled":
            mailbox.held_up["release"] = asyncio.Event()
        else:
            mailbox.fail_next("release", ZeroDivisionError("on purpose"))
        consumer = mailbox.consume(handler, concurrency=2, ordered_by_sender=True, retry=AT_ONCE)
        task = asyncio.ensure_future(consumer)
        await until(lambda: "release begins" in mailbox.events)
        if end == "cancelled":
            for _ in range(2):
                task.cancel()
                await asyncio.sleep(0.01)
            mailbox.held_up["release"].set()
        with pytest.raises(asyncio.CancelledError if end == "cancelled" else ZeroDivisionError):
            await asyncio.wait_for(task, 10)
        assert await left(mailbox) == (4, 0)


async def test_interrupt_after_a_nack_by_hand_leaves_the_second_hand_out() -> None:
    async with StagedMailbox("interrupted") as mailbox:
        await mailbox.enqueue(b"", b"x")
        counts: list[int] = []

        async def handler(message: MessageRecord) -> None:
            counts.append(message.delivery_count)
            if len(counts) == 1:
                await mailbox.nack(message.id)
                await until(lambda: len(counts) == 2)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await mailbox.consume(handler, concurrency=2)
        assert counts == [1, 2]
        assert await left(mailbox) == (0, 0)


async def test_send_beside_an_ack_by_hand_waits_for_room() -> None:
    async with StagedMailbox("acked") as mailbox, StagedMailbox("acked-out") as outbox:
        await mailbox.enqueue(b"", b"x")
        full = StorageFullError("no room")

        async def handler(message: MessageRecord, context: Context) -> None:
            await mailbox.ack(message.id)
            context.send(outbox, b"me", b"1")
            context.send(outbox, b"me", b"2", MessagePriority.HIGH)

        outbox.fail_next("enqueue", full, full)
        consumer = mailbox.consume(handler)
        task = asyncio.ensure_future(consumer)
        await until_left(outbox, 2, 0)
        consumer.stop()
        await task
        assert [record.payload for record in await outbox.dequeue()] == [b"2", b"1"]


async def test_send_that_cannot_be_stored_any_more_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with StagedMailbox("lost") as mailbox:
        outbox = await open_mailbox("memory://")
        await mailbox.enqueue(b"", b"x")

        async def handler(message: MessageRecord, context: Context) -> None:
            await mailbox.ack(message.id)
            context.send(outbox, b"me", b"1")
            await outbox.close()
            context.stop()

        await mailbox.consume(handler)
        [error] = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "1 messages" in error.message
        assert MailboxClosedError.__name__ in error.message


@pytest.mark.parametrize("cancellations", [2, 3])
async def test_send_beside_an_ack_by_hand_outlives_its_handler(
    cancellations: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with StagedMailbox() as mailbox, StagedMailbox() as outbox:
        await mailbox.enqueue(b"", b"x")
        other = await open_mailbox("memory://")
        outbox.held_up["enqueue"] = asyncio.Event()

        async def handler(message: MessageRecord, context: Context) -> None:
            context.send(outbox, b"me", b"1")
            context.send(other, b"me", b"2")
            await mailbox.ack(message.id)

        task = asyncio.ensure_future(mailbox.consume(handler))
        await until(lambda: "enqueue begins" in outbox.events)
        for _ in range(cancellations):
            task.cancel()
            await asyncio.sleep(0.01)
        outbox.held_up["enqueue"].set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        stored = [(await one.status()).queued_messages for one in (outbox, other)]
        errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        await other.close()
        if cancellations == 2:
            assert (stored, errors) == ([1, 1], [])
        else:  # nothing is waited for any more, but what is lost is in the log
            assert stored == [0, 0]
            assert len(errors) == 2


# -- claims ------------------------------------------------------------------------------------------------------------


async def test_slow_handlers_claim_what_they_handle_and_fast_ones_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    async with StagedMailbox("pace", batch_size=16) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"fast")] * 200 + [NewMessage(b"", b"slow")] * 6)
        limits: list[int] = []
        claim = mailbox._claim

        async def noted(limit: int, *more: Any) -> list[MessageRecord]:
            limits.append(limit)
            return await claim(limit, *more)

        monkeypatch.setattr(mailbox, "_claim", noted)
        slow = 0

        async def handler(message: MessageRecord, context: Context) -> None:
            nonlocal slow
            if message.payload == b"slow":
                slow += 1
                await asyncio.sleep(2 * SOON)
                if slow == 6:
                    context.stop()

        await mailbox.consume(handler)
        assert limits[0] == 1  # nobody knows yet how fast it is
        assert 16 in limits
        assert limits[-1] == 1
        assert max(limits) == 16


async def test_what_waits_behind_a_slow_handler_goes_back() -> None:
    async with StagedMailbox("stuck") as mailbox, StagedMailbox("stuck") as other:
        await mailbox.enqueue_many(
            [NewMessage(b"", b"fast")] * 40 + [NewMessage(b"", b"slow")] + [NewMessage(b"", b"x")] * 20
        )
        may_end = asyncio.Event()

        async def handler(message: MessageRecord) -> None:
            if message.payload == b"slow":
                await may_end.wait()

        consumer = mailbox.consume(handler)
        task = asyncio.ensure_future(consumer)
        await until_left(other, 20, 1)
        assert {record.delivery_count for record in await other.dequeue()} == {1}
        may_end.set()
        consumer.stop()
        await task


async def test_what_waits_behind_many_short_handlers_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short each is: what matters is how long ago the messages were claimed."""
    monkeypatch.setattr(Pace, "soon", lambda pace: 100)  # as after many that were handled fast
    async with StagedMailbox("short", batch_size=100) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"x")] * 100)
        counts: list[int] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            counts.append(message.delivery_count)
            await asyncio.sleep(SOON / 5)
            queued, _ = await left(mailbox)
            if queued or len(counts) == 100:
                context.stop()

        await mailbox.consume(handler)
        assert len(counts) < 100
        assert {record.delivery_count for record in await mailbox.dequeue()} == {1}


@pytest.mark.parametrize("turns", range(6))
async def test_what_goes_back_is_not_overtaken_by_a_claim_under_way(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However soon it goes back: here as soon as it no longer waits for its sender and has not begun."""
    monkeypatch.setattr(consumer_module, "SOON", 0.0)
    monkeypatch.setattr(Pace, "soon", lambda pace: 3)
    async with StagedMailbox(f"overtaken-{turns}", batch_size=3) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"anna", b"%d" % number) for number in range(30)])
        seen: list[int] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            for _ in range(turns + len(seen) % 3):
                await asyncio.sleep(0)
            seen.append(int(message.payload))
            if len(seen) == 30:
                context.stop()

        await asyncio.wait_for(mailbox.consume(handler, concurrency=3, ordered_by_sender=True), 10)
        assert seen == list(range(30))


async def test_lesser_mailbox_keeps_what_it_has_claimed() -> None:
    """If a message can only go back as a failed delivery, it stays claimed."""
    async with await Database(Lesser).open("inbox") as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"fast")] * 40 + [NewMessage(b"", b"slow")] * 2)
        counts: list[int] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            if message.payload == b"slow":
                counts.append(message.delivery_count)
                await asyncio.sleep(2 * SOON)
                if len(counts) == 2:
                    context.stop()

        await mailbox.consume(handler)
        assert counts == [1, 1]


def test_pace_counts_what_is_handled_while_something_is() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert pace.soon() == 0
    for _ in range(10):
        pace.begins()
        now += 1 / 256
        pace.ends()
        now += 1.0  # in which nothing is to do
    assert pace.soon() == 12  # 10 in 10/256 s
    for _ in range(4):  # at the same time
        pace.begins()
    now += 0.125
    for _ in range(4):
        pace.ends()
    assert pace.soon() == 3  # 5 and 4, in 5/256 and 1/8 s
    pace.begins()
    now += 10.0
    assert pace.soon() == 0
    pace.ends()


def test_pace_without_a_clock_worth_the_name() -> None:
    pace = Pace(lambda: 0.0)
    pace.begins()
    pace.ends()
    assert pace.soon() > 1000


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["scope", "task group"])
async def test_anyio_scope_stops_it_cleanly(way: str) -> None:
    async with StagedMailbox(way) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(3)])
        log: list[str] = []
        cancel: list[Callable[[], None]] = []

        async def handler(message: MessageRecord) -> None:
            cancel[0]()
            try:
                await asyncio.sleep(0.05)
                log.append("finished")
            finally:
                await asyncio.sleep(0.01)
                log.append("cleaned up")

        if way == "scope":
            with anyio.CancelScope() as scope:
                cancel.append(scope.cancel)
                await mailbox.consume(handler)
            assert scope.cancelled_caught
        else:
            async with anyio.create_task_group() as group:

                async def consume() -> None:
                    await mailbox.consume(handler)

                cancel.append(group.cancel_scope.cancel)
                group.start_soon(consume)
        assert log == ["finished", "cleaned up"]
        assert await left(mailbox) == (2, 0)


async def test_cancellation_after_a_level_triggered_one_ends_handlers() -> None:
    async with StagedMailbox("twice") as mailbox:
        await mailbox.enqueue(b"", b"x")
        begun = asyncio.Event()

        async def handler(message: MessageRecord) -> None:
            begun.set()
            await asyncio.sleep(60)

        task = asyncio.ensure_future(mailbox.consume(handler))
        await begun.wait()
        for _ in range(20):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        assert await left(mailbox) == (1, 0)


# -- the log -----------------------------------------------------------------------------------------------------------


async def consume_what_fails(caplog: pytest.LogCaptureFixture, level: int, **options: Any) -> list[logging.LogRecord]:
    """A message that fails twice and is then handled, one that fails for good, and one that is rejected."""
    caplog.set_level(level, logger="pymailbox")
    policy = RetryPolicy(first_delay=0.0, max_deliveries=options.pop("policy", None))
    async with open_mailbox("memory://", **options) as mailbox:
        await mailbox.enqueue_many(
            [NewMessage(payload, payload) for payload in (b"retry", b"dead", b"reject", b"last")]
        )

        async def handler(message: MessageRecord) -> None:
            if message.payload == b"reject":
                raise Reject("no such command")
            if message.payload == b"dead" or (message.payload == b"retry" and message.delivery_count < 3):
                raise ValueError("on purpose\nand more")

        consumer = mailbox.consume(handler, retry=policy)
        task = asyncio.ensure_future(consumer)
        await until_left(mailbox, 0, 0)
        consumer.stop()
        await task
    return [record for record in caplog.records if record.name == "pymailbox"]


@pytest.mark.parametrize("options", [{"max_deliveries": 4}, {"policy": 4}])
async def test_log_has_a_line_for_each_retry_and_a_warning_for_each_dead_letter(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    records = await consume_what_fails(caplog, logging.INFO, **options)
    assert all("\n" not in record.getMessage() and record.exc_info is None for record in records)
    warnings = sorted(record.getMessage().partition(" ")[2] for record in records if record.levelno == logging.WARNING)
    assert len(warnings) == 2
    assert any("no such command" in warning for warning in warnings)
    assert any("4 of at most 4 deliveries failed" in warning for warning in warnings)
    others = [record.getMessage() for record in records if record.levelno == logging.INFO]
    assert len(others) == 2 + 3
    assert all("ValueError: on purpose" in line for line in others)


async def test_log_has_tracebacks_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    records = await consume_what_fails(caplog, logging.DEBUG, max_deliveries=4)
    assert [record for record in records if record.levelno >= logging.INFO]
    assert all(record.exc_info for record in records if record.levelno >= logging.INFO)


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("on purpose")


class SpeechlessReject(Reject):
    __str__ = SpeechlessError.__str__


async def test_log_says_what_was_raised_and_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    noted = KeyError("customer")
    noted.add_note("while reading row 7")
    failures: dict[bytes, Exception] = {
        b"noted": noted,
        b"empty": ValueError(),
        b"speechless": SpeechlessError(),
        b"reject": Reject("no lines\nat all"),
        b"speechless reject": SpeechlessReject("on purpose"),
        b"unprintable": Reject("a\udcff\rb"),
        b"long": ValueError(b"\0" * 1_000_000),
    }
    async with open_mailbox("memory://", max_deliveries=1) as mailbox:
        for payload in failures:
            await mailbox.enqueue(b"", payload)

        async def handler(message: MessageRecord) -> None:
            raise failures[message.payload]

        consumer = mailbox.consume(handler)
        task = asyncio.ensure_future(consumer)
        await until_left(mailbox, 0, 0)
        consumer.stop()
        await task
    lines = [record.getMessage().split(" is a dead letter: ")[1] for record in caplog.records]
    given_up = "1 of at most 1 deliveries failed"
    assert lines == [
        f"{given_up}: KeyError: 'customer'",
        f"{given_up}: ValueError",
        f"{given_up}: SpeechlessError",
        "no lines",
        "SpeechlessReject",
        "a\\udcff",
        f"{given_up}: ValueError: {str(failures[b'long'])[:LONGEST_LINE]}…",
    ]


async def consume_failures(mailbox: Mailbox, count: int) -> None:
    """All at the same time, once each."""
    begun = 0
    may_fail = asyncio.Event()

    async def handler(message: MessageRecord) -> None:
        nonlocal begun
        begun += 1
        if begun == count:
            may_fail.set()
        await may_fail.wait()
        raise ValueError("on purpose")

    consumer = mailbox.consume(handler, concurrency=count)
    task = asyncio.ensure_future(consumer)
    await until_left(mailbox, 0, 0)
    consumer.stop()
    await task


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
@pytest.mark.parametrize("faulty", [False, True])
async def test_log_announces_no_retry_of_a_dead_letter(
    scheme: str, faulty: bool, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="pymailbox")
    location = "memory://" if scheme == "memory" else f"sqlite:///{tmp_path}/inbox.db"
    # far more failures at once than a look at the newest letters would show
    mailbox: Mailbox = await open_mailbox(location, batch_size=1, max_deliveries=1)
    if faulty:
        mailbox = FaultyMailbox(mailbox)

    def not_looked_at(*_: Any) -> None:
        raise AssertionError("a line of the log is no reason to read all dead letters")

    async with mailbox:
        for _ in range(6):
            await mailbox.enqueue(b"", b"x")
        with monkeypatch.context() as patch:
            patch.setattr(type(mailbox), "dead_letters", not_looked_at)
            await consume_failures(mailbox, 6)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 6
    assert all("dead letter: 1 of at most 1 deliveries failed" in record.getMessage() for record in caplog.records)


async def test_log_announces_no_retry_where_nobody_knows(caplog: pytest.LogCaptureFixture) -> None:
    """A third party's mailbox makes dead letters without telling its consumers."""
    caplog.set_level(logging.INFO, logger="pymailbox")
    async with await Database(SmallMailbox).open("inbox", max_deliveries=1) as mailbox:
        await mailbox.enqueue(b"", b"x")
        await consume_failures(mailbox, 1)
    [record] = caplog.records
    assert record.getMessage().endswith("failed at delivery 1: ValueError: on purpose")
