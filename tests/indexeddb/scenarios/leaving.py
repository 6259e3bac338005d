"""A page that is left or frozen gives back what it holds, the hand-out undone; one that goes on works again."""

import asyncio

from pyodide.ffi import create_once_callable

from tests.indexeddb.scenarios.hands import (
    NO_SLOW_POLL,
    PATIENCE,
    eventually,
    foreign,
    leave_page,
    new_context,
    payloads,
    script,
)


async def check_release_takes_the_hand_out_back() -> None:
    here, there = await new_context(), await new_context()
    async with await here.open("left", max_deliveries=1) as mailbox, await there.open("left") as other:
        await mailbox.enqueue(b"s", b"a")
        await mailbox.enqueue(b"s", b"b")
        assert payloads(await mailbox.dequeue()) == [b"a", b"b"]
        leave_page()
        again = await other.dequeue(wait=5)
        assert payloads(again) == [b"a", b"b"]
        # as if the first had not been, and in one batch: nobody is suspected
        assert [record.delivery_count for record in again] == [1, 1]
        assert await other.dead_letters() == []


async def check_page_that_goes_on_works_again() -> None:
    """What it held is not its own any more; what it takes from then on is."""
    here, there = await new_context(), await new_context()
    async with await here.open("goes on") as mailbox, await there.open("goes on") as other:
        await mailbox.enqueue(b"s", b"a")
        (held,) = await mailbox.dequeue()
        leave_page()
        assert not await mailbox.nack(held.id)
        (again,) = await mailbox.dequeue()
        assert (again.id, again.delivery_count) == (held.id, 1)
        assert await other.recover() == 0
        assert await other.dequeue() == []
        assert await mailbox.ack(again.id)
        # and twice
        await mailbox.enqueue(b"s", b"b")
        assert payloads(await mailbox.dequeue()) == [b"b"]
        leave_page()
        leave_page()
        assert payloads(await other.dequeue(wait=5)) == [b"b"]
        assert await mailbox.dequeue() == []
        assert await _notes() == 0


async def check_late_ack_of_a_page_that_goes_on_counts() -> None:
    here = await new_context()
    async with await here.open("late ack") as mailbox:
        await mailbox.enqueue(b"s", b"a")
        (held,) = await mailbox.dequeue()
        leave_page()
        assert await mailbox.ack(held.id)
        assert (await mailbox.status()).queued_messages == 0


async def check_leaving_while_a_claim_is_on_its_way() -> None:
    """Whatever the moment: what it brings goes back to others, or is the handle's own; never neither, never both."""
    here, there = await new_context(), await new_context()
    async with await here.open("on its way") as mailbox, await there.open("on its way") as other:
        given_back = 0
        for ticks in range(1, 12):
            await mailbox.enqueue(b"s", b"%d" % ticks)
            claim = asyncio.ensure_future(mailbox.dequeue())
            for _ in range(ticks):
                await asyncio.sleep(0)
            leave_page()
            (claimed,) = await claim
            # its context lives, so nothing but the note can give it back
            seen = await other.dequeue(wait=0.3)
            if seen:
                assert [(record.id, record.delivery_count) for record in seen] == [(claimed.id, 1)], ticks
            assert await mailbox.nack(claimed.id) is not bool(seen), ticks
            assert await mailbox.ack(claimed.id), ticks
            given_back += len(seen)
        assert given_back


async def check_leaving_in_the_middle_of_calls() -> None:
    """Calls under way when the page is left end, each with an answer, and nothing is lost or doubled."""
    here, there = await new_context(), await new_context()
    async with await here.open("in the middle") as mailbox, await there.open("in the middle") as other:
        await mailbox.enqueue(b"s", b"held")
        await mailbox.dequeue()
        calls = [asyncio.ensure_future(mailbox.enqueue(b"s", b"%d" % i)) for i in range(20)]
        for _ in range(4):
            leave_page()
            await asyncio.sleep(0.005)
        assert len(set(await asyncio.gather(*calls))) == 20
        seen = payloads(await other.dequeue(100, wait=5))
        if len(seen) < 21:
            seen += payloads(await other.dequeue(100, wait=5))
        assert sorted(seen) == sorted([b"held", *(b"%d" % i for i in range(20))])


async def check_page_that_is_left_again_while_it_comes_back() -> None:
    """Else its second note would give back what it claims later, while it lives."""
    committing = "    commit(this.transaction);"
    leaving = f"{committing} globalThis.underWay?.(); delete globalThis.underWay;"
    here = await new_context({"commit.js": {committing: leaving}})
    there = await new_context()
    async with await here.open("left twice") as mailbox, await there.open("left twice") as other:
        await mailbox.enqueue(b"s", b"a")
        await mailbox.dequeue()
        leave_page()
        script("(leave) => { globalThis.underWay = leave; }")(create_once_callable(leave_page))
        await mailbox.dequeue()
        await mailbox.enqueue(b"s", b"b")
        assert await _notes() == 0
        assert payloads(await mailbox.dequeue(2)) == [b"a", b"b"]
        assert await other.dequeue(wait=0.2) == []


async def check_close_after_leaving() -> None:
    here, there = await new_context(), await new_context()
    mailbox = await here.open("closed after")
    await mailbox.enqueue(b"s", b"a")
    await mailbox.dequeue()
    leave_page()
    await mailbox.close()
    async with await there.open("closed after") as other:
        (message,) = await other.dequeue()
        assert message.delivery_count == 1
    assert await _notes() == 0


async def check_note_of_a_deleted_mailbox_does_not_stay() -> None:
    """It would cost every other mailbox's recoveries a transaction each, for ever."""
    here, there = await new_context(), await new_context()
    mailbox = await here.open("noted and deleted")
    await mailbox.enqueue(b"s", b"a")
    await mailbox.dequeue()
    leave_page()
    await there.delete("noted and deleted")
    assert await _notes() == 1
    async with await there.open("another"):
        assert await _notes() == 0
    await mailbox.close()
    assert "noted and deleted" not in await there.list()


async def check_shown_page_makes_waiters_look_again() -> None:
    """Hints are lost in the back/forward cache. Nothing but the event tells of this message: it was written by hand."""
    for event in ("pageshow", "visibilitychange", "resume"):
        here, there = await new_context(NO_SLOW_POLL), await new_context({"signals.js": {'"pymailbox"': '"unheard"'}})
        async with await here.open(f"shown, {event}") as mailbox, await there.open(f"shown, {event}") as other:
            waiting = asyncio.ensure_future(mailbox.dequeue(wait=60))
            await asyncio.sleep(0.1)
            await other.enqueue(b"s", b"unheard")
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await foreign(f"globalThis.dispatchEvent(new Event('{event}'));")
            assert payloads(await asyncio.wait_for(waiting, PATIENCE)) == [b"unheard"]


async def check_frozen_page_gives_back_too() -> None:
    here, there = await new_context(), await new_context()
    async with await here.open("frozen") as mailbox, await there.open("frozen") as other:
        await mailbox.enqueue(b"s", b"a")
        await mailbox.dequeue()
        await foreign("globalThis.dispatchEvent(new Event('freeze'));")

        async def came_back() -> bool:
            return bool(await other.dequeue())

        await eventually(came_back, "the message of a frozen page")


async def _notes() -> int:
    count: int = await foreign("return done(store('departed').count())")
    return count
