"""Without Web Locks, as in an insecure context: a heartbeat shows that a holder lives, and after its lease without one
it is gone.

Also with locks that the browser refuses, or refuses to list.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

from tests.indexeddb.scenarios.support import (
    Settings,
    eventually,
    foreign,
    load_model,
    new_context,
    payloads,
    script_in_force,
    wall_clock_forward,
)

WITHOUT_LOCKS: Settings = {"locks": None}
IMPATIENT: Settings = {"locks": None, "slowPoll": 100}
SILENT: Settings = {"locks": None, "heartbeats": False}
"""A context whose holders have no heartbeat: like a dead one to others."""

SILENT_BEAT: Settings = {"heartbeats": False}
SLEEPLESS: Settings = {"slowPoll": 100}


async def check_holder_that_beats_keeps_what_it_holds_beyond_its_lease() -> None:
    here, there = await new_context(WITHOUT_LOCKS), await new_context(IMPATIENT)
    async with await here.open("beating", lease=0.3) as mailbox, await there.open("beating", lease=0.3) as other:
        await mailbox.enqueue(b"s", b"a")
        (held,) = await mailbox.dequeue()
        assert await other.dequeue(wait=1.2) == []
        assert await other.recover() == 0
        assert await mailbox.ack(held.id)


async def check_holder_that_is_silent_for_its_lease_is_gone() -> None:
    here, there = await new_context(SILENT), await new_context(IMPATIENT)
    async with await here.open("silent", lease=2) as mailbox, await there.open("silent", lease=1000) as other:
        await mailbox.enqueue(b"s", b"a")
        (held,) = await mailbox.dequeue()
        # not before its lease, which is its own and not the other's
        assert await other.dequeue(wait=0.15) == []
        (again,) = await other.dequeue(wait=10)
        assert (again.id, again.delivery_count) == (held.id, 2)
        assert not await mailbox.nack(held.id)


async def check_clock_that_jumps_means_nothing() -> None:
    here, there = await new_context(WITHOUT_LOCKS), await new_context(IMPATIENT)
    async with await here.open("jumping", lease=30) as mailbox, await there.open("jumping", lease=30) as other:
        await mailbox.enqueue(b"s", b"a")
        (held,) = await mailbox.dequeue()
        async with wall_clock_forward(365 * 24 * 3600):
            assert await other.dequeue(wait=0.5) == []
        assert await mailbox.ack(held.id)


async def check_beat_that_comes_while_others_make_up_their_mind_counts() -> None:
    """The holder beats between the look that finds it silent and the transaction that takes its messages."""
    await load_model()
    here, there = await new_context(SILENT), await new_context(WITHOUT_LOCKS)
    async with await here.open("just in time", lease=0.2) as mailbox, await there.open("just in time") as other:
        await mailbox.enqueue(b"s", b"a")
        (held,) = await mailbox.dequeue()
        assert await other.recover() == 0
        await asyncio.sleep(0.3)
        # the next transaction that may write comes after the beat
        async with script_in_force(
            """() => {
              const original = IDBDatabase.prototype.transaction;
              let armed = true;
              IDBDatabase.prototype.transaction = function (stores, mode, ...rest) {
                if (armed && mode === "readwrite") {
                  armed = false;
                  const between = original.call(this, ["mailboxes", "journal"], "readwrite");
                  const journal = between.objectStore("journal");
                  between.objectStore("mailboxes").get("just in time").onsuccess = ({ target }) => {
                    const { number } = target.result;
                    const versions = IDBKeyRange.bound([number, 0], [number, Number.MAX_SAFE_INTEGER]);
                    journal.openCursor(versions, "prev").onsuccess = ({ target: { result: { key, value } } }) => {
                      const state = MailboxState.from(value);
                      for (const holder of state.claims.keys()) state.beat(holder);
                      state.pack();
                      journal.add(state.toStored(), [number, key[1] + 1]);
                    };
                  };
                }
                return original.call(this, stores, mode, ...rest);
              };
              return () => { IDBDatabase.prototype.transaction = original; };
            }"""
        ):
            assert await other.recover() == 0
        assert await mailbox.nack(held.id)


async def check_heartbeat_stops_when_nothing_is_held() -> None:
    await load_model()
    here = await new_context(WITHOUT_LOCKS)
    async with await here.open("resting", lease=0.06) as mailbox:
        await mailbox.enqueue(b"s", b"a")
        (held,) = await mailbox.dequeue()
        await asyncio.sleep(0.2)
        assert await _beats("resting") > 0
        assert await mailbox.ack(held.id)
        before = await foreign("return (await head('resting')).value.commitId")
        await asyncio.sleep(0.2)
        assert await foreign("return (await head('resting')).value.commitId") == before
        await mailbox.enqueue(b"s", b"b")
        assert payloads(await mailbox.dequeue()) == [b"b"]


async def check_longest_lease_beats_no_faster() -> None:
    """A timer that should wait longer than it can ends at once."""
    await load_model()
    here = await new_context(WITHOUT_LOCKS)
    async with await here.open("patient", lease=100 * 365.25 * 86400) as mailbox:
        await mailbox.enqueue(b"s", b"a")
        await mailbox.dequeue()
        await asyncio.sleep(0.3)
        assert await _beats("patient") == 0


async def check_mailbox_that_never_runs_dry_gives_back_what_a_silent_holder_had() -> None:
    here, there = await new_context(SILENT), await new_context(WITHOUT_LOCKS)
    async with (
        await here.open("never dry, silent", lease=0.3) as silent,
        await there.open("never dry, silent") as mailbox,
    ):
        await silent.enqueue(b"s", b"silent one's")
        await silent.dequeue()
        await mailbox.enqueue(b"s", b"more")

        async def came_back() -> bool:
            await mailbox.enqueue(b"s", b"more")
            (message,) = await mailbox.dequeue(1)
            await mailbox.ack(message.id)
            return message.payload == b"silent one's"

        await eventually(came_back, "what a silent holder had")


async def check_holder_that_was_taken_for_dead_yields_nothing_of_it() -> None:
    """Like a page that was stopped for longer than its lease."""
    here, there = await new_context(SILENT), await new_context(IMPATIENT)
    async with await here.open("taken for dead", lease=0.3) as mailbox, await there.open("taken for dead") as other:
        for i in range(3):
            await mailbox.enqueue(b"s", b"%d" % i)
        messages = aiter(mailbox.messages())
        await anext(messages)
        assert len(await other.dequeue(3, wait=20)) == 1  # a suspect comes alone
        await mailbox.enqueue(b"s", b"new")
        (await other.dequeue(3), await other.dequeue(3))
        following = asyncio.ensure_future(anext(messages))
        await asyncio.sleep(0.3)
        assert not following.done() or following.result().payload == b"new"
        following.cancel()


async def check_locks_that_are_refused() -> None:
    """Then a heartbeat shows that a holder lives, as without locks; the browser's own error does not show."""
    async with _refused("request", "query"):
        here, silent, there = await new_context(), await new_context(SILENT_BEAT), await new_context(SLEEPLESS)
        dying = await silent.open("refused", lease=2)
        async with await here.open("refused", lease=0.3) as mailbox, await there.open("refused", lease=1000) as other:
            for i in range(2):
                await mailbox.enqueue(b"s", b"%d" % i)
            (beating,) = await mailbox.dequeue(1)
            (lost,) = await dying.dequeue(1)
            (again,) = await other.dequeue(wait=20)
            assert (again.id, again.delivery_count) == (lost.id, 2)
            assert await other.recover() == 0
            assert await mailbox.ack(beating.id)
        await dying.close()


async def check_locks_that_are_not_listed() -> None:
    """As in Firefox in a frame of another site: the locks themselves show who lives."""
    await load_model()
    async with _refused("query"):
        here, there = await new_context(), await new_context(SLEEPLESS)
        mailbox = await here.open("not listed")
        for i in range(2):
            await mailbox.enqueue(b"s", b"%d" % i)
        held = await mailbox.dequeue()
        async with await there.open("not listed") as other:
            assert await other.dequeue() == []
            assert await other.recover() == 0
            # a holder that is known only from the state
            await foreign(
                """
                const state = await readState("not listed");
                const [[holder, { maxDeliveries, lease, locked }]] = state.claims;
                run(state.releaseAll(holder));
                run(state.claim("gone", { maxDeliveries, lease, locked }, 2, Date.now()));
                state.leased = false;
                await writeState("not listed", state);
                """
            )
            assert payloads(await other.dequeue(wait=20)) == [b"0"]
            assert await other.ack(held[0].id)
            assert payloads(await other.dequeue(wait=20)) == [b"1"]
        await mailbox.close()


async def _beats(name: str) -> int:
    """Of the one holder."""
    beat: int = await foreign(
        """
        const [claims] = (await readState(name)).claims.values();
        return claims.beat;
        """,
        name=name,
    )
    return beat


def _refused(*verbs: str) -> AbstractAsyncContextManager[Any]:
    """What the browser answers where locks may not be used."""
    return script_in_force(
        f"""() => {{
          const prototype = LockManager.prototype;
          const originals = {list(verbs)!r}.map((verb) => [verb, prototype[verb]]);
          for (const [verb] of originals) {{
            prototype[verb] = async () => {{ throw new DOMException("not allowed in this context", "SecurityError"); }};
          }}
          return () => {{ for (const [verb, original] of originals) prototype[verb] = original; }};
        }}"""
    )
