"""How relays end: cancelled twice, stopped at mailboxes that are slow to answer, or by an error."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID, uuid4

import pytest

from pymailbox import (
    Mailbox,
    MailboxClosedError,
    MemoryMailbox,
    RetryPolicy,
    StorageCorruptError,
    _open,
    open_mailbox,
    relay,
)
from pymailbox.relaying import loop
from pymailbox.relaying.cursor import Cursor
from pymailbox.testing._expect import eventually
from tests.unit.example_mailboxes import Database, SmallMailbox

SOON = RetryPolicy(first_delay=0.001, longest_delay=0.005)
NEVER = 3600.0


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("pymailbox"), "disabled", True)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def counts(mailbox: Mailbox) -> tuple[int, int]:
    """Queued and inflight."""
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages


# -- cancelled twice ---------------------------------------------------------------------------------------------------


async def test_cancelled_while_a_cancelled_claim_has_not_ended() -> None:
    class Dawdling(SmallMailbox):
        dawdles = asyncio.Event()

        async def dequeue(self, limit: int | None = None, *, wait: float | None = None, ack: Any = ()) -> Any:
            try:
                return await super().dequeue(limit, wait=wait, ack=ack)
            except asyncio.CancelledError:
                self.dawdles.set()
                await asyncio.sleep(0.02)
                raise

    source = await Database(Dawdling).open("dawdling")
    async with open_mailbox("memory://") as target:
        task = asyncio.ensure_future(one := relay(source, target))

        async def active() -> bool:
            return (await one.status()).active

        await eventually(active, True, "whether the relay is active")
        await turns(5)
        one.stop()
        await Dawdling.dawdles.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await source.close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Mailbox]:
    """All mailboxes in memory that are opened; each takes some turns for that."""
    handles: list[Mailbox] = []

    class Noted(MemoryMailbox):
        @classmethod
        async def open_at(cls, location: Any, options: Any) -> Any:
            await turns(3)
            handles.append(mailbox := await super().open_at(location, options))
            return mailbox

    monkeypatch.setattr(_open, "backend_of", lambda location: Noted)
    return handles


async def is_closed(mailbox: Mailbox) -> bool:
    try:
        await mailbox.status()
    except MailboxClosedError:
        return True
    return False


async def all_closed(mailboxes: list[Mailbox]) -> list[bool]:
    return [await is_closed(mailbox) for mailbox in mailboxes]


async def test_cancelled_twice_in_any_turn_it_leaves_nothing_open(opened: list[Mailbox]) -> None:
    for turn in range(60):
        one = relay(open_mailbox(f"memory://{uuid4()}"), open_mailbox(f"memory://{uuid4()}"), name=str(uuid4()))
        task = asyncio.ensure_future(one)
        await turns(turn)
        one.stop()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await turns(5)
        assert all(await all_closed(opened)), f"{await all_closed(opened)} in turn {turn}"
        opened.clear()


async def test_cancelled_again_while_it_closes_the_one_it_closes_the_other() -> None:
    class Slow(MemoryMailbox):
        closings = 0
        second = asyncio.Event()
        """The first is the cursor's, the next one that of a mailbox which the relay has opened."""

        async def close(self) -> None:
            Slow.closings += 1
            if Slow.closings == 2:
                self.second.set()
            await asyncio.sleep(0.02)
            await super().close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_open, "backend_of", lambda location: Slow)
        one = relay(open_mailbox(f"memory://{uuid4()}"), open_mailbox(f"memory://{uuid4()}"), name=str(uuid4()))
        task = asyncio.ensure_future(one)

        async def connected() -> bool:
            return (await one.status()).connected

        await eventually(connected, True, "whether the relay is connected")
        one.stop()
        await Slow.second.wait()
        ends: list[Any] = [one._source, one._target]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def closed() -> list[bool]:
            return await all_closed(ends)

        await eventually(closed, [True, True], "whether both are closed")


# -- mailboxes that are slow to answer ---------------------------------------------------------------------------------


async def test_hop_that_took_long_acknowledges_no_new_message_of_an_old_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another relay may have acknowledged the old one meanwhile, as when this one's process was stopped for a while."""
    monkeypatch.setattr(loop, "SLOW", 0.02)

    class Late(SmallMailbox):
        """It answers late, though the hop is made."""

        speaks = asyncio.Event()

        async def ack_and_send(self, message_id: UUID, messages: Any) -> bool:
            done = await super().ack_and_send(message_id, messages)
            if done:
                await self.speaks.wait()
            return done

    database = Database(Late)
    target, given = await database.open("late"), uuid4()
    async with open_mailbox(here := f"memory://{uuid4()}") as source, open_mailbox(here) as program:
        task = asyncio.ensure_future(one := relay(source, target, retry=SOON))
        await program.enqueue(b"", b"1", message_id=given)
        [first] = await target.dequeue(wait=5.0)
        await target.ack(first.id)

        async def state() -> tuple[int, int]:
            return await counts(program)

        await eventually(state, (1, 0), "messages of the source without an answer")
        await program.ack(given)
        await asyncio.sleep(0.002)
        await program.enqueue(b"", b"2", message_id=given)
        Late.speaks.set()
        assert [record.payload for record in await target.dequeue(wait=5.0)] == [b"2"]
        one.stop()
        await task
    await target.close()


async def test_slow_target_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls a relay has to make there before it can send."""
    slow = 0.2
    monkeypatch.setattr(loop, "SLOW", slow)

    class Slow(SmallMailbox):
        async def turn(self) -> None:
            await asyncio.sleep(0.7 * slow)

    target = await Database(Slow).open("slow")
    async with open_mailbox("memory://") as source:
        task = asyncio.ensure_future(one := relay(source, target))
        await turns(5)
        began = asyncio.get_running_loop().time()
        one.stop()
        await asyncio.wait([task])
        task.result()
        assert asyncio.get_running_loop().time() - began < 1.5 * slow
    await target.close()


async def test_stop_is_looked_for_between_the_calls_of_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_mailbox("memory://") as source, open_mailbox("memory://") as target:
        one = relay(source, target, name=str(uuid4()))
        calls: list[str] = []

        async def commits_with_target(_: Cursor) -> None:
            calls.append("commits_with_target")
            one.stop()

        async def hold(_: Cursor) -> list[Any]:
            calls.append("hold")
            return []

        monkeypatch.setattr(Cursor, "commits_with_target", commits_with_target)
        monkeypatch.setattr(Cursor, "hold", hold)
        await asyncio.wait_for(one, 5)
        assert calls == ["commits_with_target"]


async def test_what_a_silent_source_holds_goes_back_when_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handle is the caller's own and stays open, so nobody else would give it back."""
    monkeypatch.setattr(loop, "SLOW", 0.05)

    class Mute(SmallMailbox):
        speaks = asyncio.Event()

        async def _release(self, ids: list[UUID]) -> None:
            await self.speaks.wait()
            await super()._release(ids)

    class Away(SmallMailbox):
        async def send_on(self, message_id: UUID, sends: list[Any]) -> bool:
            if len(sends) > 1:
                await asyncio.sleep(NEVER)
            return await super().send_on(message_id, sends)

    source, target = await Database(Mute).open("mute"), await Database(Away).open("away")
    await source.enqueue(b"", b"1")
    task = asyncio.ensure_future(one := relay(source, target))

    async def state() -> tuple[int, int]:
        return await counts(source)

    await eventually(state, (0, 1), "messages of the source")
    one.stop()
    await asyncio.wait_for(task, 5)
    assert await state() == (0, 1)
    Mute.speaks.set()
    await eventually(state, (1, 0), "messages of the source afterwards")
    await source.close()
    await target.close()


async def test_what_ended_it_is_in_its_status() -> None:
    name = str(uuid4())
    async with open_mailbox("memory://") as source, open_mailbox(f"memory://{uuid4()}") as target:
        async with open_mailbox(f"memory://relay:{name}") as cursor:
            await cursor.enqueue(b"", b"not one")
        one = relay(source, target, name=name)
        with pytest.raises(StorageCorruptError) as caught:
            await one
        status = await one.status()
        assert (status.last_error, status.connected) == (str(caught.value), False)
    closed = relay(source, target)
    with pytest.raises(MailboxClosedError):
        await closed
    assert closed._last_error is not None


async def test_hop_that_is_cancelled_has_ended_then() -> None:
    ended: list[str] = []

    class Slow(SmallMailbox):
        async def ack_and_send(self, message_id: UUID, messages: Any) -> bool:
            return bool(await self.late("ack_and_send"))

        async def dequeue(self, limit: int | None = None, *, wait: float | None = None, ack: Any = ()) -> Any:
            if self.is_slow:
                return await self.late("dequeue")
            return await super().dequeue(limit, wait=wait, ack=ack)

        is_slow = False

        async def late(self, verb: str) -> Any:
            try:
                await asyncio.sleep(NEVER)
            finally:
                await asyncio.sleep(0.01)
                ended.append(verb)

    database = Database(Slow)
    target, mailbox = await database.open("target"), await database.open("cursor")
    cursor = Cursor(mailbox, target, "cursor")
    assert await cursor.hold() == []
    Slow.is_slow = True
    hop = asyncio.ensure_future(cursor.send([]))
    await turns(5)
    hop.cancel()
    await asyncio.wait([hop])
    assert ended == ["ack_and_send", "dequeue"]
    Slow.is_slow = False
    await mailbox.close()
    await target.close()
