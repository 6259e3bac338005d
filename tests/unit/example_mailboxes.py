"""Two mailboxes that keep the contract and are small enough to show it: one with only the core verbs, one with
everything.

The second suspends wherever a real backend would, so that a bug planted in it (``broken_mailboxes``) can show.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
import warnings
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self
from uuid import UUID

from pymailbox import (
    Capability,
    DeadLetter,
    Mailbox,
    MailboxClosedError,
    MailboxDepthObserver,
    MailboxStats,
    MessagePriority,
    MessageRecord,
    MessageStatus,
    NewMessage,
    StorageReport,
    WrongThreadError,
)
from pymailbox.contract.archive import Adopted, Archive, Death, Page, Remembered, Section, WholeMessage
from pymailbox.contract.arguments import (
    Options,
    PreparedMessage,
    check_delay,
    check_flag,
    check_id,
    check_ids,
    check_limit,
    check_observer,
    check_offset,
    check_options,
    check_status,
    check_text,
    check_wait,
    prepare_message,
    prepare_messages,
    prepare_sends,
)
from pymailbox.contract.companions import Unless
from pymailbox.contract.headers import unpack_headers
from pymailbox.contract.polling import poll
from pymailbox.contract.values import BytesLike

NORMAL = MessagePriority.NORMAL
LARGEST_BATCH = 64 * 1024 * 1024
DEFAULTS = {"batch_size": 32, "max_deliveries": None, "lease": 300.0, "durability": "strict"}


@dataclass(eq=False)
class Holder:
    """A handle as a consumer; it does not refer to the handle, which may be collected."""

    loop: asyncio.AbstractEventLoop
    max_deliveries: int | None
    abandoned: bool = False
    died: bool = False

    @property
    def gone(self) -> bool:
        return self.abandoned or self.loop.is_closed()


@dataclass
class Entry:
    """A message in a store."""

    id: UUID
    sender: bytes
    payload: bytes
    priority: MessagePriority
    created_at: datetime
    due: float = 0.0
    """Seconds since 1970 before which it is not handed out."""
    holder: object = None
    alone: bool = False
    """Its holder got it in a batch of its own."""
    delivery_count: int = 0
    failures: int = 0
    suspect: bool = False
    """A holder died with it."""
    error: str | None = None
    headers: bytes = b""


class Letter(NamedTuple):
    """A dead letter in a store."""

    entry: Entry
    reason: str
    died_at: datetime


Store = dict[UUID, Entry]
"""A mailbox's messages, in the order in which they were stored."""


class Database:
    """The stores of all mailboxes, and a factory of handles on them."""

    def __init__(self, mailbox_class: type[_Stored]) -> None:
        self._class = mailbox_class
        self.stores: dict[str, Store] = {}
        self.graveyards: dict[str, dict[UUID, Letter]] = {}
        """Dead letters by mailbox, the newest last."""
        self.memories: dict[str, dict[UUID, float]] = {}
        """Known ids and until when they stay known, by mailbox."""
        self.counters: Counter[str] = Counter()
        """How many messages were ever in each queue."""
        self.handles: weakref.WeakSet[SmallMailbox] = weakref.WeakSet()

    async def open(self, name: str, **options: Any) -> Mailbox:
        return await self._class.opened(self, name, self._class.checked(options))

    def store(self, name: str) -> Store:
        return self.stores.setdefault(name, {})


class Neighbours:
    """The mailboxes of a database, as a handle opens them beside itself."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def open(self, name: str, *, relaxed: bool = False, lease: float | None = None) -> Mailbox:
        return await self.database.open(name)

    async def names(self) -> list[str]:
        return sorted(self.database.stores)

    async def delete(self, name: str, unless: Unless | None = None) -> bool:
        if self.is_kept(name, unless):
            return False
        return self.delete_now(name)

    def is_kept(self, name: str, unless: Unless | None) -> bool:
        entry = self.database.stores.get(name, {}).get(unless.message_id) if unless is not None else None
        return entry is not None and not (unless is not None and unless.held_only and entry.holder is None)

    def delete_now(self, name: str) -> bool:
        self.database.graveyards.pop(name, None)
        self.database.memories.pop(name, None)
        store = self.database.stores.pop(name, None)
        if store is not None:
            store.clear()
        return store is not None


class _Stored(Mailbox):
    """A handle on a store, bound to its event loop and hence to its thread."""

    def __init__(self, database: Database, name: str, options: Options) -> None:
        self.database = database
        self.name = name
        self.store = database.store(name)
        self.options = options
        self._loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._is_closed = False
        self.sent_on: UUID | None = None
        """The remembered id under which a message may be sent on."""

    @classmethod
    def checked(cls, options: dict[str, Any]) -> Options:
        return check_options(**DEFAULTS | options)

    @classmethod
    async def opened(cls, database: Database, name: str, options: Options) -> Self:
        return cls(database, name, options)

    def enter(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise WrongThreadError
        if self._is_closed:
            raise MailboxClosedError


class SeedMailbox(_Stored):
    """Only the core verbs and ``close``, with the parameters that they must have."""

    def enqueue(  # type: ignore[override]  # on purpose: the optional keywords are missing
        self, sender: BytesLike, payload: BytesLike, priority: MessagePriority = NORMAL
    ) -> Coroutine[Any, Any, UUID]:
        return self._enqueue(prepare_message(sender, payload, priority, None, None))

    async def _enqueue(self, message: PreparedMessage) -> UUID:
        self.enter()
        entry = Entry(uuid.uuid4(), message.sender, message.payload, message.priority, datetime.now(UTC))
        self.store[entry.id] = entry
        return entry.id

    async def dequeue(self) -> list[MessageRecord]:  # type: ignore[override]  # on purpose: a plain one
        self.enter()
        queued = sorted((e for e in self.store.values() if e.holder is None), key=lambda entry: -entry.priority)
        for entry in queued[:10]:
            entry.holder = self
            entry.delivery_count += 1
        return [record_of(entry) for entry in queued[:10]]

    async def ack(self, message_id: UUID) -> bool:
        check_id(message_id)
        self.enter()
        return self.store.pop(message_id, None) is not None

    async def status(self) -> MailboxStats:
        self.enter()
        return stats_of(self.store)

    async def close(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise WrongThreadError
        self._is_closed = True


class SmallMailbox(_Stored):
    """Everything that can be claimed. Its small methods are there to be broken one by one."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options)
        self.dead = database.graveyards.setdefault(name, {})
        self.memory = database.memories.setdefault(name, {})
        self.holder = Holder(self._loop, options.max_deliveries)
        self._nearby = Neighbours(database)
        self._calls = 0
        self._observer: MailboxDepthObserver | None = None
        database.handles.add(self)
        self.recover_now()

    # -- small methods -------------------------------------------------------------------------------------------------

    @contextmanager
    def call(self) -> Iterator[None]:
        self.enter()
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def turn(self) -> None:
        """Where a backend waits for its storage."""
        await asyncio.sleep(0)

    def make_id(self) -> UUID:
        return uuid.uuid4()

    def due_after(self, delay_ms: int) -> float:
        return (time.time_ns() // 1_000_000 + delay_ms) / 1000 if delay_ms else 0.0

    def put_sent(self, message: PreparedMessage, sent_on: UUID | None) -> bool:
        """Puts a message that may be the acknowledged one with that id; returns whether it was stored."""
        self.sent_on = sent_on
        try:
            return self.put(message)[1]
        finally:
            self.sent_on = None

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        given = message.message_id
        if given is not None and (self.knows(given) or (given != self.sent_on and self.remembers(given))):
            return given, False
        message_id = message.message_id if message.message_id is not None else self.make_id()
        due = self.due_after(message.delay_ms)
        self.store[message_id] = Entry(message_id, *message[:3], now_in_whole_ms(), due, headers=message.headers)
        self.database.counters[self.name] += 1
        if message.dedupe_ms:
            self.memory[message_id] = max(self.due_after(message.dedupe_ms), self.memory.get(message_id, 0.0))
        return message_id, True

    def remembers(self, message_id: UUID) -> bool:
        return self.memory.get(message_id, 0.0) > time.time()

    def knows(self, message_id: UUID) -> bool:
        return message_id in self.store or message_id in self.dead

    def waiting(self) -> list[Entry]:
        """All queued messages, delayed ones last."""
        queued = [entry for entry in self.store.values() if entry.holder is None]
        return self.queue() + sorted((e for e in queued if not self.is_due(e)), key=lambda entry: entry.due)

    def queue(self) -> list[Entry]:
        """What can be handed out."""
        return by_priority(entry for entry in self.store.values() if entry.holder is None and self.is_due(entry))

    def is_due(self, entry: Entry) -> bool:
        return entry.due <= time.time()

    def inflight(self) -> list[Entry]:
        return by_priority(entry for entry in self.store.values() if entry.holder is not None)

    def batch(self, queue: list[Entry], size: int) -> list[Entry]:
        batch: list[Entry] = []
        room = LARGEST_BATCH
        for entry in queue[:size]:
            room -= len(entry.payload)
            if batch and (room < 0 or entry.suspect or batch[0].suspect):
                break
            batch.append(entry)
        return batch

    def claim(self, entry: Entry) -> None:
        entry.holder = self.holder
        entry.delivery_count += 1

    def give_back(self, entry: Entry) -> None:
        entry.holder = None
        entry.delivery_count -= 1

    def fail(self, entry: Entry, holder: Holder, cause: str) -> None:
        """One more failed delivery."""
        entry.holder = None
        entry.failures += 1
        if holder.max_deliveries is not None and entry.failures >= holder.max_deliveries:
            self.bury(entry, f"{cause}{entry.failures} of at most {holder.max_deliveries} deliveries failed")

    def orphan(self, entry: Entry, holder: Holder) -> None:
        """Its holder died."""
        entry.holder = None
        entry.suspect = True
        if entry.alone:
            self.fail(entry, holder, "its holder died; ")

    def bury(self, entry: Entry, reason: str) -> None:
        del self.store[entry.id]
        self.dead[entry.id] = Letter(entry, reason, now_in_whole_ms())

    def is_gone(self, holder: Holder) -> bool:
        return holder.gone

    def recover_now(self) -> int:
        orphans = [
            (entry, entry.holder)
            for entry in self.store.values()
            if isinstance(entry.holder, Holder) and self.is_gone(entry.holder)
        ]
        for entry, holder in orphans:
            if holder.died:
                self.orphan(entry, holder)
            else:
                self.give_back(entry)
        return len(orphans)

    def held(self) -> list[Entry]:
        return [entry for entry in self.store.values() if entry.holder is self.holder]

    def held_as(self, message_id: UUID) -> Entry | None:
        """The message with that id, if this handle holds it."""
        return next((entry for entry in self.held() if entry.id == message_id), None)

    def observe(self, depth: int) -> None:
        if self._observer is not None:
            try:
                self._observer.on_depth_change(depth)
            except (Exception, asyncio.CancelledError):
                logging.getLogger(__name__).exception("the observer raised")

    def tell_others(self) -> None:
        """Observers of other handles hear a moment later."""
        for other in list(self.database.handles):
            if other is not self and other.name == self.name and not other._loop.is_closed():
                other._loop.call_soon_threadsafe(partial(_tell, weakref.ref(other)))

    # -- verbs ---------------------------------------------------------------------------------------------------------

    def enqueue(
        self,
        sender: BytesLike,
        payload: BytesLike,
        priority: MessagePriority = NORMAL,
        *,
        message_id: UUID | None = None,
        delay: float | timedelta | None = None,
        headers: Mapping[str, str] | None = None,
        dedupe_for: float | timedelta | None = None,
    ) -> Coroutine[Any, Any, UUID]:
        return self.enqueue_one(prepare_message(sender, payload, priority, message_id, delay, headers, dedupe_for))

    async def enqueue_one(self, message: PreparedMessage) -> UUID:
        return (await self.store_all([message]))[0]

    def enqueue_many(self, messages: Iterable[NewMessage]) -> Coroutine[Any, Any, list[UUID]]:
        return self.store_all(prepare_messages(messages))

    @property
    def _place(self) -> Hashable:
        return id(self.database), self.name

    async def _enqueue_sent_on(self, message_id: UUID, messages: list[NewMessage]) -> None:
        with self.call():
            for message in prepare_messages(messages):
                self.put_sent(message, message_id)
            self.observe(len(self.waiting()))
            self.tell_others()

    async def store_all(self, messages: list[PreparedMessage]) -> list[UUID]:
        with self.call():
            await self.turn()
            outcomes = [self.put(message) for message in messages]
            if any(stored for _, stored in outcomes):
                self.observe(len(self.waiting()))
                self.tell_others()
            return [message_id for message_id, _ in outcomes]

    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        seconds, to_ack = check_wait(wait), check_ids(ack, "ack")

        async def look() -> list[MessageRecord]:
            nonlocal to_ack
            ids, to_ack = to_ack, []
            return await self.take(limit, ids)

        return await poll(look, seconds)

    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        """A dequeue that does not wait."""
        size = check_limit(limit) or self.options.batch_size
        with self.call():
            await self.turn()
            self.forget(ack)
            self.recover_now()
            batch = self.batch(self.queue(), size)
            for entry in batch:
                self.claim(entry)
                entry.alone = len(batch) == 1
            records = [record_of(entry) for entry in batch]
            try:
                await self.turn()
            except asyncio.CancelledError:
                for entry in batch:
                    if self.held_as(entry.id) is entry:
                        self.give_back(entry)
                raise
            return records

    async def ack(self, message_id: UUID) -> bool:
        return await self.remove([check_id(message_id)]) == 1

    async def ack_many(self, ids: Iterable[UUID]) -> int:
        return await self.remove(check_ids(ids))

    async def remove(self, ids: list[UUID]) -> int:
        with self.call():
            await self.turn()
            return self.forget(ids)

    def forget(self, ids: Iterable[UUID]) -> int:
        return sum(self.store.pop(message_id, None) is not None for message_id in ids)

    def ack_and_send(
        self, message_id: UUID, messages: Iterable[tuple[Mailbox, NewMessage]]
    ) -> Coroutine[Any, Any, bool]:
        return self.send_on(check_id(message_id), prepare_sends(messages))

    async def send_on(self, message_id: UUID, sends: list[tuple[Any, PreparedMessage]]) -> bool:
        with self.call():
            self.check_targets([target for target, _ in sends])
            await self.turn()
            if self.held_as(message_id) is None:
                return False
            del self.store[message_id]
            grown = {
                target
                for target, message in sends
                if target.put_sent(message, message_id if target.name == self.name else None)
            }
            for name in {target.name for target in grown}:
                self.tell_target([target for target, _ in sends if target.name == name])
            return True

    def check_targets(self, targets: list[Any]) -> None:
        for index, target in enumerate(targets):
            if not isinstance(target, Mailbox):
                raise TypeError(f"messages[{index}] has no mailbox")
            if not isinstance(target, SmallMailbox) or target.database is not self.database:
                raise ValueError(f"messages[{index}] is for a mailbox of another database")
            target.enter()

    def tell_target(self, targets: list[SmallMailbox]) -> None:
        """Those handles of one mailbox that were named hear at once, the others later."""
        for target in dict.fromkeys(targets):
            target.observe(len(target.waiting()))
        targets[0].tell_others()

    async def nack(
        self,
        message_id: UUID,
        *,
        delay: float | timedelta | None = None,
        error: str | None = None,
        failed: bool = True,
    ) -> bool:
        check_id(message_id)
        check_flag("failed", failed)
        delay_ms = 0 if delay is None else check_delay(delay)
        text = None if error is None else check_text("error", error)
        with self.call():
            await self.turn()
            entry = self.held_as(message_id)
            if entry is None:
                return False
            entry.error = text or entry.error
            entry.due = self.due_after(delay_ms)
            if failed:
                entry.suspect = False
                self.fail(entry, self.holder, "")
            else:
                self.give_back(entry)
            return True

    async def dead_letter(self, message_id: UUID, reason: str) -> bool:
        check_id(message_id)
        text = check_text("reason", reason)
        with self.call():
            await self.turn()
            entry = self.held_as(message_id)
            if entry is not None:
                self.bury(entry, text)
            return entry is not None

    async def dead_letters(self, limit: int | None = None, *, offset: int = 0) -> list[DeadLetter]:
        size = check_limit(limit) or self.options.batch_size
        first = check_offset(offset)
        with self.call():
            await self.turn()
            return [letter_of(letter) for letter in list(reversed(self.dead.values()))[first : first + size]]

    async def redrive(self, message_id: UUID) -> bool:
        check_id(message_id)
        with self.call():
            await self.turn()
            letter = self.dead.pop(message_id, None)
            if letter is None:
                return False
            self.revive(letter.entry)
            self.observe(len(self.waiting()))
            self.tell_others()
            return True

    def revive(self, entry: Entry) -> None:
        """At the end, as new."""
        self.store[entry.id] = Entry(
            entry.id, entry.sender, entry.payload, entry.priority, entry.created_at, headers=entry.headers
        )
        self.database.counters[self.name] += 1

    async def discard(self, message_id: UUID) -> bool:
        check_id(message_id)
        with self.call():
            await self.turn()
            return self.dead.pop(message_id, None) is not None

    async def recover(self) -> int:
        with self.call():
            await self.turn()
            return self.recover_now()

    async def status(self) -> MailboxStats:
        with self.call():
            await self.turn()
            return stats_of(self.store, self.dead, self.database.counters[self.name])

    async def peek(
        self, limit: int | None = None, *, status: MessageStatus | None = None, offset: int = 0
    ) -> list[MessageRecord]:
        size = check_limit(limit) or self.options.batch_size
        check_status(status)
        first = check_offset(offset)
        with self.call():
            await self.turn()
            entries = [] if status is MessageStatus.INFLIGHT else self.waiting()
            entries += [] if status is MessageStatus.QUEUED else self.inflight()
            return [record_of(entry) for entry in entries[first : first + size]]

    async def get(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        check_id(message_id)
        with self.call():
            await self.turn()
            return self.find(message_id)

    def find(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        if message_id in self.dead:
            return letter_of(self.dead[message_id])
        return record_of(self.store[message_id]) if message_id in self.store else None

    async def promote(self, ids: Iterable[UUID] | None = None) -> int:
        chosen = None if ids is None else check_ids(ids)
        with self.call():
            await self.turn()
            return self.promote_now([entry for entry in self.store.values() if chosen is None or entry.id in chosen])

    def promote_now(self, entries: list[Entry]) -> int:
        delayed = [entry for entry in entries if entry.holder is None and not self.is_due(entry)]
        for entry in delayed:
            entry.due = 0.0
        return len(delayed)

    def changes(self) -> AsyncIterator[MailboxStats]:
        self.enter()
        return self.look_for_changes()

    async def look_for_changes(self) -> AsyncIterator[MailboxStats]:
        last = None
        while not self._is_closed:
            stats = await self.status()
            if stats != last:
                last = stats
                yield stats
            await asyncio.sleep(0.05)

    async def purge(self) -> int:
        with self.call():
            await self.turn()
            waiting = self.waiting()
            for entry in waiting:
                del self.store[entry.id]
            return len(waiting)

    async def storage_report(self) -> StorageReport:
        self.enter()
        await self.turn()
        return StorageReport(self.options.durability, False, None, None, None)

    async def request_persistence(self) -> bool:
        self.enter()
        return False

    def set_depth_observer(self, observer: MailboxDepthObserver | None) -> bool:
        check_observer(observer)
        try:
            self.enter()
        except RuntimeError:
            raise WrongThreadError from None  # a thread without an event loop
        self._observer = observer
        return True

    def messages(self) -> AsyncIterator[MessageRecord]:
        return Messages(self)

    async def _release(self, ids: list[UUID]) -> None:
        with self.call():
            await self.turn()
            for entry in filter(None, map(self.held_as, ids)):
                self.give_back(entry)

    def _archive(self) -> Archive:
        return SmallArchive(self)

    async def close(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise WrongThreadError
        self._is_closed = True
        while self._calls:
            await self.turn()
        for entry in self.held():
            self.give_back(entry)

    def _die(self) -> None:
        self.holder.died = self.holder.abandoned = self._is_closed = True

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            self.holder.abandoned = True
            warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=1, source=self)


class SmallArchive(Archive):
    """Export and import of a small mailbox. Its methods are there to be broken too."""

    def __init__(self, mailbox: SmallMailbox) -> None:
        self.mailbox = mailbox

    async def page(self, section: Section, after: int, until: int | None) -> Page:
        with self.mailbox.call():
            await self.mailbox.turn()
            messages = self.dead() if section is None else self.living(section)
            return Page(messages, len(messages), len(messages))

    def dead(self) -> list[WholeMessage]:
        return [self.whole(*letter) for letter in self.mailbox.dead.values()]

    def living(self, priority: MessagePriority) -> list[WholeMessage]:
        return [self.whole(entry) for entry in self.mailbox.store.values() if entry.priority is priority]

    def whole(self, entry: Entry, reason: str = "", died_at: datetime | None = None) -> WholeMessage:
        return WholeMessage(
            entry.id,
            entry.sender,
            entry.payload,
            entry.priority,
            in_ms(entry.created_at.timestamp()),
            entry.delivery_count,
            MessageStatus.QUEUED if entry.holder is None else MessageStatus.INFLIGHT,
            None if self.mailbox.is_due(entry) else in_ms(entry.due),
            entry.failures,
            entry.suspect,
            entry.error,
            None if died_at is None else Death(reason, in_ms(died_at.timestamp())),
            entry.headers,
        )

    async def remembered(self, after: UUID | None) -> list[Remembered]:
        with self.mailbox.call():
            known = [Remembered(message_id, in_ms(until)) for message_id, until in self.mailbox.memory.items()]
            return [] if after is not None else sorted(known)

    async def remember(self, ids: Sequence[Remembered]) -> bool:
        with self.mailbox.call():
            self.mailbox.memory |= {message_id: until / 1000 for message_id, until in ids}
            return True

    async def adopt(self, messages: Sequence[WholeMessage]) -> list[Adopted]:
        with self.mailbox.call():
            await self.mailbox.turn()
            return [self.adopt_one(message) for message in messages]

    def adopt_one(self, message: WholeMessage) -> Adopted:
        if self.mailbox.knows(message.id):
            return Adopted.KNOWN
        entry = self.entry(message)
        if message.death is None:
            self.mailbox.store[entry.id] = entry
        else:
            died_at = datetime.fromtimestamp(message.death.died_at / 1000, UTC)
            self.mailbox.dead[entry.id] = Letter(entry, message.death.reason, died_at)
        return Adopted.STORED

    def entry(self, message: WholeMessage) -> Entry:
        return Entry(
            message.id,
            message.sender,
            message.payload,
            message.priority,
            datetime.fromtimestamp(message.created_at / 1000, UTC),
            (message.due or 0) / 1000,
            delivery_count=message.delivery_count,
            failures=message.failures,
            suspect=message.suspect,
            error=message.error,
            headers=message.headers,
        )


def in_ms(seconds: float) -> int:
    return round(seconds * 1000)


def now_in_whole_ms() -> datetime:
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)


class Messages:
    """What ``SmallMailbox.messages()`` gives."""

    def __init__(self, mailbox: SmallMailbox) -> None:
        self.mailbox = mailbox
        self.claimed: list[MessageRecord] = []
        self.left = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MessageRecord:
        if self.left:
            raise StopAsyncIteration
        try:
            if not self.claimed:
                self.claimed = await self.mailbox.dequeue(wait=1e9)
            self.mailbox.enter()
        except MailboxClosedError:
            self.claimed.clear()
            raise StopAsyncIteration from None
        return self.claimed.pop(0)

    async def aclose(self) -> None:
        self.left = True
        self.give_back()

    def give_back(self) -> None:
        for record in self.claimed:
            entry = self.mailbox.held_as(record.id)
            if entry is not None:
                self.mailbox.give_back(entry)
        self.claimed.clear()

    def __del__(self) -> None:
        self.give_back()


def _tell(reference: weakref.ref[SmallMailbox]) -> None:
    mailbox = reference()
    if mailbox is not None and not mailbox._is_closed:
        mailbox.observe(len(mailbox.waiting()))


def by_priority(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: -entry.priority)


def record_of(entry: Entry) -> MessageRecord:
    status = MessageStatus.QUEUED if entry.holder is None else MessageStatus.INFLIGHT
    delayed = entry.holder is None and entry.due > time.time()
    return MessageRecord(
        entry.id,
        entry.sender,
        entry.payload,
        entry.priority,
        entry.created_at,
        status,
        entry.delivery_count,
        unpack_headers(entry.headers),
        datetime.fromtimestamp(entry.due, UTC) if delayed else None,
    )


def letter_of(letter: Letter) -> DeadLetter:
    entry, reason, died_at = letter
    record = MessageRecord(
        entry.id,
        entry.sender,
        entry.payload,
        entry.priority,
        entry.created_at,
        MessageStatus.INFLIGHT,
        entry.delivery_count,
        unpack_headers(entry.headers),
    )
    return DeadLetter(record, reason, entry.error, died_at)


def stats_of(store: Store, dead: dict[UUID, Letter] | None = None, ever_queued: int = 0) -> MailboxStats:
    queued = [entry for entry in store.values() if entry.holder is None]
    by_priority = {priority: sum(entry.priority is priority for entry in queued) for priority in MessagePriority}
    first = {entry.priority: entry.created_at for entry in reversed(queued)}
    return MailboxStats(
        len(queued),
        len(store) - len(queued),
        by_priority,
        len(dead or ()),
        sum(entry.due > time.time() for entry in queued),
        min(first.values(), default=None),
        ever_queued,
    )
