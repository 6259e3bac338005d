"""Nothing stays behind: locks, timers, channels, connections, proxies, rows."""

import asyncio
import gc
import weakref
from contextlib import suppress
from typing import Any
from uuid import uuid4

from pymailbox import MailboxClosedError, MessagePriority, NewMessage
from tests.indexeddb.scenarios.support import Context, drain, eventually, foreign, new_context, raised, script_in_force

_COUNTING = """() => {
  const counts = (globalThis.countsOfTest = { timers: new Set(), channels: 0, connections: 0 });
  const { setTimeout, clearTimeout, setInterval, clearInterval, BroadcastChannel } = globalThis;
  const open = IDBFactory.prototype.open;
  const close = IDBDatabase.prototype.close;
  const own = () => new Error().stack.includes("blob:");
  globalThis.setTimeout = (call, ms, ...rest) => {
    const id = setTimeout(() => { counts.timers.delete(id); call(...rest); }, ms);
    if (own()) counts.timers.add(id);
    return id;
  };
  globalThis.setInterval = (...rest) => {
    const id = setInterval(...rest);
    if (own()) counts.timers.add(id);
    return id;
  };
  globalThis.clearTimeout = (id) => { counts.timers.delete(id); clearTimeout(id); };
  globalThis.clearInterval = (id) => { counts.timers.delete(id); clearInterval(id); };
  globalThis.BroadcastChannel = class extends BroadcastChannel {
    constructor(name) { super(name); counts.channels += 1; }
    close() { super.close(); counts.channels -= 1; }
  };
  const openDatabases = new WeakSet();
  IDBFactory.prototype.open = function (...rest) {
    const request = open.apply(this, rest);
    request.addEventListener("success", () => { openDatabases.add(request.result); counts.connections += 1; });
    return request;
  };
  IDBDatabase.prototype.close = function () {
    if (openDatabases.delete(this)) counts.connections -= 1;
    return close.call(this);
  };
  return () => {
    Object.assign(globalThis, { setTimeout, clearTimeout, setInterval, clearInterval, BroadcastChannel });
    IDBFactory.prototype.open = open;
    IDBDatabase.prototype.close = close;
    delete globalThis.countsOfTest;
  };
}"""


async def _left() -> dict[str, int]:
    left: dict[str, int] = await foreign(
        """
        db.close();
        const { held, pending } = await navigator.locks.query();
        const ours = (locks) => locks.filter(({ name }) => name.startsWith("pymailbox/holder/")).length;
        const { timers, channels, connections } = countsOfTest;
        return { held: ours(held), pending: ours(pending), timers: timers.size, channels, connections };
        """
    )
    return left


NOTHING = {"held": 0, "pending": 0, "timers": 0, "channels": 0, "connections": 0}


async def check_hundreds_of_opens_and_closes_leave_nothing() -> None:
    """Every tenth held something, was watched and closed under a waiting call; some were left to the garbage
    collector."""
    references: list[weakref.ref[Any]] = []
    async with script_in_force(_COUNTING):
        here = await new_context()
        async with await here.open("watching") as watching:
            await watching.enqueue_many([NewMessage(b"s", b"p") for _ in range(3)])
            for i in range(300):
                mailbox = await here.open("watching")
                if i % 10 == 0:
                    (held,) = await mailbox.dequeue(1)
                    waiting = [
                        asyncio.ensure_future(mailbox.dequeue(1, wait=1000)),
                        asyncio.ensure_future((await here.open("idle")).dequeue(wait=0.01)),
                    ]
                    if i % 20 == 0:
                        await watching.dequeue(3, wait=0.001)
                    mailbox.set_depth_observer(observer := _Observer())
                    references += [weakref.ref(mailbox), weakref.ref(observer)]
                    del observer
                await mailbox.close()
                if i % 10 == 0:
                    await asyncio.wait(waiting)
                    waiting.clear()
                    del held
        del mailbox
        gc.collect()
        # no proxy keeps a handle or its observer alive
        assert [reference for reference in references if reference() is not None] == []
        await eventually(lambda: _is_clean(), f"a clean house: {await _left()}")


class _Observer:
    def on_depth_change(self, queued_messages: int) -> None:
        pass


async def _is_clean() -> bool:
    return await _left() == NOTHING


async def check_cancelled_open_leaves_nothing() -> None:
    async with script_in_force(_COUNTING):
        here = await new_context()
        for ticks in range(20):
            opening = asyncio.ensure_future(here.open("never opened"))
            for _ in range(ticks):
                await asyncio.sleep(0)
            opening.cancel()
            with suppress(asyncio.CancelledError):
                await (await opening).close()
        await eventually(lambda: _is_clean(), f"a clean house: {await _left()}")


async def check_close_under_a_waiting_dequeue_leaves_no_timer() -> None:
    async with script_in_force(_COUNTING):
        here = await new_context()
        async with await here.open("waited"):
            mailbox = await here.open("waited")
            waiting = [asyncio.ensure_future(mailbox.dequeue(wait=wait)) for wait in (3, 1000, float("inf"))]
            await asyncio.sleep(0.1)
            await mailbox.close()
            for call in waiting:
                assert isinstance(await raised(call), MailboxClosedError)
            assert (await _left())["timers"] == 0, await _left()


async def check_listening_to_changes_leaves_nothing() -> None:
    """However it ends: left, cancelled, closed with the mailbox, or forgotten with it."""
    references: list[weakref.ref[Any]] = []
    async with script_in_force(_COUNTING):
        here, there = await new_context(), await new_context()
        async with await there.open("listened to") as other:
            for way in ("left", "cancelled", "closed", "forgotten"):
                mailbox = await here.open("listened to")
                references.append(weakref.ref(mailbox))
                states = mailbox.changes()
                await anext(states)
                waiting = asyncio.ensure_future(anext(states, None))
                await other.enqueue(b"s", b"p")
                assert await waiting is not None
                await other.enqueue(b"s", b"p")
                if way == "left":
                    await states.aclose()  # type: ignore[attr-defined]
                elif way == "cancelled":
                    waiting = asyncio.ensure_future(anext(states, None))
                    await asyncio.sleep(0)
                    waiting.cancel()
                    await asyncio.wait([waiting])
                del states, waiting
                if way != "forgotten":
                    await mailbox.close()
                del mailbox
        gc.collect()
        await asyncio.sleep(0)
        gc.collect()
        assert [reference for reference in references if reference() is not None] == []
        await eventually(lambda: _is_clean(), f"a clean house: {await _left()}")


async def check_wake_ups_pile_up_no_timers() -> None:
    """A consumer that is woken a thousand times has one timer, not a thousand that are still running."""
    async with script_in_force(_COUNTING):
        here = await new_context()
        async with await here.open("woken often") as mailbox:
            for i in range(100):
                waiting = asyncio.ensure_future(mailbox.dequeue(wait=60))
                await asyncio.sleep(0)
                await asyncio.sleep(0.002)
                await mailbox.enqueue(b"s", b"%d" % i)
                assert len(await waiting) == 1
            assert (await _left())["timers"] == 0, await _left()


async def check_seals_of_contexts_that_are_gone_go() -> None:
    """Each context that ever had a mailbox to itself and lost it leaves a seal; an opening an hour later deletes it."""
    first = await _with_a_write_lease("revoked")
    async with first:
        other = await new_context()
        async with await other.open("revoked") as mailbox:
            await mailbox.enqueue(b"s", b"p")
            assert await _seals() >= 1
            # still alive: it must stay, or the first would overwrite what the other did
            async with await other.open("revoked"):
                assert await _seals() >= 1
            await first.enqueue(b"s", b"q")
            assert (await mailbox.status()).queued_messages == 2
    await foreign(
        """
        const transaction = db.transaction("mailboxes", "readwrite");
        const mailboxes = transaction.objectStore("mailboxes");
        const now = Date.now();
        const seal = (version, at) => ({ number: 1e9, from: version, version, at });
        for (let i = 0; i < 50; i++) mailboxes.put(seal(i, now), ["revoked", `just gone ${i}`]);
        for (const [i, at] of [now - 4e6, now + 4e6, undefined, "?"].entries()) {
          for (let j = 0; j < 20; j++) mailboxes.put(seal(100 + j, at), ["revoked", `gone ${i}/${j}`]);
        }
        await new Promise((resolve) => { transaction.oncomplete = resolve; });
        """
    )
    to_be_kept = await _seals() - 80
    async with await (await new_context()).open("revoked"):
        assert await _seals() == to_be_kept


async def check_a_stolen_lock_does_not_let_an_outdated_state_be_written() -> None:
    """Another script of the origin may steal every lock; what a context remembers is still out of date."""
    first = await _with_a_write_lease("stolen")
    async with first, await (await new_context()).open("stolen") as second:
        await foreign(
            """
            const { held } = await navigator.locks.query();
            const contexts = held.filter((lock) => lock.name.startsWith("pymailbox/context/"));
            for (const lock of contexts) await navigator.locks.request(lock.name, { steal: true }, () => {});
            """
        )
        for i in range(3):
            await second.enqueue(b"s", b"%d" % i)
        async with await (await new_context()).open("stolen"):
            await first.enqueue(b"s", b"last")
        assert [message.payload for message in await second.peek()] == [b"0", b"1", b"2", b"last"]


async def check_what_is_stored_on_an_outdated_state_is_stored_all_the_same() -> None:
    first, second = await _with_a_write_lease("outdated"), await (await new_context()).open("outdated")
    for mailbox in (first, second, first):
        # a custom id has to be looked up, so that the engine reads before it writes
        await mailbox.enqueue(b"s", b"p", message_id=uuid4())
    assert (await first.status()).queued_messages == 3
    assert len(await second.dequeue(9)) == 3
    await first.close()
    await second.close()


async def check_mailbox_deleted_by_another_context_under_a_write_lease() -> None:
    """A context that has it in memory must not bring it back; one that deletes it must not miss another's changes."""
    deleter, other = await new_context(), await new_context()
    async with await _with_a_write_lease("deleted", deleter) as mailbox:
        orphans = await _orphans()
        assert await other.delete("deleted")
        assert "deleted" not in await other.list()
        assert (await mailbox.status()).queued_messages == 0
        await mailbox.enqueue(b"s", b"new")
        assert [record.payload for record in await drain(mailbox)] == [b"new"]
        for _ in range(5):
            await mailbox.enqueue(b"s", b"own again")
        # the other one takes it over without the deleter's knowledge, and has it to itself
        async with await other.open("deleted") as theirs:
            for _ in range(6):
                await theirs.enqueue(b"s", b"theirs")
            assert await deleter.delete("deleted")
            await theirs.enqueue(b"s", b"after")
            assert [record.payload for record in await drain(theirs)] == [b"after"]
            letters = await theirs.dead_letters()
            assert letters == [], letters
    assert await deleter.delete("deleted")
    assert await _orphans() == orphans


async def check_deleted_mailbox_leaves_a_seal() -> None:
    """A context that has read it and is about to write must find the key taken; an opening an hour later deletes the
    seal."""
    here, there = await new_context(), await new_context()
    async with await here.open("sealed") as mailbox:
        await mailbox.enqueue(b"s", b"p")
        number, last = await foreign("return (await head('sealed')).key;")
        assert await there.delete("sealed")
        left = """
            const left = (await rows("journal")).filter(({ key }) => key[0] === number);
            return left.map(({ key, value }) => [key[1], value === null]);
        """
        assert await foreign(left, number=number) == [[last + 1, True]]
        await foreign(
            """
            for (const { key, value } of await rows("mailboxes")) {
              if (value.at !== undefined) await done(store("mailboxes").put({ ...value, at: value.at - 4e6 }, key));
            }
            """
        )
        async with await there.open("sealed too"):
            assert await foreign(left, number=number) == []
        await mailbox.enqueue(b"s", b"new")
        assert [record.payload for record in await drain(mailbox)] == [b"new"]


async def check_every_seal_of_a_deleted_mailbox_can_be_found_again() -> None:
    """An opening an hour later finds them by the rows that record them; an unrecorded one would stay for ever."""
    here, there, third = await new_context(), await new_context(), await new_context()
    async with await _with_a_write_lease("twice sealed", here):
        # its lease is ended, it notices that, and has another when the mailbox is deleted
        async with await there.open("twice sealed") as other:
            await other.enqueue(b"s", b"p")
        async with await _with_a_write_lease("twice sealed", here):
            assert await third.delete("twice sealed")
            assert await _seals_untold() == []
    async with await here.open("sealed unread") as mailbox:
        await mailbox.enqueue(b"s", b"p")
    await foreign("const { key } = await head('sealed unread'); await done(store('journal').put('?', key));")
    assert await third.delete("sealed unread")
    assert await _seals_untold() == []


async def _seals_untold() -> list[list[int]]:
    """The keys of empty versions that no row records."""
    untold: list[list[int]] = await foreign(
        """
        const told = (await rows("mailboxes")).filter(({ key }) => Array.isArray(key)).map(({ value }) => value);
        const isTold = ([of, version]) =>
          told.some(({ number, from, version: last }) => of === number && from <= version && version <= last);
        return (await rows("journal")).filter(({ key, value }) => value === null && !isTold(key)).map(({ key }) => key);
        """
    )
    return untold


async def _orphans() -> int:
    """Rows of mailboxes that no longer exist."""
    count: int = await foreign(
        """
        const numbers = new Set((await rows("mailboxes")).map(({ value }) => value.number));
        let orphans = 0;
        for (const name of ["pages", "segments", "ids", "errors", "dead"]) {
          for (const { key } of await rows(name)) if (!numbers.has(key[0])) orphans += 1;
        }
        return orphans;
        """
    )
    return count


async def check_close_does_not_bring_a_deleted_mailbox_back() -> None:
    here, there = await new_context(), await new_context()
    mailbox = await here.open("closed and gone")
    await mailbox.enqueue(b"s", b"p")
    await mailbox.dequeue()
    assert await there.delete("closed and gone")
    assert await mailbox.dequeue() == []
    assert await mailbox.purge() == 0
    assert not await mailbox.redrive(uuid4())
    assert not await mailbox.discard(uuid4())
    await mailbox.close()
    assert "closed and gone" not in await there.list()


async def check_two_contexts_take_turns_without_losing_a_write() -> None:
    """Write leases come and go while both enqueue, claim and acknowledge: every message once."""
    here, there = await new_context(), await new_context()
    async with await here.open("turns") as mailbox, await there.open("turns") as other:
        seen: list[bytes] = []

        async def work(handle: Any, mark: bytes) -> None:
            for i in range(60):
                await handle.enqueue(mark, b"%s %d" % (mark, i), MessagePriority(i % 2))
                if i % 7 == 0:
                    await asyncio.sleep(0.02)
                if i % 3 == 2:
                    for record in await handle.dequeue(3):
                        seen.append(record.payload)
                        assert await handle.ack(record.id)

        await asyncio.gather(work(mailbox, b"a"), work(other, b"b"))
        seen += [record.payload for record in await drain(mailbox)]
        assert sorted(seen) == sorted(b"%s %d" % (mark, i) for mark in (b"a", b"b") for i in range(60))


async def check_many_holes_stay_usable() -> None:
    """Every second of many messages is acknowledged: there are as many runs as possible, and each verb still ends."""
    here = await new_context()
    async with await here.open("holes") as mailbox:
        count = 20_000
        ids = await mailbox.enqueue_many([NewMessage(b"s", b"%d" % i) for i in range(count)])
        assert await mailbox.ack_many(ids[::2]) == count // 2
        assert (await mailbox.status()).queued_messages == count // 2
        first = await mailbox.dequeue(3)
        assert [record.payload for record in first] == [b"1", b"3", b"5"]
        assert await mailbox.nack(first[1].id)
        assert await mailbox.purge() == count // 2 - 2
        assert await mailbox.ack_many([first[0].id, first[2].id]) == 2
        assert await _segments("holes") == 0


async def _with_a_write_lease(name: str, context: Context | None = None) -> Any:
    """An empty mailbox that its context may write without reading it first."""
    mailbox = await (context or await new_context()).open(name)

    async def has_a_lease() -> bool:
        await mailbox.ack(await mailbox.enqueue(b"s", b"p"))
        return bool(await foreign("return (await head(name)).value.right", name=name))

    await eventually(has_a_lease, "a write lease")
    return mailbox


async def _seals() -> int:
    count: int = await foreign("return done(store('mailboxes').count(IDBKeyRange.lowerBound([])))")
    return count


async def _segments(name: str) -> int:
    count: int = await foreign(
        "const id = await number(name); return done(store('segments').count(IDBKeyRange.bound([id], [id, []])));",
        name=name,
    )
    return count


async def check_a_cancelled_dequeue_is_over_when_it_ends() -> None:
    """When the cancellation is noticed, the messages are back in the queue, however far the dequeue had got."""
    mailbox = await (await new_context()).open("inbox")
    await mailbox.enqueue_many([NewMessage(b"alice", b"%d" % number) for number in range(3)])
    for milliseconds in [0, 0, 0.2, 0.5, 1, 1.5, 2, 3, 4] * 4:
        call = asyncio.ensure_future(mailbox.dequeue())
        await asyncio.sleep(milliseconds / 1000)
        call.cancel()
        try:
            taken = await call
        except asyncio.CancelledError:
            taken = []
        assert (await mailbox.status()).inflight_messages == len(taken), milliseconds
        await mailbox._release([record.id for record in taken])
