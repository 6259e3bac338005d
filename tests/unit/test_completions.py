"""How a task waits for the outcome of its call into the engine; the scenarios of the same name do it with the
engine."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

import pymailbox
from pymailbox import MailboxError, StorageFullError, set_suspendable
from pymailbox.backends.indexeddb import completions as completions_module
from pymailbox.backends.indexeddb.completions import CallFuture, Completions, held_by_claim
from pymailbox.backends.indexeddb.loader import error_of
from tests.lanes.eager_tasks import eager_task_factory

ONE = -1
"""The length of a value that is not an array."""


@pytest.fixture
def completions() -> Completions:
    return Completions()


def deliver(completions: Completions, *call_ids: int) -> None:
    """Each call's outcome is its own id, as text."""
    flat: list[Any] = []
    for call_id in call_ids:
        flat += call_id, None, ONE, str(call_id)
    completions.on_completions(*flat)


async def until_waiting(*awaitables: Awaitable[Any]) -> list[asyncio.Task[Any]]:
    """Tasks that wait for these."""

    async def wait(awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    tasks = [asyncio.create_task(wait(awaitable)) for awaitable in awaitables]
    await asyncio.sleep(0)
    return tasks


async def test_whoever_waits_goes_on_within_the_call_that_delivers(completions: Completions) -> None:
    order = []

    async def wait() -> None:
        call_id, future = completions.begin()
        loop.call_soon(complete, call_id)
        order.append(await future)
        order.append("went on")

    def complete(call_id: int) -> None:
        completions.on_completions(call_id, None, ONE, "a value")
        order.append("was delivered")

    loop = asyncio.get_running_loop()
    await asyncio.create_task(wait())
    assert order == ["a value", "went on", "was delivered"]


async def test_one_alone_goes_on_within_the_call_that_delivers_with_its_bytes(completions: Completions) -> None:
    order: list[Any] = []

    async def wait() -> None:
        call_id, future, size = completions.begin_with(b"to the engine")
        assert bytes(completions.shared[:size]) == b"to the engine"
        loop.call_soon(complete, call_id)
        order.append(await future)
        order.append(completions.going_on == call_id)

    def complete(call_id: int) -> None:
        completions.shared[:4] = b"from"
        completions.on_completion(call_id, 4, None, 7)
        completions.shared[:4] = b"next"
        order.append("was delivered")

    loop = asyncio.get_running_loop()
    await asyncio.create_task(wait())
    assert order == [(b"from", None, 7), True, "was delivered"]
    assert completions.going_on == -1


async def test_one_alone_does_not_go_on_in_the_middle_of_another_task(completions: Completions) -> None:
    call_id, future = completions.begin()
    (task,) = await until_waiting(future)
    completions.on_completion(call_id, ONE, "a value")
    assert not task.done()
    assert await task == "a value"


async def test_one_alone_fails_if_it_cannot_be_converted(completions: Completions) -> None:
    call_id, future = completions.begin(int)
    completions.on_completion(call_id, ONE, "no number")
    with pytest.raises(ValueError, match="no number"):
        await future


@pytest.mark.parametrize("alone", [True, False])
async def test_what_a_cancelled_claim_came_to_is_not_lost(completions: Completions, alone: bool) -> None:
    def claimed(call_id: int) -> None:
        if alone:
            completions.on_completion(call_id, ONE, "messages")
        else:
            completions.on_completions(call_id, None, ONE, "messages")

    calls = [completions.begin(held_by_claim) for _ in range(3)]
    (before, never), (between, cancelled), (after, done) = calls
    tasks = await until_waiting(*(future for _, future in calls))
    claimed(after)
    tasks[0].cancel()
    tasks[1].cancel()
    claimed(between)
    assert completions.end_of_claim(after, done) == "messages"
    assert completions.end_of_claim(between, cancelled) == "messages"
    assert completions.end_of_claim(before, never) is None
    claimed(before)  # which is the engine's to undo
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (completions._pending, completions._dropped) == ({}, {})


async def test_all_that_is_delivered_goes_on_in_its_order(completions: Completions) -> None:
    order = []

    async def wait(future: CallFuture, name: str) -> None:
        await future
        order.append(name)

    (one, first), (two, second) = completions.begin(), completions.begin()
    tasks = [asyncio.create_task(wait(second, "second")), asyncio.create_task(wait(first, "first"))]
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(deliver, completions, one, two)
    await asyncio.gather(*tasks)
    assert order == ["first", "second"]


async def test_one_that_is_suspended_keeps_no_other_from_going_on(
    completions: Completions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completions_module, "can_run_sync", lambda: True)
    monkeypatch.setattr(completions, "_go_on", lambda: went_on.append(len(completions._ready)))
    went_on: list[int] = []
    (one, first), (two, second) = completions.begin(), completions.begin()
    tasks = await until_waiting(first, second)
    deliver(completions, one, two)
    assert went_on == [2], "the first one is suspended: the call does not return"
    await asyncio.sleep(0)
    assert went_on == [2, 2], "the loop lets the others go on"
    monkeypatch.undo()
    completions._go_on()
    await asyncio.gather(*tasks)


async def test_no_task_goes_on_in_the_middle_of_another(completions: Completions) -> None:
    call_id, future = completions.begin()
    (task,) = await until_waiting(future)
    deliver(completions, call_id)
    assert not task.done()
    assert await task == str(call_id)


async def test_call_that_is_complete_before_anybody_waits(completions: Completions) -> None:
    call_id, future = completions.begin()
    completions.on_completions(call_id, None, 2, "a", "b")
    assert future.done()
    assert future.result() == await future == ("a", "b")


async def test_values_arrive_as_they_are_and_converted(completions: Completions) -> None:
    class Long:
        def to_py(self) -> list[int]:
            return list(range(9))

    calls = [completions.begin(convert) for convert in (None, None, None, int)]
    one, empty, long, converted = (call_id for call_id, _ in calls)
    completions.on_completions(one, None, ONE, "a", empty, None, 0, long, None, -2, Long(), converted, None, ONE, "7")
    assert [await future for _, future in calls] == ["a", (), list(range(9)), 7]


async def test_value_that_cannot_be_converted_harms_no_other_call(completions: Completions) -> None:
    (one, bad), (two, good) = completions.begin(int), completions.begin()
    completions.on_completions(one, None, ONE, "no number", two, None, ONE, "good")
    with pytest.raises(ValueError, match="no number"):
        await bad
    assert await good == "good"


async def test_several_may_wait_for_one_call(completions: Completions) -> None:
    call_id, future = completions.begin()
    tasks = await until_waiting(future, future, future)
    tasks[1].cancel()
    await asyncio.sleep(0)
    deliver(completions, call_id)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(end, asyncio.CancelledError) for end in ends] == [True, True, True]


async def test_callbacks_have_their_contexts_and_can_be_taken_back(completions: Completions) -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    seen = []

    def first(future: CallFuture) -> None:
        seen.append(("first", variable.get(), future.result()))

    def second(future: CallFuture) -> None:
        seen.append(("second", variable.get(), future.result()))

    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    call_id, future = completions.begin()
    for callback in (first, second, first, second):
        future.add_done_callback(callback, context=context)
    future.add_done_callback(second)
    assert future.remove_done_callback(first) == 2
    assert future.remove_done_callback(first) == 0
    asyncio.get_running_loop().call_soon(deliver, completions, call_id)
    await asyncio.sleep(0)
    expected = [("second", where, str(call_id)) for where in ("inside", "inside", "outside")]
    assert seen == expected
    future.add_done_callback(second, context=context)
    assert seen == expected, "it is complete: the loop calls"
    await asyncio.sleep(0)
    assert seen == [*expected, expected[0]]


async def test_cancelled_wait_is_over_and_the_completion_is_for_nobody(completions: Completions) -> None:
    call_id, future = completions.begin()
    (task,) = await until_waiting(future)
    task.cancel("enough")
    assert future.cancelled()
    assert not future.cancel()
    assert not task.done(), "it goes on through the loop"
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    deliver(completions, call_id)
    with pytest.raises(asyncio.CancelledError):
        future.result()


async def test_nothing_to_tell_before_it_is_complete(completions: Completions) -> None:
    _, future = completions.begin()
    assert not future.done()
    assert not future.cancelled()
    assert future.get_loop() is asyncio.get_running_loop()
    for ask in (future.result, future.exception):
        with pytest.raises(asyncio.InvalidStateError):
            ask()


def _with_wait_for(future: CallFuture) -> Coroutine[Any, Any, Any]:
    return asyncio.wait_for(future, 60)


async def _with_timeout(future: CallFuture) -> Any:
    async with asyncio.timeout(60):
        return await future


async def _with_gather(future: CallFuture) -> Any:
    (value,) = await asyncio.gather(future)
    return value


async def _with_shield(future: CallFuture) -> Any:
    return await asyncio.shield(future)


async def _with_wait(future: CallFuture) -> Any:
    (done,), _ = await asyncio.wait([future])
    return done.result()


async def _with_eager_tasks(future: CallFuture) -> Any:
    async def wait() -> Any:
        return await future

    loop = asyncio.get_running_loop()
    loop.set_task_factory(eager_task_factory)
    try:
        return await loop.create_task(wait())
    finally:
        loop.set_task_factory(None)


WAYS = [_with_wait_for, _with_timeout, _with_gather, _with_shield, _with_wait, _with_eager_tasks]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_complete", [False, True])
async def test_asyncio_takes_it_for_a_future(
    completions: Completions, way: Callable[[CallFuture], Coroutine[Any, Any, Any]], is_complete: bool
) -> None:
    (one, value), (two, error) = completions.begin(), completions.begin()
    raised = _EngineError("StorageFullError", "there is no room")
    if is_complete:
        completions.on_completions(one, None, ONE, "a value", two, raised, ONE, None)
    tasks = [asyncio.create_task(way(value)), asyncio.create_task(way(error))]
    if not is_complete:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        completions.on_completions(one, None, ONE, "a value", two, raised, ONE, None)
    assert await tasks[0] == "a value"
    with pytest.raises(StorageFullError, match="there is no room"):
        await tasks[1]


@pytest.mark.parametrize("way", [way for way in WAYS if way not in (_with_shield, _with_wait)])
async def test_cancelled_by_way_of_asyncio(
    completions: Completions, way: Callable[[CallFuture], Coroutine[Any, Any, Any]]
) -> None:
    call_id, future = completions.begin()
    (task,) = await until_waiting(way(future))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert future.cancelled()
    deliver(completions, call_id)


async def test_timeouts_end_the_wait(completions: Completions) -> None:
    calls = [completions.begin() for _ in range(2)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(calls[0][1], 0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await calls[1][1]
    assert [future.cancelled() for _, future in calls] == [True, True]
    deliver(completions, *(call_id for call_id, _ in calls))


async def test_shielded_call_goes_on(completions: Completions) -> None:
    call_id, future = completions.begin()
    (task,) = await until_waiting(asyncio.shield(future))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deliver(completions, call_id)
    assert await future == str(call_id)


async def test_gathered_call_that_is_cancelled_is_one_of_the_results(completions: Completions) -> None:
    (call_id, future), (_, cancelled) = completions.begin(), completions.begin()
    gathered = asyncio.gather(future, cancelled, return_exceptions=True)
    failed = asyncio.gather(cancelled)
    cancelled.cancel("enough")
    await asyncio.sleep(0)
    deliver(completions, call_id)
    value, error = await gathered
    assert value == str(call_id)
    assert isinstance(error, asyncio.CancelledError)
    with pytest.raises(asyncio.CancelledError):
        await failed


async def test_failed_call_leaves_nothing_to_the_garbage_collector(completions: Completions) -> None:
    class Sentinel:
        pass

    def failing() -> CallFuture:
        call_id, future = completions.begin()
        error = _EngineError("StorageFullError", "full")
        asyncio.get_running_loop().call_soon(completions.on_completions, call_id, error, ONE, None)
        return future

    async def wait() -> None:
        try:
            await failing()
        except StorageFullError as error:
            error.sentinel = Sentinel()  # type: ignore[attr-defined]
            ends.append(weakref.ref(error.sentinel))  # type: ignore[attr-defined]

    ends: list[weakref.ref[Sentinel]] = []
    gc.disable()
    try:
        await asyncio.create_task(wait())
        assert ends[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("name", "kind"), [("StorageFullError", StorageFullError), ("TypeError", MailboxError)])
async def test_errors_of_the_engine_are_ours(completions: Completions, name: str, kind: type[MailboxError]) -> None:
    js_error = _EngineError(name, "there is no room")
    call_id, future = completions.begin()
    completions.on_completions(call_id, js_error, ONE, None)
    with pytest.raises(kind, match="there is no room") as raised:
        await future
    assert type(raised.value) is kind
    assert raised.value.__cause__ is js_error


@pytest.mark.parametrize("passing", [True, False])
def test_error_of_the_engine_says_whether_it_passes(passing: bool) -> None:
    js_error = _EngineError("StorageUnavailableError", "another tab keeps it")
    js_error.passing = passing
    assert error_of(js_error).passing is passing


@pytest.mark.parametrize("alone", [True, False])
async def test_wish_to_be_suspendable_is_passed_on_before_anything_is_completed(
    completions: Completions, alone: bool
) -> None:
    completions.js_dispatcher = dispatcher = SimpleNamespace(suspendable=False)
    completions._can_suspend = True
    calls = [completions.begin() for _ in range(2)]
    futures = [future for _, future in calls]
    (one, two) = (call_id for call_id, _ in calls)
    try:
        set_suspendable(True)
        tell_first = (
            completions.on_completion(one, ONE, "a") if alone else completions.on_completions(one, None, ONE, "a")
        )
        assert tell_first is True, "it asks to be called in the other way"
        assert vars(dispatcher) == {"suspendable": True}
        assert [future.done() for future in futures] == [False, False]
        assert completions.on_completions(one, None, ONE, "a") is False
        assert [future.done() for future in futures] == [True, False]
        set_suspendable(False)
        assert completions.on_completions(two, None, ONE, "b") is False
        assert vars(dispatcher) == {"suspendable": False}
        assert [future.done() for future in futures] == [True, True]
    finally:
        set_suspendable(None)


@pytest.mark.parametrize("wrong", [1, "yes", object])
def test_suspendable_is_true_false_or_none(wrong: Any) -> None:
    with pytest.raises(TypeError, match="suspendable must be"):
        pymailbox.set_suspendable(wrong)


class _EngineError(Exception):
    passing: bool | None = None

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        self.message = message


class Bytes:
    """As an array of bytes comes from JavaScript."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def to_bytes(self) -> bytes:
        return self._data


class Array:
    def __init__(self, *items: Any) -> None:
        self._items = items

    def to_py(self) -> list[Any]:
        return list(self._items)


class Crossings:
    """Which calls were made together and which separately, in order."""

    def __init__(self, completions: Completions) -> None:
        self.completions = completions
        self.seen: list[tuple[int, list[bytes]]] = []

    def store(self, part: bytes) -> CallFuture:
        collected = self.completions.collect(self.cross, part, str)
        if collected is not None:
            return collected
        call_id, future = self.completions.begin(str)
        self.seen.append((call_id, [part]))
        return future

    def cross(self, first_id: int, parts: list[bytes]) -> None:
        self.seen.append((first_id, list(parts)))

    def look(self) -> CallFuture:
        call_id, future = self.completions.begin()
        self.seen.append((call_id, []))
        return future


async def going_on(completions: Completions, *then: Callable[[], CallFuture]) -> list[asyncio.Task[Any]]:
    """Tasks that each wait for a call that completes together with the others', and then make another."""

    async def run(first: CallFuture, follow: Callable[[], CallFuture]) -> Any:
        await first
        return await follow()

    calls = [completions.begin() for _ in then]
    tasks = [asyncio.create_task(run(future, follow)) for (_, future), follow in zip(calls, then, strict=True)]
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(deliver, completions, *(call_id for call_id, _ in calls))
    await asyncio.sleep(0)
    return tasks


async def test_calls_of_those_who_go_on_together_are_made_together(completions: Completions) -> None:
    crossings = Crossings(completions)
    tasks = await going_on(completions, *(lambda part=part: crossings.store(part) for part in (b"a", b"b", b"c")))
    assert crossings.seen == [(3, [b"a", b"b", b"c"])]
    completions.on_completions(3, None, -3, Bytes(b"AABBCC"), Array(1, None, 3))
    assert await asyncio.gather(*tasks) == ["(b'AA', 1, 0)", "(b'BB', None, 0)", "(b'CC', 3, 0)"]
    assert not completions._pending


async def test_each_of_calls_that_are_made_together_fails_alone(completions: Completions) -> None:
    crossings = Crossings(completions)
    tasks = await going_on(completions, *(lambda part=part: crossings.store(part) for part in (b"a", b"b")))
    completions.on_completions(2, _EngineError("StorageFullError", "no room"), ONE, None, 3, None, ONE, "b")
    failed, stored = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(failed, StorageFullError)
    assert stored == "b"


async def test_calls_are_made_in_the_order_in_which_they_came(completions: Completions) -> None:
    crossings, others = Crossings(completions), Crossings(completions)
    others.seen = crossings.seen
    large = bytes(completions_module._LARGEST_COLLECTED + 1)
    await going_on(
        completions,
        lambda: crossings.store(b"a"),
        lambda: crossings.store(b"b"),
        crossings.look,
        lambda: crossings.store(b"c"),
        lambda: others.store(b"d"),
        lambda: others.store(large),
        lambda: others.store(b"e"),
    )
    made = [parts for _, parts in crossings.seen]
    assert made == [[b"a", b"b"], [], [b"c"], [b"d"], [large], [b"e"]]
    assert [call_id for call_id, _ in crossings.seen] == [7, 9, 10, 11, 12, 13]


async def test_whoever_goes_on_alone_or_can_be_suspended_makes_its_call_at_once(
    completions: Completions, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossings = Crossings(completions)

    def store_and_look(part: bytes) -> CallFuture:
        future = crossings.store(part)
        assert crossings.seen[-1][1] == [part]
        return future

    await going_on(completions, lambda: store_and_look(b"alone"))
    monkeypatch.setattr(completions_module, "can_run_sync", lambda: True)
    await going_on(completions, lambda: store_and_look(b"a"), lambda: store_and_look(b"b"))
    assert [parts for _, parts in crossings.seen] == [[b"alone"], [b"a"], [b"b"]]


async def test_calls_that_cannot_cross_fail_by_themselves(completions: Completions) -> None:
    """The caller of the next call, before which they cross, is not affected."""

    def cross(first_id: int, parts: list[bytes]) -> None:
        raise MemoryError(f"{len(parts)} calls")

    async def store() -> None:
        await first
        future = completions.collect(cross, b"part", lambda value: value)
        assert future is not None
        await future

    async def call() -> Any:
        await second
        call_id, future = completions.begin()
        asyncio.get_running_loop().call_soon(deliver, completions, call_id)
        return await future

    (one, first), (two, second) = completions.begin(), completions.begin()
    storing, calling = await until_waiting(store(), call())
    asyncio.get_running_loop().call_soon(deliver, completions, one, two)
    async with asyncio.timeout(30):
        with pytest.raises(MemoryError, match="1 calls"):
            await storing
        assert await calling == "3"  # its id, after that of the one that was collected
