"""Who waits hears of news of other contexts; and finds them all the same where hints do not come."""

import asyncio
from typing import Any

from pymailbox import NewMessage
from tests.indexeddb.scenarios.hands import NO_SLOW_POLL, PATIENCE, eventually, new_context, payloads, script_in_force


class Depths:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_depth_change(self, queued_messages: int) -> None:
        self.seen.append(queued_messages)


HARD_OF_HEARING = {"signals.js": {"=> this.#receive(data)": "=> setTimeout(() => this.#receive(data), 300)"}}
"""A context that hears of everything 0.3 seconds late, answers to its greeting included."""


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
        here, there = await new_context({"mailbox.js": {"SLOW_POLL = 5000": "SLOW_POLL = 1000"}}), await new_context()
        async with await here.open("polled") as mailbox, await there.open("polled") as other:
            waiting = asyncio.ensure_future(mailbox.dequeue(wait=60))
            await asyncio.sleep(0.1)
            await other.enqueue(b"s", b"found")
            assert payloads(await asyncio.wait_for(waiting, PATIENCE)) == [b"found"]


async def check_busy_mailbox_does_not_starve_who_waits_in_another_context() -> None:
    """Blind writes of one context and reads of another: no wake-up is lost between them."""
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
        # a channel of their own: on the usual one there may be others who listen
        own = {"signals.js": {'"pymailbox"': '"lonely"'}}
        here, there = await new_context(own), await new_context(own)
        async with await here.open("lonely") as mailbox:
            for _ in range(3):
                await mailbox.enqueue(b"s", b"a")
            assert list(_told()) == []
            async with await there.open("lonely") as other:
                await mailbox.enqueue(b"s", b"b")

                async def told() -> bool:
                    return list(_told())[-1:] == [4]

                await eventually(told, f"the news for a context that came later, but {list(_told())}")
                assert len(await other.dequeue()) == 4


async def check_context_that_stores_and_is_gone_before_anybody_answered_its_greeting() -> None:
    here = await new_context(HARD_OF_HEARING)
    there = await new_context(NO_SLOW_POLL)
    async with await there.open("brief") as watched:
        watched.set_depth_observer(depths := Depths())
        async with await here.open("brief") as mailbox:
            await mailbox.enqueue(b"s", b"a")

        async def told() -> bool:
            return depths.seen == [1]

        await eventually(told, "what a brief context stored")


async def check_message_that_was_stored_before_its_context_heard_the_greeting() -> None:
    here = await new_context(HARD_OF_HEARING)
    there = await new_context(NO_SLOW_POLL)
    async with await here.open("missed") as mailbox, await there.open("missed") as other:
        waiting = asyncio.ensure_future(other.dequeue(wait=60))
        await mailbox.enqueue(b"s", b"a")
        assert payloads(await asyncio.wait_for(waiting, PATIENCE)) == [b"a"]
