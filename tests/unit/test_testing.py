"""The conformance suite, the model and the random programs pass what is right and find what is wrong."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest

from pymailbox import (
    DeadLetter,
    Mailbox,
    MailboxStats,
    MessagePriority,
    MessageRecord,
    MessageStatus,
    NewMessage,
    open_mailbox,
)
from pymailbox.relaying import loop as relaying_loop
from pymailbox.testing import (
    CHECKS,
    Check,
    ProgramFailure,
    Sandbox,
    check_mailbox,
    factory_at,
    run_checks,
    run_program,
)
from pymailbox.testing import _expect as expect_module
from pymailbox.testing import _suite as suite_module
from pymailbox.testing._expect import eventually, expect, expect_equal, expect_error, expect_no_repeats
from pymailbox.testing._suite import check, run_each
from pymailbox.testing._verbs import VERBS
from pymailbox.testing.checks.consuming import consuming
from pymailbox.testing.model import Consumer, DisagreementError, Judge, Seen
from pymailbox.testing.stateful.steps import STEPS
from pymailbox.testing.stateful.verbs import KINDS
from tests.unit.broken_mailboxes import BROKEN, FOUND_BY_PROGRAMS
from tests.unit.broken_mailboxes.order import OrderedByAge
from tests.unit.broken_mailboxes.peek_and_purge import PurgesEverything
from tests.unit.example_mailboxes import Database, SeedMailbox, SmallMailbox

# some of the broken mailboxes cannot be closed
pytestmark = pytest.mark.filterwarnings("ignore:.*was never closed:ResourceWarning")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not wait long for what a broken mailbox never does."""
    monkeypatch.setattr(suite_module, "LONGEST_CHECK", 0.3)
    monkeypatch.setattr(suite_module, "LONGEST_CLOSE", 0.5)
    monkeypatch.setattr(expect_module, "PATIENCE", 0.05)
    monkeypatch.setattr(relaying_loop, "LOOK_EVERY", 0.01)


@pytest.fixture
def database_of() -> Iterator[Callable[[type[SmallMailbox]], Database]]:
    """Makes databases of broken mailboxes, some of which cannot be closed; they are collected at some time."""
    databases: list[Database] = []

    def make(broken: type[SmallMailbox]) -> Database:
        databases.append(Database(broken))
        return databases[-1]

    yield make
    for database in databases:
        for handle in database.handles:
            handle._is_closed = True


# -- the list of checks ------------------------------------------------------------------------------------------------


def test_names_are_unique() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.name)
def test_check_says_what_is_promised(one: Check) -> None:
    assert inspect.iscoroutinefunction(one.run)
    assert one.run.__name__ == f"check_{one.name.partition('.')[2]}"
    assert one.promise.endswith(".")
    assert "\n" not in one.promise


@pytest.mark.parametrize(
    "name",
    [
        "enqueue.fifo_within_a_millisecond",
        "dequeue.overlapping_dequeues_are_disjoint",
        "ack.ack_against_dequeue_is_final",
        "message_ids.id_of_all_zeros",
        "enqueue.buffer_changed_after_the_call",
        "opening.second_handle_takes_nothing",
        "observer.three_enqueues_make_three_calls",
        "release.close_gives_back_what_is_held",
    ],
)
def test_what_breaks_elsewhere_is_checked_by_name(name: str) -> None:
    assert name in {check.name for check in CHECKS}


# -- right mailboxes ---------------------------------------------------------------------------------------------------


@pytest.mark.slow  # the lane of CPython's memory shows as much
def test_mailbox_that_keeps_every_promise_passes() -> None:
    results = asyncio.run(run_checks(Database(SmallMailbox).open))
    assert [result.name for result in results] == [check.name for check in CHECKS]
    assert [result for result in results if result.outcome != "passed"] == []


def test_seed_verbs_alone_are_enough() -> None:
    database = Database(SeedMailbox)
    asyncio.run(check_mailbox(database.open))
    results = {result.name: result for result in asyncio.run(run_checks(database.open))}
    for one in CHECKS:
        expected = "unsupported" if one.requires or one.needs_limit or one.acks_with_claims else "passed"
        assert results[one.name].outcome == expected, results[one.name].detail
    assert results["peek.peek_order"].detail == "peek, dequeue(limit)"


def test_factory_at_opens_any_name() -> None:
    async def names() -> list[object]:
        factory = factory_at("memory://")
        handles = [await factory("a/b %25 ü", batch_size=1), await open_mailbox("memory://a%2Fb%20%2525%20%C3%BC")]
        await handles[0].enqueue(b"", b"1")
        await handles[0].enqueue(b"", b"2")
        taken = [len(await handle.dequeue()) for handle in handles]
        for handle in handles:
            await handle.close()
        return [*taken]

    assert asyncio.run(names()) == [1, 1]


# -- broken mailboxes --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_bug_is_found(broken: type[SmallMailbox], database_of: Callable[[type[SmallMailbox]], Database]) -> None:
    results = asyncio.run(run_checks(database_of(broken).open, only=BROKEN[broken]))
    assert [result.name for result in results if result.outcome != "failed"] == []


def test_every_check_can_fail() -> None:
    proven = {name for names in BROKEN.values() for name in names}
    assert {check.name for check in CHECKS} - proven == set()


def test_failures_come_as_one_group(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["peek.peek_order", "purge.purge_leaves_what_is_inflight"]
    monkeypatch.setattr("pymailbox.testing.CHECKS", [check for check in CHECKS if check.name in names])
    with pytest.raises(ExceptionGroup, match=r"1 of 2 checks failed") as caught:
        asyncio.run(check_mailbox(Database(PurgesEverything).open))
    [failure] = caught.value.exceptions
    assert "inflight messages: expected 3, got 0" in str(failure)
    assert failure.__notes__ == [
        "purge.purge_leaves_what_is_inflight: Inflight messages stay with their holder and can be acked."
    ]


# -- ends --------------------------------------------------------------------------------------------------------------


def test_handle_that_somebody_refers_to_cannot_be_collected(impatient: None) -> None:
    async def check_something(sandbox: Sandbox) -> None:
        kept = await sandbox.open()
        try:
            await sandbox.let_be_collected([kept])
        finally:
            await kept.close()

    result, failure = _run(check_something)
    assert result.outcome == "failed"
    assert "something still refers to" in str(failure)


def test_collection_without_a_warning_is_a_failure() -> None:
    class Silent(SmallMailbox):
        def __del__(self) -> None:
            self.holder.abandoned = True

    async def check_something(sandbox: Sandbox) -> None:
        await sandbox.let_be_collected([await sandbox.open()])

    result, failure = _run(check_something, Database(Silent).open)
    assert result.outcome == "failed"
    assert "1 handles were collected unclosed, with 0 ResourceWarnings" in str(failure)


# -- running -----------------------------------------------------------------------------------------------------------


def _run(run: Any, factory: Any = None) -> Any:
    async def outcome() -> Any:
        [(result, failure)] = [each async for each in run_each([check()(run)], factory or Database(SmallMailbox).open)]
        return result, failure

    return asyncio.run(outcome())


def test_result_is_json_ready() -> None:
    async def check_something(sandbox: Sandbox) -> None:
        """A promise."""
        raise KeyError("on purpose")

    result, _ = _run(check_something)
    data = json.loads(json.dumps(result.to_dict()))
    assert data["name"] == "test_testing.something"
    assert data["outcome"] == "failed"
    assert "KeyError: 'on purpose'" in data["detail"]
    assert "test_testing.something: A promise." in data["detail"]
    assert data["seconds"] >= 0


def test_check_that_hangs_fails(impatient: None) -> None:
    async def check_something(sandbox: Sandbox) -> None:
        await asyncio.sleep(60)

    result, failure = _run(check_something)
    assert result.outcome == "failed"
    assert "still running after 0.3 seconds" in str(failure)


def test_handle_that_does_not_close_fails(impatient: None) -> None:
    class Endless(SmallMailbox):
        async def close(self) -> None:
            await asyncio.sleep(60 if self.name.endswith("-endless") else 0)

    async def check_something(sandbox: Sandbox) -> None:
        await sandbox.open("-endless")

    result, failure = _run(check_something, Database(Endless).open)
    assert result.outcome == "failed"
    assert "closing what the check left open was still running" in str(failure)


def test_error_of_close_is_a_failure() -> None:
    class Failing(SmallMailbox):
        async def close(self) -> None:
            self._is_closed = True
            if self.name.endswith("-failing"):
                raise OSError("on purpose")

    async def check_something(sandbox: Sandbox) -> None:
        await sandbox.open("-failing")
        await sandbox.open("-other")

    result, failure = _run(check_something, Database(Failing).open)
    assert result.outcome == "failed"
    assert isinstance(failure, OSError)


def test_timeout_error_of_the_mailbox_is_its_own() -> None:
    async def check_something(sandbox: Sandbox) -> None:
        raise TimeoutError("the storage took too long")

    _, failure = _run(check_something)
    assert isinstance(failure, TimeoutError)


def test_cancellation_that_comes_out_of_the_mailbox_is_a_failure() -> None:
    async def check_something(sandbox: Sandbox) -> None:
        raise asyncio.CancelledError

    result, failure = _run(check_something)
    assert result.outcome == "failed"
    assert "CancelledError came out" in str(failure)


def test_cancelled_run_ends() -> None:
    async def check_something(sandbox: Sandbox) -> None:
        await asyncio.sleep(60)

    async def cancel_it() -> None:
        outcomes = run_each([check()(check_something)], Database(SmallMailbox).open)
        run = asyncio.ensure_future(anext(outcomes))
        await asyncio.sleep(0.01)
        run.cancel()
        await run

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel_it())


def test_only_refuses_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"do not exist: no\.such_check"):
        asyncio.run(run_checks(Database(SmallMailbox).open, only=["no.such_check", "peek.peek_order"]))


def test_error_of_the_factory_is_not_hidden() -> None:
    async def factory(name: str) -> Mailbox:
        raise OSError("no storage")

    with pytest.raises(OSError, match="no storage"):
        asyncio.run(run_checks(factory))


# -- assertions --------------------------------------------------------------------------------------------------------


def test_expectations_fail() -> None:
    with pytest.raises(AssertionError, match="reason"):
        expect(False, "reason")
    with pytest.raises(AssertionError, match=r"things: expected \[1\], got \[2\]"):
        expect_equal([2], [1], "things")
    with pytest.raises(AssertionError, match=r"things: \[2\] came more than once"):
        expect_no_repeats([1, 2, 2], "things")


def test_expect_error_fails() -> None:
    async def returns() -> int:
        return 5

    async def raises() -> None:
        raise ValueError("limit")

    error = asyncio.run(expect_error((TypeError, ValueError), raises, naming="limit"))
    assert isinstance(error, ValueError)
    with pytest.raises(AssertionError, match="expected TypeError, got the result 5"):
        asyncio.run(expect_error(TypeError, returns))
    with pytest.raises(AssertionError, match="expected TypeError, got ValueError"):
        asyncio.run(expect_error(TypeError, raises))
    with pytest.raises(AssertionError, match="does not name 'wait'"):
        asyncio.run(expect_error(ValueError, raises, naming="wait"))


def test_eventually_gives_up(impatient: None) -> None:
    async def look() -> int:
        return 1

    with pytest.raises(AssertionError, match="expected 2, got 1"):
        asyncio.run(eventually(look, 2, "things"))


# -- model -------------------------------------------------------------------------------------------------------------

ANNA = Consumer("anna", "inbox", 32)
BEN = Consumer("ben", "inbox", 32)
CARL = Consumer("carl", "inbox", 32, max_deliveries=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _seen(caller: Consumer, verb: str, answer: Any, *arguments: Any, **keywords: Any) -> Seen:
    return Seen(caller, verb, arguments, keywords, answer)


def _stats(normal: int, high: int, inflight: int) -> MailboxStats:
    by_priority = {MessagePriority.NORMAL: normal, MessagePriority.HIGH: high}
    oldest = EPOCH if normal + high else None
    return MailboxStats(normal + high, inflight, by_priority, oldest_queued_at=oldest)


def _judge_with(*ids: UUID) -> Judge:
    judge = Judge()
    for message_id in ids:
        judge.see(_seen(ANNA, "enqueue", message_id, b"sender", message_id.bytes))
    return judge


@pytest.mark.parametrize(
    "seen",
    [
        _seen(ANNA, "enqueue", UUID(int=1), b"", b""),
        _seen(ANNA, "enqueue", UUID(int=3), b"", b"", message_id=UUID(int=4)),
        _seen(ANNA, "enqueue_many", [UUID(int=3)], [NewMessage(b"", b"")] * 2),
        _seen(ANNA, "enqueue_many", [UUID(int=3)] * 2, [NewMessage(b"", b"")] * 2),
        _seen(ANNA, "dequeue", []),
        _seen(ANNA, "ack", False, UUID(int=1)),
        _seen(ANNA, "ack", True, UUID(int=3)),
        _seen(ANNA, "ack_many", 2, [UUID(int=1), UUID(int=1)]),
        _seen(ANNA, "status", _stats(1, 0, 1)),
        _seen(ANNA, "status", _stats(1, 1, 0)),
        _seen(ANNA, "peek", []),
        _seen(ANNA, "purge", 1),
        _seen(ANNA, "set_depth_observer", False, None),
    ],
    ids=lambda seen: f"{seen.verb}-{seen.answer}",
)
def test_model_disagrees(seen: Seen) -> None:
    with pytest.raises(DisagreementError):
        _judge_with(UUID(int=1), UUID(int=2)).see(seen)


def _record(number: int, deliveries: int = 1, status: MessageStatus = MessageStatus.INFLIGHT) -> MessageRecord:
    """What ``_judge_with`` has stored."""
    payload = UUID(int=number).bytes
    return MessageRecord(UUID(int=number), b"sender", payload, MessagePriority.NORMAL, EPOCH, status, deliveries)


def _dead(number: int, reason: str, error: str | None = None, deliveries: int = 1) -> DeadLetter:
    return DeadLetter(_record(number, deliveries), reason, error, EPOCH)


HELD = _seen(ANNA, "dequeue", [_record(1), _record(2)])
ALONE = _seen(CARL, "dequeue", [_record(1)], 1)
DIED = _seen(CARL, "die", None)


@pytest.mark.parametrize(
    "history",
    [
        # only a message's holder decides about it
        [_seen(ANNA, "nack", True, UUID(int=1))],
        [HELD, _seen(BEN, "nack", True, UUID(int=1))],
        [HELD, _seen(ANNA, "nack", False, UUID(int=1))],
        [HELD, _seen(BEN, "ack_and_send", True, UUID(int=1), [])],
        [HELD, _seen(ANNA, "dead_letter", False, UUID(int=1), "no")],
        # a nack is a delivery, and its delay holds
        [HELD, _seen(ANNA, "nack", True, UUID(int=1)), _seen(ANNA, "dequeue", [_record(1)])],
        [HELD, _seen(ANNA, "nack", True, UUID(int=1), delay=1000.0), _seen(ANNA, "dequeue", [_record(1, 2)])],
        # one failure is too many for Carl
        [ALONE, _seen(CARL, "nack", True, UUID(int=1)), _seen(BEN, "dequeue", [_record(1, 2), _record(2)])],
        [ALONE, DIED, _seen(BEN, "dead_letters", [])],
        [ALONE, DIED, _seen(BEN, "dead_letters", [_dead(1, "")])],
        [ALONE, DIED, _seen(BEN, "dead_letters", [_dead(1, "it died", "no error")])],
        [ALONE, DIED, _seen(BEN, "ack", True, UUID(int=1))],
        [ALONE, DIED, _seen(BEN, "enqueue", UUID(int=1), b"", b"", message_id=UUID(int=1)), _seen(BEN, "peek", [])],
        # suspects come alone, and neighbours are not blamed
        [HELD, _seen(ANNA, "die", None), _seen(BEN, "dequeue", [_record(1, 2), _record(2, 2)])],
        [HELD, _seen(ANNA, "die", None), _seen(BEN, "dequeue", [_record(1, 1)])],
        [HELD, _seen(ANNA, "die", None), _seen(BEN, "recover", 2)],
        [HELD, _seen(ANNA, "close", None), _seen(BEN, "dequeue", [_record(1)])],
        # dead letters are shown with the newest first, and redriven as new
        [
            HELD,
            *(_seen(ANNA, "dead_letter", True, UUID(int=n), "no") for n in (1, 2)),
            _seen(BEN, "dead_letters", [_dead(1, "no"), _dead(2, "no")]),
        ],
        [ALONE, DIED, _seen(BEN, "redrive", False, UUID(int=1))],
        [ALONE, DIED, _seen(BEN, "redrive", True, UUID(int=1)), _seen(BEN, "dequeue", [_record(1), _record(2)])],
        # sent or not
        [
            HELD,
            _seen(ANNA, "ack_and_send", True, UUID(int=1), [("inbox", NewMessage(b"", b"", message_id=UUID(int=1)))]),
            _seen(ANNA, "status", _stats(0, 0, 1)),
        ],
    ],
)
def test_model_disagrees_in_the_end(history: list[Seen]) -> None:
    judge = _judge_with(UUID(int=1), UUID(int=2))
    for seen in history[:-1]:
        judge.see(seen)
    with pytest.raises(DisagreementError):
        judge.see(history[-1])


def test_model_agrees_with_deaths() -> None:
    judge = _judge_with(UUID(int=1), UUID(int=2))
    for seen in (
        HELD,
        _seen(ANNA, "die", None),
        _seen(BEN, "dequeue", [_record(1, 2)]),
        _seen(BEN, "nack", True, UUID(int=1), error="failed"),
        _seen(CARL, "dequeue", [_record(1, 3)], 1),
        _seen(BEN, "dequeue", [_record(2, 2)]),
        DIED,
        _seen(BEN, "dead_letters", [_dead(1, "its holder died", "failed", 3)]),
        _seen(BEN, "redrive", True, UUID(int=1)),
        _seen(BEN, "leave_messages", [_record(1)]),
        _seen(BEN, "status", _stats(0, 0, 2)),
    ):
        judge.see(seen)


def test_model_lets_those_that_died_at_once_come_in_any_order() -> None:
    for order in ([1, 2], [2, 1]):
        judge = _judge_with(UUID(int=1), UUID(int=2))
        for number in (1, 2):
            judge.see(_seen(CARL, "dequeue", [_record(number)], 1))
        judge.see(DIED)
        judge.see(_seen(BEN, "dead_letters", [_dead(number, "its holder died") for number in order]))


def test_model_agrees_with_a_life() -> None:
    judge = _judge_with(UUID(int=1), UUID(int=2))
    judge.see(_seen(ANNA, "status", _stats(2, 0, 0)))
    judge.see(_seen(ANNA, "enqueue", UUID(int=1), b"", b"", message_id=UUID(int=1)))
    judge.see(_seen(ANNA, "ack", True, UUID(int=1)))
    judge.see(_seen(ANNA, "enqueue", UUID(int=1), b"", b"again", message_id=UUID(int=1)))
    assert [message.id.int for message in judge.model.queued("inbox")] == [2, 1]
    judge.see(_seen(ANNA, "purge", 2))
    judge.see(_seen(ANNA, "status", _stats(0, 0, 0)))


def test_judge_tries_every_order() -> None:
    judge = _judge_with(UUID(int=1))
    judge.see(_seen(ANNA, "ack", False, UUID(int=1)), _seen(BEN, "ack", True, UUID(int=1)))
    judge.see(_seen(ANNA, "status", _stats(0, 0, 0)))
    with pytest.raises(DisagreementError):
        judge.see(_seen(ANNA, "ack", True, UUID(int=1)), _seen(BEN, "ack", True, UUID(int=1)))


def test_judge_keeps_the_order_of_one_handles_enqueues() -> None:
    judge = Judge()
    first, second = (_seen(ANNA, "enqueue", UUID(int=n), b"", b"%d" % n) for n in (1, 2))
    other = _seen(BEN, "enqueue", UUID(int=3), b"", b"3")
    judge.see(first, second, other)
    orders = {tuple(m.id.int for m in model.queued("inbox")) for model in judge._models}
    assert orders == {(1, 2, 3), (1, 3, 2), (3, 1, 2)}


# -- random programs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mailbox", [SmallMailbox, SeedMailbox])
@pytest.mark.parametrize("seed", range(10))
def test_right_mailboxes_pass_programs(mailbox: type[SmallMailbox], seed: int) -> None:
    asyncio.run(run_program(Database(mailbox).open, seed))


LIKELY_SEEDS = {
    "AcksLetters": 12,
    "AcksOneAfterTheOther": 8,
    "BlamesEverybody": 76,
    "BlamesTheLastOne": 76,
    "ComesAgainAtOnceWithoutAFailure": 69,
    "FindsTheLivingAlone": 58,
    "ForgetsErrors": 22,
    "KnowsLivingIdsOnly": 9,
    "KnownIdStopsTheStep": 30,
    "ListsLettersFromTheBeginning": 9,
    "NackWithoutDelay": 40,
    "NeverGivesUp": 22,
    "OldestLetterFirst": 9,
    "ReleaseClearsOfSuspicion": 15,
    "SendsAtOnce": 18,
    "SuspectForGood": 27,
}
"""What found a bug that few programs find, and is tried first; any other would do."""


@pytest.mark.slow
@pytest.mark.parametrize("broken", FOUND_BY_PROGRAMS, ids=lambda broken: broken.__name__)
def test_bug_is_found_by_programs(
    broken: type[SmallMailbox],
    database_of: Callable[[type[SmallMailbox]], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pymailbox.testing.stateful.steps.PATIENCE", 0.05)

    async def run_some() -> None:
        for seed in (LIKELY_SEEDS.get(broken.__name__, 0), *range(300)):
            await run_program(database_of(broken).open, seed)

    with pytest.raises(ProgramFailure):
        asyncio.run(run_some())


def test_check_that_is_cancelled_leaves_the_log_as_it_was() -> None:
    async def cancel_at_the_end() -> None:
        mailbox = await open_mailbox("memory://")
        await mailbox.enqueue(b"", b"")

        async def use_it() -> None:
            async with consuming(mailbox, lambda _: asyncio.sleep(0.2)):
                await asyncio.sleep(0.05)  # so that it is at work when this is left

        using = asyncio.ensure_future(use_it())
        await asyncio.sleep(0.1)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        await asyncio.sleep(0.2)
        await mailbox.close()

    asyncio.run(cancel_at_the_end())
    assert not logging.getLogger("pymailbox").disabled


def test_failure_can_be_repeated() -> None:
    failures = []
    for _ in range(2):
        with pytest.raises(ProgramFailure) as caught:
            asyncio.run(run_program(Database(OrderedByAge).open, 3))
        failures.append(caught.value)
    assert failures[0].seed == 3
    assert failures[0].step == failures[1].step
    assert len(failures[0].lines) == len(failures[1].lines)
    assert str(failures[0]).startswith(f"seed 3, step {failures[0].step}: payloads: the model says [")
    assert isinstance(failures[0].__cause__, DisagreementError)


def test_error_of_a_verb_is_a_failure() -> None:
    class Failing(SmallMailbox):
        async def ack(self, message_id: UUID) -> bool:
            raise OSError("on purpose")

    with pytest.raises(ProgramFailure, match="OSError: on purpose") as caught:
        asyncio.run(run_program(Database(Failing).open, 1))
    assert any("OSError('on purpose')" in line for line in caught.value.lines)


def test_program_that_hangs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(SmallMailbox):
        async def status(self) -> MailboxStats:
            await asyncio.sleep(60)
            raise AssertionError

    monkeypatch.setattr("pymailbox.testing.stateful.LONGEST_STEP", 0.2)
    with pytest.raises(ProgramFailure, match="TimeoutError"):
        asyncio.run(run_program(Database(Hanging).open, 1))


def test_programs_use_every_verb() -> None:
    assert {kind.verb for kind in KINDS} == {verb for verb, use in VERBS.items() if use.concerns_messages}
    assert all(step.weight > 0 for step in STEPS)


def test_programs_leave_nothing_open() -> None:
    handles: weakref.WeakSet[SmallMailbox] = weakref.WeakSet()
    opened = count(1)
    last = 0

    class Watched(SmallMailbox):
        def __init__(self, *arguments: Any) -> None:
            nonlocal last
            super().__init__(*arguments)
            handles.add(self)  # weakly: some of them have to die
            last = next(opened)

    asyncio.run(run_program(Database(Watched).open, uuid4().int))
    assert last
    assert all(handle._is_closed for handle in handles)
