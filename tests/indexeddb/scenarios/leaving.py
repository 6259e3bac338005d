"""A page that is left or frozen gives back what it holds, with the hand-out undone; if it continues, it works again."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from pyodide.ffi import create_once_callable

from pymailbox import Mailbox, MessageRecord, NewMessage
from tests.indexeddb.scenarios.support import (
    NO_SLOW_POLL,
    PATIENCE,
    busy_storage,
    come_back,
    eventually,
    foreign,
    leave_page,
    mute,
    new_context,
    of_another_page,
    on_channel,
    payloads,
    script,
    script_in_force,
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
        # as if the first had not happened, and in one batch: there are no suspects
        assert [record.delivery_count for record in again] == [1, 1]
        assert await other.dead_letters() == []


async def check_page_that_goes_on_works_again() -> None:
    """What it held no longer belongs to it; what it takes from then on does."""
    here, there = await new_context(), await new_context()
    async with await here.open("goes on") as mailbox, await there.open("goes on") as other:
        await mailbox.enqueue(b"s", b"a")
        (held,) = await mailbox.dequeue()
        leave_page()
        assert not await mailbox.nack(held.id)
        come_back()
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
        come_back()
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


async def check_late_ack_of_a_consumer_takes_no_other_message_that_has_got_the_id() -> None:
    here, there = await new_context(), await new_context()
    ids = [UUID(int=number) for number in range(1, 3)]
    async with await here.open("late consumer") as mailbox, await there.open("late consumer") as other:
        own = await mailbox.enqueue(b"s", b"own")
        await mailbox.enqueue_many([NewMessage(b"s", b"%d" % one.int, message_id=one) for one in ids])
        seen: list[bytes] = []
        may_end = asyncio.Event()

        async def handler(message: MessageRecord) -> None:
            seen.append(message.payload)
            await may_end.wait()

        consumer = mailbox.consume(handler, concurrency=3)
        task = asyncio.ensure_future(consumer)

        async def all_run() -> bool:
            return len(seen) == 3

        async def is_left() -> bool:
            return [record.payload for record in await other.peek()] == [b"another"]

        await eventually(all_run, "three handlers run")
        leave_page()
        assert await other.ack(ids[0])
        await asyncio.sleep(0.01)
        await other.enqueue(b"s", b"another", message_id=ids[0])
        consumer.stop()
        may_end.set()
        await task
        await eventually(is_left, f"{own} and {ids[1]} are acknowledged late, and nothing else")
        come_back()


async def check_leaving_while_a_claim_is_on_its_way() -> None:
    """At any moment, one of the two has the message, as if the claim had not happened."""
    here, there = await new_context(), await new_context()
    async with await here.open("on its way") as mailbox, await there.open("on its way") as other:
        given_back = 0
        for ticks in range(1, 12):
            message_id = await mailbox.enqueue(b"s", b"%d" % ticks)
            claim = asyncio.ensure_future(mailbox.dequeue())
            for _ in range(ticks):
                await asyncio.sleep(0)
            leave_page()
            if claim.done():
                # it had already been handed out
                assert not await mailbox.nack(message_id), ticks
            theirs = asyncio.ensure_future(other.dequeue(wait=PATIENCE))
            come_back()
            mine = [] if claim.done() else await claim
            if mine:
                theirs.cancel()
                theirs = asyncio.ensure_future(other.dequeue())
            taken = [*mine, *await theirs]
            assert [(record.id, record.delivery_count) for record in taken] == [(message_id, 1)], ticks
            given_back += not mine
            assert await mailbox.ack(message_id), ticks
        assert given_back
        assert await other.dead_letters() == []


LEAVES_WHILE_IDS_ARE_LOOKED_UP = """() => {
  const original = IDBObjectStore.prototype.get;
  let isDue = true;
  IDBObjectStore.prototype.get = function (...rest) {
    if (isDue && this.name === "ids") {
      isDue = false;
      globalThis.dispatchEvent(
        typeof document === "undefined"
          ? new MessageEvent("message", { data: { pymailbox: "release" } })
          : new Event("pagehide")
      );
    }
    return original.apply(this, rest);
  };
  return () => { IDBObjectStore.prototype.get = original; };
}"""


async def check_leaving_while_a_claim_acknowledges() -> None:
    """It claims neither for a life that is over nor for one that has not begun, but only when the page is back."""
    here = await new_context()
    async with await here.open("acknowledges") as mailbox:
        first = await mailbox.enqueue(b"s", b"first", message_id=UUID(int=1))
        await mailbox.dequeue()
        await mailbox.enqueue(b"s", b"second")
        async with script_in_force(LEAVES_WHILE_IDS_ARE_LOOKED_UP):
            claim = asyncio.ensure_future(mailbox.dequeue(1, ack=[first]))
            await eventually(lambda: _is_acknowledged(mailbox), "the acknowledgement")
        status = await mailbox.status()
        assert (status.queued_messages, status.inflight_messages) == (1, 0), status
        come_back()
        (record,) = await claim
        assert (record.payload, record.delivery_count) == (b"second", 1)
        assert await mailbox.nack(record.id)


async def _is_acknowledged(mailbox: Mailbox) -> bool:
    return all(record.payload != b"first" for record in await mailbox.peek())


async def check_messages_that_went_back_are_not_yielded() -> None:
    here, there = await new_context(), await new_context()
    async with await here.open("iterated") as mailbox, await there.open("iterated") as other:
        for i in range(4):
            await mailbox.enqueue(b"s", b"%d" % i)
        messages = aiter(mailbox.messages())
        assert (await anext(messages)).payload == b"0"
        leave_page()
        assert payloads(await other.dequeue(wait=5)) == [b"0", b"1", b"2", b"3"]
        come_back()
        following = asyncio.ensure_future(anext(messages))
        await mailbox.enqueue(b"s", b"new")
        assert (await asyncio.wait_for(following, PATIENCE)).payload == b"new"
        # and what it takes from then on belongs to it
        await mailbox.enqueue(b"s", b"newer")
        assert (await asyncio.wait_for(anext(messages), PATIENCE)).payload == b"newer"


async def check_nothing_is_claimed_while_the_page_is_left() -> None:
    """What went back is for whoever comes next, not for a call of the page that is going."""
    here, there = await new_context(), await new_context(of_another_page())
    async with await here.open("going") as mailbox, await there.open("going") as other:
        await mailbox.enqueue(b"s", b"a")
        await mailbox.dequeue()
        waiting = asyncio.ensure_future(mailbox.dequeue(wait=60))
        await asyncio.sleep(0.1)
        await foreign("globalThis.dispatchEvent(new Event('pagehide'));")
        assert payloads(await other.dequeue(wait=5)) == [b"a"]
        assert not waiting.done()
        waiting.cancel()


async def check_what_was_to_be_settled_before_the_page_was_left_is_not_settled_after() -> None:
    """It went back, and the same handle has it again: the earlier call does not affect the new hand-out."""
    here = await new_context()
    async with await here.open("settled before", max_deliveries=1) as mailbox:
        await mailbox.enqueue(b"s", b"a")
        (held,) = await mailbox.dequeue()
        verbs: list[Callable[[UUID], Awaitable[bool]]] = [
            mailbox.nack,
            lambda id_: mailbox.dead_letter(id_, "of an earlier life"),
            lambda id_: mailbox.ack_and_send(id_, [(mailbox, NewMessage(b"s", b"sent"))]),
        ]
        for settle in verbs:
            async with busy_storage():
                claims = [asyncio.ensure_future(mailbox.dequeue())]
                settling = asyncio.ensure_future(settle(held.id))
                await asyncio.sleep(0.1)
                leave_page()
                come_back()
                # begins the next life before any of these gets into a transaction
                claims.append(asyncio.ensure_future(mailbox.dequeue()))
                await asyncio.sleep(0.1)
            assert not await settling
            ((held,),) = [batch for batch in await asyncio.gather(*claims) if batch]
            assert (held.payload, held.delivery_count) == (b"a", 1)
            stats = await mailbox.status()
            assert (stats.queued_messages, stats.inflight_messages) == (0, 1)
            assert await mailbox.dead_letters() == []


async def check_leaving_while_a_handle_is_being_closed() -> None:
    """Its last commit may never arrive, so the note says what to give back."""
    here = await new_context()
    mailbox = await here.open("being closed")
    await mailbox.enqueue(b"s", b"a")
    await mailbox.dequeue()
    spy = """() => {
      const { put } = IDBObjectStore.prototype;
      globalThis.notesOfTest = [];
      IDBObjectStore.prototype.put = function (value, ...key) {
        if (this.name === "notes") notesOfTest.push(value);
        return put.call(this, value, ...key);
      };
      return () => { IDBObjectStore.prototype.put = put; };
    }"""
    async with busy_storage(), script_in_force(spy):
        closing = asyncio.ensure_future(mailbox.close())
        await asyncio.sleep(0.1)
        leave_page()
        assert not closing.done()
        assert list(script("notesOfTest")) == ["being closed"]
    await closing
    assert await _notes() == 0


async def check_note_that_only_a_page_kept() -> None:
    """Writes that a page begins while it is left may get lost; what it puts into localStorage does not."""
    if script("typeof document === 'undefined'"):
        return  # a worker has none
    here, there = await new_context(mute()), await new_context()
    mailbox = await here.open("kept", max_deliveries=1)
    await mailbox.enqueue(b"s", b"a")
    await mailbox.dequeue()
    never_lands = """() => {
      const { put } = IDBObjectStore.prototype;
      IDBObjectStore.prototype.put = function (...given) {
        if (this.name !== "notes") return put.apply(this, given);
      };
      return () => { IDBObjectStore.prototype.put = put; };
    }"""
    async with script_in_force(never_lands):
        leave_page()
    assert await _notes() == 0
    mailbox._die()
    async with await there.open("kept") as other:
        (message,) = await other.dequeue(wait=5)
        assert message.delivery_count == 1
        assert script("Object.keys(localStorage).filter((key) => key.startsWith('pymailbox/left/')).length") == 0


async def check_leaving_in_the_middle_of_calls() -> None:
    """Calls under way when the page is left each end with an answer, and nothing is lost or doubled."""
    here, there = await new_context(), await new_context()
    async with await here.open("in the middle") as mailbox, await there.open("in the middle") as other:
        await mailbox.enqueue(b"s", b"held")
        await mailbox.dequeue()
        calls = [asyncio.ensure_future(mailbox.enqueue(b"s", b"%d" % i)) for i in range(20)]
        for _ in range(4):
            leave_page()
            await asyncio.sleep(0.005)
        assert len(set(await asyncio.gather(*calls))) == 20
        come_back()
        seen = payloads(await other.dequeue(100, wait=5))
        if len(seen) < 21:
            seen += payloads(await other.dequeue(100, wait=5))
        assert sorted(seen) == sorted([b"held", *(b"%d" % i for i in range(20))])


async def check_page_that_is_left_again_while_it_comes_back() -> None:
    """Otherwise its second note would give back what it claims later, while it lives."""
    here, there = await new_context({"asksToCommit": True}), await new_context()
    async with await here.open("left twice") as mailbox, await there.open("left twice") as other:
        await mailbox.enqueue(b"s", b"a")
        await mailbox.dequeue()
        leave_page()
        come_back()
        script(
            """(leave) => {
              const { commit } = IDBTransaction.prototype;
              IDBTransaction.prototype.commit = function () {
                commit.call(this);
                if (this.mode !== "readwrite") return;
                IDBTransaction.prototype.commit = commit;
                leave();
              };
            }"""
        )(create_once_callable(leave_page))
        assert payloads(await mailbox.dequeue()) == [b"a"]
        await mailbox.enqueue(b"s", b"b")

        async def nothing_is_owed() -> bool:
            return await _notes() == 0

        await eventually(nothing_is_owed, "an end of the notes")
        assert payloads(await mailbox.dequeue(2)) == [b"b"]
        assert await other.dequeue(wait=0.2) == []


async def check_a_handle_that_throws_keeps_no_other_from_leaving_or_coming_back() -> None:
    here = await new_context()
    async with await here.open("throws on leaving") as first, await here.open("beside it") as mailbox:
        await mailbox.enqueue(b"s", b"a")
        await mailbox.dequeue()
        for step in ("releaseOnUnload", "resumeAfterUnload"):
            setattr(first._js_handle, step, script("() => { throw new Error('on purpose'); }"))  # type: ignore[attr-defined]
        leave_page()
        come_back()

        async def note_is_gone() -> bool:
            return await _notes() == 0

        await eventually(note_is_gone, "the end of the other's note")
        (message,) = await mailbox.dequeue(wait=5)
        assert message.delivery_count == 1


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
    """Otherwise it would cost every other mailbox's recoveries a transaction each, for ever."""
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
    """Hints are lost in the back/forward cache. Only the event announces this message: it was written by hand."""
    for event in ("pageshow", "visibilitychange", "resume"):
        here, there = (
            await new_context(NO_SLOW_POLL),
            await new_context(on_channel("unheard")),
        )
        async with await here.open(f"shown, {event}") as mailbox, await there.open(f"shown, {event}") as other:
            waiting = asyncio.ensure_future(mailbox.dequeue(wait=60))
            await asyncio.sleep(0.1)
            await mailbox.recover()  # comes after the first look
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
        come_back()

        async def came_back() -> bool:
            return bool(await other.dequeue())

        await eventually(came_back, "the message of a frozen page")


async def _notes() -> int:
    count: int = await foreign("return done(store('notes').count())")
    return count
