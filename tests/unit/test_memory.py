"""What only the memory backend has: its order of messages, its threads, its anonymous mailboxes, a forked process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymailbox import Mailbox, MessagePriority, NewMessage, delete_mailbox, list_mailboxes, open_mailbox
from pymailbox._ids import id_at
from pymailbox.backends.memory import line as line_module
from pymailbox.backends.memory import mailbox as memory
from pymailbox.backends.memory.line import Line, Message
from pymailbox.testing._death import let_die

FORK = """
import asyncio, os
from pymailbox import open_mailbox

async def messages_at(location):
    async with open_mailbox(location) as mailbox:
        return (await mailbox.status()).queued_messages

async def main():
    async with open_mailbox("memory://inbox") as mailbox:
        await mailbox.enqueue(b"", b"")

asyncio.run(main())
child = os.fork()
if not child:
    os._exit(10 + asyncio.run(messages_at("memory://inbox")))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10, "the child has its parent's message"
assert asyncio.run(messages_at("memory://inbox")) == 1
"""


def message_at(place: int, line: Line) -> Message:
    return Message(uuid4(), b"", b"", MessagePriority.NORMAL, datetime.now(UTC), place, line)


@pytest.mark.parametrize("block", [1, 2, 512])
@given(toggled_places=st.lists(st.integers(0, 30)))
def test_a_line_is_its_messages_in_order_of_place(block: int, toggled_places: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_module, "BLOCK", block)
        _toggle(toggled_places)


def _toggle(toggled_places: list[int]) -> None:
    line = Line()
    expected: dict[int, Message] = {}
    for place in toggled_places:
        if place in expected:
            line.remove(expected.pop(place))
        else:
            expected[place] = message_at(place, line)
            line.add(expected[place])
        in_order = [expected[place] for place in sorted(expected)]
        assert list(line) == in_order
        assert line.first() is (in_order[0] if in_order else None)
        assert len(line) == line.counts[MessagePriority.NORMAL] == len(in_order)
        assert all(line._blocks)


@pytest.mark.parametrize("kept", [0, 700, 1999])
def test_a_line_keeps_nothing_of_what_was_removed(kept: int) -> None:
    line = Line()
    messages = [message_at(place, line) for place in range(2000)]
    for message in messages:
        line.add(message)
    last = messages.pop(kept)
    for message in messages:
        line.remove(message)
    assert line._blocks == [[kept]]
    assert line.first() is last
    line.remove(last)
    assert line._blocks == []
    assert line.first() is None


async def test_mailboxes_without_a_name_are_apart_and_unlisted() -> None:
    names = await list_mailboxes("memory://")
    async with open_mailbox("memory://") as one, open_mailbox("memory://") as other:
        await one.enqueue(b"", b"")
        assert await other.dequeue() == []
        assert await list_mailboxes("memory://") == names


async def test_a_handle_goes_on_after_its_mailbox_is_deleted() -> None:
    location = "memory://deleted-under-a-handle"
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"old")] * 3)
        (held,) = await mailbox.dequeue(1)
        assert await delete_mailbox(location)
        assert "deleted-under-a-handle" not in await list_mailboxes(location)
        assert not await mailbox.ack(held.id)
        assert await mailbox.peek() == await mailbox.dequeue() == []
        await mailbox.enqueue(b"", b"new")
        assert "deleted-under-a-handle" in await list_mailboxes(location)
        assert [record.payload for record in await mailbox.dequeue()] == [b"new"]
        assert (await mailbox.status()).inflight_messages == 1
    assert await delete_mailbox(location)
    assert not await delete_mailbox(location)


async def test_an_id_that_a_caller_foresaw_is_not_made_again() -> None:
    async with open_mailbox("memory://") as mailbox:
        known = await mailbox.enqueue(b"", b"")
        foreseen = [UUID(int=known.int + ahead) for ahead in (2, 3, 2000)]
        for message_id in foreseen:
            assert await mailbox.enqueue(b"", b"", message_id=message_id) == message_id
        made = [await mailbox.enqueue(b"", b"") for _ in range(3000)]
        assert len({known, *foreseen, *made}) == 1 + len(foreseen) + len(made)
        assert id_at(known.int, 0, 0) == known


def test_threads_share_a_mailbox_and_never_a_message() -> None:
    received: list[UUID] = []

    async def consume() -> None:
        async with open_mailbox("memory://shared-by-threads") as mailbox:
            while records := await mailbox.dequeue(3):
                received.extend(record.id for record in records)
                await mailbox.ack_many(record.id for record in records)

    async def produce() -> list[UUID]:
        async with open_mailbox("memory://shared-by-threads") as mailbox:
            return [await mailbox.enqueue(b"", b"") for _ in range(2000)]

    sent = asyncio.run(produce())
    threads = [threading.Thread(target=asyncio.run, args=(consume(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(received) == sorted(sent)


def test_a_forked_process_has_a_database_of_its_own() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", FORK], check=True)


def test_the_database_is_made_when_the_module_is_loaded() -> None:
    assert memory._database() is memory._database()


class _Counting(asyncio.SelectorEventLoop):
    """An event loop that counts how often it is asked whether it lives."""

    asked = 0

    def is_closed(self) -> bool:
        self.asked += 1
        return super().is_closed()


async def test_a_dequeue_asks_each_event_loop_once_however_many_handles_hold_something() -> None:
    location = "memory://many-holders"
    here = asyncio.get_running_loop()
    there = _Counting()
    with ThreadPoolExecutor(1) as thread:
        async with open_mailbox(location) as mailbox:
            await mailbox.enqueue_many([NewMessage(b"", b"")] * 100)
            holders = [
                await here.run_in_executor(thread, there.run_until_complete, _open_and_take(location))
                for _ in range(50)
            ]
            before = there.asked
            await mailbox.dequeue(1)
            assert there.asked - before == 1
            for holder in holders:
                await here.run_in_executor(thread, there.run_until_complete, holder.close())
        there.close()


async def _open_and_take(location: str) -> Mailbox:
    mailbox = await open_mailbox(location)
    await mailbox.dequeue(1)
    return mailbox


async def test_what_many_handles_gave_back_is_brought_up_as_it_is_wanted() -> None:
    async with open_mailbox("memory://given-back") as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(400)])
        handles = [await open_mailbox("memory://given-back") for _ in range(20)]
        for handle in handles:
            await handle.dequeue(20)
        for handle in reversed(handles):
            await handle.close()
        queue = memory._database().shelf.queues["given-back"]
        assert queue.depth == 400
        [first] = await mailbox.dequeue(1)
        assert len(queue._queued) == 0
        await mailbox.ack_many([record.id for record in await mailbox.peek(1)])
        records = await mailbox.dequeue(1000)
        assert [record.payload for record in (first, *records)] == [b"%d" % n for n in range(400) if n != 1]
        assert {record.delivery_count for record in records} == {1}
        assert queue.depth == 0


async def test_what_was_in_a_closed_event_loop_comes_back_though_the_queue_is_long() -> None:
    async with open_mailbox("memory://loop-closed") as mailbox:
        await mailbox.enqueue(b"", b"urgent", MessagePriority.HIGH)
        await mailbox.enqueue_many([NewMessage(b"", b"")] * 3)
        left = [await asyncio.to_thread(asyncio.run, _open_and_take("memory://loop-closed"))]
        assert [record.payload for record in await mailbox.dequeue(1)] == [b"urgent"]
        await let_die(left)
