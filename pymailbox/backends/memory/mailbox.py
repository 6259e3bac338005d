"""The handle on a mailbox in memory.

A handle is alive until it is closed or collected, or its event loop is closed. The first two wake whoever waits; a loop
that is closed tells nobody, so who waits for what others hold looks at their loops every ``HOLDER_CHECK`` seconds.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Sequence
from typing import Self
from uuid import UUID

from ..._archive import Page, Section, WholeMessage
from ..._arguments import Options, PreparedMessage
from ..._handle import AckFirst, EmbeddedMailbox, Enqueued
from ..._location import Location, require_name
from ..._turns import take_turn_if_due
from ..._values import DeadLetter, MailboxStats, MessageRecord, MessageStatus, StorageReport
from .._waiting import HOLDER_CHECK, Exchange, Listener, Look, claim
from .queue import Holder, Queue


class Shelf:
    """Mailboxes by name, and who listens to them."""

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}
        self.exchange = Exchange()

    def queue(self, name: str) -> Queue:
        """An empty one that nobody keeps, if there is none of that name."""
        return self.queues.get(name) or Queue()

    def queue_to_fill(self, name: str) -> Queue:
        if name not in self.queues:
            self.queues[name] = Queue()
        return self.queues[name]


class _Database:
    """All the mailboxes of one process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.lock = threading.Lock()
        self.shelf = Shelf()
        """Those with a name."""


_current = _Database()


def _database() -> _Database:
    """This process's own: a forked one starts with none of its parent's messages, and with a lock that is free."""
    global _current
    if _current.process != os.getpid():
        _current = _Database()
    return _current


class MemoryMailbox(EmbeddedMailbox):
    """A handle on a mailbox in memory; any thread of the process may open its own handle on the same one.

    Each hook is one step under the database's lock, and suspends nowhere: cancelling it changes nothing.
    """

    _keeps_loop = True

    def __init__(self, name: str | None, options: Options) -> None:
        super().__init__(name or "", options)
        self._memory = _database()
        self._shelf = Shelf() if name is None else self._memory.shelf
        self._holder = Holder(self._loop, options.max_deliveries)
        self._listener = Listener(self._loop)
        with self._memory.lock:
            recovered = self._shelf.queue_to_fill(self.name).recover(self._holder)
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
            return sorted(database.shelf.queues)

    @classmethod
    async def delete_at(cls, location: Location) -> bool:
        database = _database()
        with database.lock:
            deleted = database.shelf.queues.pop(require_name(location), None) is not None
        await take_turn_if_due()
        return deleted

    @property
    def _database(self) -> Hashable:
        return self._memory

    async def _store(self, messages: list[PreparedMessage]) -> Enqueued:
        with self._memory.lock:
            enqueued = self._shelf.queue_to_fill(self.name).store(messages)
        if enqueued.depth is not None:
            self._shelf.exchange.tell(self.name, enqueued.depth, [self._listener], len(messages))
        return enqueued

    async def _claim(self, limit: int, wait: float, ack: AckFirst | None = None) -> list[MessageRecord]:
        taken: list[UUID] = []

        async def look() -> Look:
            nonlocal ack
            acked = 0
            with self._memory.lock:
                queue = self._shelf.queue(self.name)
                if ack is not None:
                    acked = self._remove_from(queue, ack.ids, ack.held_only)
                # first, so that what comes back has its old place, however much there is behind it
                recovered = queue.recover(self._holder) > 0
                records = queue.claim(limit, self._holder)
                taken[:] = [record.id for record in records]
                others_hold = not records and queue.others_hold(self._holder)
                found = Look(records, queue.next_due, HOLDER_CHECK if others_hold else None, more=queue.depth > 0)
            if ack is not None and ack.on_commit is not None:
                ack.on_commit(acked)
            ack = None
            self._announce(recovered)
            return found

        try:
            return await claim(self._shelf.exchange, self.name, self._listener, look, wait)
        except BaseException:  # out of a signal handler, after the look
            if taken:
                await self._release(taken)
            raise

    async def _release(self, ids: list[UUID]) -> None:
        with self._memory.lock:
            released = self._shelf.queue(self.name).release(self._holder, ids)
        self._announce(released)

    async def _remove(self, ids: list[UUID]) -> int:
        with self._memory.lock:
            return self._remove_from(self._shelf.queue(self.name), ids, held_only=False)

    async def _remove_held(self, ids: list[UUID]) -> int:
        with self._memory.lock:
            return self._remove_from(self._shelf.queue(self.name), ids, held_only=True)

    def _remove_from(self, queue: Queue, ids: list[UUID], held_only: bool) -> int:
        if held_only:
            return sum(queue.remove_held(self._holder, message_id) for message_id in ids)
        return queue.remove(ids)

    async def _remove_and_send(
        self, message_id: UUID, sends: list[tuple[EmbeddedMailbox, PreparedMessage]]
    ) -> list[int | None] | None:
        targets = [target for target, _ in sends if isinstance(target, MemoryMailbox)]
        # a mailbox is a name on a shelf
        messages: dict[tuple[Shelf, str], list[PreparedMessage]] = {
            (target._shelf, target.name): [] for target in targets
        }
        for target, (_, message) in zip(targets, sends, strict=True):
            messages[target._shelf, target.name].append(message)
        with self._memory.lock:
            if not self._shelf.queue(self.name).remove_held(self._holder, message_id):
                return None
            depths = {
                (shelf, name): shelf.queue_to_fill(name).store(sent).depth for (shelf, name), sent in messages.items()
            }
        informed = [target._listener for target in targets]
        for (shelf, name), depth in depths.items():
            if depth is not None:
                shelf.exchange.tell(name, depth, informed)
        return [depths[target._shelf, target.name] for target in targets]

    async def _fail(self, message_id: UUID, delay_ms: int, error: str | None) -> bool | str:
        with self._memory.lock:
            failed = self._shelf.queue(self.name).fail(self._holder, message_id, delay_ms, error)
        self._announce(failed is True)
        return failed

    async def _bury(self, message_id: UUID, reason: str) -> bool:
        with self._memory.lock:
            return self._shelf.queue(self.name).bury(self._holder, message_id, reason)

    async def _list_dead(self, limit: int) -> list[DeadLetter]:
        with self._memory.lock:
            return self._shelf.queue(self.name).dead_letters(limit)

    async def _redrive(self, message_id: UUID) -> int | None:
        with self._memory.lock:
            depth = self._shelf.queue(self.name).redrive(message_id)
        if depth is not None:
            self._shelf.exchange.tell(self.name, depth, informed=[self._listener])
        return depth

    async def _discard(self, message_id: UUID) -> bool:
        with self._memory.lock:
            return self._shelf.queue(self.name).discard(message_id)

    async def _recover(self) -> int:
        with self._memory.lock:
            recovered = self._shelf.queue(self.name).recover(self._holder)
        self._announce(recovered > 0)
        return recovered

    async def _count(self) -> MailboxStats:
        with self._memory.lock:
            return self._shelf.queue(self.name).count()

    async def _look(self, limit: int, status: MessageStatus | None) -> list[MessageRecord]:
        with self._memory.lock:
            return self._shelf.queue(self.name).peek(limit, status)

    async def _delete_queued(self) -> int:
        with self._memory.lock:
            return self._shelf.queue(self.name).purge()

    async def _report(self) -> StorageReport:
        return StorageReport(self._options.durability, persistent=False, usage=None, quota=None, wiped=None)

    async def _persist(self) -> bool:
        return False

    async def _release_and_close(self) -> None:
        self._listener.close()
        self._shelf.exchange.observe(self.name, self._listener, None)
        with self._memory.lock:
            released = self._shelf.queue(self.name).release_all(self._holder)
        self._announce(released)

    def _abandon(self) -> None:
        # takes no lock: a finaliser may run while this thread has it
        self._holder.abandon()
        self._listener.gone = True
        self._announce(True)

    # -- export and import ---------------------------------------------------------------------------------------------

    async def _read_section(self, section: Section, after: int, until: int | None) -> Page:
        """A page is a whole section: its messages are in memory anyway."""
        with self._memory.lock:
            messages = self._shelf.queue(self.name).read_section(section)
        return Page(messages, len(messages), len(messages))

    async def _adopt(self, messages: Sequence[WholeMessage]) -> tuple[list[bool], int | None]:
        with self._memory.lock:
            stored, depth = self._shelf.queue_to_fill(self.name).adopt(messages)
        if depth is not None:
            self._shelf.exchange.tell(self.name, depth, [self._listener], len(messages))
        return stored, depth

    def _observing(self) -> None:
        self._shelf.exchange.observe(self.name, self._listener, None if self._observer is None else self._observe)

    def _announce(self, returned: bool) -> None:
        """Wakes whoever waits, if something came back to the queue."""
        if returned:
            self._shelf.exchange.tell(self.name, None)
