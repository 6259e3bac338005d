"""What the embedded backends share: a handle that checks its arguments, its thread, and that it is open.

A backend subclasses ``EmbeddedMailbox`` and fills in the hooks, which get checked arguments only. Each hook is one
transaction of its store, and is awaited at once. A hook must take its place in the store's order before it suspends, so
that calls are stored in the order in which they were made, and ``close`` comes after all of them. If hooks never
suspend (``_keeps_loop``), verbs give the event loop a turn when their work is done.

Other packages may subclass it too, see ``registry.py``: the hooks are private to callers, not to backends, and keep
their names.

Verbs that are called for each message cost one coroutine and one check that all is well; only if it is not do they look
for the reason.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import warnings
from abc import abstractmethod
from asyncio import _get_running_loop
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from datetime import timedelta
from threading import get_ident
from typing import Any, ClassVar, NamedTuple, Self, TypeVar
from uuid import UUID

from ..contract.archive import Adopted, Archive, Page, Remembered, Section, WholeMessage
from ..contract.arguments import (
    Options,
    PreparedMessage,
    check_delay,
    check_flag,
    check_id,
    check_ids,
    check_limit,
    check_observer,
    check_offset,
    check_status,
    check_text,
    check_wait,
    distinct_ids,
    prepare_message,
    prepare_messages,
    prepare_sends,
)
from ..contract.capabilities import Capability
from ..contract.companions import Unless
from ..contract.errors import MailboxClosedError, MailboxError, UnsupportedError, WrongThreadError
from ..contract.location import Location, parse_name
from ..contract.mailbox import Mailbox, check_mailbox
from ..contract.values import (
    BytesLike,
    DeadLetter,
    MailboxDepthObserver,
    MailboxStats,
    MessagePriority,
    MessageRecord,
    MessageStatus,
    NewMessage,
    StorageReport,
)
from ..runtime.turns import take_turn, take_turn_if_due, turn_is_due
from .changes import Changes

_T = TypeVar("_T")

_logger = logging.getLogger("pymailbox")

_forks = 0
"""How many forks separate this process from the one that imported this; asking for its id would be a system call."""


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_count_fork)


class Enqueued(NamedTuple):
    """The result of a committed enqueue call."""

    ids: list[UUID]
    """One id for each message of the call, in order."""
    depth: int | None
    """The queued count just after the call's messages; None if it stored nothing."""


class AckFirst(NamedTuple):
    """What a claim acknowledges first, in the transaction of its first attempt."""

    ids: list[UUID]
    """Each once."""
    held_only: bool = False
    """Whether only messages that the handle holds; otherwise whoever holds them."""
    on_commit: Callable[[int], None] | None = None
    """Called with the number removed, after the commit and before any waiting."""


class EmbeddedMailbox(Mailbox):
    """A handle on a mailbox that lives in a store of this machine; made by ``open_mailbox``."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    name: str
    """The mailbox's name in its database."""

    _opened_at = ("an unknown place", 0)
    """File and line of the call of ``open_mailbox``."""

    _keeps_loop = False
    """Whether the hooks never, or hardly ever, suspend."""

    _any_thread = False
    """Whether any thread may run its event loop; whoever sets it makes sure that only one does at a time."""

    def __init__(self, name: str, options: Options) -> None:
        if options.max_deliveries is not None and Capability.DEAD_LETTERS not in self.capabilities:
            self._lacks(Capability.DEAD_LETTERS)
        self.name = name
        self._options = options
        self._thread = get_ident()
        self._process = os.getpid()
        self._forks = _forks
        self._loop = asyncio.get_running_loop()
        self._observer: MailboxDepthObserver | None = None
        self._closing: asyncio.Future[None] | None = None
        self._change_listeners: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}{' closed' if self._closing else ''}>"

    # -- hooks: opening ------------------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, location: str, scheme: str, rest: str) -> Location:
        """Parses a URL of this backend; ``rest`` is what follows ``://``. This version takes ``SCHEME://NAME``. The
        returned location has that scheme.

        Raises:
            ValueError: it breaks a rule; the message begins with "location" and shows the correct form.
        """
        return parse_name(location, scheme, rest)

    @classmethod
    @abstractmethod
    async def open_at(cls, location: Location, options: Options) -> Self:
        """Opens the mailbox at a location, and makes it if there is none."""

    @classmethod
    @abstractmethod
    async def list_at(cls, location: Location) -> list[str]:
        """The names of all mailboxes in the location's database, sorted; creates nothing."""

    @classmethod
    @abstractmethod
    async def delete_at(cls, location: Location, unless: Unless | None = None) -> bool:
        """Deletes the location's mailbox with all its messages; False if there was none or ``unless`` was true."""

    @classmethod
    async def backup_at(cls, location: Location, path: str) -> None:
        """Copies the location's whole database, as it is at one moment, to a path where there is nothing."""
        raise UnsupportedError(
            f"{location.scheme}:// keeps no file that backup() could copy. export() writes a mailbox as lines, which "
            "import_() reads"
        )

    @classmethod
    async def compact_at(cls, location: Location) -> int:
        """Gives the free space in the location's database back to the disk; returns the number of bytes."""
        raise UnsupportedError(f"{location.scheme}:// keeps no file that compact() could make smaller")

    # -- hooks: verbs --------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _database(self) -> Hashable:
        """Equal for mailboxes that can commit together."""

    @abstractmethod
    def _enqueue(self, messages: list[PreparedMessage], sent_on: UUID | None = None) -> Awaitable[Enqueued]:
        """Commits all messages (at least one) or none.

        ``sent_on``, given only where a backend has ``dedupe_for``, is an id that may be known though no message has it.
        """

    @abstractmethod
    async def _claim(self, limit: int, wait: float, ack: AckFirst | None = None) -> list[MessageRecord]:
        """Claims up to ``limit`` messages for this handle, waiting up to ``wait`` seconds for the first one.

        ``ack`` is acknowledged with the first attempt, whether or not that finds something. If the call is cancelled,
        what it claimed goes back. Raises ``MailboxClosedError`` if the handle is closed while it waits.
        """

    @abstractmethod
    async def _release(self, ids: list[UUID]) -> None:
        """Gives back messages that this handle holds and undoes their hand-out; ignores those that it does not hold."""

    @abstractmethod
    def _ack(self, ids: list[UUID]) -> Awaitable[int]:
        """Deletes messages, wherever they are; returns how many there were."""

    @abstractmethod
    def _ack_held(self, ids: list[UUID]) -> Awaitable[int]:
        """Deletes those of the messages that this handle holds; returns how many it held."""

    def _ack_and_send(
        self, message_id: UUID, sends: list[tuple[EmbeddedMailbox, PreparedMessage]]
    ) -> Awaitable[list[int | None] | None]:
        """As ``ack_and_send``; returns each target's queued count, None if it got nothing; or just None for False."""
        self._lacks(Capability.ACK_AND_SEND)

    def _nack(self, message_id: UUID, delay_ms: int, error: str | None, failed: bool) -> Awaitable[bool | str]:
        """As ``nack``; returns the reason if it made a dead letter."""
        self._lacks(Capability.NACK)

    def _bury(self, message_id: UUID, reason: str) -> Awaitable[bool]:
        """As ``dead_letter``."""
        self._lacks(Capability.DEAD_LETTERS)

    def _list_dead_letters(self, limit: int, offset: int) -> Awaitable[list[DeadLetter]]:
        """As ``dead_letters``."""
        self._lacks(Capability.DEAD_LETTERS)

    def _redrive(self, message_id: UUID) -> Awaitable[int | None]:
        """As ``redrive``; returns the queued count after it, None for False."""
        self._lacks(Capability.DEAD_LETTERS)

    def _discard(self, message_id: UUID) -> Awaitable[bool]:
        """As ``discard``."""
        self._lacks(Capability.DEAD_LETTERS)

    def _recover(self) -> Awaitable[int]:
        """As ``recover``."""
        self._lacks(Capability.RECOVER)

    @abstractmethod
    def _count(self) -> Awaitable[MailboxStats]:
        """Exact counts, at a cost that does not grow with the backlog."""

    def _next_due(self) -> Awaitable[int | None]:
        """When the next delayed message is due, milliseconds since 1970; None if none is delayed."""
        self._lacks(Capability.CHANGES)

    def _observing_changes(self) -> None:
        """Called when somebody begins to listen to changes (``_change_listeners``), and when the last one stops.

        In between, the backend calls ``_on_change`` in the handle's event loop after each commit that may have changed
        a count of the mailbox, whoever made it; several commits may share a call. It must not keep the handle alive.
        """
        self._lacks(Capability.CHANGES)

    @abstractmethod
    def _peek(self, limit: int, status: MessageStatus | None, offset: int) -> Awaitable[list[MessageRecord]]:
        """As ``peek``."""

    def _get(self, message_id: UUID) -> Awaitable[MessageRecord | DeadLetter | None]:
        """As ``get``."""
        self._lacks(Capability.GET)

    def _promote(self, ids: list[UUID] | None) -> Awaitable[int]:
        """As ``promote``."""
        self._lacks(Capability.PROMOTE)

    @abstractmethod
    def _purge(self) -> Awaitable[int]:
        """As ``purge``."""

    def _storage_report(self) -> Awaitable[StorageReport]:
        """As ``storage_report``."""
        self._lacks(Capability.STORAGE_REPORT)

    def _request_persistence(self) -> Awaitable[bool]:
        """As ``request_persistence``."""
        self._lacks(Capability.STORAGE_REPORT)

    def _read_section(self, section: Section, after: int, until: int | None) -> Awaitable[Page]:
        """As ``Archive.page``."""
        raise NotImplementedError

    def _adopt(self, messages: Sequence[WholeMessage]) -> Awaitable[tuple[list[bool], int | None]]:
        """As ``Archive.adopt``; returns which were stored, and the queued count after it, None if the queue did not
        grow."""
        raise NotImplementedError

    def _read_remembered(self, after: UUID | None) -> Awaitable[list[Remembered]]:
        """As ``Archive.remembered``."""
        raise NotImplementedError

    def _remember(self, ids: Sequence[Remembered]) -> Awaitable[None]:
        """As ``Archive.remember``."""
        raise NotImplementedError

    @abstractmethod
    async def _release_and_close(self) -> None:
        """Waits for the hooks under way, gives back what this handle holds, and releases its store."""

    @abstractmethod
    def _abandon(self) -> None:
        """As ``_release_and_close``, for a handle that was collected without being closed: returns at once, and what it
        held goes back soon. May run on any thread, in a finaliser.
        """

    def _leave_as_dead(self) -> None:
        """For the checks: releases the store, and leaves what the handle holds as if its process had ended."""
        super()._die()

    def _observing(self) -> None:
        """Called when the observer has changed: a backend may start or stop listening for what others enqueue."""

    @property
    def _lives_over(self) -> int:
        """How often everything that this handle held has been given back or taken while it stayed open, as in a frozen
        page."""
        return 0

    # -- verbs ---------------------------------------------------------------------------------------------------------

    def enqueue(
        self,
        sender: BytesLike,
        payload: BytesLike,
        priority: MessagePriority = MessagePriority.NORMAL,
        *,
        message_id: UUID | None = None,
        delay: float | timedelta | None = None,
        headers: Mapping[str, str] | None = None,
        dedupe_for: float | timedelta | None = None,
    ) -> Coroutine[Any, Any, UUID]:
        # not ``async``: the bytes are copied now, not when the coroutine first runs
        return self._enqueue_one(prepare_message(sender, payload, priority, message_id, delay, headers, dedupe_for))

    async def _enqueue_one(self, message: PreparedMessage) -> UUID:
        self._enter()
        if not message.is_plain:
            self._check_capabilities([message])
        ids, depth = await self._enqueue([message])
        if depth is not None and self._observer is not None:
            self._observe(depth)
        if self._keeps_loop and turn_is_due():
            await take_turn()
        return ids[0]

    def enqueue_many(self, messages: Iterable[NewMessage]) -> Coroutine[Any, Any, list[UUID]]:
        return self._enqueue_prepared(prepare_messages(messages))

    def _enqueue_sent_on(self, message_id: UUID, messages: list[NewMessage]) -> Coroutine[Any, Any, list[UUID]]:
        sent_on = message_id if Capability.DEDUPE in self.capabilities else None
        return self._enqueue_prepared(prepare_messages(messages), sent_on)

    @property
    def _place(self) -> Hashable:
        return (self._database, self.name) if self.name else self

    async def _enqueue_prepared(self, messages: list[PreparedMessage], sent_on: UUID | None = None) -> list[UUID]:
        self._enter()
        self._check_capabilities(messages)
        if not messages:
            await take_turn_if_due()
            return []
        ids, depth = await (self._enqueue(messages) if sent_on is None else self._enqueue(messages, sent_on))
        if depth is not None:
            self._observe(depth)
        if self._keeps_loop and turn_is_due():
            await take_turn()
        return ids

    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        size = check_limit(limit) or self._options.batch_size
        seconds = 0.0 if wait is None else check_wait(wait) or 0.0
        if ack != ():
            return await self._ack_and_claim(size, seconds, AckFirst(distinct_ids(check_ids(ack, "ack"))))
        self._enter()
        records = await self._claim(size, seconds)
        if self._keeps_loop and turn_is_due():  # otherwise nothing more is called: a signal handler might raise there
            await self._take_turn_with(records)
        return records

    async def _ack_if_held_and_claim(
        self, ids: list[UUID], limit: int, wait: float | None, on_acked: Callable[[int], None]
    ) -> list[MessageRecord]:
        return await self._ack_and_claim(limit, wait or 0.0, AckFirst(ids, True, on_acked))

    async def _ack_and_claim(self, limit: int, wait: float, ack: AckFirst) -> list[MessageRecord]:
        self._enter()
        records = await self._claim(limit, wait, ack)
        if self._keeps_loop and turn_is_due():
            await self._take_turn_with(records)
        return records

    async def ack(self, message_id: UUID) -> bool:
        checked = check_id(message_id)
        self._enter()
        removed = await self._ack([checked])
        if self._keeps_loop and turn_is_due():
            await take_turn()
        return removed == 1

    async def ack_many(self, ids: Iterable[UUID]) -> int:
        distinct = distinct_ids(check_ids(ids))
        self._enter()
        if not distinct:
            await take_turn_if_due()
            return 0
        removed = await self._ack(distinct)
        if self._keeps_loop and turn_is_due():
            await take_turn()
        return removed

    async def _ack_if_held(self, ids: list[UUID]) -> int:
        self._enter()
        return await self._ack_held(ids)

    @property
    def _most_at_once(self) -> int:
        return self._options.batch_size

    def ack_and_send(
        self, message_id: UUID, messages: Iterable[tuple[Mailbox, NewMessage]]
    ) -> Coroutine[Any, Any, bool]:
        # not ``async``: the bytes are copied now
        return self._ack_and_send_prepared(check_id(message_id), prepare_sends(messages))

    async def _ack_and_send_prepared(self, message_id: UUID, sends: list[tuple[Any, PreparedMessage]]) -> bool:
        self._enter()
        last: object = None
        for index, (target, message) in enumerate(sends):
            if target is not last or last is None:  # many may go to one
                check_mailbox(f"messages[{index}][0]", target)
                if not isinstance(target, EmbeddedMailbox) or target._database != self._database:
                    raise ValueError(f"messages[{index}][0], {target!r}, is not in the same database as {self!r}")
                target._enter()
                last = target
            if message.delay_ms or message.headers or message.dedupe_ms:
                target._check_capabilities([message])
        depths = await self._ack_and_send(message_id, sends)
        if depths is None:
            return await self._leave(False)
        # a batch is one call: its observer is called once, however many messages it got
        for target, depth in {target: depth for (target, _), depth in zip(sends, depths, strict=True)}.items():
            if depth is not None:
                target._observe(depth)
        return await self._leave(True)

    async def nack(
        self,
        message_id: UUID,
        *,
        delay: float | timedelta | None = None,
        error: str | None = None,
        failed: bool = True,
    ) -> bool:
        return bool(await self._nack_with_reason(message_id, delay=delay, error=error, failed=failed))

    async def _nack_with_reason(
        self, message_id: UUID, *, delay: float | timedelta | None = None, error: str | None = None, failed: bool = True
    ) -> bool | str:
        checked = check_id(message_id)
        delay_ms = 0 if delay is None else check_delay(delay)
        text = None if error is None else check_text("error", error)
        check_flag("failed", failed)
        self._enter()
        return await self._leave(await self._nack(checked, delay_ms, text, failed))

    async def dead_letter(self, message_id: UUID, reason: str) -> bool:
        checked, text = check_id(message_id), check_text("reason", reason)
        self._enter()
        return await self._leave(await self._bury(checked, text))

    async def dead_letters(self, limit: int | None = None, *, offset: int = 0) -> list[DeadLetter]:
        size = check_limit(limit) or self._options.batch_size
        passed_over = check_offset(offset)
        self._enter()
        return await self._leave(await self._list_dead_letters(size, passed_over))

    async def redrive(self, message_id: UUID) -> bool:
        checked = check_id(message_id)
        self._enter()
        depth = await self._redrive(checked)
        if depth is not None:
            self._observe(depth)
        return await self._leave(depth is not None)

    async def discard(self, message_id: UUID) -> bool:
        checked = check_id(message_id)
        self._enter()
        return await self._leave(await self._discard(checked))

    async def recover(self) -> int:
        self._enter()
        return await self._leave(await self._recover())

    async def storage_report(self) -> StorageReport:
        self._enter()
        return await self._leave(await self._storage_report())

    async def request_persistence(self) -> bool:
        self._enter()
        return await self._leave(await self._request_persistence())

    async def status(self) -> MailboxStats:
        self._enter()
        return await self._leave(await self._count())

    async def peek(
        self, limit: int | None = None, *, status: MessageStatus | None = None, offset: int = 0
    ) -> list[MessageRecord]:
        size = check_limit(limit) or self._options.batch_size
        checked, passed_over = check_status(status), check_offset(offset)
        self._enter()
        return await self._leave(await self._peek(size, checked, passed_over))

    async def get(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        checked = check_id(message_id)
        self._enter()
        return await self._leave(await self._get(checked))

    async def promote(self, ids: Iterable[UUID] | None = None) -> int:
        distinct = None if ids is None else distinct_ids(check_ids(ids))
        self._enter()
        promoted = 0 if distinct == [] else await self._promote(distinct)
        return await self._leave(promoted)

    def changes(self) -> AsyncIterator[MailboxStats]:
        self._enter()
        return Changes(self)

    async def purge(self) -> int:
        self._enter()
        return await self._leave(await self._purge())

    def set_depth_observer(self, observer: MailboxDepthObserver | None) -> bool:
        check_observer(observer)
        self._check_thread()
        self._check_open()
        self._observer = observer
        self._observing()
        return True

    def messages(self) -> AsyncIterator[MessageRecord]:
        self._enter()
        return _Messages(self)

    def _archive(self) -> Archive:
        return _EmbeddedArchive(self)

    async def close(self) -> None:
        self._check_thread()
        self._check_loop()
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._release_and_close())
            self._on_change()
        await asyncio.shield(self._closing)

    def _die(self) -> None:
        self._check_thread()
        if self._closing is None:
            self._leave_as_dead()
            self._closing = self._loop.create_future()
            self._closing.set_result(None)
            self._on_change()

    def __del__(self) -> None:
        if getattr(self, "_closing", self) is None:
            file, line = self._opened_at
            message = f"{self!r}, opened at {file}:{line}, was never closed: what it held goes back to the queue"
            try:
                if not self._is_beside_another:
                    warnings.warn(message, ResourceWarning, stacklevel=1, source=self)
            finally:  # even if warnings are errors
                self._abandon()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _enter(self) -> None:
        """Every verb's first step."""
        if (
            _get_running_loop() is not self._loop
            or self._closing is not None
            # a loop may continue in another thread or in a forked process
            or get_ident() != self._thread
            or _forks != self._forks
        ):
            self._check_thread()
            self._check_loop()
            self._check_open()

    def _listen_to_changes(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Calls ``on_change`` after each change from now on, and when the handle is closed, until the returned function
        is called.
        """
        self._change_listeners.append(on_change)
        if len(self._change_listeners) == 1:
            self._observing_changes()

        def stop() -> None:
            self._change_listeners.remove(on_change)
            if not self._change_listeners and self._closing is None:
                self._observing_changes()

        return stop

    def _on_change(self) -> None:
        for on_change in list(self._change_listeners):
            on_change()

    def _check_capabilities(self, messages: Iterable[PreparedMessage]) -> None:
        """Checks that this backend can store what is special about messages."""
        if Capability.DELAY not in self.capabilities and any(message.delay_ms for message in messages):
            self._lacks(Capability.DELAY)
        if Capability.HEADERS not in self.capabilities and any(message.headers for message in messages):
            self._lacks(Capability.HEADERS)
        if Capability.DEDUPE not in self.capabilities and any(message.dedupe_ms for message in messages):
            self._lacks(Capability.DEDUPE)

    async def _leave(self, result: _T) -> _T:
        """Every verb's last step; if it is cancelled here, the verb is done."""
        if self._keeps_loop and turn_is_due():
            await take_turn()
        return result

    async def _take_turn_with(self, records: list[MessageRecord]) -> None:
        """Gives the event loop a turn; if it is cancelled there, claimed messages go back."""
        try:
            await take_turn()
        except BaseException:
            if records and self._closing is None:  # closing gives them back too
                try:
                    await self._release([record.id for record in records])
                except MailboxError:
                    _logger.exception("what a cancelled dequeue of %r had claimed stays held until it is closed", self)
            raise

    def _check_thread(self) -> None:
        if os.getpid() != self._process:
            raise WrongThreadError(f"{self!r} was opened before this process was forked; open another one here")
        if get_ident() != self._thread and not self._any_thread:
            raise WrongThreadError(f"{self!r} belongs to the thread that opened it; open another one in this thread")

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise WrongThreadError(f"{self!r} belongs to the event loop that opened it; open another one in this loop")

    def _check_open(self) -> None:
        if self._closing is not None:
            raise MailboxClosedError(f"{self!r}: open it again with open_mailbox()")

    def _observe(self, depth: int) -> None:
        if self._observer is None:
            return
        try:
            self._observer.on_depth_change(depth)
        except (Exception, asyncio.CancelledError):  # of whatever it has looked at: nobody has cancelled this call
            _logger.exception("the depth observer of %r raised", self)


class _EmbeddedArchive(Archive):
    """Two more verbs, for ``export`` and ``import_``."""

    def __init__(self, mailbox: EmbeddedMailbox) -> None:
        self._mailbox = mailbox

    async def page(self, section: Section, after: int, until: int | None) -> Page:
        self._mailbox._enter()
        return await self._mailbox._leave(await self._mailbox._read_section(section, after, until))

    async def adopt(self, messages: Sequence[WholeMessage]) -> list[Adopted]:
        self._mailbox._enter()
        stored, depth = await self._mailbox._adopt(messages)
        if depth is not None:
            self._mailbox._observe(depth)
        return await self._mailbox._leave([Adopted.STORED if new else Adopted.KNOWN for new in stored])

    async def remembered(self, after: UUID | None) -> list[Remembered]:
        self._mailbox._enter()
        return await self._mailbox._leave(await self._mailbox._read_remembered(after))

    async def remember(self, ids: Sequence[Remembered]) -> bool:
        self._mailbox._enter()
        await self._mailbox._remember(ids)
        return await self._mailbox._leave(True)


class _Messages:
    """The records of a mailbox as they come. Not a generator: not every event loop finalises those."""

    def __init__(self, mailbox: EmbeddedMailbox) -> None:
        self._mailbox = mailbox
        self._claimed: deque[MessageRecord] = deque()
        self._claimed_in = 0
        """How many of the mailbox's lives were over then."""
        self._left = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MessageRecord:
        if self._claimed and not self._over:
            await take_turn_if_due()  # a batch may be large
        self._drop_what_went_back()
        while not self._over and not self._claimed:
            try:
                self._claimed.extend(await self._mailbox.dequeue(wait=math.inf))
            except MailboxClosedError:
                raise StopAsyncIteration from None
            self._claimed_in = self._mailbox._lives_over
        if self._over:
            await self._give_back()
            raise StopAsyncIteration
        return self._claimed.popleft()

    @property
    def _over(self) -> bool:
        return self._left or self._mailbox._closing is not None

    async def aclose(self) -> None:
        """Gives back what was claimed and not yielded; happens by itself when the loop is left."""
        self._left = True
        await self._give_back()

    def _drop_what_went_back(self) -> None:
        if self._claimed and self._claimed_in != self._mailbox._lives_over:
            self._claimed.clear()

    async def _give_back(self) -> None:
        self._drop_what_went_back()
        ids = [record.id for record in self._claimed]
        self._claimed.clear()
        if ids and self._mailbox._closing is None:
            await self._mailbox._release(ids)

    def __del__(self) -> None:
        self._drop_what_went_back()
        if not self._claimed or self._mailbox._closing is not None or self._mailbox._loop.is_closed():
            return
        mailbox, ids = self._mailbox, [record.id for record in self._claimed]
        mailbox._loop.call_soon_threadsafe(lambda: mailbox._loop.create_task(mailbox._release(ids)))
