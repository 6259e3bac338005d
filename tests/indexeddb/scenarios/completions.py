"""A task that waited for the engine continues as after any other wait, or as quickly as possible."""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import pyodide.ffi
import pyodide_js
from pyodide.ffi import can_run_sync

import pymailbox
from pymailbox import Mailbox, NewMessage, UnsupportedError, open_mailbox, set_suspendable
from pymailbox.runtime import suspension
from tests.indexeddb.scenarios.serving import FAILING
from tests.indexeddb.scenarios.support import script, script_in_force


@asynccontextmanager
async def suspendable(wanted: bool | None) -> AsyncIterator[bool]:
    """Sets it for a while; gives whether Python can be suspended in this browser at all."""
    await asyncio.sleep(0)
    set_suspendable(wanted)
    try:
        yield can_run_sync()
    finally:
        set_suspendable(None)


async def check_task_that_goes_on_can_be_suspended() -> None:
    async with suspendable(True) as can, await open_mailbox("suspended") as mailbox:

        async def call() -> None:
            await mailbox.enqueue(b"me", b"hello")
            assert can_run_sync() == can
            (message,) = await mailbox.dequeue()
            assert can_run_sync() == can
            if can:
                assert pymailbox.run_sync(mailbox.status()).inflight_messages == 1
                _sleep()
            await mailbox.ack(message.id)
            assert can_run_sync() == can

        await asyncio.create_task(call())
        assert (await mailbox.status()).inflight_messages == 0


async def check_task_that_goes_on_at_once_cannot() -> None:
    async with suspendable(False), await open_mailbox("direct") as mailbox:
        await mailbox.enqueue(b"me", b"hello")
        assert not can_run_sync()
        _sleep()  # which blocks
        error = _refusal(mailbox)
        assert "set_suspendable" in str(error)
        assert await mailbox.purge() == 1
        await asyncio.sleep(0)
        if can_run_sync():
            assert pymailbox.run_sync(mailbox.status()).queued_messages == 0


async def check_way_is_changed_while_calls_are_under_way() -> None:
    async with suspendable(False) as can, await open_mailbox("changed") as mailbox:

        async def store(number: int) -> bool:
            await mailbox.enqueue(b"me", bytes([number]))
            suspendable: bool = can_run_sync()
            return suspendable

        async def stored_as(wanted: bool) -> list[bool]:
            calls = [asyncio.ensure_future(store(number)) for number in range(4)]
            await asyncio.sleep(0)
            set_suspendable(wanted)
            return await asyncio.gather(*calls)

        assert await stored_as(True) == [can] * 4
        assert await stored_as(True) == [can] * 4
        # these began when the other way was wanted, and may continue in it
        assert len(await stored_as(False)) == 4
        assert await stored_as(False) == [False] * 4
        assert await mailbox.purge() == 16


async def check_program_that_fetches_run_sync_can_be_suspended() -> None:
    for fetch in (lambda: pymailbox.run_sync, lambda: {"mine": pyodide.ffi.run_sync}):
        async with _unused_so_far() as can, await open_mailbox("fetched") as mailbox:
            await mailbox.enqueue(b"me", b"hello")
            assert not can_run_sync()
            fetched: Any = fetch()
            await mailbox.enqueue(b"me", b"hello")
            assert can_run_sync() == can
            del fetched
            assert await mailbox.purge() == 2
            assert can_run_sync() == can, "who has had it once may fetch it again"


async def check_program_that_waits_without_await_is_found_out() -> None:
    async with _unused_so_far() as can, await open_mailbox("found out") as mailbox:
        if not can:
            return
        await mailbox.enqueue(b"me", b"hello")
        assert not can_run_sync()
        await asyncio.sleep(0)
        pyodide.ffi.run_sync(mailbox.enqueue(b"me", b"hello"))
        await mailbox.enqueue(b"me", b"hello")
        assert can_run_sync()
        assert await mailbox.purge() == 3


async def check_task_that_is_suspended_keeps_no_other_from_going_on() -> None:
    async with suspendable(True) as can, await open_mailbox("shared") as mailbox:
        if not can:
            return
        others = asyncio.Event()

        async def first() -> None:
            await mailbox.enqueue(b"me", b"first")
            pymailbox.run_sync(others.wait())

        async def second() -> None:
            await mailbox.enqueue(b"me", b"second")
            others.set()

        async with asyncio.timeout(30):
            await asyncio.gather(first(), second())
        assert await mailbox.purge() == 2


async def check_task_that_is_suspended_meanwhile_is_not_disturbed() -> None:
    async with suspendable(False) as can, await open_mailbox("meanwhile") as mailbox:
        if not can:
            return
        current = asyncio.current_task()
        store = asyncio.ensure_future(_store_many(mailbox))
        await asyncio.sleep(0)
        assert pymailbox.run_sync(asyncio.wait_for(store, 30)) == store.get_name()
        assert asyncio.current_task() is current
        assert await mailbox.purge() == 20


async def check_cancelled_call_is_forgotten_and_done_all_the_same() -> None:
    for wanted in (True, False):
        async with suspendable(wanted), await open_mailbox("cancelled") as mailbox:
            calls = [asyncio.ensure_future(mailbox.enqueue(b"me", bytes([i]))) for i in range(3)]
            await asyncio.sleep(0)
            calls[1].cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(results[1], asyncio.CancelledError)
            messages = await mailbox.dequeue()
            assert [message.payload for message in messages] == [b"\0", b"\1", b"\2"]
            assert await mailbox.ack_many(message.id for message in messages) == 3


async def check_bytes_of_one_call_are_not_those_of_the_next() -> None:
    async with await open_mailbox("bytes") as mailbox:
        # many sizes, each twice, and all calls under way before the first is stored
        payloads = [bytes([size % 251, turn]) * (size + 1) for size in range(0, 9000, 97) for turn in (0, 1)]
        ids = await asyncio.gather(*(mailbox.enqueue(b"", payload) for payload in payloads))
        messages = await mailbox.dequeue(len(payloads))
        assert [message.payload for message in messages] == payloads
        assert [message.id for message in messages] == ids
        removed = await asyncio.gather(*(mailbox.ack(message_id) for message_id in (*ids, *ids)))
        assert removed == [True] * len(ids) + [False] * len(ids)


async def check_nack_tells_a_consumer_whether_it_made_a_dead_letter() -> None:
    async with await open_mailbox("told", max_deliveries=2) as mailbox:
        message_id = await mailbox.enqueue(b"", b"x")
        await mailbox.dequeue()
        assert await mailbox._nack_with_reason(message_id, error="first") is True
        await mailbox.dequeue()
        reason = await mailbox._nack_with_reason(message_id, error="second")
        (letter,) = await mailbox.dead_letters()
        assert reason == letter.reason, reason
        assert await mailbox._nack_with_reason(message_id) is False


def _sleep() -> None:
    time.sleep(0.001)


def _refusal(mailbox: Mailbox) -> UnsupportedError:
    try:
        pymailbox.run_sync(mailbox.status())
    except UnsupportedError as error:
        return error
    raise AssertionError("it was suspended")


async def _store_many(mailbox: Mailbox) -> str:
    """The name of the task that it has run in."""
    for _ in range(10):
        await asyncio.gather(mailbox.enqueue(b"me", b"x"), mailbox.enqueue(b"me", b"y"))
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


@asynccontextmanager
async def _unused_so_far() -> AsyncIterator[bool]:
    """As in a program that has never imported ``run_sync``, although this one has."""
    suspension._seen_in_use, suspension._references = False, 0
    # fetching it again imports it again
    vars(pymailbox.runtime).pop("run_sync", None)
    sys.modules.pop("pymailbox.runtime.run_sync", None)
    gc.collect()
    async with suspendable(None) as can:
        yield can


async def check_calls_of_those_who_go_on_together_keep_their_order() -> None:
    """What they store crosses together; a dequeue in between gets exactly what was stored by earlier calls."""
    async with suspendable(False), await open_mailbox("together") as mailbox:
        called: list[bytes] = []

        async def run(number: int) -> None:
            for turn in range(5):
                if (number + turn) % 4 == 0:
                    expected = called.copy()
                    called.clear()
                    assert [record.payload for record in await mailbox.dequeue(100)] == expected
                else:
                    called.append(b"%d %d" % (number, turn))
                    await mailbox.enqueue(b"me", called[-1])

        await asyncio.gather(*(run(number) for number in range(9)))
        assert [record.payload for record in await mailbox.dequeue(100)] == called


async def check_each_of_calls_that_cross_together_is_told_by_itself() -> None:
    """Each has its id and its own depth; if their commit fails, each is tried separately."""
    async with suspendable(False), await open_mailbox("by itself") as mailbox, script_in_force(FAILING):
        depths = _Depths()
        mailbox.set_depth_observer(depths)
        ids: list[UUID] = []

        async def produce(number: int) -> None:
            for turn in range(4):
                if number == turn:
                    script("failuresOfTest = 1")
                ids.append(await mailbox.enqueue(b"me", b"%d %d" % (number, turn)))

        await asyncio.gather(*(produce(number) for number in range(8)))
        script("failuresOfTest = 0")
        records = await mailbox.peek(100)
        assert [record.id for record in records] == ids
        assert depths.seen == list(range(1, 33))
        for number in range(8):
            own = [record.payload for record in records if record.payload.startswith(b"%d " % number)]
            assert own == [b"%d %d" % (number, turn) for turn in range(4)]
        assert await mailbox.purge() == 32


async def check_what_crosses_for_another_call_keeps_off_its_bytes() -> None:
    """Small buffers are reused by all calls of the same size."""
    async with suspendable(False), await open_mailbox("of one size") as mailbox:
        held = [await mailbox.enqueue(b"", b"held") for _ in range(4)]
        assert len(await mailbox.dequeue(4)) == 4

        async def enqueue(payload: bytes) -> None:
            await mailbox.enqueue(b"", b"together")
            await mailbox.enqueue(b"", payload)

        async def enqueue_many() -> None:
            await mailbox.enqueue(b"", b"together")
            await mailbox.enqueue_many([NewMessage(b"", b"one.."), NewMessage(b"", b"two..")])

        async def ack_many() -> None:
            await mailbox.enqueue(b"", b"together")
            assert await mailbox.ack_many(held[:2]) == 2

        # one message of 30 bytes takes as many as two of 5, one of 12 as many as two ids
        await asyncio.gather(enqueue(b"a message of thirty bytes....."), enqueue_many())
        await asyncio.gather(enqueue(b"twelve bytes"), ack_many())
        seen = [record.payload for record in await mailbox.dequeue(10) if record.payload != b"together"]
        assert seen == [b"a message of thirty bytes.....", b"one..", b"two..", b"twelve bytes"]
        assert (await mailbox.status()).inflight_messages == 2 + 8
        assert await mailbox.ack_many([*held, *(record.id for record in await mailbox.peek(20))]) == 10


async def check_depths_of_calls_that_cross_together_come_before_those_of_later_calls() -> None:
    async with suspendable(False), await open_mailbox("one after the other") as mailbox:
        depths = _Depths()
        mailbox.set_depth_observer(depths)

        async def store(large: bool) -> None:
            await mailbox.enqueue(b"me", b"together")
            await mailbox.enqueue(b"me", bytes(70_000 if large else 10))

        await asyncio.gather(*(store(large) for large in (False, False, False, True)))
        assert depths.seen == list(range(1, 9))
        assert await mailbox.purge() == 8


class _Depths:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_depth_change(self, queued_messages: int) -> None:
        self.seen.append(queued_messages)


async def check_bytes_arrive_though_the_memory_of_python_has_moved() -> None:
    async with await open_mailbox("moved") as mailbox:
        kept: list[bytearray] = []
        for number in range(3):
            payload = bytes([number]) * 2000
            enqueued = asyncio.ensure_future(mailbox.enqueue(b"me", payload))
            await asyncio.sleep(0)
            _make_memory_grow(kept)  # with the call under way
            await enqueued
            _make_memory_grow(kept)  # with none
            dequeued = asyncio.ensure_future(mailbox.dequeue(1))
            await asyncio.sleep(0)
            _make_memory_grow(kept)
            (message,) = await dequeued
            assert message.payload == payload
            assert await mailbox.ack(message.id)


async def check_answers_beside_much_larger_ones() -> None:
    sizes = [10, 1_000_000, 60_000, 64 * 1024 + 1, 0, 200_000]
    payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
    async with AsyncExitStack() as stack:
        mailboxes = [await stack.enter_async_context(await open_mailbox(f"size {size}")) for size in sizes]
        for _ in range(3):
            await asyncio.gather(*(m.enqueue(b"me", p) for m, p in zip(mailboxes, payloads, strict=True)))
            batches = await asyncio.gather(*(m.dequeue(1) for m in mailboxes))
            assert [[message.payload for message in batch] for batch in batches] == [[p] for p in payloads]
            await asyncio.gather(*(m.ack(b[0].id) for m, b in zip(mailboxes, batches, strict=True)))
        first = mailboxes[0]
        await asyncio.gather(*(first.enqueue(b"me", payload) for payload in payloads))
        assert [message.payload for message in await first.dequeue()] == payloads


def _make_memory_grow(kept: list[bytearray]) -> None:
    before = _bytes_of_memory()
    while _bytes_of_memory() == before:
        kept.append(bytearray(4 * 1024 * 1024))


def _bytes_of_memory() -> int:
    size: int = pyodide_js._module.HEAPU8.byteLength
    return size
