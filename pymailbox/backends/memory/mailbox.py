"""The handle on a mailbox in memory.

A handle is alive until it is closed or collected, or its event loop is closed. What a collected one held goes back in
its loop's next turn. A closed loop notifies nobody, so a waiter for what others hold checks their loops every
``HOLDER_CHECK`` seconds.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import Self
from uuid import UUID

from ...contract.archive import Page, Remembered, Section, WholeMessage
from ...contract.arguments import Options, PreparedMessage
from ...contract.companions import Unless
from ...contract.location import Location, require_name
from ...contract.moments import now_in_ms
from ...contract.values import DeadLetter, MailboxStats, MessageRecord, MessageStatus, StorageReport
from ...core import archive, claiming, dead_letters, verbs
from ...runtime.turns import take_turn_if_due
from ..base import AckFirst, EmbeddedMailbox, Enqueued
from ..notifier import HOLDER_CHECK, ClaimAttempt, Listener, Notifier, claim_or_wait
from .store import Holder, Store


class Namespace:
    """Mailboxes by name, and who listens to them."""

    def __init__(self) -> None:
        self.stores: dict[str, Store] = {}
        self.notifier = Notifier()

    def store(self, name: str) -> Store:
        """If there is none with that name, an empty store that is not kept."""
        return self.stores.get(name) or Store()

    def store_to_fill(self, name: str) -> Store:
        if name not in self.stores:
            self.stores[name] = Store()
        return self.stores[name]


class _Database:
    """All the mailboxes of one process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.lock = threading.Lock()
        self.named = Namespace()
        """Mailboxes by name."""
        self.holders = itertools.count(1)
        """Their numbers."""


_current = _Database()


def _database() -> _Database:
    """The database of this process: a forked one starts without its parent's messages and with a free lock."""
    global _current
    if _current.process != os.getpid():
        _current = _Database()
    return _current


class MemoryMailbox(EmbeddedMailbox):
    """A handle on a mailbox in memory; any thread of the process may open its own handle on the same one.

    Each hook is one step under the database's lock and never suspends: cancelling it changes nothing.
    """

    _keeps_loop = True

    def __init__(self, name: str | None, options: Options) -> None:
        super().__init__(name or "", options)
        self._memory = _database()
        self._namespace = Namespace() if name is None else self._memory.named
        self._listener = Listener(self._loop)
        with self._memory.lock:
            self._holder = Holder(next(self._memory.holders), options.max_deliveries, self._loop)
            recovered = self._namespace.store_to_fill(self.name).recover(self._holder, now_in_ms())
        self._announce(recovered > 0)

    @classmethod
    async def open_at(cls, location: Location, options: Options) -> Self:
        await take_turn_if_due()
        return cls(location.name, options)

    @classmethod
    async def list_at(cls, location: Location) -> list[str]:
        await take_turn_if_due()
        database = _database()
        with database.lock:
            return sorted(database.named.stores)

    @classmethod
    async def delete_at(cls, location: Location, unless: Unless | None = None) -> bool:
        name, database = require_name(location), _database()
        with database.lock:
            deleted = name in database.named.stores and not verbs.is_kept(database.named.stores[name], unless)
            if deleted:
                del database.named.stores[name]
        database.named.notifier.changed((name,))
        await take_turn_if_due()
        return deleted

    @property
    def _database(self) -> Hashable:
        return self._memory

    async def _enqueue(self, messages: list[PreparedMessage], sent_on: UUID | None = None) -> Enqueued:
        with self._memory.lock:
            ids, depth = verbs.enqueue(self._namespace.store_to_fill(self.name), messages, now_in_ms(), sent_on)
        self._changed()
        if depth is not None:
            self._namespace.notifier.notify(self.name, depth, [self._listener], len(messages))
        return Enqueued(ids, depth)

    async def _claim(self, limit: int, wait: float, ack: AckFirst | None = None) -> list[MessageRecord]:
        claimed: list[UUID] = []

        async def attempt() -> ClaimAttempt:
            nonlocal ack
            acked = 0
            with self._memory.lock:
                store = self._namespace.store(self.name)
                if ack is not None:
                    acked = self._ack_from(store, ack.ids, ack.held_only)
                now = now_in_ms()
                # first, so that what comes back gets its old place, however much is behind it
                recovered = store.recover(self._holder, now) > 0
                records = store.claim(self._holder, limit, now)
                claimed[:] = [record.id for record in records]
                state = store.state
                if records:
                    result = ClaimAttempt(records, None, more=state.queued > 0)
                else:
                    again = HOLDER_CHECK if state.others_hold(self._holder.number) else None
                    result = ClaimAttempt(records, state.next_due, again, more=state.queued > 0)
            if ack is not None and ack.on_commit is not None:
                ack.on_commit(acked)
            ack = None
            self._changed()
            self._announce(recovered)
            return result

        try:
            return await claim_or_wait(self._namespace.notifier, self.name, self._listener, attempt, wait)
        except BaseException:  # from a signal handler, after the attempt
            if claimed:
                await self._release(claimed)
            raise

    async def _release(self, ids: list[UUID]) -> None:
        with self._memory.lock:
            released = claiming.release(self._namespace.store(self.name), self._holder.number, ids)
        self._changed()
        self._announce(released > 0)

    async def _ack(self, ids: list[UUID]) -> int:
        return self._ack_now(ids, held_only=False)

    async def _ack_held(self, ids: list[UUID]) -> int:
        return self._ack_now(ids, held_only=True)

    def _ack_now(self, ids: list[UUID], held_only: bool) -> int:
        with self._memory.lock:
            acked = self._ack_from(self._namespace.store(self.name), ids, held_only)
        self._changed()
        return acked

    def _ack_from(self, store: Store, ids: list[UUID], held_only: bool) -> int:
        return verbs.ack_held(store, self._holder.number, ids) if held_only else verbs.ack(store, ids)

    async def _ack_and_send(
        self, message_id: UUID, sends: list[tuple[EmbeddedMailbox, PreparedMessage]]
    ) -> list[int | None] | None:
        targets = [target for target, _ in sends if isinstance(target, MemoryMailbox)]
        messages: dict[tuple[Namespace, str], list[PreparedMessage]] = {
            (target._namespace, target.name): [] for target in targets
        }
        for target, (_, message) in zip(targets, sends, strict=True):
            messages[target._namespace, target.name].append(message)
        with self._memory.lock:
            if not verbs.ack_held(self._namespace.store(self.name), self._holder.number, [message_id]):
                return None
            now, here = now_in_ms(), (self._namespace, self.name)
            depths = {
                (namespace, name): verbs.enqueue(
                    namespace.store_to_fill(name), sent, now, message_id if (namespace, name) == here else None
                )[1]
                for (namespace, name), sent in messages.items()
            }
        self._changed()
        excluded = [target._listener for target in targets]
        for (namespace, name), depth in depths.items():
            if depth is not None:
                namespace.notifier.changed((name,))
                namespace.notifier.notify(name, depth, excluded)
        return [depths[target._namespace, target.name] for target in targets]

    async def _nack(self, message_id: UUID, delay_ms: int, error: str | None, failed: bool) -> bool | str:
        with self._memory.lock:
            store = self._namespace.store(self.name)
            nacked = claiming.nack(store, self._holder, message_id, delay_ms, error, failed, now_in_ms())
        self._changed()
        self._announce(nacked is True)
        return nacked

    async def _bury(self, message_id: UUID, reason: str) -> bool:
        with self._memory.lock:
            store = self._namespace.store(self.name)
            buried = claiming.bury_held(store, self._holder.number, message_id, reason, now_in_ms())
        self._changed()
        return buried

    async def _list_dead_letters(self, limit: int, offset: int) -> list[DeadLetter]:
        with self._memory.lock:
            return dead_letters.list_dead_letters(self._namespace.store(self.name), limit, offset)

    async def _redrive(self, message_id: UUID) -> int | None:
        with self._memory.lock:
            depth = dead_letters.redrive(self._namespace.store(self.name), message_id)
        self._changed()
        if depth is not None:
            self._namespace.notifier.notify(self.name, depth, excluded=[self._listener])
        return depth

    async def _discard(self, message_id: UUID) -> bool:
        with self._memory.lock:
            discarded = dead_letters.discard(self._namespace.store(self.name), message_id)
        self._changed()
        return discarded

    async def _recover(self) -> int:
        with self._memory.lock:
            recovered = self._namespace.store(self.name).recover(self._holder, now_in_ms())
        self._changed()
        self._announce(recovered > 0)
        return recovered

    async def _count(self) -> MailboxStats:
        with self._memory.lock:
            return verbs.count(self._namespace.store(self.name), now_in_ms())

    async def _next_due(self) -> int | None:
        with self._memory.lock:
            return self._namespace.store(self.name).state.next_due

    async def _peek(self, limit: int, status: MessageStatus | None, offset: int) -> list[MessageRecord]:
        with self._memory.lock:
            return verbs.peek(self._namespace.store(self.name), limit, status, offset, now_in_ms())

    async def _get(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        with self._memory.lock:
            return verbs.get(self._namespace.store(self.name), message_id, now_in_ms())

    async def _promote(self, ids: list[UUID] | None) -> int:
        with self._memory.lock:
            promoted = verbs.promote(self._namespace.store(self.name), ids, now_in_ms())
        self._changed()
        self._announce(promoted > 0)
        return promoted

    async def _purge(self) -> int:
        with self._memory.lock:
            purged = verbs.purge(self._namespace.store(self.name))
        self._changed()
        return purged

    async def _storage_report(self) -> StorageReport:
        return StorageReport(self._options.durability, persistent=False, usage=None, quota=None, wiped=None)

    async def _request_persistence(self) -> bool:
        return False

    async def _release_and_close(self) -> None:
        self._listener.close()
        self._namespace.notifier.observe(self.name, self._listener, None)
        self._namespace.notifier.listen_to_changes(self.name, self._listener, None)
        with self._memory.lock:
            released = self._namespace.store(self.name).release_all(self._holder)
        self._changed()
        self._announce(released > 0)

    def _abandon(self) -> None:
        if os.getpid() != self._process:
            return  # a forked child has no part in it
        # takes no lock: a finaliser may run while this thread has it
        self._holder.abandon()
        self._listener.gone = True
        with suppress(RuntimeError):  # its loop is closed; whoever looks next finds out
            self._loop.call_soon_threadsafe(_take_back, self._memory, self._namespace, self.name)
        self._announce(True)

    def _leave_as_dead(self) -> None:
        self._holder.died = True
        self._listener.close()
        self._abandon()

    # -- export and import ---------------------------------------------------------------------------------------------

    async def _read_section(self, section: Section, after: int, until: int | None) -> Page:
        with self._memory.lock:
            return archive.read_section(self._namespace.store(self.name), section, after, until)

    async def _adopt(self, messages: Sequence[WholeMessage]) -> tuple[list[bool], int | None]:
        with self._memory.lock:
            stored, depth = archive.adopt(self._namespace.store_to_fill(self.name), messages, now_in_ms())
        self._changed()
        if depth is not None:
            self._namespace.notifier.notify(self.name, depth, [self._listener], len(messages))
        return stored, depth

    async def _read_remembered(self, after: UUID | None) -> list[Remembered]:
        with self._memory.lock:
            return archive.read_remembered(self._namespace.store(self.name), after)

    async def _remember(self, ids: Sequence[Remembered]) -> None:
        with self._memory.lock:
            archive.remember(self._namespace.store_to_fill(self.name), ids, now_in_ms())

    # -- listening -----------------------------------------------------------------------------------------------------

    def _observing(self) -> None:
        self._namespace.notifier.observe(self.name, self._listener, None if self._observer is None else self._observe)

    def _observing_changes(self) -> None:
        on_change = self._on_change if self._change_listeners else None
        self._namespace.notifier.listen_to_changes(self.name, self._listener, on_change)

    def _changed(self) -> None:
        """To be called after each step that may have changed a count."""
        self._namespace.notifier.changed((self.name,))

    def _announce(self, returned: bool) -> None:
        """Wakes waiters, if something came back to the queue."""
        if returned:
            self._namespace.notifier.notify(self.name, None)


def _take_back(memory: _Database, namespace: Namespace, name: str) -> None:
    """Takes back what gone handles on a mailbox held."""
    with memory.lock:
        recovered = namespace.store(name).recover(None, now_in_ms())
    if recovered:
        namespace.notifier.changed((name,))
        namespace.notifier.notify(name, None, count=recovered)
