"""States of many pages: what is outside the head is read when it is needed, and damage there is reported.

Pages here have few messages, and none is kept in the head, so that it takes little to make many.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pymailbox import ConnectionLostError, Mailbox, MessagePriority, NewMessage
from tests.indexeddb.scenarios.refusals import _failing_put
from tests.indexeddb.scenarios.support import (
    Context,
    drain,
    foreign,
    load_model,
    new_context,
    payloads,
    raised,
    script,
    script_in_force,
)

_SMALL = 4
"""Messages of a page."""


async def check_small_pages_do_what_large_ones_do() -> None:
    """A program of every verb by two contexts in turn, compared with the same on an ordinary mailbox."""
    contexts = [await new_context(), await new_context()]
    for seed in range(3):
        names = [f"small {seed}", f"large {seed}"]
        await _with_small_pages(contexts[0], names[0])
        told = []
        for name in names:
            handles = [await context.open(name, max_deliveries=3) for context in contexts]
            told.append(await _program(handles, random.Random(seed)))
            for handle in handles:
                await handle.close()
        assert told[0] == told[1], seed
        assert await _page_rows(names[0]) == 0, "nothing is left of what is done with"


async def check_many_fall_due_at_once_in_order() -> None:
    here = await new_context()
    async with await here.open("due at once") as mailbox:
        count = 3000
        for start in range(0, count, 500):
            messages = [
                NewMessage(b"s", b"%d" % i, delay=2 + (i * 7919 % count) / 1000) for i in range(start, start + 500)
            ]
            await mailbox.enqueue_many(messages)
        assert payloads(await mailbox.peek(1)) == [b"%d" % next(i for i in range(count) if i * 7919 % count == 0)]
        await asyncio.sleep(5.5)
        taken = await drain(mailbox)
        assert payloads(taken) == [b"%d" % i for i in range(count)]
        assert await mailbox.ack_many([record.id for record in taken]) == count


async def check_pages_are_looked_through_in_order() -> None:
    here = await new_context()
    await _with_small_pages(here, "looked through")
    async with await here.open("looked through") as mailbox:
        await mailbox.enqueue_many([NewMessage(b"s", b"%d" % i, MessagePriority(i % 2)) for i in range(40)])
        await mailbox.enqueue_many([NewMessage(b"s", b"later %d" % i, delay=1000 - i) for i in range(20)])
        high, normal = [b"%d" % i for i in range(1, 40, 2)], [b"%d" % i for i in range(0, 40, 2)]
        later = [b"later %d" % i for i in reversed(range(20))]
        held = await mailbox.dequeue(7)
        assert payloads(held) == high[:7]
        everything = [*high[7:], *normal, *later, *high[:7]]
        for limit in (1, 5, 20, 35, 100):
            assert payloads(await mailbox.peek(limit)) == everything[:limit], limit
        # a far away one is deleted where it is
        assert await mailbox.ack_many([record.id for record in (await mailbox.peek(100))[30:33]]) == 3
        assert payloads(await mailbox.peek(100)) == everything[:30] + everything[33:]


async def check_commit_writes_little_however_many_holes_there_are() -> None:
    """A head and at most one page, both small; with untouched pages only the head."""
    here = await new_context()
    async with await here.open("many holes") as mailbox:
        ids = await mailbox.enqueue_many([NewMessage(b"s", b"p") for _ in range(5000)])
        assert await mailbox.ack_many(ids[1::2]) == 2500
        for priority, most in ((MessagePriority.NORMAL, 2), (MessagePriority.HIGH, 1)):
            async with script_in_force(
                """() => {
                  const { add, put } = IDBObjectStore.prototype;
                  globalThis.puts = [];
                  const watched = (original) => function (value, key) {
                    if (this.name === "journal" || this.name === "pages") puts.push((value.head ?? value).length);
                    return original.call(this, value, key);
                  };
                  Object.assign(IDBObjectStore.prototype, { add: watched(add), put: watched(put) });
                  return () => { Object.assign(IDBObjectStore.prototype, { add, put }); };
                }"""
            ):
                await mailbox.enqueue(b"s", b"p", priority)
                (taken,) = await mailbox.dequeue(1)
                assert taken.priority == priority
                script("puts.length = 0")
                assert await mailbox.ack(taken.id)
                puts = script("puts").to_py()
                assert 1 <= len(puts) <= most, (priority, puts)
                assert max(puts) < 8192, (priority, puts)


async def check_claim_that_acknowledges_what_is_in_a_page_that_is_not_in_memory() -> None:
    """The page is read, and nothing else has to be repeated."""
    here, there = await new_context(), await new_context()
    async with await here.open("acknowledged there") as mailbox, await there.open("acknowledged there") as other:
        await mailbox.enqueue_many([NewMessage(b"s", b"p") for _ in range(1024)])
        held = [record.id for record in await mailbox.dequeue(1024)]
        assert await mailbox.ack_many(held[1::2]) == 512
        # so that the state is read again, without the page
        await other.enqueue(b"s", b"new")
        async with script_in_force(
            """() => {
              const { error } = console;
              globalThis.errorsOfTest = [];
              console.error = (...given) => errorsOfTest.push(given.join(" "));
              return () => { console.error = error; };
            }"""
        ):
            assert payloads(await mailbox.dequeue(1, ack=held[:1])) == [b"new"]
            assert list(script("errorsOfTest")) == []
        assert (await mailbox.status()).inflight_messages == 512


async def check_purge_leaves_what_is_held() -> None:
    here = await new_context()
    await _with_small_pages(here, "purged")
    async with await here.open("purged", max_deliveries=9) as mailbox:
        await mailbox.enqueue_many(
            [NewMessage(b"s", b"%d" % i, message_id=UUID(int=i + 1) if i % 3 == 0 else None) for i in range(60)]
        )
        held = await mailbox.dequeue(50)
        back = [record for i, record in enumerate(held) if i % 7 not in {2, 3}]
        for record in back:
            assert await mailbox.nack(record.id, error="once", delay=1000 if record.payload.endswith(b"5") else None)
        kept = [record for i, record in enumerate(held) if i % 7 in {2, 3}]
        assert await mailbox.purge() == 60 - len(kept)
        status = await mailbox.status()
        assert (status.queued_messages, status.inflight_messages) == (0, len(kept)), status
        assert payloads(await mailbox.peek(100)) == payloads(kept)
        # their ids are known, and those of the others are free
        ids = [UUID(int=i + 1) for i in range(0, 60, 3)]
        await mailbox.enqueue_many([NewMessage(b"s", b"again", message_id=given) for given in ids])
        expected = len(set(ids) - {record.id for record in kept})
        assert (await mailbox.status()).queued_messages == expected
        assert await mailbox.purge() == expected
        assert await mailbox.ack_many([record.id for record in kept]) == len(kept)
        for name in ("pages", "segments", "ids", "errors"):
            assert await _rows(name, "purged") == 0, name


_DAMAGES = {
    "deleted": "await done(store('pages').delete(row.key));",
    "no bytes": "await done(store('pages').put('junk', row.key));",
    "empty": "await done(store('pages').put(new Uint8Array(), row.key));",
    "another byte": "row.value[row.value.length - 1] ^= 1; await done(store('pages').put(row.value, row.key));",
    "twice": "await done(store('pages').put(new Uint8Array([...row.value, ...row.value]), row.key));",
}


async def check_page_that_cannot_be_read() -> None:
    """Its messages become dead letters, with their ids and bytes; all others continue, and the counts are right."""
    # the holder there is in another context than the one that notices
    there, here = await new_context(), await new_context()
    for title, damage in _DAMAGES.items():
        for verb in ("dequeue", "peek", "ack", "purge"):
            name = f"page {title}, {verb}"
            await _with_small_pages(there, name)
            holder = await there.open(name)
            ids = await holder.enqueue_many(
                [NewMessage(b"s", b"%d" % i, message_id=UUID(int=i + 1) if i % 4 == 1 else None) for i in range(20)]
            )
            # of each page one message is held, one is finished, and two wait, one of them with a custom id
            held = await holder.dequeue(20)
            assert await holder.ack_many([record.id for record in held[::4]]) == 5
            for record in held[1::2]:
                assert await holder.nack(record.id)
            await foreign(
                f"""
                const id = await number(name);
                const row = (await rows("pages")).find(({{ key }}) => `${{key}}` === `${{[id, 0, 2]}}`);
                {damage}
                """,
                name=name,
            )
            mailbox = await here.open(name)
            lost = [b"9", b"10", b"11"]
            if verb == "peek":
                assert b"9" not in payloads(await mailbox.peek(100)), name
            elif verb == "ack":
                assert not await mailbox.ack(ids[9]), name
            elif verb == "purge":
                assert await mailbox.purge() == 8, name
            taken = await drain(mailbox)
            waiting = [] if verb == "purge" else [b"%d" % i for i in range(20) if i % 2 == 1]
            assert sorted(payloads(taken)) == sorted(set(waiting) - set(lost)), (name, payloads(taken))
            letters = await mailbox.dead_letters(100)
            assert set(lost) <= {letter.record.payload for letter in letters}, (name, letters)
            # a finished one may be among them: nothing distinguishes it from the others
            assert {letter.record.payload for letter in letters} <= {*lost, b"8"}, (name, letters)
            assert {letter.record.id for letter in letters} <= set(ids), name
            assert "could not be read" in letters[0].reason, letters[0].reason
            status = await mailbox.status()
            assert (status.queued_messages, status.inflight_messages) == (0, len(taken) + 4), (name, status)
            # its id is known, and is the dead letter's
            await mailbox.enqueue(b"s", b"again", message_id=UUID(int=10))
            assert (await mailbox.status()).queued_messages == 0, name
            for letter in letters:
                assert await mailbox.redrive(letter.record.id), name
            await mailbox.ack_many([record.id for record in await drain(mailbox)])
            await holder.close()
            await mailbox.ack_many([record.id for record in await drain(mailbox)] + [record.id for record in taken])
            status = await mailbox.status()
            assert (status.queued_messages, status.inflight_messages, status.dead_letters) == (0, 0, 0), (name, status)
            for store in ("pages", "segments", "ids", "errors"):
                assert await _rows(store, name) == 0, (name, store)
            await mailbox.close()
            await here.delete(name)


async def check_all_pages_deleted() -> None:
    here = await new_context()
    await _with_small_pages(here, "no pages")
    async with await here.open("no pages") as mailbox:
        await mailbox.enqueue_many([NewMessage(b"s", b"%d" % i) for i in range(16)])
        for record in await mailbox.dequeue(12):
            await mailbox.nack(record.id)
        await foreign(
            "const id = await number('no pages'); await done(store('pages').delete(IDBKeyRange.bound([id], [id, []])));"
        )
        other = await (await new_context()).open("no pages")
        assert payloads(await drain(other)) == [b"12", b"13", b"14", b"15"]
        assert (await other.status()).dead_letters == 12
        await other.close()


async def check_request_for_a_page_that_fails_is_undone() -> None:
    """Whatever the browser says about the transaction, the call rejects, and every page is as it was."""
    here = await new_context()
    for store in ("pages", "journal"):
        for verb in ("enqueue", "dequeue", "ack", "nack"):
            for others in (0, 6):
                name = f"page refused, {store}, {verb}, {others}"
                await _with_small_pages(here, name)
                async with await here.open(name) as mailbox:
                    await mailbox.enqueue_many([NewMessage(b"s", b"%d" % i) for i in range(10)])
                    held = await mailbox.dequeue(6)
                    # a context that has a mailbox to itself writes without reading first
                    for _ in range(others):
                        await mailbox.nack(held.pop().id)
                        held += await mailbox.dequeue(1)
                    before = payloads(await mailbox.peek(100))
                    async with _failing_put(store):
                        if verb == "enqueue":
                            outcome = await raised(mailbox.enqueue(b"s", b"lost", message_id=UUID(int=5)))
                        elif verb == "dequeue":
                            outcome = await raised(mailbox.dequeue(1))
                        elif verb == "ack":
                            outcome = await raised(mailbox.ack(held[0].id))
                        else:
                            outcome = await raised(mailbox.nack(held[0].id))
                    assert isinstance(outcome, ConnectionLostError), (name, outcome)
                    assert (await mailbox.status()).dead_letters == 0, name
                    if verb in {"enqueue", "dequeue"}:
                        assert payloads(await mailbox.peek(100)) == before, name
                    else:
                        # it is done, or it is not
                        assert len(await mailbox.peek(100)) >= len(before) - 1, name
                    assert (await mailbox.status()).dead_letters == 0, name


# -- help -------------------------------------------------------------------------------------------------------------


async def _with_small_pages(context: Context, name: str) -> None:
    """Makes a mailbox whose pages have few messages, all in rows of their own."""
    await load_model()
    await (await context.open(name)).close()
    await foreign(
        """
        const state = MailboxState.create(await number(name), { pageNumbers: small, pagesInHead: 0 });
        await writeState(name, state);
        """,
        name=name,
        small=_SMALL,
    )


async def _program(handles: Sequence[Mailbox], chosen: random.Random) -> list[Any]:
    """Every verb, some many times, by handles in turn; returns the answers. The mailbox is empty in the end."""
    told: list[Any] = []
    held: list[list[Any]] = [[] for _ in handles]
    count = 0
    for _ in range(60):
        i = chosen.randrange(len(handles))
        mailbox, verb = handles[i], chosen.randrange(8)
        if verb <= 2:
            messages = []
            for _ in range(chosen.randrange(1, 12)):
                given = UUID(int=count + 1) if chosen.random() < 0.2 else None
                delay = 1000.0 + count if chosen.random() < 0.1 else None
                messages.append(NewMessage(b"s", b"%d" % count, MessagePriority(chosen.randrange(2)), given, delay))
                count += 1
            await mailbox.enqueue_many(messages)
        elif verb <= 4:
            taken = await mailbox.dequeue(chosen.randrange(1, 10))
            held[i] += taken
            told.append([(record.payload, record.delivery_count) for record in taken])
        elif verb == 5 and held[i]:
            some = [held[i].pop(chosen.randrange(len(held[i]))) for _ in range(chosen.randrange(1, 1 + len(held[i])))]
            told.append(await mailbox.ack_many([record.id for record in some]))
        elif verb == 6 and held[i]:
            record = held[i].pop(chosen.randrange(len(held[i])))
            told.append(
                await mailbox.nack(record.id, delay=500.0 + count if chosen.random() < 0.5 else None, error="no")
            )
        else:
            told.append([(record.payload, record.status, record.delivery_count) for record in await mailbox.peek(1000)])
        status = await mailbox.status()
        told.append((status.queued_by_priority, status.inflight_messages, status.dead_letters))
    told.append(await handles[0].purge())
    for i, mailbox in enumerate(handles):
        told.append(await mailbox.ack_many([record.id for record in held[i]]))
    letters = await handles[0].dead_letters(1000)
    told += [(letter.record.payload, await handles[0].discard(letter.record.id)) for letter in letters]
    told.append((await handles[0].status()).to_dict())
    return told


async def _page_rows(name: str) -> int:
    return await _rows("pages", name)


async def _rows(store: str, name: str) -> int:
    count: int = await foreign(
        "const id = await number(name); return done(store(of).count(IDBKeyRange.bound([id], [id, []])));",
        name=name,
        of=store,
    )
    return count
