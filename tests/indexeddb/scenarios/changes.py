"""Listeners to changes learn of other contexts' commits, which costs those something only while somebody listens."""

import asyncio
from typing import Any

from pymailbox import Mailbox, MailboxStats
from tests.indexeddb.scenarios.support import (
    NO_SLOW_POLL,
    PATIENCE,
    Settings,
    eventually,
    mute,
    new_context,
    of_another_page,
    script,
    script_in_force,
)

COUNTING_NEWS = """() => {
  const { postMessage } = BroadcastChannel.prototype;
  globalThis.announcementsOfTest = [];
  BroadcastChannel.prototype.postMessage = function (message) {
    if (message.announcement !== undefined) announcementsOfTest.push(Object.keys(message.announcement)[0]);
    return postMessage.call(this, message);
  };
  return () => { BroadcastChannel.prototype.postMessage = postMessage; };
}"""


class Seen:
    """The states that a listener has been given."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.states: list[MailboxStats] = []
        self._listening = asyncio.ensure_future(self._listen(mailbox))

    async def _listen(self, mailbox: Mailbox) -> None:
        async for stats in mailbox.changes():
            self.states.append(stats)

    async def until(self, **counts: Any) -> None:
        async def is_so() -> bool:
            return bool(self.states) and all(getattr(self.states[-1], name) == n for name, n in counts.items())

        await eventually(is_so, f"a state with {counts}, after {self.states[-3:]}")

    async def leave(self) -> None:
        self._listening.cancel()
        await asyncio.wait([self._listening])


async def check_commits_of_another_context_are_heard() -> None:
    """Each kind of change, without a poll."""
    here, there = await new_context(NO_SLOW_POLL), await new_context()
    async with await here.open("heard of") as mailbox, await there.open("heard of", max_deliveries=1) as other:
        seen = Seen(mailbox)
        await seen.until(queued_messages=0)
        first = await other.enqueue(b"s", b"1")
        await seen.until(queued_messages=1)
        await other.dequeue()
        await seen.until(queued_messages=0, inflight_messages=1)
        await other.nack(first)
        await seen.until(inflight_messages=0, dead_letters=1)
        await other.redrive(first)
        await seen.until(queued_messages=1, dead_letters=0)
        await other.purge()
        await seen.until(queued_messages=0)
        await other.enqueue(b"s", b"2", delay=0.5)
        await seen.until(queued_messages=1, delayed_messages=1)
        # nobody commits anything when it becomes due
        await seen.until(queued_messages=1, delayed_messages=0)
        await seen.leave()


async def check_the_last_of_many_changes_is_never_left_out() -> None:
    here, there = await new_context(NO_SLOW_POLL), await new_context()
    async with await here.open("many changes") as mailbox, await there.open("many changes") as other:
        seen = Seen(mailbox)
        await seen.until(queued_messages=0)
        for _ in range(5):
            before = len(seen.states)
            await asyncio.gather(*(other.enqueue(b"s", b"p") for _ in range(40)))
            await other.purge()
            for _ in range(30):
                await other.enqueue(b"s", b"p")
            # and then it is gone for good, at the same moment
            last = (await other.status()).queued_messages
            await seen.until(queued_messages=last)
            assert len(seen.states) - before < 40, "changes are merged"
        await seen.leave()


async def check_a_context_that_closes_at_once_is_heard() -> None:
    """What it would report a moment later it reports before it stops talking to others."""
    here, there = await new_context(NO_SLOW_POLL), await new_context()
    async with await here.open("gone at once") as mailbox:
        seen = Seen(mailbox)
        for count in range(1, 6):
            async with await there.open("gone at once") as other:
                if count == 1:
                    await asyncio.sleep(0.2)  # until it has heard that somebody listens
                await other.enqueue(b"s", b"p")
                await other.enqueue(b"s", b"p")
            await seen.until(queued_messages=2 * count)
        await seen.leave()


async def check_nobody_pays_while_nobody_listens() -> None:
    here, there = await new_context(), await new_context()
    async with (
        await here.open("unheard") as mailbox,
        await there.open("unheard") as other,
        script_in_force(COUNTING_NEWS),
    ):
        for _ in range(10):
            await other.enqueue(b"s", b"p")
        assert list(script("announcementsOfTest")) == []
        seen = Seen(mailbox)
        await seen.until(queued_messages=10)
        await eventually(_told_after(other), "that the other context tells of its commits")
        await seen.leave()
        assert "listening" in list(script("announcementsOfTest"))


def _told_after(other: Mailbox) -> Any:
    async def told() -> bool:
        await other.enqueue(b"s", b"p")
        return "changed" in list(script("announcementsOfTest"))

    return told


async def check_changes_of_who_cannot_tell_are_found() -> None:
    """It says nothing, like a page that is killed: the listener finds its commits by itself."""
    here, there = await new_context({"slowPoll": 300}), await new_context(mute())
    async with await here.open("mute") as mailbox, await there.open("mute") as other:
        seen = Seen(mailbox)
        await seen.until(queued_messages=0)
        for count in (1, 2):
            await other.enqueue(b"s", b"p")
            await seen.until(queued_messages=count)
        await seen.leave()


async def check_changes_where_contexts_cannot_talk() -> None:
    """Without BroadcastChannel a listener looks at one key all the time."""
    no_channel: Settings = {"openChannel": script("() => undefined")}
    here, there = await new_context(no_channel, NO_SLOW_POLL), await new_context(no_channel)
    async with await here.open("changes without a channel") as mailbox:
        seen = Seen(mailbox)
        await seen.until(queued_messages=0)
        async with await there.open("changes without a channel") as other:
            message_id = await other.enqueue(b"s", b"p")
            await seen.until(queued_messages=1)
            await other.ack(message_id)
            await seen.until(queued_messages=0)
            await other.enqueue(b"s", b"p")
        await there.delete("changes without a channel")
        await seen.until(queued_messages=0, ever_queued=0)
        await seen.leave()


async def check_a_page_that_comes_back_looks_again() -> None:
    """Nobody told it what happened while it was frozen."""
    page = of_another_page()
    here, there = await new_context(page, NO_SLOW_POLL), await new_context(mute())
    async with await here.open("thawed") as mailbox, await there.open("thawed") as other:
        seen = Seen(mailbox)
        await seen.until(queued_messages=0)
        await other.enqueue(b"s", b"p")
        page["events"].dispatchEvent(script("new Event('pageshow')"))
        await seen.until(queued_messages=1)
        await seen.leave()


async def check_a_listener_ends_with_its_mailbox() -> None:
    here = await new_context()
    mailbox = await here.open("ended")
    states = mailbox.changes()
    await anext(states)
    waiting = asyncio.ensure_future(anext(states, None))
    await asyncio.sleep(0.1)
    await mailbox.close()
    assert await asyncio.wait_for(waiting, PATIENCE) is None
