"""When a failed message is tried again, and how its failure is recorded."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import pickle
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import pytest

from pymailbox import (
    Capability,
    Context,
    Mailbox,
    MemoryMailbox,
    MessageRecord,
    MessageStatus,
    Retry,
    RetryPolicy,
    open_mailbox,
)
from pymailbox.actors.tracebacks import LONGEST_TEXT, shortened, traceback_of
from pymailbox.contract.arguments import Options
from tests.unit.example_mailboxes import Database, SeedMailbox, SmallMailbox


def delays(policy: RetryPolicy, count: int) -> list[float]:
    return [policy.delay_after(delivery) for delivery in range(1, count + 1)]


def test_pauses_grow_up_to_the_longest() -> None:
    assert delays(RetryPolicy(0.5, factor=3.0, longest_delay=10.0, jitter=0.0), 5) == [0.5, 1.5, 4.5, 10.0, 10.0]


def test_pauses_that_do_not_grow() -> None:
    assert delays(RetryPolicy(2.0, factor=1.0, jitter=0.0), 3) == [2.0, 2.0, 2.0]


def test_no_pause() -> None:
    assert delays(RetryPolicy(0.0), 3) == [0.0, 0.0, 0.0]
    assert RetryPolicy(0.0).delay_after(10**9) == 0.0


def test_endless_failures_overflow_nothing() -> None:
    assert RetryPolicy(jitter=0.0).delay_after(10**9) == 300.0


@pytest.mark.parametrize(("drawn", "wanted"), [(0.0, 8.0), (0.5, 6.0), (0.999, 4.004)])
def test_chance_only_shortens(drawn: float, wanted: float) -> None:
    policy = RetryPolicy(8.0, jitter=0.5, random=lambda: drawn)
    assert policy.delay_after(1) == pytest.approx(wanted)


def test_same_source_makes_the_same_pauses() -> None:
    from random import Random

    first, second = (delays(RetryPolicy(jitter=1.0, random=Random(3).random), 5) for _ in range(2))
    assert first == second
    assert len(set(first)) == 5
    assert len(set(delays(RetryPolicy(factor=1.0), 5))) == 5


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("first_delay", -1.0, ValueError),
        ("first_delay", "1", TypeError),
        ("longest_delay", math.inf, ValueError),
        ("longest_delay", math.nan, ValueError),
        ("factor", 0.5, ValueError),
        ("factor", math.inf, ValueError),
        ("factor", None, TypeError),
        ("jitter", 1.5, ValueError),
        ("jitter", True, TypeError),
        ("max_deliveries", 0, ValueError),
        ("max_deliveries", 1.0, TypeError),
        ("random", 0.5, TypeError),
    ],
)
def test_bad_value_is_named(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{name} must be"):
        RetryPolicy(**{name: value})


def failure(raise_it: Any) -> Exception:
    try:
        raise_it()
    except Exception as error:
        return error
    raise AssertionError


def test_traceback_ends_with_what_went_wrong() -> None:
    def handler() -> None:
        raise KeyError("missing")

    text = traceback_of(failure(handler))
    assert text.startswith("Traceback (most recent call last):\n")
    assert "in handler\n" in text
    assert text.endswith("KeyError: 'missing'")


def test_long_traceback_keeps_its_ends() -> None:
    def handler() -> None:
        raise KeyError("x" * 100_000 + "the end")

    text = traceback_of(failure(handler))
    assert len(text) <= LONGEST_TEXT
    assert text.startswith("Traceback")
    assert "characters left out" in text
    assert text.endswith("the end'")


def test_endless_recursion_is_a_short_text() -> None:
    def handler() -> None:
        handler()

    assert len(traceback_of(failure(handler))) <= LONGEST_TEXT


def test_text_that_cannot_be_stored_is_escaped() -> None:
    assert shortened("broken \udcff name") == "broken \\udcff name"


def test_error_that_cannot_be_written_down_is_still_a_failure() -> None:
    class Silent(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError

    def handler() -> None:
        raise Silent

    assert "Silent" in traceback_of(failure(handler))


# -- Retry -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("delay", {"delay": -1}, ValueError),
        ("delay", {"delay": math.nan}, ValueError),
        ("delay", {"delay": math.inf}, ValueError),
        ("delay", {"delay": timedelta(seconds=-1)}, ValueError),
        ("delay", {"delay": "30"}, TypeError),
        ("delay", {"delay": True}, TypeError),
        ("failed", {"failed": 0}, TypeError),
        ("failed", {"failed": None}, TypeError),
    ],
)
def test_retry_names_a_bad_argument(name: str, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"^{name} must be"):
        Retry(**arguments)


@pytest.mark.parametrize(
    ("retry", "delay", "text"),
    [
        (Retry(), None, "again when its policy says"),
        (Retry(1.5), 1.5, "again in 1.5 s"),
        (Retry(timedelta(minutes=1), failed=False), 60.0, "again in 60 s; this delivery does not count"),
    ],
)
def test_retry_says_what_it_asks_for_and_can_come_from_another_process(
    retry: Retry, delay: float | None, text: str
) -> None:
    for one in (retry, pickle.loads(pickle.dumps(retry)), copy.copy(retry)):
        assert (one.delay, one.failed, str(one)) == (delay, retry.failed, text)


class NacksUnfailed(MemoryMailbox):
    """Its ``nack`` can take a hand-out back."""

    calls: ClassVar[list[dict[str, Any]]] = []

    async def nack(self, message_id: UUID, *, failed: bool = True, **how: Any) -> bool:
        self.calls.append({"failed": failed, **how})
        if failed:
            return await super().nack(message_id, **how)
        held = await self.peek(status=MessageStatus.INFLIGHT)
        await self._release([message_id])
        return message_id in {record.id for record in held}


async def test_hand_out_is_taken_back_by_a_nack_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(NacksUnfailed, "calls", calls)
    async with NacksUnfailed(None, Options()) as mailbox:
        await mailbox.enqueue(b"", b"")
        counts: list[int] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            counts.append(message.delivery_count)
            if len(counts) == 1:
                raise Retry(7, failed=False)
            if len(counts) == 2:
                raise Retry(failed=False)
            context.stop()

        policy = RetryPolicy(first_delay=3.0, jitter=0.0)
        await asyncio.wait_for(mailbox.consume(handler, retry=policy), 10)
        assert calls == [{"failed": False, "delay": 7.0}, {"failed": False, "delay": 3.0}]
        assert counts == [1, 1, 1]


class Lesser(SmallMailbox):
    """What goes back counts as failed."""

    capabilities = frozenset({Capability.NACK, Capability.DELAY})
    _release = Mailbox._release


@pytest.mark.parametrize("kind", [Lesser, SeedMailbox])
async def test_message_that_cannot_be_taken_back_waits_with_its_handle(kind: Any) -> None:
    async with await Database(kind).open("inbox") as mailbox:
        await mailbox.enqueue(b"", b"")
        counts: list[int] = []

        async def handler(message: MessageRecord, context: Context) -> None:
            counts.append(message.delivery_count)
            if len(counts) < 4:
                raise Retry(0, failed=False)
            context.stop()

        await asyncio.wait_for(mailbox.consume(handler, retry=RetryPolicy(max_deliveries=1)), 10)
        assert counts == [1, 1, 1, 1]


@pytest.mark.parametrize("failed", [True, False])
async def test_log_has_one_line_for_a_retry(failed: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="pymailbox")
    async with open_mailbox("memory://") as mailbox:
        message_id = await mailbox.enqueue(b"", b"")
        runs = 0

        async def handler(message: MessageRecord, context: Context) -> None:
            nonlocal runs
            runs += 1
            if runs == 1:
                raise Retry(0, failed=failed)
            if runs == 2:
                raise Retry(0, failed=failed) from OSError("503")
            context.stop()

        await asyncio.wait_for(mailbox.consume(handler), 10)
    verb, second = ("failed", 2) if failed else ("was put off", 1)
    lines = [f"message {message_id} {verb} at delivery {count}, again after 0.0 s" for count in (1, second)]
    lines[1] += ": OSError: 503"
    assert [record.getMessage() for record in caplog.records] == lines
    assert all(record.exc_info is None for record in caplog.records)
