"""The IndexedDB mailbox: every verb is one call into the JavaScript engine, and at most one transaction there.

Python never runs inside a transaction: Pyodide resumes it in a later task, when the transaction is long over.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Hashable, Sequence
from functools import cache, partial
from typing import Any, Self
from urllib.parse import quote
from uuid import UUID

from ..._archive import Page, Section, WholeMessage
from ..._arguments import Options, PreparedMessage
from ..._handle import EmbeddedMailbox, Enqueued
from ..._location import Location, require_name
from ..._values import DeadLetter, MailboxStats, MessagePriority, MessageRecord, MessageStatus, StorageReport
from .answers import Answer, hear, unanswered
from .engine import load_engine, our_errors
from .frames import pack_ids, pack_messages, pack_whole, unpack_batch, unpack_dead_letters, unpack_ids, unpack_whole

_DEAD = -1
"""The section of the dead letters, in the engine."""

_STATUS_CODES = {None: None, MessageStatus.QUEUED: 0, MessageStatus.INFLIGHT: 1}


class IndexedDbMailbox(EmbeddedMailbox):
    """A mailbox in the origin's IndexedDB, shared by all its tabs and workers; made by ``open_mailbox``."""

    def __init__(self, name: str, options: Options, js_handle: Any, js_caller: Any) -> None:
        from pyodide.ffi import to_js

        super().__init__(name, options)
        self._js_handle = js_handle
        self._js_caller = js_caller
        self._js_observer: Any = None
        self._js_leaver: Any = None
        self._leaving: list[Callable[[], None]] = []
        self._to_js = to_js

    @classmethod
    async def open_at(cls, location: Location, options: Options) -> Self:
        name = require_name(location)
        js_engine = await load_engine()
        js_opening = js_engine.MailboxHandle.beginToOpen(
            name,
            options.durability,
            # a float, since a large int would become a BigInt
            float(options.max_deliveries or 0),
            options.lease * 1000,
        )
        try:
            with our_errors():
                js_handle = await js_opening.handle
        except (asyncio.CancelledError, GeneratorExit):
            js_opening.abandon()
            raise
        return cls(name, options, js_handle, js_engine.caller(js_handle, _js_hear()))

    @classmethod
    async def list_at(cls, location: Location) -> list[str]:
        js_engine = await load_engine()
        with our_errors():
            return sorted((await js_engine.listMailboxes()).to_py())

    @classmethod
    async def delete_at(cls, location: Location) -> bool:
        js_engine = await load_engine()
        with our_errors():
            # as a URL: in JavaScript, too, a plain name that looks like one would be taken for one
            return bool(await js_engine.deleteMailbox(f"indexeddb://{quote(require_name(location), safe='')}"))

    @property
    def _database(self) -> Hashable:
        return IndexedDbMailbox

    async def _store(self, messages: list[PreparedMessage]) -> Enqueued:
        js_ids, depth = await self._ask("enqueue", self._to_js(pack_messages(messages)))
        return Enqueued(unpack_ids(js_ids.to_bytes()), depth)

    async def _claim(self, limit: int, wait: float) -> list[MessageRecord]:
        deadline = self._loop.time() + wait
        while True:
            ticket, answer = unanswered()
            js_claim = self._js_caller.claim(ticket, limit, wait * 1000)
            try:
                js_batch, lives_over = await answer
            except asyncio.CancelledError:
                # whoever hears of it finds the messages in the queue again; cancelled once more, they still go there
                await js_claim.undo()
                raise
            if lives_over == self._lives_over:
                return unpack_batch(js_batch.to_bytes())
            # on its way here the messages were given back: the page was frozen, or left for a moment
            wait = max(0.0, deadline - self._loop.time())

    @property
    def _lives_over(self) -> int:
        return int(self._js_handle.livesOver)

    async def _release(self, ids: list[UUID]) -> None:
        await self._ask("release", self._to_js(pack_ids(ids)))

    async def _remove(self, ids: list[UUID]) -> int:
        removed, _ = await self._ask("remove", self._to_js(pack_ids(ids)))
        return int(removed)

    async def _remove_held(self, ids: list[UUID]) -> int:
        settled, _ = await self._ask("settle", self._to_js(pack_ids(ids)))
        return int(settled)

    def _ask(self, verb: str, *js_given: Any) -> Answer:
        """Calls a verb of the engine, now; its answer is a pair."""
        ticket, answer = unanswered()
        self._js_caller.ask(ticket, verb, *js_given)
        return answer

    async def _remove_and_send(
        self, message_id: UUID, sends: list[tuple[EmbeddedMailbox, PreparedMessage]]
    ) -> list[int | None] | None:
        js_targets = [target._js_handle for target, _ in sends if isinstance(target, IndexedDbMailbox)]
        js_frames = self._to_js(pack_messages(message for _, message in sends))
        with our_errors():
            js_depths = await self._js_handle.removeAndSend(
                self._to_js(message_id.bytes), self._to_js(js_targets), js_frames
            )
        return None if js_depths is None else js_depths.to_py()

    async def _fail(self, message_id: UUID, delay_ms: int, error: str | None) -> bool | str:
        with our_errors():
            failed: bool | str = await self._js_handle.fail(self._to_js(message_id.bytes), delay_ms, error)
        return failed

    async def _bury(self, message_id: UUID, reason: str) -> bool:
        with our_errors():
            return bool(await self._js_handle.bury(self._to_js(message_id.bytes), reason))

    async def _list_dead(self, limit: int) -> list[DeadLetter]:
        with our_errors():
            js_batch, deaths = await self._js_handle.deadLetters(limit)
        return unpack_dead_letters(js_batch.to_bytes(), deaths)

    async def _redrive(self, message_id: UUID) -> int | None:
        with our_errors():
            depth: int | None = await self._js_handle.redrive(self._to_js(message_id.bytes))
        return depth

    async def _discard(self, message_id: UUID) -> bool:
        with our_errors():
            return bool(await self._js_handle.discard(self._to_js(message_id.bytes)))

    async def _recover(self) -> int:
        with our_errors():
            return int(await self._js_handle.recover())

    async def _count(self) -> MailboxStats:
        with our_errors():
            dead, inflight, *queued = (await self._js_handle.count()).to_py()
        return MailboxStats(sum(queued), inflight, dict(zip(MessagePriority, queued, strict=True)), dead)

    async def _look(self, limit: int, status: MessageStatus | None) -> list[MessageRecord]:
        with our_errors():
            js_batch = await self._js_handle.peek(limit, _STATUS_CODES[status])
        return unpack_batch(js_batch.to_bytes())

    async def _delete_queued(self) -> int:
        with our_errors():
            return int(await self._js_handle.purge())

    async def _read_section(self, section: Section, after: int, until: int | None) -> Page:
        with our_errors():
            js_batch, details, next_one, end = await self._js_handle.readSection(
                _DEAD if section is None else int(section), after, until
            )
        return Page(unpack_whole(js_batch.to_bytes(), details), int(next_one), int(end))

    async def _adopt(self, messages: Sequence[WholeMessage]) -> tuple[list[bool], int | None]:
        frames, details = pack_whole(messages)
        with our_errors():
            js_stored, depth = await self._js_handle.adopt(self._to_js(frames), details)
        return [bool(stored) for stored in js_stored.to_bytes()], depth

    async def _report(self) -> StorageReport:
        with our_errors():
            persistent, usage, quota, wiped = await self._js_handle.storageReport()
        return StorageReport(self._options.durability, persistent, usage, quota, wiped)

    async def _persist(self) -> bool:
        with our_errors():
            return bool(await self._js_handle.requestPersistence())

    async def _release_and_close(self) -> None:
        self._stop_listening()
        with our_errors():
            await self._js_handle.close()

    def _abandon(self) -> None:
        self._stop_listening()
        self._js_handle.abandon()

    def _observing(self) -> None:
        self._stop_listening()
        if self._observer is not None:
            self._js_observer = _proxy_of(weakref.WeakMethod(self._observe))
            self._js_handle.onDepth = self._js_observer

    def _when_left(self, left: Callable[[], None]) -> Callable[[], None]:
        from pyodide.ffi import create_proxy

        self._leaving.append(left)
        if self._js_leaver is None:
            # the list, not the handle: a function for JavaScript must not keep the mailbox alive
            self._js_leaver = create_proxy(partial(_call_all, self._leaving))
            self._js_handle.onLifeOver = self._js_leaver

        def forget() -> None:
            self._leaving.remove(left)
            if not self._leaving and self._js_leaver is not None:
                self._js_handle.onLifeOver = None
                self._js_leaver.destroy()
                self._js_leaver = None

        return forget

    def _stop_listening(self) -> None:
        if self._js_observer is not None:
            self._js_handle.onDepth = None
            self._js_observer.destroy()
            self._js_observer = None


def _call_all(functions: list[Callable[[], None]]) -> None:
    for function in list(functions):
        function()


@cache
def _js_hear() -> Any:
    from pyodide.ffi import create_proxy

    return create_proxy(hear)


def _proxy_of(observe: weakref.WeakMethod[Callable[[int], None]]) -> Any:
    """A function for JavaScript that does not keep the mailbox alive."""
    from pyodide.ffi import create_proxy

    def heard(depth: int) -> None:
        target = observe()
        if target is not None:
            target(depth)

    return create_proxy(heard)
