"""The IndexedDB mailbox: every verb is one call into the JavaScript engine and at most one transaction there.

Python never runs inside a transaction: Pyodide resumes it in a later task, long after the transaction.
"""

from __future__ import annotations

import asyncio
import struct
import weakref
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self
from uuid import UUID

from ...contract.archive import Page, Remembered, Section, WholeMessage
from ...contract.arguments import Options, PreparedMessage
from ...contract.companions import Unless
from ...contract.errors import MailboxError
from ...contract.ids import id_of
from ...contract.location import Location, require_name
from ...contract.moments import milliseconds, moment
from ...contract.values import DeadLetter, MailboxStats, MessagePriority, MessageRecord, MessageStatus, StorageReport
from ...runtime.turns import take_turn_if_due
from ..base import AckFirst, EmbeddedMailbox, Enqueued
from .completions import CallFuture, Completions, completions_of, held_by_claim
from .frames import (
    pack_ids,
    pack_message,
    pack_messages,
    pack_remembered,
    pack_whole,
    unpack_batch,
    unpack_dead_letters,
    unpack_ids,
    unpack_remembered,
    unpack_whole,
)
from .loader import load_engine

_DEAD = -1
"""The engine's section of dead letters."""

_STATUS_CODES = {None: None, MessageStatus.QUEUED: 0, MessageStatus.INFLIGHT: 1}


class IndexedDbMailbox(EmbeddedMailbox):
    """A mailbox in the origin's IndexedDB, shared by all its tabs and workers; made by ``open_mailbox``."""

    def __init__(self, name: str, options: Options, js_handle: Any, completions: Completions) -> None:
        from pyodide.ffi import to_js

        super().__init__(name, options)
        self._js_handle = js_handle
        self._completions = completions
        js_verbs = completions.js_dispatcher.verbsOf(js_handle)
        # each is looked up once instead of with every call
        self._js_call, self._js_claim = js_verbs.call, js_verbs.claim
        self._js_enqueue, self._js_ack = js_verbs.enqueue, js_verbs.ack
        self._js_enqueue_each = js_verbs.enqueueEach
        self._js_observer: Any = None
        self._js_change_listener: Any = None
        self._js_stop_listening: Any = None
        self._js_on_life_over: Any = None
        self._life_over_callbacks: list[Callable[[], None]] = []
        self._to_js = to_js

    @classmethod
    async def open_at(cls, location: Location, options: Options) -> Self:
        name = require_name(location)
        js_engine = await load_engine()
        completions = completions_of(js_engine)
        js_opening = js_engine.beginToOpen(
            name,
            options.durability,
            # a float, since a large int would become a BigInt
            float(options.max_deliveries or 0),
            options.lease * 1000,
        )
        try:
            js_handle = await completions.follow(js_opening.handle)
        except (asyncio.CancelledError, GeneratorExit):
            js_opening.abandon()
            raise
        return cls(name, options, js_handle, completions)

    @classmethod
    async def list_at(cls, location: Location) -> list[str]:
        js_engine = await load_engine()
        return sorted(await completions_of(js_engine).run(js_engine.listMailboxes))

    @classmethod
    async def delete_at(cls, location: Location, unless: Unless | None = None) -> bool:
        js_engine = await load_engine()
        from pyodide.ffi import to_js

        kept_by = () if unless is None else (to_js(unless.message_id.bytes), unless.held_only)
        return bool(await completions_of(js_engine).run(js_engine.deleteMailbox, require_name(location), *kept_by))

    @property
    def _database(self) -> Hashable:
        return IndexedDbMailbox

    def _call(
        self, verb: str, *js_args: Any, data: bytes | None = None, convert: Callable[[Any], Any] | None = None
    ) -> CallFuture:
        """Calls a verb of the engine at once, with any bytes before its other arguments; ``convert`` turns the outcome
        into Python values.
        """
        if data is None:
            js_data = None
            call_id, future = self._completions.begin(convert)
        else:
            call_id, future, js_data = self._completions.begin_with(data, convert)
        self._js_call(call_id, verb, js_data, *js_args)
        return future

    async def _enqueue_one(self, message: PreparedMessage) -> UUID:
        self._enter()
        completions, frame = self._completions, pack_message(message)
        future = completions.collect(self._enqueue_each, frame) if completions.collecting else None
        if future is None:
            call_id, future, js_frame = completions.begin_with(frame)
            self._js_enqueue(call_id, js_frame)
        message_id, depth, _ = await future
        if depth is not None and self._observer is not None:
            self._observe(depth)
        return id_of(int.from_bytes(message_id if type(message_id) is bytes else message_id.to_bytes()))

    def _enqueue(self, messages: list[PreparedMessage], sent_on: UUID | None = None) -> CallFuture:
        call_id, future, js_frames = self._completions.begin_with(pack_messages(messages), _enqueued)
        if sent_on is None:
            self._js_enqueue(call_id, js_frames)
        else:
            self._js_enqueue(call_id, js_frames, self._to_js(sent_on.bytes))
        return future

    def _enqueue_each(self, first_id: int, frames: list[bytes]) -> None:
        if len(frames) == 1:
            self._js_enqueue(first_id, self._to_js(frames[0]))
            return
        sizes = struct.pack(f"<{len(frames)}I", *map(len, frames))
        self._js_enqueue_each(first_id, self._to_js(sizes), self._to_js(b"".join(frames)))

    async def _claim(self, limit: int, wait: float, ack: AckFirst | None = None) -> list[MessageRecord]:
        completions = self._completions
        deadline = self._loop.time() + wait if wait else 0.0
        while True:
            early_id = None
            if ack is None:
                call_id, future = completions.begin(held_by_claim)
                self._js_claim(call_id, limit, wait * 1000)
            else:
                call_id, future, js_ids = completions.begin_with(pack_ids(ack.ids), held_by_claim)
                if wait and (on_commit := ack.on_commit):
                    # it waits only if the first attempt finds nothing; what that attempt acknowledged is then reported
                    # first
                    early_id, early = completions.begin(int)
                    early.add_done_callback(partial(_report_acked, on_commit))
                self._js_claim(call_id, limit, wait * 1000, js_ids, ack.held_only, early_id)
            try:
                batch, lives_over, removed = await future
            except asyncio.CancelledError:
                # the cancellation continues when the messages are back in the queue; a second one does not stop that
                await self._undo(call_id, future)
                raise
            finally:
                told_early = early_id is not None and not completions.forget(early_id)
            if ack is not None and ack.on_commit is not None and not told_early:
                ack.on_commit(int(removed))
            if completions.going_on == call_id or lives_over == self._lives_over:
                return unpack_batch(batch if type(batch) is bytes else batch.to_bytes())
            # the messages were given back on their way here: the page was frozen, or left for a moment
            wait, ack = max(0.0, deadline - self._loop.time()) if wait else 0.0, None

    async def _undo(self, call_id: int, future: CallFuture) -> None:
        """Undoes a cancelled claim."""
        came_to = self._completions.end_of_claim(call_id, future)
        if came_to is None:
            undo_id, undone = self._completions.begin()
            self._completions.js_dispatcher.undo(undo_id, call_id)
            await undone
            return
        batch, lives_over, _ = came_to
        if lives_over == self._lives_over and self._closing is None:
            records = unpack_batch(batch if type(batch) is bytes else batch.to_bytes())
            with suppress(MailboxError):  # the engine tries again
                await self._release([record.id for record in records])

    @property
    def _lives_over(self) -> int:
        return int(self._js_handle.livesOver)

    async def _release(self, ids: list[UUID]) -> None:
        await self._call("release", data=pack_ids(ids))

    def _ack(self, ids: list[UUID]) -> CallFuture:
        # a list of one is the usual one
        data = ids[0].int.to_bytes(16) if len(ids) == 1 else pack_ids(ids)
        call_id, future, js_ids = self._completions.begin_with(data)
        self._js_ack(call_id, js_ids)
        return future

    def _ack_held(self, ids: list[UUID]) -> CallFuture:
        return self._call("ackHeld", data=pack_ids(ids), convert=int)

    async def _ack_late(self, records: list[MessageRecord]) -> None:
        self._enter()
        # floats, since large ints would become BigInts
        created = [float(milliseconds(record.created_at)) for record in records]
        await self._call("ackLate", self._to_js(created), data=pack_ids([record.id for record in records]))

    async def _ack_and_send(
        self, message_id: UUID, sends: list[tuple[EmbeddedMailbox, PreparedMessage]]
    ) -> list[int | None] | None:
        js_targets = [target._js_handle for target, _ in sends if isinstance(target, IndexedDbMailbox)]
        js_frames = self._to_js(pack_messages(message for _, message in sends))
        depths = await self._call("ackAndSend", self._to_js(js_targets), js_frames, data=message_id.bytes)
        return None if depths is None else list(depths)

    def _nack(self, message_id: UUID, delay_ms: int, error: str | None, failed: bool) -> CallFuture:
        return self._call("nack", delay_ms, error, failed, data=message_id.bytes)

    def _bury(self, message_id: UUID, reason: str) -> CallFuture:
        return self._call("bury", reason, data=message_id.bytes)

    async def _list_dead_letters(self, limit: int, offset: int) -> list[DeadLetter]:
        js_batch, deaths = await self._call("listDeadLetters", limit, float(offset))
        return unpack_dead_letters(js_batch.to_bytes(), deaths)

    def _redrive(self, message_id: UUID) -> CallFuture:
        return self._call("redrive", data=message_id.bytes)

    def _discard(self, message_id: UUID) -> CallFuture:
        return self._call("discard", data=message_id.bytes)

    def _recover(self) -> CallFuture:
        return self._call("recover")

    async def _count(self) -> MailboxStats:
        delayed, oldest, ever_queued, dead, inflight, *queued = await self._call("count")
        return MailboxStats(
            sum(queued),
            inflight,
            dict(zip(MessagePriority, queued, strict=True)),
            dead,
            delayed,
            None if oldest is None else moment(int(oldest)),
            int(ever_queued),
        )

    async def _next_due(self) -> int | None:
        due = await self._call("nextDue")
        return None if due is None else int(due)

    def _peek(self, limit: int, status: MessageStatus | None, offset: int) -> CallFuture:
        # a float, since a large int would become a BigInt
        return self._call("peek", limit, _STATUS_CODES[status], float(offset), convert=_unpack_batch)

    async def _get(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        js_batch, deaths = await self._call("get", data=message_id.bytes)
        batch = js_batch.to_bytes()
        if deaths != "[]":
            (letter,) = unpack_dead_letters(batch, deaths)
            return letter
        records = unpack_batch(batch)
        return records[0] if records else None

    def _promote(self, ids: list[UUID] | None) -> CallFuture:
        return self._call("promote", data=None if ids is None else pack_ids(ids), convert=int)

    def _purge(self) -> CallFuture:
        return self._call("purge", convert=int)

    async def _read_section(self, section: Section, after: int, until: int | None) -> Page:
        section_code = _DEAD if section is None else int(section)
        js_batch, details, next_one, end = await self._call("readSection", section_code, after, until)
        return Page(unpack_whole(js_batch.to_bytes(), details), int(next_one), int(end))

    async def _adopt(self, messages: Sequence[WholeMessage]) -> tuple[list[bool], int | None]:
        frames, details = pack_whole(messages)
        js_stored, depth = await self._call("adopt", details, data=frames)
        return [bool(stored) for stored in js_stored.to_bytes()], depth

    async def _read_remembered(self, after: UUID | None) -> list[Remembered]:
        js_known = await self._call("readRemembered", data=None if after is None else after.bytes)
        return unpack_remembered(js_known.to_bytes())

    async def _remember(self, ids: Sequence[Remembered]) -> None:
        await self._call("remember", data=pack_remembered(ids))

    async def _storage_report(self) -> StorageReport:
        persistent, usage, quota, wiped = await self._call("storageReport")
        await take_turn_if_due()  # WebKitGTK has nothing to report, and says so at once
        return StorageReport(self._options.durability, persistent, usage, quota, wiped)

    def _request_persistence(self) -> CallFuture:
        return self._call("requestPersistence")

    async def _release_and_close(self) -> None:
        self._stop_listening()
        self._stop_listening_to_changes()
        await self._call("close")

    def _abandon(self) -> None:
        self._stop_listening()
        self._stop_listening_to_changes()
        self._js_handle.abandon()

    def _leave_as_dead(self) -> None:
        self._stop_listening()
        self._stop_listening_to_changes()
        self._js_handle.die()

    def _observing(self) -> None:
        self._stop_listening()
        if self._observer is not None:
            self._js_observer = _proxy_of(weakref.WeakMethod(self._observe))
            self._js_handle.onDepth = self._js_observer

    def _observing_changes(self) -> None:
        self._stop_listening_to_changes()
        if self._change_listeners:
            self._js_change_listener = _proxy_of(weakref.WeakMethod(self._on_change))
            self._js_stop_listening = self._js_handle.listenToChanges(self._js_change_listener)

    def _on_life_over(self, callback: Callable[[], None]) -> Callable[[], None]:
        from pyodide.ffi import create_proxy

        self._life_over_callbacks.append(callback)
        if self._js_on_life_over is None:
            # the list, not the handle: a function for JavaScript must not keep the mailbox alive
            self._js_on_life_over = create_proxy(partial(_call_all, self._life_over_callbacks))
            self._js_handle.onLifeOver = self._js_on_life_over

        def forget() -> None:
            self._life_over_callbacks.remove(callback)
            if not self._life_over_callbacks and self._js_on_life_over is not None:
                self._js_handle.onLifeOver = None
                self._js_on_life_over.destroy()
                self._js_on_life_over = None

        return forget

    def _stop_listening(self) -> None:
        if self._js_observer is not None:
            self._js_handle.onDepth = None
            self._js_observer.destroy()
            self._js_observer = None

    def _stop_listening_to_changes(self) -> None:
        if self._js_change_listener is not None:
            self._js_stop_listening()
            self._js_change_listener.destroy()
            self._js_stop_listening = self._js_change_listener = None


def _call_all(functions: list[Callable[[], None]]) -> None:
    for function in list(functions):
        function()


def _enqueued(completed: tuple[Any, int | None, int]) -> Enqueued:
    ids, depth, _ = completed
    return Enqueued(unpack_ids(ids if type(ids) is bytes else ids.to_bytes()), depth)


def _report_acked(on_commit: Callable[[int], None], removed: CallFuture) -> None:
    on_commit(removed.result())


def _unpack_batch(js_batch: Any) -> list[MessageRecord]:
    return unpack_batch(js_batch.to_bytes())


def _proxy_of(method: weakref.WeakMethod[Callable[..., None]]) -> Any:
    """A function for JavaScript that does not keep the mailbox alive."""
    from pyodide.ffi import create_proxy

    def call(*given: Any) -> None:
        target = method()
        if target is not None:
            target(*given)

    return create_proxy(call)
