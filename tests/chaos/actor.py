"""What works on a mailbox in a round: one actor that is killed in the middle, and others that look afterwards.

It runs on CPython and in a page or worker, which fetches it; it imports nothing of the tests, since it is alone there.
An actor reports what its calls returned to a recorder elsewhere, in order, and continues when the report has arrived.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Any

from pymailbox import (
    ConnectionLostError,
    Mailbox,
    MailboxError,
    MessagePriority,
    MessageRecord,
    NewMessage,
    Relayer,
    RetryPolicy,
    delete_mailbox,
    open_mailbox,
    relay,
)
from pymailbox.relaying import cursor

Post = Callable[[str], Awaitable[str]]
"""Sends a report as JSON and returns the answer; until that comes, the report has not arrived."""

LOOK_SECONDS = 0.5
POST_SECONDS = 3.0
STILL_SECONDS = 15.0
SENDER = b"chaos"
HEAVY_BYTES = 70_000
"""More than a segment of the IndexedDB engine holds."""

_running: set[asyncio.Task[None]] = set()
relays: list[Relayer] = []
"""Up and down."""


class Journal:
    """Reports of one actor; several of its tasks may report at once."""

    def __init__(self, who: str, post: Post) -> None:
        self.who = who
        self._post = post
        self._number = 0
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[bool] | None]] = []
        self._posting: asyncio.Task[None] | None = None

    async def note(self, what: str, **details: Any) -> bool:
        """Report an event, see ``judge.Event``; True if the recorder says that it has seen enough of this actor."""
        arrived = asyncio.get_running_loop().create_future()
        self._report(arrived, what, details)
        return bool(await arrived)

    def note_soon(self, what: str, **details: Any) -> None:
        """Report an event without waiting for the recorder."""
        self._report(None, what, details)

    def _report(self, arrived: asyncio.Future[bool] | None, what: str, details: dict[str, Any]) -> None:
        self._waiting.append(({"who": self.who, "what": what, "wall": time.time()} | details, arrived))
        if self._posting is None:
            self._posting = asyncio.create_task(self._post_all())

    async def _post_all(self) -> None:
        while self._waiting:
            reports, self._waiting = self._waiting, []
            self._number += 1
            body = {"who": self.who, "number": self._number, "events": [event for event, _ in reports]}
            enough = json.loads(await self._post(json.dumps(body)))["enough"]
            for _, arrived in reports:
                if arrived is not None and not arrived.done():  # those that waited may have been told to end
                    arrived.set_result(enough)
        self._posting = None


def page_post(url: str) -> Post:
    """Posts from a page or worker; what a browser drops, because the page is left or frozen, is posted again."""
    from pyodide.http import pyfetch

    async def post(body: str) -> str:
        while True:
            try:
                async with asyncio.timeout(POST_SECONDS):
                    return str(await (await pyfetch(url, method="POST", body=body)).string())
            except Exception:
                await asyncio.sleep(0.01)

    return post


def start(role: str, plan: dict[str, Any], post: Post) -> asyncio.Task[None]:
    """Let an actor work in the background of this event loop; what it raises is reported.

    Its role, "victim", "rescuer" or "auditor", is also its name; an actor with another name does the `work` of its
    plan, or works beside others.
    """
    journal = Journal(role, post)
    works = {
        "victim": _be_victim,
        "rescuer": _rescue,
        "auditor": _audit,
        "audits": _audit,
        "sends": _send_all,
        "consumes": _consume,
        "relays": _relay_both_ways,
    }
    return in_background(works.get(plan.get("work", role), _work_off)(plan, journal), journal)


def in_background(work: Coroutine[Any, Any, None], journal: Journal) -> asyncio.Task[None]:
    """Let it run; what it raises is reported."""
    task = asyncio.create_task(_reporting(work, journal))
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


async def _reporting(work: Coroutine[Any, Any, None], journal: Journal) -> None:
    try:
        await work
    except Exception:
        await journal.note("failed", text=traceback.format_exc())


def what_goes_on() -> str:
    """Where each task of this event loop is."""
    lines = [str(frame) for task in asyncio.all_tasks() for frame in task.get_stack()]
    return "\n".join(lines)


@lru_cache(maxsize=1000)
def new_message(key: str) -> NewMessage:
    """The message that belongs to a key: mostly small, now and then larger than the engine's segments."""
    rng = random.Random(key)
    size = HEAVY_BYTES if rng.random() < 0.01 else rng.randrange(200)
    priority = MessagePriority.HIGH if rng.random() < 0.3 else MessagePriority.NORMAL
    return NewMessage(SENDER, key.encode() + b"\n" + rng.randbytes(size), priority)


def key_of(record: MessageRecord) -> str:
    """The key of a message, or what is wrong with it."""
    key = record.payload.partition(b"\n")[0].decode(errors="replace")
    sent = new_message(key)
    is_intact = (record.sender, record.payload, record.priority) == (sent.sender, sent.payload, sent.priority)
    return key if is_intact else f"torn {key}"


def entries(records: list[MessageRecord]) -> list[tuple[str, int, int]]:
    """Records for a report."""
    return [(key_of(record), int(record.priority), record.delivery_count) for record in records]


class Victim:
    """Works until it is killed. Its plan says when it is interrupted, see ``plans.Plan``."""

    def __init__(self, plan: dict[str, Any], journal: Journal) -> None:
        self._plan = plan
        self._journal = journal
        self._rng = random.Random(plan["seed"])
        self._sent = 0
        self._reports = 0
        self._box: Any = None
        self._target: Any = None
        self._steps = asyncio.Semaphore(4)

    async def work(self) -> None:
        """Never returns."""
        plan = self._plan
        self._box = await self._opened(plan["box"])
        self._target = await self._opened(plan["target"])
        for _ in range(8):
            await self._send(25)
        phase = plan["phase"]
        if phase == "enqueues":
            await self._claim(8)  # so that there is something to take back
        await self._note("ready")
        producers = [self._produce(0.0) for _ in range(3)] if phase == "enqueues" else [self._produce(0.02)]
        consumers = [] if phase == "enqueues" else [self._consume(phase)]
        await asyncio.gather(*producers, *consumers)

    async def end(self) -> None:
        """Stop all work, report its outcome, and give back what is held."""
        tasks = _running - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._journal.note("ending")
        for box in (self._box, self._target):
            if box is not None:
                await box.close()

    async def _opened(self, location: str) -> Mailbox:
        instead = self._plan.get("instead", ("", ""))
        return await open_mailbox(location.replace(*instead), **self._plan["options"])

    async def _produce(self, pause: float) -> None:
        while True:
            try:
                await self._send(self._rng.choice((1, 1, 1, 2, 10)))
            except MailboxError as error:
                await self._failed(error)
            await asyncio.sleep(self._rng.random() * pause)

    async def _send(self, count: int) -> None:
        keys = [f"v-{self._sent + i}" for i in range(count)]
        self._sent += count
        messages = [new_message(key) for key in keys]
        self._journal.note_soon("calling")
        if count == 1:
            (message,) = messages
            await self._box.enqueue(message.sender, message.payload, message.priority)
        else:
            await self._box.enqueue_many(messages)
        await self._note("sent", box=self._plan["box"], keys=keys)

    async def _consume(self, phase: str) -> None:
        while True:
            try:
                records = await self._claim(self._rng.randint(1, 8))
            except MailboxError as error:
                await self._failed(error)
                continue
            if phase == "claims":
                continue
            # it keeps a part, to be taken back
            done = [record for record in records if self._rng.random() < 0.7]
            await self._steps.acquire()
            in_background(self._finish(done, phase), self._journal)

    async def _claim(self, limit: int) -> list[MessageRecord]:
        asked = time.time()
        self._journal.note_soon("calling")
        records: list[MessageRecord] = await self._box.dequeue(limit, wait=LOOK_SECONDS)
        await self._note("claimed", box=self._plan["box"], asked=asked, entries=entries(records))
        return records

    async def _finish(self, records: list[MessageRecord], phase: str) -> None:
        try:
            if phase == "sends":
                for record in records:
                    await self._send_on(record)
            elif records:
                await self._acknowledge(records)
        except MailboxError as error:
            await self._failed(error)
        finally:
            self._steps.release()

    async def _acknowledge(self, records: list[MessageRecord]) -> None:
        box, keys = self._plan["box"], [key_of(record) for record in records]
        await self._note("removing", box=box, keys=keys)
        self._journal.note_soon("calling")
        if self._rng.random() < 0.5:
            done = await asyncio.gather(*(self._box.ack(record.id) for record in records))
        else:
            removed = await self._box.ack_many([record.id for record in records])
            if 0 < removed < len(records):
                keys = []  # it does not say which
            done = [removed > 0] * len(keys)
        await self._note("removed", box=box, keys=keys, done=done)

    async def _send_on(self, record: MessageRecord) -> None:
        key = key_of(record)
        spot = {"box": self._plan["box"], "to": self._plan["target"], "keys": [key]}
        message_id = record.id if self._rng.random() < 0.5 else None
        await self._note("removing", **spot)
        self._journal.note_soon("calling")
        message = NewMessage(SENDER, record.payload, record.priority, message_id)
        done = await self._box.ack_and_send(record.id, [(self._target, message)])
        await self._note("removed", **spot, done=[done])

    async def _failed(self, error: MailboxError) -> None:
        await self._note("failed", text=f"{type(error).__name__}: {error}")
        await asyncio.sleep(0.01)

    async def _note(self, what: str, **details: Any) -> None:
        await self._journal.note(what, **details)
        if what == "ready" or self._reports:
            self._reports += 1
        if self._reports == self._plan["spin_after"]:
            await self._journal.note("spinning")
            await asyncio.sleep(self._rng.random() * 0.005)
            while True:  # whatever is under way stays under way
                pass


async def _be_victim(plan: dict[str, Any], journal: Journal) -> None:
    victim = Victim(plan, journal)
    try:
        await victim.work()
    except asyncio.CancelledError:
        await victim.end()


async def _rescue(plan: dict[str, Any], journal: Journal) -> None:
    """Takes messages until the recorder has seen enough, and then gives all of them back.

    It may be started before the victim dies: the recorder lets it continue when that happens.
    """
    location = plan["box"]
    async with _opened(location) as box:
        await journal.note("ready")
        enough = False
        while not enough:
            asked = time.time()
            records = await box.dequeue(32, wait=LOOK_SECONDS)
            enough = await journal.note("claimed", box=location, asked=asked, entries=entries(records))
        await journal.note("closing", box=location)
    await journal.note("done")


async def _work_off(plan: dict[str, Any], journal: Journal) -> None:
    """Takes and acknowledges messages, beside others, until everything has been sent and nothing is left."""
    location = plan["box"]
    async with _opened(location) as box:
        if plan["produces"]:
            in_background(_produce_all(plan["produces"], box, location, journal), journal)
        while True:
            asked = time.time()
            records = await box.dequeue(16, wait=LOOK_SECONDS)
            all_sent = await journal.note("claimed", box=location, asked=asked, entries=entries(records))
            for half in (records[:8], records[8:]):
                if half:
                    await _acknowledge(box, location, half, journal)
            if all_sent and not records:
                status = await box.status()
                if status.queued_messages == status.inflight_messages == 0:
                    break
    await journal.note("done")


async def _produce_all(count: int, box: Mailbox, location: str, journal: Journal) -> None:
    for first in range(0, count, 100):
        keys = [f"{journal.who}-{number}" for number in range(first, min(first + 100, count))]
        await box.enqueue_many([new_message(key) for key in keys])
        await journal.note("sent", box=location, keys=keys)


async def _send_all(plan: dict[str, Any], journal: Journal) -> None:
    """Sends messages that are to arrive in another mailbox; those whose outcome is unknown do not count."""
    async with _opened(plan["box"]) as box:
        sent = number = 0
        while sent < plan["count"]:
            keys = [f"{journal.who}-{number + i}" for i in range(100)]
            number += 100
            with suppress(ConnectionLostError):
                await box.enqueue_many([new_message(key) for key in keys])
                sent += 100
                await journal.note("sent", box=plan["arrives"], keys=keys)
            await asyncio.sleep(plan["pause"])
    await journal.note("done")


async def _consume(plan: dict[str, Any], journal: Journal) -> None:
    """Takes and acknowledges messages until it ends: at once, so that no id that is still there keeps a repeat out."""
    location = plan["box"]
    async with _opened(location) as box:
        while True:
            asked = time.time()
            with suppress(ConnectionLostError):  # the server was away for a minute
                records = await box.dequeue(64, wait=LOOK_SECONDS)
                if records:
                    await journal.note("claimed", box=location, asked=asked, entries=entries(records))
                    await _acknowledge(box, location, records, journal)


async def _relay_both_ways(plan: dict[str, Any], journal: Journal) -> None:
    """Relays from `out` to `up` and from `down` to `in` until it ends, from before the server is there."""
    lease = vars(cursor)["LEASE"] = plan["lease"]
    pauses = RetryPolicy(first_delay=0.05, longest_delay=1.0)
    async with _opened(plan["out"]) as out, _opened(plan["in"]) as inbox:
        relays[:] = [
            relay(out, open_mailbox(plan["up"]), retry=pauses),
            relay(open_mailbox(plan["down"], lease=lease), inbox, retry=pauses),
        ]
        await journal.note("ready")
        await asyncio.gather(*relays)
    raise AssertionError("the relays have ended")


async def statuses() -> str:
    """How the relays are, as JSON."""
    return json.dumps([(await one.status()).to_dict() for one in relays])


async def claimed() -> int:
    """How many messages of the one that relays up are inflight."""
    return (await relays[0]._source.status()).inflight_messages


async def _acknowledge(box: Mailbox, location: str, records: list[MessageRecord], journal: Journal) -> None:
    keys = [key_of(record) for record in records]
    await journal.note("removing", box=location, keys=keys)
    removed = await box.ack_many([record.id for record in records])
    done = [True] * removed + [False] * (len(keys) - removed)
    await journal.note("removed", box=location, keys=keys, done=done)


async def _audit(plan: dict[str, Any], journal: Journal) -> None:
    """Reports everything in the round's mailboxes once nobody holds anything, and deletes them."""
    for location in {plan["box"], plan["target"]}:
        async with _opened(location) as box:
            until = time.monotonic() + STILL_SECONDS
            while (inflight := (await box.status()).inflight_messages) and time.monotonic() < until:
                await box.recover()
                await asyncio.sleep(0.02)
            shown = await box.peek(1_000_000)
            drained: list[MessageRecord] = []
            while not inflight and (records := await box.dequeue(256)):
                drained += records
            report = {"entries": entries(shown), "drained": entries(drained), "inflight": inflight}
            await journal.note("audited", box=location, **report)
        await delete_mailbox(location)
    await journal.note("done")


@asynccontextmanager
async def _opened(location: str) -> AsyncIterator[Mailbox]:
    box = await open_mailbox(location)
    try:
        yield box
    finally:
        await box.close()
