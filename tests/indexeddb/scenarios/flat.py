"""What a message costs does not grow with what there is in its mailbox, or was: requests, and what they read and
write.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import NamedTuple
from uuid import UUID

from pymailbox import Mailbox, MessagePriority, NewMessage
from tests.indexeddb.scenarios.support import NO_SLOW_POLL, new_context, script, script_in_force

_COUNTING = """() => {
  const prototype = IDBObjectStore.prototype;
  const originals = {};
  let [requests, values, bytes] = [0, 0, 0];
  globalThis.costOfTest = () => {
    const cost = [requests, values, bytes];
    requests = values = bytes = 0;
    return cost;
  };
  const sizeOf = (value) =>
    value?.head ? [value.head, ...value.carried].reduce((size, { length }) => size + length, 0) : (value?.length ?? 8);
  for (const name of ["get", "getKey", "getAll", "getAllKeys", "count", "openCursor", "openKeyCursor", "delete"]) {
    originals[name] = prototype[name];
    prototype[name] = function (...args) {
      const request = originals[name].apply(this, args);
      requests += 1;
      request.addEventListener("success", () => {
        values += Array.isArray(request.result) ? request.result.length : 1;
      });
      return request;
    };
  }
  for (const name of ["add", "put"]) {
    originals[name] = prototype[name];
    prototype[name] = function (value, ...key) {
      requests += 1;
      bytes += sizeOf(value);
      return originals[name].call(this, value, ...key);
    };
  }
  return () => { Object.assign(prototype, originals); };
}"""

_LIVES = 16

_COMMITS = 3
"""Of a life."""

_IN_HEAD = 2048
"""Bytes that a head may grow by: holders and small pages travel in it while they have room there."""

_PAYLOAD = bytes(200)
"""Large enough that no segment of what there is travels with the state."""

_Open = Callable[[str], Awaitable[Mailbox]]
"""Opens the mailbox in another context, or one whose name ends in the given text; it is closed in the end."""


class _Cost(NamedTuple):
    requests: int
    values: int
    """How many were read."""
    written: int
    """Bytes."""


async def _cost(call: Callable[[], Awaitable[object]]) -> _Cost:
    for _ in range(4):
        await call()
    script("costOfTest()")
    for _ in range(_LIVES):
        await call()
    return _Cost(*script("costOfTest()").to_py())


async def _life(mailbox: Mailbox, priority: MessagePriority) -> None:
    await mailbox.enqueue(b"s", bytes(100), priority)
    for record in await mailbox.dequeue(1):
        await mailbox.ack(record.id)


async def _enqueue(mailbox: Mailbox, messages: list[NewMessage]) -> list[UUID]:
    ids: list[UUID] = []
    for start in range(0, len(messages), 1024):
        ids += await mailbox.enqueue_many(messages[start : start + 1024])
    return ids


async def _waiting(mailbox: Mailbox, count: int, _: _Open) -> None:
    await _enqueue(mailbox, [NewMessage(b"s", _PAYLOAD)] * count)


async def _every_other_acknowledged(mailbox: Mailbox, count: int, _: _Open) -> None:
    ids = await _enqueue(mailbox, [NewMessage(b"s", _PAYLOAD)] * count)
    await mailbox.ack_many(ids[1::2])


async def _every_other_delayed(mailbox: Mailbox, count: int, _: _Open) -> None:
    await _enqueue(mailbox, [NewMessage(b"s", _PAYLOAD, delay=3600 + i if i % 2 else None) for i in range(count)])


async def _many_just_due(mailbox: Mailbox, count: int, _: _Open) -> None:
    await _enqueue(mailbox, [NewMessage(b"s", _PAYLOAD, delay=0.001 if i % 2 else 3600 + i) for i in range(count)])


async def _every_other_with_an_id(mailbox: Mailbox, count: int, _: _Open) -> None:
    ids = [UUID(int=i) if i % 2 else None for i in range(count)]
    await _enqueue(mailbox, [NewMessage(b"s", _PAYLOAD, message_id=message_id) for message_id in ids])


async def _nacked_by_turns(mailbox: Mailbox, count: int, _: _Open) -> None:
    await _enqueue(mailbox, [NewMessage(b"s", _PAYLOAD)] * count)
    held = await mailbox.dequeue(count)
    await asyncio.gather(*(mailbox.nack(record.id, error="e") for record in held[::2]))
    await asyncio.gather(*(mailbox.nack(record.id) for record in held[1::2]))


async def _dead(mailbox: Mailbox, count: int, _: _Open) -> None:
    await _enqueue(mailbox, [NewMessage(b"s", _PAYLOAD)] * count)
    await asyncio.gather(*(mailbox.dead_letter(record.id, "r") for record in await mailbox.dequeue(count)))


async def _held_by_many(mailbox: Mailbox, count: int, open_there: _Open) -> None:
    await _enqueue(mailbox, [NewMessage(b"s", _PAYLOAD)] * count)
    for _ in range(count):
        await (await open_there("")).dequeue(1)


async def _one_of_many(_: Mailbox, count: int, open_there: _Open) -> None:
    for i in range(count):
        await (await open_there(f", {i}")).enqueue(b"s", b"p")


_SHAPES: list[tuple[Callable[[Mailbox, int, _Open], Awaitable[None]], int]] = [
    (_waiting, 2048),
    (_every_other_acknowledged, 2048),
    (_every_other_delayed, 2048),
    (_many_just_due, 2048),
    (_every_other_with_an_id, 2048),
    (_nacked_by_turns, 1024),
    (_dead, 128),
    (_held_by_many, 16),
    (_one_of_many, 16),
]
"""Each with how many there are in the smaller of two mailboxes; in the other there are four times as many. Where these
are enough for several pages, they fill them, so that the last page of both has the same size."""


async def check_nothing_grows_with_what_there_is() -> None:
    for fill, count in _SHAPES:
        small, large = await _costs(fill, count), await _costs(fill, 4 * count)
        for what, few in small.items():
            many = large[what]
            assert many.requests <= few.requests + _LIVES // 2, (fill.__name__, what, few, many)
            assert many.values <= few.values + _LIVES, (fill.__name__, what, few, many)
            assert many.written <= few.written + _LIVES * _COMMITS * _IN_HEAD, (fill.__name__, what, few, many)


async def _costs(fill: Callable[[Mailbox, int, _Open], Awaitable[None]], count: int) -> dict[str, _Cost]:
    here, there = await new_context(NO_SLOW_POLL), await new_context()
    name = f"{fill.__name__} {count}"
    async with AsyncExitStack() as stack:

        async def open_there(end: str) -> Mailbox:
            mailbox: Mailbox = await stack.enter_async_context(await there.open(name + end))
            return mailbox

        mailbox = await stack.enter_async_context(await here.open(name))
        await fill(mailbox, count, open_there)
        await _life(mailbox, MessagePriority.HIGH)
        await asyncio.sleep(0.3)  # whoever is seen for the first time is looked at beside other work
        async with script_in_force(_COUNTING):
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "an urgent life": lambda: _life(mailbox, MessagePriority.HIGH),
                "a life": lambda: _life(mailbox, MessagePriority.NORMAL),
                "a look": lambda: mailbox.peek(1),
                "a count": mailbox.status,
            }
            return {what: await _cost(call) for what, call in calls.items()}
