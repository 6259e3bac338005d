"""The handle on a mailbox in a SQLite file."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import Self, TypeVar
from uuid import UUID

from ...contract.archive import Page, Remembered, Section, WholeMessage
from ...contract.arguments import Options, PreparedMessage
from ...contract.companions import Unless
from ...contract.errors import MailboxError, StorageCorruptError
from ...contract.location import IN_PYODIDE, Location, require_name
from ...contract.values import DeadLetter, MailboxStats, MessageRecord, MessageStatus, StorageReport
from ...runtime.turns import take_turn_if_due
from ..base import AckFirst, EmbeddedMailbox, Enqueued
from ..notifier import HOLDER_CHECK, ClaimAttempt, Listener, claim_or_wait
from . import claiming, compacting, copying, mending, read_only, rows, verbs
from .database import Database
from .engine import Access, FileReplacedError
from .headroom import size_with_log
from .liveness import Holder
from .schema import is_write_protected
from .session import Session

_T = TypeVar("_T")

_RECOVERY_INTERVAL = 1.0
"""Seconds after which a handle looks for gone holders even if it keeps finding messages."""


_FEW = 32
"""The most messages that an inline call may touch."""

_SMALL = 64 * 1024
"""The most bytes that an inline call may store."""

_MENDED_AT_MOST = 3
"""Attempts to mend the same damage; another program may have caused it again."""


class SqliteMailbox(EmbeddedMailbox):
    """A handle on a mailbox in a SQLite file, which any number of threads and processes may use at once.

    Its event loop never waits for another program, nor longer than half a millisecond for a disk (except in Pyodide,
    where no thread can start). Claims and acknowledgements of few messages, nacks and counts, and enqueues of few small
    messages on a ``relaxed`` handle, which cost some microseconds in the system's cache, run in the loop's own thread
    while nothing else is under way; everything else runs in another thread. Enqueues of few small messages on a
    ``strict`` handle run in the loop's thread too, except for the commit, which the other thread does; the loop waits
    that half a millisecond for it, as long as the disk is quick enough at least every other time.
    """

    def __init__(self, name: str, options: Options, database: Database) -> None:
        super().__init__(name, options)
        self._file = database
        self._keeps_loop = database.keeps_loop
        self._holder = Holder(database.liveness, name, self._loop, options.max_deliveries, options.lease)
        self._listener = Listener(self._loop)
        self._storing = Access.DURABLE_WRITE if options.durability == "strict" else Access.WRITE
        self._recovered_at = time.monotonic()
        self._replaced = self._opened_on = database.engine.replaced
        database.liveness.add(self._holder)

    @classmethod
    async def open_at(cls, location: Location, options: Options) -> Self:
        name = require_name(location)
        database = Database.acquire(location.database)
        try:

            def fill_and_recover(session: Session) -> int:
                session.mailbox_to_fill(name).sweep(everything=True)
                database.liveness.sweep(session)
                return claiming.recover(session, name, None, database.liveness)

            try:
                recovered = await database.run(fill_and_recover, Access.WRITE)
            except rows.UnreadableError as error:
                recovered = await _mend_and_run(database, name, error, fill_and_recover, Access.WRITE)
            await take_turn_if_due()
            mailbox = cls(name, options, database)
        except BaseException:
            database.release_soon()
            raise
        mailbox._announce(recovered)
        return mailbox

    @classmethod
    async def list_at(cls, location: Location) -> list[str]:
        if not _holds_something(location.database):
            return []
        if is_write_protected(location.database):
            return read_only.names_in(location.database)
        return await cls._run_once(location, verbs.mailbox_names, Access.READ)

    @classmethod
    async def delete_at(cls, location: Location, unless: Unless | None = None) -> bool:
        name = require_name(location)
        if not _holds_something(location.database):
            return False
        return await cls._run_once(
            location, partial(verbs.delete_mailbox, name=name, unless=unless), Access.DURABLE_WRITE
        )

    @classmethod
    async def backup_at(cls, location: Location, path: str) -> None:
        await copying.copy(location.database, path)

    @classmethod
    async def compact_at(cls, location: Location) -> int:
        return await compacting.compact(location.database)

    @staticmethod
    async def _run_once(location: Location, operation: Callable[[Session], _T], access: Access) -> _T:
        """Runs a call on a file that need not be open, and then releases the file."""
        database = Database.acquire(location.database)
        try:
            result = await database.run(operation, access)
        except BaseException:
            database.release_soon()
            raise
        await database.release()
        await take_turn_if_due()
        return result

    @property
    def _database(self) -> Hashable:
        return self._file

    # -- storing -------------------------------------------------------------------------------------------------------

    def _enqueue(self, messages: list[PreparedMessage], sent_on: UUID | None = None) -> Awaitable[Enqueued]:
        def on_commit(enqueued: Enqueued) -> None:
            self._notify(enqueued.depth, [self._listener], len(messages))

        def enqueue(session: Session) -> Enqueued:
            return verbs.enqueue(session, self.name, messages, sent_on)

        if len(messages) == 1:
            inline_ok = len(messages[0].sender) + len(messages[0].payload) <= _SMALL and not messages[0].dedupe_ms
        else:
            size = sum(len(sender) + len(payload) for sender, payload, *_ in messages[:_FEW])
            inline_ok = len(messages) <= _FEW and size <= _SMALL
        return self._run(enqueue, self._storing, on_commit, inline_ok)

    async def _ack_and_send(
        self, message_id: UUID, sends: list[tuple[EmbeddedMailbox, PreparedMessage]]
    ) -> list[int | None] | None:
        targets = [target for target, _ in sends if isinstance(target, SqliteMailbox)]
        messages: dict[str, list[PreparedMessage]] = {target.name: [] for target in targets}
        for target, (_, message) in zip(targets, sends, strict=True):
            messages[target.name].append(message)

        def ack_and_send(session: Session) -> dict[str, int | None] | None:
            if not verbs.ack_held(session, self.name, self._holder.number, [message_id]):
                return None
            return {
                name: verbs.enqueue(session, name, sent, message_id if name == self.name else None).depth
                for name, sent in messages.items()
            }

        def on_commit(depths: dict[str, int | None] | None) -> None:
            excluded = [target._listener for target in targets]
            for name, depth in (depths or {}).items():
                if depth is not None:
                    self._file.notifier.notify(name, depth, excluded, len(messages[name]))

        storing = max(self._storing, *(target._storing for target in targets)) if targets else Access.WRITE
        depths = await self._run(ack_and_send, storing, on_commit=on_commit)
        return None if depths is None else [depths[target.name] for target in targets]

    async def _redrive(self, message_id: UUID) -> int | None:
        def on_commit(depth: int | None) -> None:
            self._notify(depth, [self._listener])

        redrive = partial(verbs.redrive, name=self.name, message_id=message_id)
        return await self._run(redrive, self._storing, on_commit)

    async def _redrive_many(self, ids: Sequence[UUID]) -> list[bool]:
        """As ``redrive`` of each, in one transaction and one call; for the command line."""

        def redrive(session: Session) -> list[int | None]:
            return [verbs.redrive(session, self.name, message_id) for message_id in ids]

        def on_commit(depths: list[int | None]) -> None:
            self._notify(max((depth for depth in depths if depth is not None), default=None), [self._listener])

        depths = await self._run(redrive, self._storing, on_commit=on_commit)
        return [depth is not None for depth in depths]

    # -- claiming and giving back --------------------------------------------------------------------------------------

    async def _claim(self, limit: int, wait: float, ack: AckFirst | None = None) -> list[MessageRecord]:
        claimed: list[UUID] = []
        attempting = False

        def release(session: Session) -> int:
            return claiming.release(session, self.name, self._holder.number, claimed)

        def claim(session: Session, recover: bool, ack: AckFirst | None) -> claiming.ClaimResult:
            acked = 0 if ack is None else self._ack_in(session, ack.ids, ack.held_only)
            result = claiming.claim(session, self.name, self._holder, limit, self._file.liveness, recover, acked)
            claimed[:] = [record.id for record in result.records]
            return result

        def on_commit(result: claiming.ClaimResult) -> None:
            self._announce(result.recovered)

        async def claim_once() -> claiming.ClaimResult:
            nonlocal attempting, ack
            now = time.monotonic()
            recover = now >= self._recovered_at + _RECOVERY_INTERVAL
            if recover:
                self._recovered_at = now
            # the first claim takes this process's lock, which may require making a file
            inline_ok = limit <= _FEW and self._holder.has_held and not recover
            inline_ok = inline_ok and (ack is None or len(ack.ids) <= _FEW)
            operation = partial(claim, recover=recover, ack=ack)
            attempting = True
            result = await self._run(operation, Access.WRITE, on_commit, inline_ok)
            attempting = False
            if ack is not None and ack.on_commit is not None:
                ack.on_commit(result.acked)
            ack = None
            return result

        async def attempt() -> ClaimAttempt:
            result = await claim_once()
            again = HOLDER_CHECK if result.others_hold else None
            return ClaimAttempt(result.records, result.next_due, again, result.more)

        try:
            if not wait:
                return (await claim_once()).records
            return await claim_or_wait(self._file.notifier, self.name, self._listener, attempt, wait)
        except BaseException as error:
            # cancelled during an attempt, or an exception from a signal handler, even after it has returned
            if claimed or (attempting and not isinstance(error, MailboxError)):
                self._file.start(release, Access.WRITE, self._announce)
            raise

    async def _release(self, ids: list[UUID]) -> None:
        release = partial(claiming.release, name=self.name, holder=self._holder.number, ids=ids)
        await self._run(release, Access.WRITE, on_commit=self._announce)

    def _ack(self, ids: list[UUID]) -> Awaitable[int]:
        def ack(session: Session) -> int:
            return verbs.ack(session, self.name, ids)

        return self._run(ack, Access.WRITE, inline_ok=len(ids) <= _FEW)

    def _ack_held(self, ids: list[UUID]) -> Awaitable[int]:
        ack_held = partial(self._ack_in, ids=ids, held_only=True)
        return self._run(ack_held, Access.WRITE, inline_ok=len(ids) <= _FEW)

    def _ack_in(self, session: Session, ids: list[UUID], held_only: bool) -> int:
        if held_only:
            return verbs.ack_held(session, self.name, self._holder.number, ids)
        return verbs.ack(session, self.name, ids)

    async def _nack(self, message_id: UUID, delay_ms: int, error: str | None, failed: bool) -> bool | str:
        def nack(session: Session) -> bool | str:
            return claiming.nack(session, self.name, self._holder, message_id, delay_ms, error, failed)

        def on_commit(nacked: bool | str) -> None:
            self._announce(nacked is True)

        return await self._run(nack, self._giving_up, on_commit=on_commit, inline_ok=True)

    async def _bury(self, message_id: UUID, reason: str) -> bool:
        bury = partial(claiming.bury, name=self.name, holder=self._holder.number, message_id=message_id, reason=reason)
        return await self._run(bury, self._storing)

    async def _recover(self) -> int:
        recover = partial(claiming.recover, name=self.name, me=self._holder.number, liveness=self._file.liveness)
        return await self._run(recover, Access.WRITE, on_commit=self._announce)

    @property
    def _giving_up(self) -> Access:
        """What a nack needs: it may make a dead letter."""
        return Access.WRITE if self._options.max_deliveries is None else self._storing

    # -- looking and deleting ------------------------------------------------------------------------------------------

    async def _count(self) -> MailboxStats:
        return await self._run(partial(verbs.count, name=self.name), Access.READ, inline_ok=True)

    async def _next_due(self) -> int | None:
        return await self._run(partial(verbs.next_due, name=self.name), Access.READ, inline_ok=True)

    async def _peek(self, limit: int, status: MessageStatus | None, offset: int) -> list[MessageRecord]:
        peek = partial(verbs.peek, name=self.name, limit=limit, status=status, offset=offset)
        return await self._run(peek, Access.READ)

    async def _get(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        get = partial(verbs.get, name=self.name, message_id=message_id)
        return await self._run(get, Access.READ, inline_ok=True)

    async def _list_dead_letters(self, limit: int, offset: int) -> list[DeadLetter]:
        list_dead_letters = partial(verbs.list_dead_letters, name=self.name, limit=limit, offset=offset)
        return await self._run(list_dead_letters, Access.READ)

    async def _discard(self, message_id: UUID) -> bool:
        return await self._run(partial(verbs.discard, name=self.name, message_id=message_id), Access.WRITE)

    async def _discard_many(self, ids: Sequence[UUID]) -> list[bool]:
        """As ``discard`` of each, in one transaction; for the command line."""

        def discard(session: Session) -> list[bool]:
            return [verbs.discard(session, self.name, message_id) for message_id in ids]

        return await self._run(discard, Access.WRITE)

    async def _promote(self, ids: list[UUID] | None) -> int:
        promote = partial(verbs.promote, name=self.name, ids=ids)
        return await self._run(promote, Access.WRITE, on_commit=self._announce)

    async def _purge(self) -> int:
        return await self._run(partial(verbs.purge, name=self.name), Access.WRITE)

    async def _read_section(self, section: Section, after: int, until: int | None) -> Page:
        read_section = partial(verbs.read_section, name=self.name, section=section, after=after, until=until)
        return await self._run(read_section, Access.READ)

    async def _adopt(self, messages: Sequence[WholeMessage]) -> tuple[list[bool], int | None]:
        def on_commit(filled: tuple[list[bool], int | None]) -> None:
            self._notify(filled[1], [self._listener], len(messages))

        adopt = partial(verbs.adopt, name=self.name, messages=messages)
        return await self._run(adopt, self._storing, on_commit)

    async def _read_remembered(self, after: UUID | None) -> list[Remembered]:
        return await self._run(partial(verbs.read_remembered, name=self.name, after=after), Access.READ)

    async def _remember(self, ids: Sequence[Remembered]) -> None:
        await self._run(partial(verbs.remember, name=self.name, ids=ids), self._storing)

    # -- the storage ---------------------------------------------------------------------------------------------------

    async def _storage_report(self) -> StorageReport:
        await self._run(partial(verbs.count, name=self.name), Access.READ)  # this finds out whether the file is gone
        usage = size_with_log(self._file.file)
        wiped = self._file.engine.replaced != self._opened_on
        return StorageReport(
            self._options.durability, await self._request_persistence(), usage, quota=None, wiped=wiped
        )

    async def _request_persistence(self) -> bool:
        return not IN_PYODIDE  # files are in memory there, unless the page mounts something else

    # -- the handle ----------------------------------------------------------------------------------------------------

    async def _release_and_close(self) -> None:
        def release(session: Session) -> int:
            self._file.liveness.sweep(session)
            released = claiming.release_all(session, self.name, self._holder.number)
            mailbox = session.mailbox(self.name)
            if mailbox is not None:
                mailbox.sweep(everything=True)
            return released

        self._listener.close()
        self._file.notifier.observe(self.name, self._listener, None)
        self._file.notifier.listen_to_changes(self.name, self._listener, None)
        try:
            try:
                await self._file.run(release, Access.WRITE, on_commit=self._announce)
            except rows.UnreadableError as error:
                await _mend_and_run(self._file, self.name, error, release, Access.WRITE, self._announce)
        except FileReplacedError:
            pass  # nothing remains to be given back
        except GeneratorExit:  # its event loop was closed, and nothing can be waited for
            self._file.release_soon(self._holder)
            raise
        finally:
            await self._file.release(self._holder)

    def _abandon(self) -> None:
        if os.getpid() != self._process:
            return  # not a forked child's business
        self._listener.gone = True
        self._file.abandon(self._holder)

    def _leave_as_dead(self) -> None:
        self._file.liveness.note_death(self._holder)
        self._listener.close()
        self._abandon()

    def _observing(self) -> None:
        engine, name = self._file.engine, self.name
        others_observe = self._file.notifier.is_observed(name)
        self._file.notifier.observe(name, self._listener, None if self._observer is None else self._observe)
        if self._observer is None or others_observe:
            return

        def note(number: int) -> None:
            # a call that shared its commit may have stored more by now
            engine.last_stored[name] = max(number, engine.last_stored.get(name, 0))

        self._file.start(partial(verbs.last_stored, name=name), Access.READ, note)

    def _observing_changes(self) -> None:
        on_change = self._on_change if self._change_listeners else None
        self._file.notifier.listen_to_changes(self.name, self._listener, on_change)
        if on_change is not None:
            self._file.watch()

    async def _run(
        self,
        operation: Callable[[Session], _T],
        access: Access,
        on_commit: Callable[[_T], None] | None = None,
        inline_ok: bool = False,
    ) -> _T:
        """As ``Database.run``; if the file was replaced and so far only another handle has reported it, raises once.

        What cannot be read becomes a dead letter, and the call is made again.
        """
        engine = self._file.engine
        if self._replaced != engine.replaced:
            self._replaced = engine.replaced
            raise FileReplacedError(
                f"the mailbox file {self._file.file} was deleted or replaced while it was open. "
                "The next call works with the file that is there now"
            )
        try:
            try:
                return await self._file.run(operation, access, on_commit, inline_ok)
            except rows.UnreadableError as error:
                return await _mend_and_run(self._file, self.name, error, operation, access, on_commit)
        except FileReplacedError:
            self._replaced = engine.replaced
            raise

    def _notify(self, depth: int | None, excluded: list[Listener], count: int = 1) -> None:
        if depth is not None:
            self._file.notifier.notify(self.name, depth, excluded, count)

    def _announce(self, returned: int) -> None:
        """Wakes waiters, if something came back to the queue."""
        if returned:
            self._file.notifier.notify(self.name, None, count=returned)


async def _mend_and_run(
    database: Database,
    name: str,
    damage: rows.UnreadableError,
    operation: Callable[[Session], _T],
    access: Access,
    on_commit: Callable[[_T], None] | None = None,
) -> _T:
    """Turns what cannot be read into dead letters, and then repeats the call that found it.

    Raises:
        StorageCorruptError: the same damage appears again and again.
    """
    mended: Counter[str] = Counter()
    while True:
        mended[str(damage)] += 1
        if mended[str(damage)] > _MENDED_AT_MOST:
            raise StorageCorruptError(
                f"the mailbox {name!r} in {database.file}: {damage}, and it cannot be mended. Restore the file from a "
                "backup; or delete_mailbox() deletes this mailbox, and the others stay"
            ) from damage
        try:
            await database.run(partial(mending.salvage, name=name, damage=damage), Access.DURABLE_WRITE)
            return await database.run(operation, access, on_commit)
        except rows.UnreadableError as another:
            damage = another


def _holds_something(file: str) -> bool:
    """False if there is no file or an empty one: looking must not turn it into a database."""
    try:
        return Path(file).stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # opening it says what is wrong
