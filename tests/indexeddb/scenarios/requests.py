"""How much a verb asks of the database: one more that can fail silently costs Firefox its `commit()`."""

import asyncio
from typing import Any
from uuid import UUID

from pymailbox import MessagePriority, MessageStatus, NewMessage
from tests.indexeddb.scenarios.support import foreign, new_context, payloads, script, script_in_force

COUNTING = """() => {
  const asked = [];
  globalThis.requests = { take: () => asked.splice(0).join(" ") };
  const undo = [];
  const watch = (prototype, names, note) => {
    for (const name of names) {
      const original = prototype[name];
      prototype[name] = function (...args) { asked.push(note(this, name)); return original.apply(this, args); };
      undo.push(() => { prototype[name] = original; });
    }
  };
  const requests = [
    "put", "add", "delete", "clear", "get", "getKey", "getAll", "getAllKeys", "count", "openCursor", "openKeyCursor",
  ];
  watch(IDBObjectStore.prototype, requests, (store, name) => name === "add" || name === "put" ? "write" : name);
  watch(IDBDatabase.prototype, ["transaction"], () => "begin");
  watch(IDBTransaction.prototype, ["commit"], () => "commit");
  return () => { for (const step of undo) step(); };
}"""


async def check_a_verb_of_one_message_is_one_request() -> None:
    """Begun, filled and ended, in every browser, where the context has the mailbox to itself; now and then one more
    request deletes what the ones before have left."""
    mailbox = await _to_itself("one request")
    async with mailbox, script_in_force(COUNTING):
        asked = []
        for priority in (MessagePriority.NORMAL, MessagePriority.HIGH):
            for _ in range(5):
                asked.append(await _asked(mailbox.enqueue(b"s", bytes(1024), priority)))
                asked.append(await _asked(mailbox.dequeue(1)))
                (record,) = await mailbox.peek()
                asked.append(await _asked(mailbox.ack(record.id)))
        await mailbox.enqueue(b"s", b"1")
        await mailbox.enqueue(b"s", b"2")
        (record,) = await mailbox.dequeue(1)
        asked.append(await _asked(mailbox.dequeue(1, ack=[record.id])))
        others = [what for what in asked if what != "begin write commit"]
        assert len(others) <= 1 + len(asked) // 16, asked
        assert {what.removesuffix(" commit") for what in others} <= {"begin write delete"}, asked


NOTING_WHAT_IS_LOGGED = """() => {
  const original = console.error;
  globalThis.loggedOfTest = [];
  console.error = (...what) => { loggedOfTest.push(what.join(" ")); };
  return () => { console.error = original; };
}"""


async def check_acknowledging_in_any_order_is_no_surprise_to_the_engine() -> None:
    """What it does not find at hand it reads, and gives nothing up for it."""
    mailbox = await _to_itself("any order")
    async with mailbox, script_in_force(NOTING_WHAT_IS_LOGGED):
        ids = [
            message_id
            for _ in range(2)
            for message_id in await mailbox.enqueue_many([NewMessage(b"s", b"p") for _ in range(10)])
        ]
        assert [record.id for record in await mailbox.dequeue(20)] == ids
        assert await mailbox.ack_many([*ids[:4], *ids[5:9]]) == 8
        # the rest of one segment, with the next one behind it
        assert await mailbox.ack_many([ids[4], *ids[9:]]) == 12
        # all that there is to claim is acknowledged first
        late = await mailbox.enqueue(b"s", b"late")
        assert await mailbox.dequeue(1, ack=[late]) == []
        assert await mailbox.enqueue(b"s", b"next")
        assert payloads(await mailbox.dequeue(1)) == [b"next"]
        assert list(script("loggedOfTest")) == []


async def check_mailboxes_that_are_used_in_one_turn_stay_their_contexts() -> None:
    """Of one of them nothing is to be written; the other is written as if it were alone."""
    here = await new_context()
    async with await here.open("one of two") as mailbox, await here.open("the other one") as other:
        for one in (mailbox, other):
            for _ in range(6):
                await one.ack(await one.enqueue(b"s", b"p"))
        for _ in range(3):
            (waited, _) = await asyncio.gather(mailbox.enqueue(b"s", b"p"), other.ack(UUID(int=1)))
            assert (await mailbox.peek(10))[-1].id == waited
        async with script_in_force(COUNTING):
            asked = [await _asked(one.enqueue(b"s", b"p")) for one in (mailbox, other)]
            assert {what.removesuffix(" delete commit").removesuffix(" commit") for what in asked} == {"begin write"}, (
                asked
            )


async def check_looking_keeps_nobody_waiting() -> None:
    """What counts, and what looks who lives, ends without its context."""
    here, there = await new_context(), await new_context()
    async with await here.open("looked at") as mailbox, await there.open("looked at") as other:
        await mailbox.enqueue(b"s", b"p")
        await other.dequeue()
        async with script_in_force(COUNTING):
            asked = await _asked(mailbox.status())
            assert asked == "begin get openCursor commit", asked
            asked = await _asked(mailbox.recover())
            assert asked.count("begin") == asked.count("commit") + 1, asked


async def check_counting_reads_no_message_twice() -> None:
    """Since when the first message waits is in the message, which may be large, and stays the first for long."""
    here, there = await new_context({"cacheBytes": 1000}), await new_context()
    async with await here.open("counted") as mailbox, await there.open("counted") as other:
        await other.enqueue(b"s", bytes(100_000))
        await other.enqueue(b"s", bytes(100_000), MessagePriority.HIGH)
        first = await mailbox.status()
        async with script_in_force(COUNTING):
            asked = await _asked(mailbox.status())
            assert asked == "begin get openCursor commit", asked
            await other.dequeue(2)
            assert (await mailbox.status()).oldest_queued_at is None
        assert first.oldest_queued_at is not None


async def check_a_context_that_computes_keeps_nobody_waiting() -> None:
    """Two that write by turns read first, in a transaction that ends by itself; the one that writes ends so, too."""
    here, there = await new_context(), await new_context()
    async with await here.open("by turns") as mailbox, await there.open("by turns") as other:
        # none of them has the right to write without reading
        for turn in (mailbox, other, mailbox, other):
            await turn.enqueue(b"s", b"p")
        async with script_in_force(COUNTING):
            asked = [await _asked(mailbox.enqueue(b"s", b"p"))]
            await other.enqueue(b"s", b"p")
            asked.append(await _asked(mailbox.dequeue(3)))
            await other.enqueue(b"s", b"p")
            held = [record.id for record in await mailbox.peek(3, status=MessageStatus.INFLIGHT)]
            asked.append(await _asked(mailbox.ack_many(held)))
            assert asked == ["begin get openCursor commit begin write openKeyCursor commit"] * 3, asked
        assert (await other.status()).queued_messages == 4


async def check_a_version_that_is_not_the_last_means_nothing() -> None:
    """Between the reading and the writing others write so often that the key of the next version is free again."""
    here, there = await new_context(), await new_context()
    async with await here.open("overtaken") as mailbox, await there.open("overtaken") as other:
        for turn in (mailbox, other, mailbox, other):
            await turn.enqueue(b"s", b"before")
        read = max(await _versions("overtaken"))
        async with script_in_force(
            """() => {
              const { transaction } = IDBDatabase.prototype;
              let armed = 1;
              IDBDatabase.prototype.transaction = function (stores, mode, ...rest) {
                if (mode === "readwrite" && armed-- === 1) {
                  const journal = transaction.call(this, ["journal"], "readwrite").objectStore("journal");
                  journal.openCursor(null, "prev").onsuccess = ({ target }) => {
                    const { key: [number, version], value } = target.result;
                    journal.add({ ...value, base: version + 20 }, [number, version + 20]);
                    journal.delete([number, version]);
                  };
                }
                return transaction.call(this, stores, mode, ...rest);
              };
              return () => { IDBDatabase.prototype.transaction = transaction; };
            }"""
        ):
            await mailbox.enqueue(b"s", b"after")
        assert [record.payload for record in await other.peek(10)] == [b"before"] * 4 + [b"after"]
        # and is deleted by a commit that reads in any case
        await mailbox.enqueue(b"s", b"named", message_id=UUID(int=1))
        assert read + 1 not in await _versions("overtaken")


async def _versions(name: str) -> list[int]:
    versions: list[int] = await foreign(
        """
        const id = await number(name);
        return (await done(store("journal").getAllKeys())).flatMap(([of, version]) => (of === id ? [version] : []));
        """,
        name=name,
    )
    return versions


async def check_small_messages_that_wait_are_written_together() -> None:
    """What does not fit into the state any more goes into one record, in the order in which it came."""
    mailbox = await _to_itself("written together")
    async with mailbox:
        for i in range(40):
            await mailbox.enqueue(b"s", b"%d" % i * 100, MessagePriority(i % 2))
        records = await foreign(
            "const id = (await done(store('mailboxes').get(name))).number;"
            "return done(store('segments').count(IDBKeyRange.bound([id], [id, []])));",
            name="written together",
        )
        assert 1 <= records <= 16, records
        # another context has nothing of it in memory
        async with await (await new_context()).open("written together") as there:
            seen = [record.payload for record in await there.dequeue(limit=100)]
        odd, even = range(1, 40, 2), range(0, 40, 2)
        assert seen == [b"%d" % i * 100 for i in (*odd, *even)]


async def check_what_is_in_the_state_can_be_acknowledged_in_part() -> None:
    mailbox = await _to_itself("in part")
    async with mailbox:
        ids = [await mailbox.enqueue(b"s", b"%d" % i * 300) for i in range(12)]
        assert await mailbox.ack_many(ids[1::2]) == 6
        async with await (await new_context()).open("in part") as there:
            assert [record.payload for record in await there.peek(20)] == [b"%d" % i * 300 for i in range(0, 12, 2)]
            assert await there.ack_many(ids[::2]) == 6
            await there.enqueue(b"s", b"last")
        assert [record.payload for record in await mailbox.peek(20)] == [b"last"]


async def _asked(call: Any) -> str:
    script("requests.take()")
    await call
    asked: str = script("requests.take()")
    return asked


async def _to_itself(name: str) -> Any:
    """A mailbox that its context may write without reading it first; it is empty."""
    mailbox = await (await new_context()).open(name)
    for _ in range(6):
        await asyncio.sleep(0)
        await mailbox.ack(await mailbox.enqueue(b"s", b"p"))
    return mailbox
