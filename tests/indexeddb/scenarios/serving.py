"""A call that waits is served in the commit that stores; whatever happens to either, nothing is lost or had twice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pymailbox import MessagePriority, NewMessage
from tests.indexeddb.scenarios.requests import COUNTING
from tests.indexeddb.scenarios.support import (
    NO_SLOW_POLL,
    PATIENCE,
    SEGMENTS_APART,
    come_back,
    leave_page,
    mute,
    new_context,
    of_another_page,
    payloads,
    raised,
    script,
    script_in_force,
)

FAILING = """() => {
  const { commit } = IDBTransaction.prototype;
  const { add } = IDBObjectStore.prototype;
  const failing = new WeakSet();
  globalThis.failuresOfTest = 0;
  IDBObjectStore.prototype.add = function (...args) {
    const request = add.apply(this, args);
    if (failuresOfTest-- > 0) {
      failing.add(this.transaction);
      // where nobody asks it to commit
      request.addEventListener("success", () => this.transaction.abort());
    }
    return request;
  };
  IDBTransaction.prototype.commit = function () {
    if (failing.has(this)) this.abort();
    else commit.call(this);
  };
  return () => {
    IDBObjectStore.prototype.add = add;
    IDBTransaction.prototype.commit = commit;
  };
}"""
"""That many of the next transactions that write a state fail."""


async def check_claim_that_is_served_is_no_transaction_of_its_own() -> None:
    """Everything that leaves something to claim; and an enqueue of one message stays one request."""
    context = await new_context()
    async with (
        await context.open("served") as mailbox,
        await context.open("served") as other,
        script_in_force(COUNTING),
    ):
        ids = [await mailbox.enqueue(b"s", payload) for payload in (b"dead", b"nacked", b"sent on")]
        await mailbox.dequeue(3)
        await mailbox.dead_letter(ids[0], "r")
        for _ in range(6):
            await mailbox.ack(await mailbox.enqueue(b"s", b"p"))
        sends = [(other, NewMessage(b"s", b"sent"))]
        steps: list[tuple[Callable[[], Awaitable[Any]], bytes]] = [
            (lambda: mailbox.enqueue(b"s", b"one"), b"one"),
            (lambda: other.enqueue(b"s", bytes(1024)), bytes(1024)),
            (lambda: other.enqueue_many([NewMessage(b"s", b"many")]), b"many"),
            (lambda: mailbox.redrive(ids[0]), b"dead"),
            (lambda: mailbox.nack(ids[1]), b"nacked"),
            (lambda: mailbox.ack_and_send(ids[2], sends), b"sent"),
        ]
        for step, wanted in steps:
            waiting = asyncio.ensure_future(other.dequeue(1, wait=600))
            await asyncio.sleep(0.1)
            script("requests.take()")
            await step()
            (record,) = await asyncio.wait_for(waiting, PATIENCE)
            asked: str = script("requests.take()")
            assert record.payload == wanted
            assert asked.count("begin") == 1, (wanted, asked)
            if wanted in (b"one", bytes(1024), b"many"):
                assert asked.removesuffix(" commit").removesuffix(" delete") == "begin write", (wanted, asked)
            await other.ack(record.id)


async def check_call_that_waits_after_its_acks_is_served() -> None:
    context = await new_context()
    async with await context.open("acks first") as mailbox, script_in_force(COUNTING):
        for _ in range(6):
            await mailbox.ack(await mailbox.enqueue(b"s", b"p"))
        held = [await mailbox.enqueue(b"s", b"held")]
        await mailbox.dequeue()
        for _ in range(3):
            waiting = asyncio.ensure_future(mailbox.dequeue(1, wait=600, ack=held))
            await asyncio.sleep(0.1)
            script("requests.take()")
            await mailbox.enqueue(b"s", b"next")
            (record,) = await asyncio.wait_for(waiting, PATIENCE)
            assert script("requests.take()").count("begin") == 1
            held = [record.id]
        stats = await mailbox.status()
        assert (stats.queued_messages, stats.inflight_messages) == (0, 1)


async def check_message_in_a_record_of_its_own_is_served_too() -> None:
    context = await new_context(SEGMENTS_APART)
    async with await context.open("apart") as mailbox, script_in_force(COUNTING):
        for _ in range(6):
            await mailbox.ack(await mailbox.enqueue(b"s", b"p"))
        waiting = asyncio.ensure_future(mailbox.dequeue(1, wait=600))
        await asyncio.sleep(0.1)
        script("requests.take()")
        await mailbox.enqueue_many([NewMessage(b"s", b"a"), NewMessage(b"s", b"b", MessagePriority.HIGH)])
        assert payloads(await asyncio.wait_for(waiting, PATIENCE)) == [b"b"]
        assert script("requests.take()").count("begin") == 1
        assert payloads(await mailbox.dequeue()) == [b"a"]


async def check_longest_wait_is_served_first() -> None:
    """Of one handle and of several; cancelled ones are passed over."""
    context = await new_context(NO_SLOW_POLL)
    handles = [await context.open("first come") for _ in range(3)]
    waiting = []
    for turn in range(7):
        waiting.append(asyncio.ensure_future(handles[turn % 3].dequeue(1, wait=600)))
        await asyncio.sleep(0.03)
    waiting[2].cancel()
    in_order = [call for call in waiting if call is not waiting[2]]
    await handles[0].enqueue(b"s", b"0")
    await handles[1].enqueue_many([NewMessage(b"s", b"1"), NewMessage(b"s", b"2")])
    await asyncio.gather(*(handles[0].enqueue(b"s", b"%d" % i) for i in (3, 4, 5)))
    got = [payloads(await asyncio.wait_for(call, PATIENCE)) for call in in_order]
    assert got == [[b"%d" % i] for i in range(6)], got
    assert (await handles[0].status()).queued_messages == 0
    for handle in handles:
        await handle.close()


async def check_rest_is_for_whoever_else_waits() -> None:
    """In the same context, in another one, and for one that comes later."""
    here, there = await new_context(NO_SLOW_POLL), await new_context(NO_SLOW_POLL)
    async with await here.open("the rest") as mailbox, await there.open("the rest") as other:
        calls = [asyncio.ensure_future(handle.dequeue(1, wait=600)) for handle in (mailbox, mailbox, other)]
        await asyncio.sleep(0.1)
        await mailbox.enqueue_many([NewMessage(b"s", b"%d" % i) for i in range(4)])
        got = [payloads(await asyncio.wait_for(call, PATIENCE)) for call in calls]
        assert len({payload for (payload,) in got}) == 3, got
        assert len(await mailbox.dequeue()) == 1


async def check_delayed_message_comes_when_it_is_due_though_another_is_served() -> None:
    context = await new_context(NO_SLOW_POLL)
    async with await context.open("due later") as mailbox:
        first, second = (asyncio.ensure_future(mailbox.dequeue(1, wait=600)) for _ in range(2))
        await asyncio.sleep(0.1)
        await mailbox.enqueue_many([NewMessage(b"s", b"later", delay=0.3), NewMessage(b"s", b"now")])
        assert payloads(await asyncio.wait_for(first, PATIENCE)) == [b"now"]
        assert payloads(await asyncio.wait_for(second, PATIENCE)) == [b"later"]


async def check_commit_that_fails_does_not_end_the_wait() -> None:
    """The call that stores is tried separately, and its message is handed out once; or it fails, and the next one
    serves."""
    context = await new_context(NO_SLOW_POLL)
    async with await context.open("failing") as mailbox, script_in_force(FAILING):
        for failures in (1, 50):
            for _ in range(4):
                await mailbox.ack(await mailbox.enqueue(b"s", b"p"))
            waiting = asyncio.ensure_future(mailbox.dequeue(wait=600))
            await asyncio.sleep(0.1)
            script(f"failuresOfTest = {failures}")
            if failures == 1:
                await mailbox.enqueue(b"s", b"stored")
            else:
                await raised(mailbox.enqueue(b"s", b"lost"))
                script("failuresOfTest = 0")
                assert not waiting.done()
                await mailbox.enqueue(b"s", b"stored")
            (record,) = await asyncio.wait_for(waiting, PATIENCE)
            assert (record.payload, record.delivery_count) == (b"stored", 1)
            assert await mailbox.ack(record.id)
            assert (await mailbox.status()).inflight_messages == 0


async def check_page_that_is_left_is_not_served() -> None:
    context = await new_context(NO_SLOW_POLL, {"longestAbsence": 60_000})
    async with await context.open("left and not served") as mailbox:
        waiting = asyncio.ensure_future(mailbox.dequeue(wait=600))
        await asyncio.sleep(0.1)
        leave_page()
        await mailbox.enqueue(b"s", b"a")
        stats = await mailbox.status()
        assert (stats.queued_messages, stats.inflight_messages, waiting.done()) == (1, 0, False), stats
        come_back()
        (record,) = await asyncio.wait_for(waiting, PATIENCE)
        assert (record.payload, record.delivery_count) == (b"a", 1)


async def check_page_that_is_left_while_it_is_served() -> None:
    """Whenever that happens, the message is handed out to the next life, as new."""
    context, elsewhere = await new_context(), await new_context()
    async with await context.open("left in between") as mailbox, await elsewhere.open("left in between") as other:
        for steps in range(6):
            waiting = asyncio.ensure_future(mailbox.dequeue(wait=600))
            await asyncio.sleep(0.1)
            enqueueing = asyncio.ensure_future(mailbox.enqueue(b"s", b"a"))
            for _ in range(steps):
                await asyncio.sleep(0)
            leave_page()
            come_back()
            await enqueueing
            (record,) = await asyncio.wait_for(waiting, PATIENCE)
            if not await mailbox.nack(record.id):
                # it was handed out before the page was left
                (record,) = await other.dequeue(wait=PATIENCE)
            else:
                (record,) = await other.dequeue()
                assert record.delivery_count == 2
            await other.ack(record.id)
            assert (await other.status()).inflight_messages == 0


async def check_what_a_handle_served_itself_with_is_released_when_the_page_is_left() -> None:
    here, there = await new_context(), await new_context(of_another_page())
    mailbox = await here.open("by itself", max_deliveries=1)
    async with mailbox, await there.open("by itself") as other:
        waiting = asyncio.ensure_future(mailbox.dequeue(wait=600))
        await asyncio.sleep(0.1)
        await mailbox.enqueue(b"s", b"a")
        await asyncio.wait_for(waiting, PATIENCE)
        leave_page()
        (record,) = await other.dequeue(wait=PATIENCE)
        assert (record.payload, record.delivery_count) == (b"a", 1)
        come_back()


async def check_what_is_in_memory_may_be_old() -> None:
    """A call that finds nothing there looks again beside other work: others may have stored without telling anybody."""
    here, there = await new_context(NO_SLOW_POLL), await new_context(mute())
    async with await here.open("old") as mailbox:
        for _ in range(6):
            await mailbox.ack(await mailbox.enqueue(b"s", b"p"))
        async with await there.open("old") as other:
            await asyncio.sleep(0.2)
            await other.enqueue(b"s", b"a")
            assert payloads(await asyncio.wait_for(mailbox.dequeue(wait=600), PATIENCE)) == [b"a"]
