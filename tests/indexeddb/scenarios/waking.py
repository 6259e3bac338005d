"""Waiters learn what other contexts store, and find it even if hints do not come."""

import asyncio
from typing import Any

from pyodide.ffi import create_once_callable

from pymailbox import NewMessage
from tests.indexeddb.scenarios.support import (
    NO_SLOW_POLL,
    PATIENCE,
    Settings,
    eventually,
    new_context,
    on_channel,
    payloads,
    script,
    script_in_force,
)


class Depths:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_depth_change(self, queued_messages: int) -> None:
        self.seen.append(queued_messages)


def hard_of_hearing() -> Settings:
    """A context that hears everything 0.3 seconds late, including answers to its hello."""
    open_channel = """() => {
      const channel = new BroadcastChannel("pymailbox");
      return {
        set onmessage(hear) { channel.onmessage = (event) => setTimeout(hear, 300, event); },
        postMessage: (message) => channel.postMessage(message),
        close: () => channel.close(),
      };
    }"""
    return {"openChannel": script(open_channel)}


async def check_enqueue_of_another_context_wakes() -> None:
    here, there = await new_context(NO_SLOW_POLL), await new_context()
    async with await here.open("woken") as mailbox, await there.open("woken") as other:
        for i in range(3):
            waiting = asyncio.ensure_future(mailbox.dequeue(wait=60))
            await asyncio.sleep(0.1)
            await other.enqueue(b"s", b"%d" % i)
            assert payloads(await asyncio.wait_for(waiting, PATIENCE)) == [b"%d" % i]


async def check_what_another_context_gives_back_wakes() -> None:
    here, there = await new_context(NO_SLOW_POLL), await new_context()
    async with await here.open("given back") as mailbox, await there.open("given back") as other:
        await other.enqueue(b"s", b"a")
        for give_back in ("nack", "close"):
            (held,) = await other.dequeue()
            waiting = asyncio.ensure_future(mailbox.dequeue(wait=60))
            await asyncio.sleep(0.3)
            if give_back == "nack":
                assert await other.nack(held.id)
            else:
                await other.close()
            (again,) = await asyncio.wait_for(waiting, PATIENCE)
            assert again.id == held.id
            if give_back == "nack":
                assert await mailbox.nack(again.id)


async def check_observer_hears_of_another_context() -> None:
    here, there = await new_context(), await new_context()
    async with await here.open("observed") as mailbox, await there.open("observed") as other:
        depths = Depths()
        mailbox.set_depth_observer(depths)
        await other.enqueue(b"s", b"a")
        await other.enqueue(b"s", b"b")

        async def heard() -> bool:
            return depths.seen[-1:] == [2]

        await eventually(heard, "the depth after another context's enqueue")
        mailbox.set_depth_observer(None)
        await other.enqueue(b"s", b"c")
        await asyncio.sleep(0.2)
        assert depths.seen[-1] == 2


async def check_without_a_channel_the_slow_poll_finds_it() -> None:
    async with script_in_force(
        """() => {
          const { BroadcastChannel } = globalThis;
          delete globalThis.BroadcastChannel;
          return () => { globalThis.BroadcastChannel = BroadcastChannel; };
        }"""
    ):
        here, there = (
            await new_context({"slowPoll": 1000}),
            await new_context(),
        )
        async with await here.open("polled") as mailbox, await there.open("polled") as other:
            waiting = asyncio.ensure_future(mailbox.dequeue(wait=60))
            await asyncio.sleep(0.1)
            await other.enqueue(b"s", b"found")
            assert payloads(await asyncio.wait_for(waiting, PATIENCE)) == [b"found"]


async def check_busy_mailbox_does_not_starve_who_waits_in_another_context() -> None:
    """Writes without reading in one context and reads in another: no wake-up is lost between them."""
    here, there = await new_context(), await new_context()
    async with (
        await here.open("ping") as ping,
        await there.open("ping") as ping_there,
        await here.open("pong") as pong,
        await there.open("pong") as pong_there,
    ):

        async def echo() -> None:
            for _ in range(100):
                (message,) = await ping_there.dequeue(1, wait=20)
                await ping_there.ack_and_send(message.id, [(pong_there, NewMessage(b"echo", message.payload))])

        echoing = asyncio.ensure_future(echo())
        for i in range(100):
            await ping.enqueue(b"s", b"%d" % i)
            (answer,) = await pong.dequeue(1, wait=20)
            assert answer.payload == b"%d" % i
            assert await pong.ack(answer.id)
        await echoing


def _told() -> Any:
    import js

    return js.toldOfTest


async def check_nobody_is_told_where_nobody_listens() -> None:
    async with script_in_force(
        """() => {
          const { postMessage } = BroadcastChannel.prototype;
          globalThis.toldOfTest = [];
          BroadcastChannel.prototype.postMessage = function (data) {
            if (data.mailbox === "lonely") globalThis.toldOfTest.push(data.depth);
            postMessage.call(this, data);
          };
          return () => {
            BroadcastChannel.prototype.postMessage = postMessage;
            delete globalThis.toldOfTest;
          };
        }"""
    ):
        # a separate channel: others may listen on the usual one
        here, there = await new_context(on_channel("lonely")), await new_context(on_channel("lonely"))
        async with await here.open("lonely") as mailbox:
            for _ in range(3):
                await mailbox.enqueue(b"s", b"a")
            assert list(_told()) == []
            async with await there.open("lonely") as other:
                await mailbox.enqueue(b"s", b"b")

                async def told() -> bool:
                    return list(_told())[-1:] == [4]

                await eventually(told, f"the notifications for a context that came later, but {list(_told())}")
                assert len(await other.dequeue()) == 4


async def check_context_that_stores_and_is_gone_before_anybody_answered_its_hello() -> None:
    here = await new_context(hard_of_hearing())
    there = await new_context(NO_SLOW_POLL)
    async with await there.open("brief") as watched:
        watched.set_depth_observer(depths := Depths())
        async with await here.open("brief") as mailbox:
            await mailbox.enqueue(b"s", b"a")

        async def told() -> bool:
            return depths.seen == [1]

        await eventually(told, "what a brief context stored")


async def check_message_that_was_stored_before_its_context_heard_the_hello() -> None:
    here = await new_context(hard_of_hearing())
    there = await new_context(NO_SLOW_POLL)
    async with await here.open("missed") as mailbox, await there.open("missed") as other:
        waiting = asyncio.ensure_future(other.dequeue(wait=60))
        await mailbox.enqueue(b"s", b"a")
        assert payloads(await asyncio.wait_for(waiting, PATIENCE)) == [b"a"]


async def check_one_enqueue_wakes_as_many_as_it_has_messages_for() -> None:
    """Calls of one handle, of several, and of several contexts."""
    here, there = await new_context(NO_SLOW_POLL), await new_context(NO_SLOW_POLL)
    handles = [await here.open("all"), await here.open("all"), await there.open("all")]
    waiting = [asyncio.ensure_future(handle.dequeue(1, wait=600)) for handle in handles for _ in range(3)]
    await asyncio.sleep(0.3)
    await handles[0].enqueue_many([NewMessage(b"s", b"%d" % i) for i in range(len(waiting))])
    taken = [record.payload for batch in await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE) for record in batch]
    assert sorted(taken) == sorted(b"%d" % i for i in range(len(waiting)))
    for handle in handles:
        await handle.close()


async def check_message_costs_the_same_however_many_wait() -> None:
    costs = []
    for count in (1, 20):
        here = await new_context(NO_SLOW_POLL)
        handles = [await here.open(f"herd of {count}") for _ in range(count)]
        async with await here.open(f"herd of {count}") as producer:
            waiting = [asyncio.ensure_future(handle.dequeue(1, wait=600)) for handle in handles]
            await asyncio.sleep(0.3)
            async with script_in_force(
                """() => {
                  const original = IDBDatabase.prototype.transaction;
                  globalThis.transactionsOfTest = 0;
                  IDBDatabase.prototype.transaction = function (...rest) {
                    globalThis.transactionsOfTest += 1;
                    return original.apply(this, rest);
                  };
                  return () => { IDBDatabase.prototype.transaction = original; };
                }"""
            ):
                await producer.enqueue(b"s", b"for one")
                done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(0.3)
                costs.append(script("transactionsOfTest"))
            assert len(done) == 1
            for call in rest:
                call.cancel()
            await asyncio.wait(waiting)
        for handle in handles:
            await handle.close()
    assert costs[0] == costs[1], costs


async def check_who_is_woken_and_does_not_take_it_passes_it_on() -> None:
    for end in ("cancelled", "closed"):
        here = await new_context(NO_SLOW_POLL)
        first, second = await here.open(f"passed on, {end}"), await here.open(f"passed on, {end}")
        chosen = asyncio.ensure_future(first.dequeue(1, wait=600))
        await asyncio.sleep(0.1)
        waiting = asyncio.ensure_future(second.dequeue(1, wait=600))
        await asyncio.sleep(0.1)
        enqueued = asyncio.ensure_future(second.enqueue(b"s", b"a"))
        await enqueued
        if end == "closed":
            await first.close()
        chosen.cancel()
        await asyncio.wait([chosen])
        if end == "cancelled" and not chosen.cancelled():
            assert await first.nack(chosen.result()[0].id)
        assert payloads(await asyncio.wait_for(waiting, PATIENCE)) == [b"a"]
        await first.close()
        await second.close()


async def check_news_between_the_look_and_its_answer() -> None:
    """A call that found nothing, and does not know it yet, learns of what another context stores meanwhile."""
    here, there = await new_context(NO_SLOW_POLL), await new_context()
    async with await here.open("in between") as mailbox, await there.open("in between") as other:
        between = asyncio.Event()

        async def store() -> None:
            await between.wait()
            await other.enqueue(b"s", b"a")
            await asyncio.sleep(0.3)
            script("hearOfTest()")

        storing = asyncio.ensure_future(store())
        script(
            """(reached) => {
              const { transaction: begin } = IDBDatabase.prototype;
              IDBDatabase.prototype.transaction = function (...given) {
                const transaction = begin.apply(this, given);
                if (transaction.mode !== "readwrite") return transaction;
                IDBDatabase.prototype.transaction = begin;
                const hold = (event) => {
                  event.stopImmediatePropagation();
                  globalThis.hearOfTest = () => transaction.dispatchEvent(new Event("complete"));
                  reached();
                };
                transaction.addEventListener("complete", hold, { once: true });
                return transaction;
              };
            }"""
        )(create_once_callable(between.set))
        (message,) = await asyncio.wait_for(mailbox.dequeue(wait=600), PATIENCE)
        assert message.payload == b"a"
        await storing
