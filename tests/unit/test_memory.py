"""What only the memory backend has: its threads, its anonymous mailboxes, a forked process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from pymailbox import Mailbox, MessagePriority, MessageStatus, NewMessage, delete_mailbox, list_mailboxes, open_mailbox
from pymailbox.backends.memory import mailbox as memory
from pymailbox.contract.ids import id_at
from pymailbox.testing._death import let_be_collected

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
    """An event loop that counts how often it is checked for life."""

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


async def test_nothing_is_kept_of_messages_that_are_gone() -> None:
    async with open_mailbox("memory://tidy", max_deliveries=2) as mailbox:
        ids = [UUID(int=number) for number in range(6)]
        for message_id in ids:
            await mailbox.enqueue(b"", b"", MessagePriority(message_id.int % 2), message_id=message_id)
        await mailbox.enqueue_many([NewMessage(b"", b"")] * 300)
        for _ in range(2):
            for record in await mailbox.dequeue(12):
                assert await mailbox.nack(record.id, error="not now")
        dead = [letter.record.id for letter in await mailbox.dead_letters()]
        assert len(dead) == 12
        assert await mailbox.redrive(dead[0])
        assert await mailbox.redrive(dead[1])
        assert all([await mailbox.discard(message_id) for message_id in dead[2:]])
        assert await mailbox.ack_many([record.id for record in await mailbox.dequeue(100)]) == 100
        await mailbox.dequeue(10)
        assert await mailbox.purge() == 300 + 6 - 10 - 100 - 10
        store = memory._database().named.stores["tidy"]
        assert sum(map(len, store.bodies.lanes)) == 10
        assert await mailbox.ack_many([record.id for record in await mailbox.peek(status=MessageStatus.INFLIGHT)]) == 10
        kept = (*store.bodies.lanes, store._ids, store.error_texts, store.deaths, store._letters)
        assert not any(kept)
        assert not any(lane.directory.pages for lane in store.state.lanes)


async def test_a_handle_that_held_nothing_or_was_closed_is_forgotten() -> None:
    async with open_mailbox("memory://holders") as mailbox:
        await mailbox.enqueue(b"", b"")
        store = memory._database().named.stores["holders"]
        for _ in range(5):
            async with open_mailbox("memory://holders") as other:
                await other.dequeue()
        left = [await _open_and_take("memory://holders") for _ in range(5)]
        await let_be_collected(left)
        await mailbox.dequeue()
        assert [len(holders) for holders in store._holders.values()] == [1]
        assert store.known_live == {mailbox._holder.number}  # type: ignore[attr-defined]


async def test_what_was_in_a_closed_event_loop_comes_back_though_the_queue_is_long() -> None:
    async with open_mailbox("memory://loop-closed") as mailbox:
        await mailbox.enqueue(b"", b"urgent", MessagePriority.HIGH)
        await mailbox.enqueue_many([NewMessage(b"", b"")] * 3)
        left = [await asyncio.to_thread(asyncio.run, _open_and_take("memory://loop-closed"))]
        assert [record.payload for record in await mailbox.dequeue(1)] == [b"urgent"]
        await let_be_collected(left)
