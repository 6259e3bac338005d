"""The handle on a mailbox in a JetStream stream."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial, wraps
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, cast
from uuid import UUID

from ...contract.archive import Page, Remembered, Section, WholeMessage
from ...contract.arguments import Options, PreparedMessage
from ...contract.companions import Unless
from ...contract.errors import MailboxError, StorageFullError
from ...contract.ids import new_id
from ...contract.location import Location, require_name
from ...contract.values import DeadLetter, MailboxStats, MessageRecord, MessageStatus, StorageReport
from ...core import archive, dead_letters, verbs
from ..base import AckFirst, EmbeddedMailbox, Enqueued
from ..notifier import HOLDER_CHECK, ClaimAttempt, Listener, claim_or_wait
from . import codec, origin
from .cleaning import counts, store_parts
from .codec import Op
from .errors import CHANGED, NoStreamError, RefusedError, WipedError
from .link import Link
from .liveness import add_holder, remove_holder
from .location import address_of, name_of, parse, token_of
from .replica import Replica, gone_call, release_call
from .state import DIED, RELEASED, Acked, Claimed, NotAdmitted, Stored
from .writer import Call, Step

_BEATS_IN_LEASE: Final = 3

_GOODBYE: Final = 5.0
"""Seconds within which a handle that is closed gives back what it holds."""

_ELECTION: Final = 15
"""Seconds more while there is a connection: servers that have lost their leader elect one after 4 to 9
(``minElectionTimeoutDefault`` and ``maxElectionTimeoutDefault`` of nats-server's ``raft.go``)."""

_HOLDER_BITS: Final = 62


_Arguments = ParamSpec("_Arguments")
_Given = TypeVar("_Given")


def _under_way(
    hook: Callable[Concatenate[JetStreamMailbox, _Arguments], Coroutine[Any, Any, _Given]],
) -> Callable[Concatenate[JetStreamMailbox, _Arguments], Coroutine[Any, Any, _Given]]:
    """A call for whose end ``close`` waits."""

    @wraps(hook)
    async def counted(mailbox: JetStreamMailbox, /, *args: _Arguments.args, **named: _Arguments.kwargs) -> _Given:
        mailbox._enter_call()
        try:
            return await hook(mailbox, *args, **named)
        finally:
            mailbox._leave_call()

    return counted


class JetStreamMailbox(EmbeddedMailbox):
    """A handle on a mailbox in a stream of a NATS server or cluster, which any number of programs may use at once.

    The stream is the mailbox's log. A commit is one message in it; a handle that takes messages out, or observes,
    follows it. A handle that only enqueues follows nothing.
    """

    def __init__(self, name: str, options: Options, link: Link, number: int) -> None:
        super().__init__(name, options)
        self._link = link
        self._replica = Replica.acquire(link, name)
        self._listener = Listener(self._loop)
        self._number = number
        """Its identity as a holder."""
        self._has_claimed = False
        self._beat: asyncio.TimerHandle | None = None
        self._calls = 0
        self._idle: asyncio.Future[None] | None = None
        self._wipes = self._opened_on = link.wipes

    # -- a database ----------------------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, location: str, scheme: str, rest: str) -> Location:
        return parse(location, scheme, rest)

    @classmethod
    async def open_at(cls, location: Location, options: Options) -> Self:
        name = require_name(location)
        link = await Link.acquire(address_of(location), location.connect)
        try:
            await _note_name(link, name)
            return cls(name, options, link, await origin.new_number(_HOLDER_BITS))
        except BaseException:
            await link.release()
            raise

    @classmethod
    async def list_at(cls, location: Location) -> list[str]:
        try:
            link = await Link.acquire(address_of(location), location.connect, create=False)
        except NoStreamError:
            return []
        try:

            async def tokens() -> set[str]:
                named = {subject.rpartition(".")[2] for subject in await counts(link, f"{link.stream}.n.*")}
                return named | {subject.split(".")[-2] for subject in await counts(link, f"{link.stream}.m.*.in")}

            with link.told_as("the names of the mailboxes"):
                names: set[str] = await link.patiently(tokens, "the names of the mailboxes")
        finally:
            await link.release()
        return sorted(name for token in names if (name := name_of(token)) is not None)

    @classmethod
    async def delete_at(cls, location: Location, unless: Unless | None = None) -> bool:
        name = require_name(location)
        try:
            link = await Link.acquire(address_of(location), location.connect, create=False)
        except NoStreamError:
            return False
        try:
            replica = Replica.acquire(link, name)
            try:
                with link.told_as(f"deleting the mailbox {name!r}"):
                    return await _delete(link, replica, unless)
            finally:
                await replica.release()
        finally:
            await link.release()

    @property
    def _database(self) -> Hashable:
        return self._link

    @property
    def _place(self) -> Hashable:
        return (self._link.stream, self._link.created, self.name)  # however the server's address is written

    @property
    def _away_since(self) -> datetime | None:
        return self._link.away_since

    # -- calls ---------------------------------------------------------------------------------------------------------

    @_under_way
    async def _submit(self, call: Call, *, follow: bool = True) -> Any:
        """What a call gives."""
        try:
            if follow:
                self._check_wiped()
                call.follows = True
            return await self._replica.submit(call)
        except WipedError:
            self._wipes = self._link.wipes
            raise

    async def _change(self, op: Op, *fields: int | UUID | str | None, ids: Iterable[UUID] = ()) -> Any:
        body = codec.pack_fields(*fields) + codec.encode_ids(ids)
        return _last(await self._submit(Call(*codec.encode_pieces(op, body, self._room))))

    async def _look(self) -> None:
        """Returns when all that was committed before is in the state."""
        await self._submit(Call(codec.encode_command(Op.MARK)))

    async def _follow(self) -> None:
        if self._replica.following:
            self._replica.check()  # it may have come to an end since
        else:
            await self._replica.follow()
        self._check_wiped()

    def _check_wiped(self) -> None:
        if self._wipes != self._link.wipes:
            self._wipes = self._link.wipes
            raise WipedError(self._link.stream)

    def _enter_call(self) -> None:
        self._calls += 1

    def _leave_call(self) -> None:
        self._calls -= 1
        if not self._calls and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    # -- storing -------------------------------------------------------------------------------------------------------

    def _with_id(self, message: PreparedMessage) -> PreparedMessage:
        if message.message_id is not None:
            return message
        return message._replace(message_id=new_id())

    async def _enqueue(self, messages: list[PreparedMessage], sent_on: UUID | None = None) -> Enqueued:
        self._check_wiped()
        stored = [self._with_id(message) for message in messages]
        ids = [cast(UUID, message.message_id) for message in stored]
        call = Call(stores=len(stored), informed=[self._listener])
        if self._observer is None:
            call.answer = lambda: Stored(ids, None)
        self._set_messages(call, stored, sent_on)
        try:
            result = await self._submit(call, follow=self._observer is not None)
        except StorageFullError:
            self._replica.make_room()
            raise
        depth = max((each.depth for each in _each(result) if each.depth is not None), default=None)
        return Enqueued(ids, depth)

    def _set_messages(self, call: Call, messages: list[PreparedMessage], sent_on: UUID | None) -> None:
        """Lets a call bring messages: in as many commands as they need."""
        batches = self._batches(messages)
        token, link = self._replica.token, self._link
        if all(codec.size_of(*batch) <= self._room for batch in batches):
            call.pieces = [
                codec.encode_command(Op.ENQUEUE, codec.encode_messages(batch, sent_on=sent_on)) for batch in batches
            ]
            return

        async def prepare() -> list[bytes]:
            pieces = []
            async with link.space.taking(
                codec.size_of(*messages), len(messages)
            ):  # all of it, before parts of any are stored
                for batch in batches:
                    parts: tuple[int, ...] = ()
                    if codec.size_of(*batch) > self._room:
                        parts = await store_parts(link, token, codec.bytes_of(batch))
                    pieces.append(codec.encode_command(Op.ENQUEUE, codec.encode_messages(batch, parts, sent_on)))
            return pieces

        call.prepare = prepare

    @property
    def _room(self) -> int:
        return self._link.room

    def _batches(self, messages: list[PreparedMessage]) -> list[list[PreparedMessage]]:
        """Messages by the stream messages that they fit in; one that fits in none is alone."""
        batches: list[list[PreparedMessage]] = [[]]
        left = self._room
        for message in messages:
            size = codec.size_of(message)
            if size > left and batches[-1]:
                batches.append([])
                left = self._room
            batches[-1].append(message)
            left -= size
        return batches

    @_under_way
    async def _ack_and_send(
        self, message_id: UUID, sends: list[tuple[EmbeddedMailbox, PreparedMessage]]
    ) -> list[int | None] | None:
        mine = self._replica.token
        tokens: list[str] = []
        """Of the target of each message."""
        targets: set[JetStreamMailbox] = set()
        messages: dict[str, list[PreparedMessage]] = {}
        last, token = None, ""
        for target, message in sends:
            if target is not last:  # many may go to one
                assert isinstance(target, JetStreamMailbox)
                last, token = target, target._replica.token
                targets.add(target)
                to = messages.setdefault(token, [])
            tokens.append(token)
            to.append(message if message.message_id is not None else self._with_id(message))
        informed = {token: [each._listener for each in targets if each._replica.token == token] for token in messages}

        def command(token: str, parts: Sequence[int] = ()) -> bytes:
            sent_on = message_id if token == mine else None
            body = codec.encode_messages(messages[token], parts, sent_on)
            return codec.encode_command(Op.ENQUEUE, body, for_target=token != mine)

        def commands(parts: dict[str, tuple[int, ...]]) -> tuple[bytes, dict[str, bytes]]:
            made = {token: command(token, parts.get(token, ())) for token in messages}
            return made.pop(mine, b""), made

        async def store() -> tuple[bytes, dict[str, bytes]]:
            async with self._link.space.taking(size, len(sends)):  # all of it, before parts of any are stored
                return commands(
                    {
                        token: await store_parts(self._link, token, codec.bytes_of(of_token))
                        for token, of_token in messages.items()
                    }
                )

        try:
            await self._follow()
            for target in targets:
                if target._observer is not None:
                    await target._follow()
            size = sum(codec.size_of(*of_token) for of_token in messages.values())
            large = size > self._room
            own, others = (b"", {}) if large else commands({})
            if large:
                others = {token: b"" for token in messages if token != mine}
            parts = store if large else None
            step = Step(self._number, message_id, own, others, informed, parts, stores=len(sends))
            depths = await self._replica.submit(step)
        except WipedError:
            self._wipes = self._link.wipes
            raise
        return None if depths is None else [depths[token] for token in tokens]

    async def _redrive(self, message_id: UUID) -> int | None:
        call = Call(codec.encode_command(Op.REDRIVE, message_id.bytes), informed=[self._listener])
        depth: int | None = await self._submit(call)
        return depth

    # -- claiming and giving back --------------------------------------------------------------------------------------

    @_under_way
    async def _claim(self, limit: int, wait: float, ack: AckFirst | None = None) -> list[MessageRecord]:
        replica = self._replica
        claimed: list[UUID] = []
        first = True

        async def claim() -> list[MessageRecord]:
            nonlocal ack, first
            how = 0 if ack is None else 2 if ack.held_only else 1
            absences = self._link.absences
            most = min(self._options.max_deliveries or 0, 1 << 31)
            lease = min(int(self._options.lease * 1000) or 1, 1 << 40)
            ids = b"" if ack is None else codec.encode_ids(ack.ids)

            def body(witnesses: int) -> bytes:
                return codec.pack_fields(self._number, min(limit, 1 << 31), most, lease, how, witnesses) + ids

            result: Claimed | NotAdmitted = NotAdmitted()
            elsewhere: list[UUID] = []
            while isinstance(result, NotAdmitted) or elsewhere:
                call = self._call_with_marks(Op.CLAIM, body, elsewhere)
                call.claims_for, call.on_orphan = self._number, self._give_back_orphans
                try:
                    result = _last(await replica.submit(call))
                except BaseException:
                    call.give_back()
                    raise
                elsewhere = [] if isinstance(result, NotAdmitted) else result.elsewhere
            first = False
            if absences != self._link.absences:  # the page was left meanwhile, and what was claimed before went back
                await replica.barrier()
                held = replica.log.held_by(self._number)
                result = result._replace(records=[record for record in result.records if record.id in held])
            claimed[:] = [record.id for record in result.records]
            if result.records:
                self._hold()
            if ack is not None:
                if ack.on_commit is not None:
                    ack.on_commit(result.acked)
                ack = None
            records, lost = await replica.bodies.records(result.records)
            for record in lost:
                await self._bury(record.id, "its bytes are gone from the stream: somebody has deleted them")
            return records

        async def attempt() -> ClaimAttempt:
            await self._follow()
            await replica.recover(self._number)
            state, now = replica.log.store.state, replica.now
            records: list[MessageRecord] = []
            if first or state.queued > state.delayed(now):
                records = await claim()
            state = replica.log.store.state
            again = HOLDER_CHECK if not records and state.others_hold(self._number) else None
            return ClaimAttempt(records, self._local_due(), again, more=bool(records) and state.queued > 0)

        self._has_claimed = True
        add_holder(self._number, self._loop)
        replica.writer.holders.add(self._number)
        try:
            return await claim_or_wait(self._link.notifier, self.name, self._listener, attempt, wait)
        except BaseException as error:
            if isinstance(error, WipedError):
                self._wipes = self._link.wipes
            elif claimed:
                replica.submit_quietly(self._release_call(claimed), first=True)
            raise

    def _call_with_marks(self, op: Op, body: Callable[[int], bytes], elsewhere: list[UUID]) -> Call:
        """A call that acknowledges; with marks on the subjects of the others who hold something of that."""
        log = self._replica.log
        others = {holder for message_id in elsewhere if (holder := log.holder_of(message_id)) is not None}
        others.discard(self._number)
        *more, command = codec.encode_pieces(op, body(len(others)), self._room)
        call = Call(*more, *[codec.encode_command(Op.MARK)] * len(others), command)
        if others:
            own = None if self._number in log.fences else self._number
            call.vias = [*[own] * len(more), *others, own]
        return call

    def _give_back_orphans(self, results: Any) -> None:
        result: Claimed | NotAdmitted = _last(results)
        if isinstance(result, Claimed) and result.records:
            # before a claim that was made meanwhile: it gets the oldest
            self._replica.submit_quietly(self._release_call([record.id for record in result.records]), first=True)

    def _release_call(self, ids: Iterable[UUID]) -> Call:
        return release_call(self._link, self._number, ids)

    async def _release(self, ids: list[UUID]) -> None:
        await self._submit(self._release_call(ids))

    async def _ack(self, ids: list[UUID]) -> int:
        return await self._ack_in(ids, held_only=False)

    async def _ack_held(self, ids: list[UUID]) -> int:
        return await self._ack_in(ids, held_only=True)

    @_under_way
    async def _ack_in(self, ids: list[UUID], held_only: bool) -> int:
        def body(witnesses: int) -> bytes:
            return codec.pack_fields(self._number, held_only, witnesses) + codec.encode_ids(ids)

        elsewhere: list[UUID] = []
        while True:
            result: Acked = _last(await self._submit(self._call_with_marks(Op.ACK, body, elsewhere)))
            elsewhere = result.elsewhere
            if not elsewhere:
                return result.acked

    async def _nack(self, message_id: UUID, delay_ms: int, error: str | None, failed: bool) -> bool | str:
        most = min(self._options.max_deliveries or 0, 1 << 31)
        nacked: bool | str = await self._change(Op.NACK, self._number, most, delay_ms, failed, message_id, error)
        return nacked

    async def _bury(self, message_id: UUID, reason: str) -> bool:
        buried: bool = await self._change(Op.BURY, self._number, message_id, reason)
        return buried

    @_under_way
    async def _recover(self) -> int:
        await self._look()
        return await self._replica.recover(self._number, patiently=True)

    # -- looking and deleting ------------------------------------------------------------------------------------------

    async def _count(self) -> MailboxStats:
        await self._look()
        return verbs.count(self._replica.log.store, self._replica.log.now)

    async def _next_due(self) -> int | None:
        await self._follow()
        return self._local_due()

    def _local_due(self) -> int | None:
        due = self._replica.log.store.state.next_due
        return None if due is None else self._replica.local(due)

    @_under_way
    async def _peek(self, limit: int, status: MessageStatus | None, offset: int) -> list[MessageRecord]:
        await self._look()
        log = self._replica.log
        records, _ = await self._replica.bodies.records(verbs.peek(log.store, limit, status, offset, log.now))
        return records

    @_under_way
    async def _get(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        await self._look()
        log = self._replica.log
        found = verbs.get(log.store, message_id, log.now)
        if isinstance(found, DeadLetter):
            return (await self._replica.bodies.letters([found]))[0]
        if found is None:
            return None
        records, _ = await self._replica.bodies.records([found])
        return records[0] if records else None

    @_under_way
    async def _list_dead_letters(self, limit: int, offset: int) -> list[DeadLetter]:
        await self._look()
        letters = dead_letters.list_dead_letters(self._replica.log.store, limit, offset)
        return await self._replica.bodies.letters(letters)

    async def _discard(self, message_id: UUID) -> bool:
        discarded: bool = await self._change(Op.DISCARD, message_id)
        return discarded

    async def _promote(self, ids: list[UUID] | None) -> int:
        promoted: int = await self._change(Op.PROMOTE, ids is None, ids=ids or ())
        return promoted

    async def _purge(self) -> int:
        purged: int = await self._change(Op.PURGE)
        return purged

    # -- export and import ---------------------------------------------------------------------------------------------

    @_under_way
    async def _read_section(self, section: Section, after: int, until: int | None) -> Page:
        await self._look()
        page = archive.read_section(self._replica.log.store, section, after, until)
        return page._replace(messages=await self._replica.bodies.whole(page.messages))

    async def _adopt(self, messages: Sequence[WholeMessage]) -> tuple[list[bool], int | None]:
        link, token = self._link, self._replica.token
        call = Call(stores=len(messages), informed=[self._listener])
        small = sum(whole.size for whole in messages) <= self._room
        if small and len(body := codec.encode_whole(messages)) <= self._room:
            call.pieces = [codec.encode_command(Op.ADOPT, body)]
        else:

            async def prepare() -> list[bytes]:
                data = codec.bytes_of_whole(messages)
                async with link.space.taking(len(data), len(messages)):
                    parts = await store_parts(link, token, data)
                return codec.encode_pieces(Op.ADOPT, codec.encode_whole(messages, parts), self._room)

            call.prepare = prepare
        adopted: tuple[list[bool], int | None] = _last(await self._submit(call))
        return adopted

    async def _read_remembered(self, after: UUID | None) -> list[Remembered]:
        await self._look()
        return archive.read_remembered(self._replica.log.store, after)

    async def _remember(self, ids: Sequence[Remembered]) -> None:
        await self._change(Op.REMEMBER, *(field for known in ids for field in known))

    # -- the storage ---------------------------------------------------------------------------------------------------

    @_under_way
    async def _storage_report(self) -> StorageReport:
        async def info() -> Any:
            return await self._link.api(f"STREAM.INFO.{self._link.stream}")

        with self._link.told_as("the size of the stream"):
            there = await self._link.patiently(info, "the size of the stream")
        most = there["config"]["max_bytes"]
        return StorageReport(
            self._options.durability,
            persistent=True,
            usage=there["state"]["bytes"],
            quota=most if most > 0 else None,
            wiped=self._link.wipes != self._opened_on,
        )

    async def _request_persistence(self) -> bool:
        return True

    # -- the handle ----------------------------------------------------------------------------------------------------

    def _hold(self) -> None:
        """It holds something: signs of life are due."""
        if self._beat is None:
            self._beat = self._loop.call_later(self._options.lease / _BEATS_IN_LEASE, _beat, weakref.ref(self))

    async def _release_and_close(self) -> None:
        self._listener.close()
        self._link.notifier.observe(self.name, self._listener, None)
        self._link.notifier.listen_to_changes(self.name, self._listener, None)
        if self._beat is not None:
            self._beat.cancel()
        try:
            if self._calls:
                self._idle = self._loop.create_future()
                await self._idle
            if self._may_hold:
                await self._give_back()
        finally:
            self._forget()
            await self._replica.release()
            await self._link.release()

    async def _give_back(self) -> None:
        """Everything it holds; if no server answers in time, its lease does it."""
        call = Call(codec.encode_command(Op.RELEASE_ALL, codec.pack_fields(self._number)))
        given_back = self._replica.submit_quietly(call)
        if given_back is None:
            return
        for pause in (_GOODBYE, *[1.0] * _ELECTION):
            await asyncio.wait([given_back], timeout=pause)
            if given_back.done() or not self._link.is_connected or self._replica.broken is not None:
                break
        if not given_back.cancel():
            with suppress(MailboxError):
                given_back.result()

    @property
    def _may_hold(self) -> bool:
        replica = self._replica
        if not self._has_claimed or replica.broken is not None:
            return False
        return not replica.writer.is_settled or self._number in replica.log.store.state.holders.by_number

    def _on_life_over(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._link.on_leave.add(callback)
        return partial(self._link.on_leave.discard, callback)

    def _forget(self) -> None:
        self._replica.writer.holders.discard(self._number)
        remove_holder(self._number)

    def _abandon(self) -> None:
        self._go(RELEASED)

    def _leave_as_dead(self) -> None:
        self._listener.close()
        if self._beat is not None:
            self._beat.cancel()
        self._go(DIED)

    def _go(self, how: int) -> None:
        if os.getpid() != self._process:
            return  # a forked child has no part in it
        self._listener.gone = True
        if self._loop.is_closed():  # others of this process find that out
            self._link.drop()
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_say_gone, self._link, self._replica, self._number, how, self._has_claimed)

    # -- listening -----------------------------------------------------------------------------------------------------

    def _observing(self) -> None:
        self._link.notifier.observe(self.name, self._listener, None if self._observer is None else self._observe)
        if self._observer is not None:
            self._replica.observe_from_now(self._listener)
            self._replica.spawn(_follow(self._replica))

    def _observing_changes(self) -> None:
        on_change = self._on_change if self._change_listeners else None
        self._link.notifier.listen_to_changes(self.name, self._listener, on_change)
        if on_change is not None:
            self._replica.spawn(_follow(self._replica))


async def _follow(replica: Replica) -> None:
    with suppress(MailboxError):  # the next verb says it
        await replica.follow()


def _beat(reference: weakref.ref[JetStreamMailbox]) -> None:
    """A sign of life of a handle that holds something."""
    mailbox = reference()
    if mailbox is None:
        return
    mailbox._beat = None
    if mailbox._number in mailbox._replica.log.store.state.holders.by_number:
        mailbox._replica.beat(mailbox._number)
        mailbox._hold()


def _say_gone(link: Link, replica: Replica, number: int, how: int, has_claimed: bool) -> None:
    async def say() -> None:
        try:
            if has_claimed and replica.broken is None:
                with suppress(MailboxError):
                    await replica.submit(gone_call(number, how))
        finally:
            replica.writer.holders.discard(number)
            remove_holder(number)
            await replica.release()
            await link.release()

    task = link.loop.create_task(say())
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)


_leaving: set[asyncio.Task[None]] = set()
"""Handles that say that they are gone."""


def _last(result: Any) -> Any:
    """Of the last piece of a call."""
    return result[-1] if isinstance(result, list) else result


def _each(result: Any) -> list[Any]:
    return result if isinstance(result, list) else [result]


async def _note_name(link: Link, name: str) -> None:
    """Makes a mailbox that is not there."""
    subject = f"{link.stream}.n.{token_of(name)}"

    async def note() -> None:
        try:
            await link.publish(subject, name.encode(), {"Nats-Expected-Last-Subject-Sequence": "0"})
        except RefusedError as error:
            if error.code not in CHANGED:
                raise

    try:
        await link.patiently(note, f"opening the mailbox {name!r}")
    except RefusedError as error:
        raise error.meaning(f"opening the mailbox {name!r}") from error


async def _delete(link: Link, replica: Replica, unless: Unless | None) -> bool:
    condition = () if unless is None else (unless.message_id, int(unless.held_only))
    subject = f"{link.stream}.n.{replica.token}"
    deleting = f"deleting the mailbox {replica.name!r}"

    async def is_named() -> bool:
        return bool(await counts(link, subject))

    async def forget_name() -> None:
        await link.api(f"STREAM.PURGE.{link.stream}", {"filter": subject})

    there: bool = await link.patiently(is_named, deleting)
    await replica.barrier()
    # first: who opens the mailbox when it is deleted makes it again
    await link.patiently(forget_name, deleting)
    while True:
        holders = list(replica.log.store.state.holders.by_number)
        reset = Call()
        reset.pieces = [
            *(codec.encode_command(Op.GONE, codec.pack_fields(holder, RELEASED, *condition)) for holder in holders),
            codec.encode_command(Op.RESET, codec.pack_fields(*condition)),
        ]
        reset.vias = [*holders, None]
        was_there: bool | None = _last(await replica.submit(reset))
        if was_there is None:
            await _note_name(link, replica.name)
            return False
        there |= was_there
        if not replica.log.store.state.holders.by_number:
            break
    # whoever follows from now on begins behind it, and has the same state as who has followed all along
    await replica.write_snapshot()
    return there
