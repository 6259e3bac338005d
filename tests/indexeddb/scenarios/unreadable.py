"""Values that cannot be read for a while, as when their files are away: passed over, tried again, and never deleted.

Any record of the stores can be made unreadable here. ``tests/js/unreadable.spec.js`` moves real files away.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

from pymailbox import ConnectionLostError, Mailbox, MessagePriority, MessageStatus, StorageUnavailableError, export
from tests.indexeddb.scenarios.pages import _with_small_pages
from tests.indexeddb.scenarios.support import (
    NO_SLOW_POLL,
    SEGMENTS_APART,
    Context,
    Settings,
    drain,
    eventually,
    foreign,
    new_context,
    payloads,
    raised,
    script,
)

_NOTHING_IN_MEMORY: Settings = {"cacheBytes": 0}

_ALWAYS_AGAIN: Settings = {"firstWait": 0, "longestWait": 0}
"""A context that tries every time what could not be read."""


@asynccontextmanager
async def _storage() -> AsyncIterator[Any]:
    """What it gives takes rows ``away(store, text, times)``: those whose key, as JSON, has that text in it cannot be
    read, so many times. ``back()`` ends that. With ``lost`` the transaction is over, too, as with its connection.
    ``failed`` counts, ``warnings`` has what the console was told.
    """
    js_storage = script(
        """(() => {
          const prototype = IDBObjectStore.prototype;
          const { get, getAll, getAllKeys, openCursor } = prototype;
          const { warn } = console;
          const storage = { absent: [], lost: false, warnings: [], failed: 0 };
          storage.away = (store, text = "", times = Infinity) => storage.absent.push({ store, text, times });
          storage.back = () => storage.absent.splice(0);
          const isAway = (store, keys) => {
            for (const absent of storage.absent) {
              if (absent.store !== store || absent.times === 0) continue;
              if (!keys.some((key) => JSON.stringify(key).includes(absent.text))) continue;
              absent.times -= 1;
              return true;
            }
            return false;
          };
          const failing = (original) => function (range, count) {
            if (!storage.absent.some(({ store }) => store === this.name)) return original.call(this, range, count);
            const { transaction } = this;
            const fake = {
              transaction, error: null, result: undefined, readyState: "pending", onsuccess() {}, onerror() {},
            };
            const keys = getAllKeys.call(this, range, original === getAll ? count : undefined);
            const real = original.call(this, range, count);
            real.onsuccess = () => {
              if (!isAway(this.name, keys.result)) {
                fake.result = real.result;
                fake.onsuccess({ target: fake });
                return;
              }
              storage.failed += 1;
              fake.error = new DOMException("away", "UnknownError");
              if (storage.lost) transaction.abort();
              fake.onerror({ target: fake, preventDefault() {}, stopPropagation() {} });
            };
            real.onerror = (event) => { fake.error = real.error; fake.onerror(event); };
            return fake;
          };
          Object.assign(prototype, { get: failing(get), getAll: failing(getAll), openCursor: failing(openCursor) });
          console.warn = (text) => storage.warnings.push(text);
          storage.restore = () => {
            Object.assign(prototype, { get, getAll, openCursor });
            console.warn = warn;
          };
          return storage;
        })()"""
    )
    try:
        yield js_storage
    finally:
        js_storage.restore()


async def check_lost_connection_is_no_value_that_cannot_be_read() -> None:
    """It gives the same error, but for everything: nothing is passed over, and nobody is warned."""
    here = await new_context(SEGMENTS_APART)
    name = await _stored(here, "lost with the connection", range(4))
    there = await new_context(SEGMENTS_APART)
    for times in (1, 3):
        async with _storage() as storage, await there.open(name) as mailbox:
            for look in (mailbox.peek, mailbox.dequeue):
                storage.lost = True
                storage.away("segments", "", times)
                assert payloads(await look()) == _texts(range(4)), (times, look)
                storage.back()
            assert storage.failed > 0
            assert list(storage.warnings) == []


async def check_waiting_dequeue_is_woken_by_nothing_but_its_own_clock() -> None:
    here = await new_context(SEGMENTS_APART)
    name = await _stored(here, "waited for", range(1))
    there = await new_context(SEGMENTS_APART, NO_SLOW_POLL)
    async with _storage() as storage, await there.open(name) as mailbox:
        storage.away("segments")
        waiting = asyncio.ensure_future(mailbox.dequeue(wait=3600))

        async def has_tried_again() -> bool:
            return int(storage.failed) >= 4

        await eventually(has_tried_again, "four tries")
        assert not waiting.done()
        storage.back()
        assert payloads(await asyncio.wait_for(waiting, 60)) == _texts(range(1))
        (warning,) = storage.warnings
        assert name in warning, warning


async def check_export_names_what_it_cannot_read() -> None:
    here = await new_context(SEGMENTS_APART)
    for kind in ("message", "named", "inflight", "dead"):
        name = await _stored(here, f"export {kind}", range(3), named=kind == "named")
        there = await new_context(SEGMENTS_APART, _ALWAYS_AGAIN, _NOTHING_IN_MEMORY)
        async with _storage() as storage, await there.open(name) as mailbox:
            _, second, _ = await mailbox.peek()
            if kind in ("inflight", "dead"):
                held = await mailbox.dequeue()
                if kind == "dead":
                    for record in held:
                        await mailbox.dead_letter(record.id, "bad")
            storage.away("dead" if kind == "dead" else "segments", ",1" if kind == "dead" else ",1,1]")
            error = await raised(_exported(mailbox))
            assert isinstance(error, StorageUnavailableError), (kind, error)
            assert error.passing, kind
            assert str(second.id) in str(error), (kind, error)
            storage.back()
            assert len(await _exported(mailbox)) == 5, kind


async def check_pages_and_heads_that_cannot_be_read() -> None:
    """A typed error, unless it ends at once; and everything is there when they can be read."""
    contexts = [await new_context(SEGMENTS_APART) for _ in range(2)]
    for store in ("pages", "journal"):
        name = f"{store} away"
        await _with_small_pages(contexts[0], name)
        await _stored(contexts[0], name, range(20), named=True)
        async with (
            _storage() as storage,
            await contexts[0].open(name) as other,
            await contexts[1].open(name, max_deliveries=1) as mailbox,
        ):
            held = await mailbox.dequeue(3)
            calls: tuple[Callable[[], Awaitable[Any]], ...] = (
                mailbox.peek,
                lambda: mailbox.dequeue(100),
                partial(mailbox.nack, held[0].id),
                partial(mailbox.ack, held[1].id),
                mailbox.purge,
            )
            for times in (1000, 1):
                for call in calls if times > 1 else calls[:2]:
                    # the last writer remembers, and reads nothing
                    await other.ack((await other.peek(1, status=MessageStatus.QUEUED))[0].id)
                    left = payloads(await other.peek(100))
                    storage.failed = 0
                    storage.away(store, "", times)
                    outcome = await raised(call()) if times > 1 else await call()
                    storage.back()
                    assert storage.failed > 0, (name, call)
                    if times > 1:
                        assert isinstance(outcome, ConnectionLostError), (name, outcome)
                        assert outcome.passing
                    assert sorted(payloads(await other.peek(100))) == sorted(left), (name, call)
                    assert (await other.status()).dead_letters == 0, (name, call)
            assert sorted(payloads(await other.peek(100, status=MessageStatus.INFLIGHT))) == sorted(left), name


async def check_what_another_script_did_beside_costs_nothing_that_cannot_be_read() -> None:
    """Another script's row is in the way, or it deleted one: that becomes a dead letter, and what cannot be read
    stays."""
    here = await new_context(SEGMENTS_APART)
    deeds = {
        "a row before": "await done(store('segments').put('intruder', [id, 0, 1]));",
        "a row that looks right": "await done(store('segments').put('intruder', [id, 0, 1, 0]));",
        "the one before is gone": "await done(store('segments').delete([id, 0, 0, 0]));",
        "the one after is gone": "await done(store('segments').delete([id, 0, 2, 2]));",
        "the one before is invalid": "await done(store('segments').put('gotcha', [id, 0, 0, 0]));",
    }
    for title, deed in deeds.items():
        name = await _stored(here, title, range(4))
        await foreign(f"const id = await number(name); {deed}", name=name)
        there = await new_context(SEGMENTS_APART, _ALWAYS_AGAIN)
        async with _storage() as storage, await there.open(name) as mailbox:
            storage.away("segments", ",1,1]")
            away = await asyncio.wait_for(drain(mailbox), 60)
            assert b"1" not in payloads(away), title
            status = await mailbox.status()
            assert status.queued_messages == 1, (title, status)
            assert status.inflight_messages == len(away) == 3 - title.count("gone") - title.count("invalid"), title
            storage.back()
            assert payloads(await mailbox.dequeue()) == [b"1"], title
            assert len(await mailbox.dead_letters()) == 1, title


async def check_random_programs_with_values_that_come_and_go() -> None:
    contexts = [await new_context(SEGMENTS_APART, _ALWAYS_AGAIN, _NOTHING_IN_MEMORY) for _ in range(2)]
    for seed in range(8):
        async with _storage() as storage:
            await _program(contexts, storage, random.Random(seed), f"comes and goes {seed}")


async def _program(contexts: list[Context], storage: Any, chance: random.Random, name: str) -> None:
    handles = [await context.open(name) for context in contexts]
    queued: list[tuple[int, int]] = []
    """Negative priority and number: sorted, this is the order of the queue."""
    held: dict[UUID, tuple[Mailbox, tuple[int, int]]] = {}
    ids: dict[tuple[int, int], UUID] = {}
    away: set[tuple[int, int]] = set()
    numbers = [0, 0]
    for step in range(60):
        mailbox = chance.choice(handles)
        action = chance.randrange(9)
        here = (name, step, action)
        readable = [place for place in sorted(queued) if place not in away]
        if action <= 1:
            for _ in range(chance.randint(1, 4)):
                priority = chance.randrange(2)
                place = (-priority, numbers[priority])
                numbers[priority] += 1
                ids[place] = await mailbox.enqueue(b"s", _name(place), MessagePriority(priority))
                queued.append(place)
        elif action <= 3:
            limit = chance.randint(1, 5)
            batch = await mailbox.dequeue(limit)
            assert payloads(batch) == [_name(place) for place in readable[:limit]], here
            for record, place in zip(batch, readable, strict=False):
                held[record.id] = (mailbox, place)
                queued.remove(place)
        elif action == 4:
            assert payloads(await mailbox.peek(7, status=None))[: len(readable)] == list(map(_name, readable))[:7], here
        elif action == 5 and held:
            given = chance.choice(list(held))
            holder, place = held.pop(given)
            if chance.randrange(2):
                assert await mailbox.ack(given), here
            else:
                assert await holder.nack(given), here
                queued.append(place)
        elif action == 6 and queued:
            place = chance.choice(queued)
            queued.remove(place)
            assert await mailbox.ack(ids[place]), here
        else:
            storage.back()
            places = [*queued, *(place for _, place in held.values())]
            away = set(chance.sample(places, chance.randint(0, len(places)))) if chance.randrange(3) else set()
            for priority, number in away:
                storage.away("segments", f",{-priority},{number},{number}]")
        status = await mailbox.status()
        assert (status.queued_messages, status.inflight_messages) == (len(queued), len(held)), here
        assert status.dead_letters == 0, here
    for mailbox in handles[1:]:
        await mailbox.close()
        queued.extend(place for holder, place in held.values() if holder is mailbox)
    storage.back()
    rest = await drain(handles[0])
    assert payloads(rest) == [_name(place) for place in sorted(queued)], name
    await handles[0].close()


# -- help -------------------------------------------------------------------------------------------------------------


def _name(place: tuple[int, int]) -> bytes:
    return b"%d/%d" % (-place[0], place[1])


def _texts(numbers: Iterable[int]) -> list[bytes]:
    return [b"%d" % number for number in numbers]


async def _stored(context: Context, name: str, numbers: Iterable[int], *, named: bool = False) -> str:
    """Stores messages, each in a record of its own."""
    async with await context.open(name) as mailbox:
        for number in numbers:
            await mailbox.enqueue(b"s", b"%d" % number, message_id=UUID(int=number + 1) if named else None)
    return name


async def _exported(mailbox: Mailbox) -> list[bytes]:
    return [line async for line in export(mailbox)]
