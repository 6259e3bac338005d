"""Ids that stay known for a while: what is stored for them, and what is deleted."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from pymailbox import Mailbox, NewMessage, StorageFullError
from tests.indexeddb.scenarios.requests import COUNTING
from tests.indexeddb.scenarios.support import (
    foreign,
    new_context,
    raised,
    script,
    script_in_force,
    wall_clock_forward,
)


async def _rows() -> list[Any]:
    """The lengths of the keys in the store of known ids."""
    lengths: list[int] = await foreign("return (await rows('remembered')).map(({ key }) => key.length)")
    return lengths


async def _forget_others() -> None:
    """What other scenarios left there."""
    await foreign("await done(store('remembered').clear())")


async def _send_and_ack(mailbox: Mailbox, ids: list[UUID], seconds: float) -> int:
    """How many of these were stored."""
    await mailbox.enqueue_many(NewMessage(b"s", b"p", message_id=each, dedupe_for=seconds) for each in ids)
    return await mailbox.ack_many(ids)


async def check_known_ids_are_known_to_all_contexts() -> None:
    here, there = await new_context(), await new_context()
    async with await here.open("known") as mailbox, await there.open("known") as other:
        await _forget_others()
        ids = [uuid4() for _ in range(5)]
        assert await _send_and_ack(mailbox, ids, 60) == 5
        assert await _send_and_ack(other, ids, 60) == 0
        assert await mailbox.enqueue(b"s", b"p", message_id=ids[0]) == ids[0]
        assert (await other.status()).queued_messages == 0
        async with wall_clock_forward(61):
            assert await _send_and_ack(other, ids, 60) == 5
            assert await _send_and_ack(mailbox, ids, 60) == 0
    assert await here.delete("known")
    assert await _rows() == []


async def check_ids_that_are_over_are_forgotten_by_and_by() -> None:
    """Up to a hundred for each that is remembered, so that none of these calls takes long."""
    here = await new_context()
    async with await here.open("ids that are over") as mailbox:
        await _forget_others()
        await _send_and_ack(mailbox, [uuid4() for _ in range(250)], 1)
        assert len(await _rows()) == 500
        async with wall_clock_forward(2):
            # one without such an id forgets none
            await mailbox.ack(await mailbox.enqueue(b"s", b"p", message_id=uuid4()))
            assert len(await _rows()) == 500
            for left in (151, 52, 3, 4):
                await _send_and_ack(mailbox, [uuid4()], 60)
                assert len(await _rows()) == 2 * left, (left, await _rows())
    assert await here.delete("ids that are over")
    assert await _rows() == []


async def check_what_was_stored_in_part_is_not_known() -> None:
    """An enqueue that fails is repeated, and must not be taken for one that was stored."""
    here = await new_context()
    async with await here.open("known in part") as mailbox:
        message_id = uuid4()
        async with script_in_force(
            """() => {
              const { put } = IDBObjectStore.prototype;
              IDBObjectStore.prototype.put = function (value, key) {
                if (this.name === "remembered") throw new DOMException("no room", "QuotaExceededError");
                return put.call(this, value, key);
              };
              return () => { IDBObjectStore.prototype.put = put; };
            }"""
        ):
            error = await raised(mailbox.enqueue(b"s", b"p", message_id=message_id, dedupe_for=60))
            assert isinstance(error, StorageFullError), error
        assert await mailbox.get(message_id) is None
        await mailbox.enqueue(b"s", b"p", message_id=message_id, dedupe_for=60)
        assert (await mailbox.status()).queued_messages == 1


async def check_ids_that_something_else_wrote_are_nobodys() -> None:
    here = await new_context()
    async with await here.open("scribbled") as mailbox:
        message_id = uuid4()
        await _send_and_ack(mailbox, [message_id], 60)
        await foreign(
            """
            const id = await number("scribbled");
            for (const { key } of await rows("remembered")) {
              if (key.length === 2) await done(store("remembered").put("gotcha", key));
            }
            await done(store("remembered").put(1, [id, -5, "x"]));
            await done(store("remembered").put(1, [id, 7, new Uint8Array(3)]));
            """
        )
        assert await _send_and_ack(mailbox, [message_id], 60) == 1
        assert await _send_and_ack(mailbox, [message_id], 60) == 0


async def check_a_mailbox_without_known_ids_is_not_asked_for_any() -> None:
    here = await new_context()
    async with await here.open("spared") as mailbox, script_in_force(COUNTING):
        for _ in range(3):
            await mailbox.enqueue(b"s", b"p", message_id=uuid4())
        script("requests.take()")
        await mailbox.enqueue(b"s", b"p", message_id=uuid4())
        plain = script("requests.take()").split()
        await _send_and_ack(mailbox, [uuid4()], 60)
        script("requests.take()")
        await mailbox.enqueue(b"s", b"p", message_id=uuid4())
        asked = script("requests.take()").split()
        assert asked.count("get") == plain.count("get") + 1, (plain, asked)


async def check_headers_cost_no_request() -> None:
    here = await new_context()
    async with await here.open("with headers") as mailbox:
        for _ in range(8):
            await mailbox.ack(await mailbox.enqueue(b"s", b"p"))
        async with script_in_force(COUNTING):
            asked = []
            for headers in (None, {"name": "text"}):
                script("requests.take()")
                await mailbox.enqueue(b"s", b"p", headers=headers)
                asked.append(script("requests.take()").removesuffix(" commit").removesuffix(" delete"))
                await asyncio.sleep(0)
            assert asked == ["begin write"] * 2, asked
