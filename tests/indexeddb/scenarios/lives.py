"""Who lives and who has died, according to Web Locks; and what happens to a holder whose lock is taken away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from pyodide.ffi import create_once_callable

from pymailbox import Mailbox, NewMessage
from tests.indexeddb.scenarios.support import (
    NO_SLOW_POLL,
    PATIENCE,
    busy_storage,
    come_back,
    drain,
    eventually,
    foreign,
    leave_page,
    load_model,
    new_context,
    payloads,
    raised,
    script,
    script_in_force,
)

_STEAL = """
    const { held } = await navigator.locks.query();
    for (const { name } of held.filter(({ name }) => name.startsWith("pymailbox/"))) {
      await navigator.locks.request(name, { steal: true }, () => {});
    }
"""


async def _holder_locks(kind: str = "held") -> list[str]:
    names: list[str] = await foreign(
        f"""
        const {{ {kind} }} = await navigator.locks.query();
        return {kind}.map(({{ name }}) => name).filter((name) => name.startsWith("pymailbox/holder/"));
        """
    )
    return names


async def _holder_of(name: str) -> str:
    await load_model()
    holder: str = await foreign("return [...(await readState(name)).claims.keys()].join();", name=name)
    return holder


def _die(mailbox: Mailbox) -> None:
    """Its lock is given up, and nothing else is done."""
    mailbox._die()


async def check_holder_whose_lock_was_stolen_lives_on_under_another_identity() -> None:
    here, there = await new_context(), await new_context()
    async with await here.open("stolen", max_deliveries=1) as mailbox:
        await mailbox.enqueue(b"s", b"a")
        (held,) = await mailbox.dequeue()
        before = await _holder_of("stolen")
        await foreign(_STEAL)

        async def is_another() -> bool:
            return await _holder_of("stolen") != before

        await eventually(is_another, "another life")
        assert f"pymailbox/holder/{await _holder_of('stolen')}" in await _holder_locks()
        async with await there.open("stolen") as other:
            assert await other.recover() == 0
            assert await other.dequeue(wait=0.2) == []
            assert await mailbox.nack(held.id) is True
            assert len(await other.dead_letters()) == 1


async def check_what_others_took_while_a_lock_was_away_is_not_yielded() -> None:
    here = await new_context()
    async with await here.open("taken") as mailbox:
        for i in range(3):
            await mailbox.enqueue(b"s", b"%d" % i)
        messages = aiter(mailbox.messages())
        await anext(messages)
        holder = await _holder_of("taken")
        # like somebody who believes that it is dead
        await foreign(
            """
            const state = await readState("taken");
            const [[holder, terms]] = state.claims;
            state.bequeath(holder, "somebody else", terms);
            [state.leased, state.writer] = [false, "somebody else's context"];
            await writeState("taken", state);
            """
        )
        await foreign(_STEAL)

        async def has_noticed() -> bool:
            return bool(mailbox._lives_over == 1)  # type: ignore[attr-defined]

        await eventually(has_noticed, "another life")
        assert f"pymailbox/holder/{holder}" not in await _holder_locks()
        await mailbox.enqueue(b"s", b"new")
        seen = await asyncio.wait_for(anext(messages), PATIENCE)
        # the other one is dead, too, but nothing of the first hand-out is left
        assert seen.delivery_count == 2 or seen.payload == b"new", seen


async def check_stolen_lock_ends_the_leave_to_write_without_reading() -> None:
    here, there = await new_context(), await new_context()
    async with await here.open("stolen right") as mailbox, await there.open("stolen right") as other:
        for i in range(6):
            await mailbox.enqueue(b"s", b"%d" % i)
        await foreign(_STEAL)
        await asyncio.sleep(0.1)
        for i in range(3):
            await other.enqueue(b"s", b"other %d" % i)
        await (await (await new_context()).open("stolen right")).close()
        await mailbox.enqueue(b"s", b"last")
        assert (await other.status()).queued_messages == 10


async def check_death_is_heard() -> None:
    """Only through the lock: nobody looks by itself here."""
    here, there = await new_context(NO_SLOW_POLL), await new_context()
    async with await here.open("heard") as mailbox:
        dying = await there.open("heard")
        await dying.enqueue(b"s", b"a")
        await dying.dequeue()
        waiting = asyncio.ensure_future(mailbox.dequeue(wait=600))
        # it looks when it sees the holder, and again a moment later
        await asyncio.sleep(1)
        _die(dying)
        assert payloads(await asyncio.wait_for(waiting, PATIENCE)) == [b"a"]


async def check_death_is_heard_while_another_who_heard_of_it_is_frozen() -> None:
    """A frozen page keeps what it was granted: the lock of the dead one, in shared mode."""
    here, there = await new_context(NO_SLOW_POLL), await new_context()
    async with await here.open("frozen watcher") as mailbox:
        dying = await there.open("frozen watcher")
        await dying.enqueue(b"s", b"a")
        await dying.dequeue()
        await foreign(
            """
            navigator.locks.request(`pymailbox/holder/${holder}`, { mode: "shared" }, () => new Promise((resolve) => {
              globalThis.thawOfTest = resolve;
            }));
            """,
            holder=await _holder_of("frozen watcher"),
        )
        waiting = asyncio.ensure_future(mailbox.dequeue(wait=600))
        await asyncio.sleep(1)
        _die(dying)
        assert payloads(await asyncio.wait_for(waiting, PATIENCE)) == [b"a"]
        # and others who look only now see it too
        async with await (await new_context()).open("frozen watcher", max_deliveries=1) as third:
            assert await third.recover() == 0
        await foreign("thawOfTest();")


async def check_recover_looks_twice() -> None:
    """A page in Chromium's back/forward cache is in the first list, which evicts it."""
    here, there = await new_context(), await new_context()
    async with await here.open("late answer") as mailbox:
        dying = await there.open("late answer")
        await dying.enqueue(b"s", b"a")
        await dying.dequeue()
        holder = await _holder_of("late answer")
        async with script_in_force(
            f"""() => {{
              const {{ query, request }} = LockManager.prototype;
              let first = true;
              LockManager.prototype.query = async function () {{
                const answer = await query.call(this);
                if (first) answer.held.push({{ name: "pymailbox/holder/{holder}", mode: "exclusive", clientId: "" }});
                first = false;
                return answer;
              }};
              // nor does a lock tell of it
              LockManager.prototype.request = function (name, ...rest) {{
                return name.endsWith("{holder}") ? new Promise(() => {{}}) : request.call(this, name, ...rest);
              }};
              return () => Object.assign(LockManager.prototype, {{ query, request }});
            }}"""
        ):
            _die(dying)
            assert await mailbox.recover() == 1


async def check_mailbox_that_never_runs_dry_gives_back_what_the_dead_held() -> None:
    here, there = await new_context(NO_SLOW_POLL), await new_context()
    async with await here.open("never dry") as mailbox:
        dying = await there.open("never dry")
        await dying.enqueue(b"s", b"dead one's")
        await dying.dequeue()
        await mailbox.enqueue(b"s", b"more")
        _die(dying)

        async def came_back() -> bool:
            await mailbox.enqueue(b"s", b"more")
            (message,) = await mailbox.dequeue(1)
            await mailbox.ack(message.id)
            return message.payload == b"dead one's"

        await eventually(came_back, "what a dead holder had")


@asynccontextmanager
async def _slow_locks() -> AsyncIterator[Any]:
    async with script_in_force(
        """() => {
          const { request } = LockManager.prototype;
          LockManager.prototype.request = async function (name, ...rest) {
            if (name.startsWith("pymailbox/holder/")) await new Promise((resolve) => setTimeout(resolve, 300));
            return request.call(this, name, ...rest);
          };
          return () => { LockManager.prototype.request = request; };
        }"""
    ) as undo:
        yield undo


async def check_nothing_is_claimed_while_a_lock_is_away() -> None:
    """Or it would look as if nobody had taken what was held before."""
    here = await new_context()
    async with await here.open("claims without a lock") as mailbox:
        for i in range(3):
            await mailbox.enqueue(b"s", b"%d" % i)
        messages = aiter(mailbox.messages())
        await anext(messages)
        await load_model()
        # while this context writes nothing, as it may once its lock is gone
        await foreign(
            """
            const state = await readState("claims without a lock");
            const [[holder, terms]] = state.claims;
            state.bequeath(holder, "somebody else", { ...terms, locked: false });
            [state.leased, state.writer] = [false, "somebody else's context"];
            await writeState("claims without a lock", state);
            """
        )
        async with _slow_locks():
            await foreign(_STEAL)
            await mailbox.enqueue(b"s", b"new")
            assert payloads(await mailbox.dequeue()) == [b"new"]
        assert mailbox._lives_over == 1  # type: ignore[attr-defined]
        await mailbox.enqueue(b"s", b"newer")
        assert (await asyncio.wait_for(anext(messages), PATIENCE)).payload == b"newer"


async def check_nothing_is_held_before_the_lock_is() -> None:
    """Nor by the second of two calls, of which the first requests the lock."""
    async with _slow_locks():
        here = await new_context()
        mailbox = await here.open("slow lock")
        assert len(await _holder_locks()) == 1

        async def look() -> list[bytes]:
            batch = await mailbox.dequeue()
            if batch:
                assert f"pymailbox/holder/{await _holder_of('slow lock')}" in await _holder_locks()
            return payloads(batch)

        for i in range(2):
            await mailbox.enqueue(b"s", b"%d" % i)
            assert sorted(await asyncio.gather(look(), look())) == [[], [b"0", b"1"][: i + 1]]
            # and in its next life
            leave_page()
            come_back()
        await mailbox.close()


async def check_lock_is_kept_until_the_release_is_committed() -> None:
    here = await new_context()
    mailbox = await here.open("closing")
    await mailbox.enqueue(b"s", b"a")
    await mailbox.dequeue()
    async with busy_storage():
        closing = asyncio.ensure_future(mailbox.close())
        await asyncio.sleep(0.2)
        assert len(await _locks_without_database()) == 1
        assert not closing.done()
    await closing
    assert await _locks_without_database() == []


async def _locks_without_database() -> list[str]:
    names = await script(
        "navigator.locks.query().then(({ held }) => "
        "held.map(({ name }) => name).filter((name) => name.startsWith('pymailbox/holder/')))"
    )
    return list(names)


async def check_who_listens_for_whom_does_not_grow_with_the_square() -> None:
    """One request for a holder of another context, however many handles there are; none for those of its own."""
    here, there = await new_context(), await new_context()
    handles = [await context.open("many") for context in (here, there) for _ in range(8)]
    await handles[0].enqueue_many([NewMessage(b"s", b"p") for _ in handles])
    for handle in handles:
        assert len(await handle.dequeue(1)) == 1
    for handle in handles:
        assert await handle.recover() == 0
    pending = await _holder_locks("pending")
    assert len(pending) <= len(handles), len(pending)
    for handle in handles:
        await handle.close()
    assert await _holder_locks("pending") == []


async def check_who_has_closed_listens_no_more() -> None:
    """Neither for deaths, with the last handle of its context on that mailbox, nor when they come."""
    here, there = await new_context(), await new_context()
    async with await there.open("left alone") as other:
        await other.enqueue(b"s", b"p")
        await other.dequeue()
        handles = [await here.open("left alone") for _ in range(2)]
        for handle in handles:
            assert await handle.recover() == 0
        listens = [f"pymailbox/holder/{await _holder_of('left alone')}"]
        for handle in handles:
            assert await _holder_locks("pending") == listens
            await handle.close()
        assert await _holder_locks("pending") == []


async def check_what_a_cancelled_dequeue_could_not_give_back_goes_back_later() -> None:
    """Its handle lives, so nobody else could ever get it."""
    for first in ("itself", "commit", "close"):
        here, there = await new_context(), await new_context()
        mailbox = await here.open(f"owed {first}")
        other = await there.open(f"owed {first}")
        for i in range(3):
            await mailbox.enqueue(b"s", b"%d" % i)
        async with script_in_force(
            """() => {
              const original = IDBDatabase.prototype.transaction;
              let passed = 0;
              IDBDatabase.prototype.transaction = function (...rest) {
                if (passed++ > 0) throw new DOMException("The database connection is closing.", "InvalidStateError");
                globalThis.begunOfTest();
                return original.apply(this, rest);
              };
              return () => { IDBDatabase.prototype.transaction = original; };
            }"""
        ):
            call = asyncio.ensure_future(mailbox.dequeue())
            script("(begun) => { globalThis.begunOfTest = begun; }")(create_once_callable(call.cancel))
            await asyncio.wait([call])
            assert call.cancelled()
        if first == "commit":
            assert (await mailbox.status()).queued_messages + (await mailbox.status()).inflight_messages == 3
            await mailbox.enqueue(b"s", b"another")
            assert (await mailbox.status()).queued_messages == 4
        elif first == "close":
            await mailbox.close()
        seen = await other.dequeue(3, wait=PATIENCE)
        assert [(record.payload, record.delivery_count) for record in seen] == [(b"%d" % i, 1) for i in range(3)], first
        await mailbox.close()
        await other.close()


async def check_cancelled_call_that_waits_for_its_turn_claims_nothing() -> None:
    here = await new_context()
    async with await here.open("cancelled in line") as mailbox:
        await mailbox.enqueue(b"s", b"a")
        marks = "return (await head('cancelled in line')).value.commitId"
        before = await foreign(marks)
        async with busy_storage():
            calls = [asyncio.ensure_future(mailbox.dequeue()) for _ in range(3)]
            await asyncio.sleep(0.1)
            for call in calls:
                call.cancel()
            await asyncio.sleep(0.1)
        for call in calls:
            try:
                await call
            except asyncio.CancelledError:
                continue
            raise AssertionError("a cancelled call gave something")
        # a claim and its release would have been two commits
        assert await foreign(marks) == before
        assert payloads(await mailbox.dequeue()) == [b"a"]


async def check_who_waits_hears_that_the_connection_was_lost() -> None:
    here = await new_context(NO_SLOW_POLL)
    async with await here.open("lost") as first, await here.open("lost") as second:
        waiting = [asyncio.ensure_future(handle.dequeue(wait=600)) for handle in (first, second)]
        await asyncio.sleep(0.1)
        await foreign(
            """
            db.close();
            await done(indexedDB.deleteDatabase("pymailbox"));
            """
        )
        for call in waiting:
            error = await asyncio.wait_for(raised(call), PATIENCE)
            assert "cleared" in str(error), error


_STEALS_WHILE_IDS_ARE_LOOKED_UP = """() => {
  const original = IDBObjectStore.prototype.get;
  let isDue = true;
  IDBObjectStore.prototype.get = function (...rest) {
    if (isDue && this.name === "ids") {
      isDue = false;
      (async () => { STEAL })();
      // which is over before this one has its answer
      for (let i = 0; i < 3000; i++) original.apply(this, rest);
    }
    return original.apply(this, rest);
  };
  return () => { IDBObjectStore.prototype.get = original; };
}""".replace("STEAL", _STEAL)


async def check_lock_that_is_taken_while_a_call_looks_ids_up() -> None:
    """What the handle held still belongs to it: a claim takes the next, and sending on finds the message."""
    here, there = await new_context(), await new_context()
    async with await here.open("taken amid a call") as mailbox, await there.open("taken amid a call") as other:
        for i in range(1, 4):
            await mailbox.enqueue(b"s", b"%d" % i, message_id=UUID(int=i))
        (first,) = await mailbox.dequeue(1)
        async with script_in_force(_STEALS_WHILE_IDS_ARE_LOOKED_UP):
            (second,) = await mailbox.dequeue(1, ack=[first.id])
        assert second.payload == b"2"
        async with script_in_force(_STEALS_WHILE_IDS_ARE_LOOKED_UP):
            assert await mailbox.ack_and_send(second.id, [(mailbox, NewMessage(b"s", b"sent"))])
        assert await other.recover() == 0
        assert payloads(await drain(mailbox)) == [b"3", b"sent"]


_REOPENED_LATE = """() => {
  const { transaction } = IDBDatabase.prototype;
  const { open } = IDBFactory.prototype;
  let lost;
  const mayOpen = new Promise((resolve) => { globalThis.openOfTest = resolve; });
  IDBDatabase.prototype.transaction = function (...given) {
    lost ??= this;
    if (this === lost) throw new DOMException("The database connection is closing.", "InvalidStateError");
    return transaction.apply(this, given);
  };
  IDBFactory.prototype.open = function (...given) {
    const request = open.apply(this, given);
    const set = (handler) =>
      request.addEventListener("success", (event) => mayOpen.then(() => handler.call(request, event)));
    return Object.defineProperty(request, "onsuccess", { set });
  };
  return () => {
    IDBDatabase.prototype.transaction = transaction;
    IDBFactory.prototype.open = open;
  };
}"""
"""Who begins the next transaction has lost its connection, and opens another when `openOfTest()` lets it."""


async def check_what_others_took_is_not_settled_in_the_commit_that_claims_it_again() -> None:
    """Two calls wait for a new connection, and meanwhile a lock is stolen, and the message taken and given back."""
    settled: dict[str, Callable[[Mailbox, UUID], Awaitable[bool]]] = {
        "nack": lambda mailbox, message_id: mailbox.nack(message_id),
        "dead_letter": lambda mailbox, message_id: mailbox.dead_letter(message_id, "r"),
        "ack_and_send": lambda mailbox, message_id: mailbox.ack_and_send(message_id, [(mailbox, NewMessage(b"", b""))]),
    }
    here, there = await new_context(), await new_context()
    steal = script("(holder) => navigator.locks.request(`pymailbox/holder/${holder}`, { steal: true }, () => {})")
    for verb, settle in settled.items():
        name = f"taken before {verb}"
        async with await here.open(name) as mailbox, await there.open(name) as other:
            await mailbox.enqueue(b"s", b"a")
            (held,) = await mailbox.dequeue()
            holder = await _holder_of(name)
            async with script_in_force(_REOPENED_LATE):
                claiming = asyncio.ensure_future(mailbox.dequeue())
                await asyncio.sleep(0.1)
                settling = asyncio.ensure_future(settle(mailbox, held.id))
                await asyncio.sleep(0.1)
                await steal(holder)
                while (await other.status()).inflight_messages > 0:
                    await other.recover()
                script("openOfTest()")
                assert not await settling, verb
                (again,) = await claiming
            assert (again.id, again.delivery_count) == (held.id, 2), verb
            assert (await mailbox.status()).inflight_messages == 1, verb
            assert await mailbox.ack(again.id)
