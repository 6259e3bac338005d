"""What is committed to one mailbox: one commit is under way at a time, and calls made meanwhile share the next one."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn
from uuid import UUID

from ...contract.errors import MailboxClosedError, MailboxError, StorageCorruptError, StorageFullError
from ..notifier import Listener
from . import codec
from .codec import Commit, Op
from .errors import CHANGED, CutOffError, NotSentError, NotThereError, RefusedError, TimedOutError, WipedError
from .link import PATIENCE, Answer, Link, Piece, failed

if TYPE_CHECKING:
    from .replica import Replica

_MOST_CALLS: Final = 1000
"""Calls that share a commit at most."""

_ATTEMPT: Final = 3.0
"""Seconds after which a commit whose outcome is unknown is sent again."""

_QUIET_ATTEMPT: Final = 0.5
"""Seconds after which a commit that was not heard is sent again, to be answered."""

_LAST_CHANCES: Final = 4
"""Such times for which a commit that was refused may still be heard."""

_PAUSE: Final = 0.05
"""Seconds between two attempts."""

_MOST_PIECES: Final = 1000
"""Of an atomic batch: what the server takes."""


class Call:
    """A call that changes a mailbox."""

    def __init__(
        self,
        *pieces: bytes,
        claims_for: int | None = None,
        via: int | None = None,
        stores: int = 0,
        prepare: Callable[[], Awaitable[list[bytes]]] | None = None,
        informed: list[Listener] | None = None,
        on_orphan: Callable[[Any], None] | None = None,
        on_done: Callable[[Any], None] | None = None,
        on_numbered: Callable[[int], None] | None = None,
    ) -> None:
        self.pieces = list(pieces)
        """What it asks for: several commands if it is too large for one stream message."""
        self.vias: list[int | None] | None = None
        """The holders on whose subjects its pieces have to be, if they differ."""
        self.claims_for = claims_for
        """The holder that it claims for, which has to be admitted."""
        self.via = via
        """The holder on whose subject it has to be."""
        self.stores = stores
        """How many messages it brings."""
        self.prepare = prepare
        """Makes the pieces when it is its turn."""
        self.informed = informed or []
        """Those who learn of the depth otherwise."""
        self.on_orphan = on_orphan
        """Called with what it gave, if nobody waits for that any more."""
        self.on_done = on_done
        self.on_numbered = on_numbered
        """Called with the number of its commit, before that is sent."""
        self.makes_room = False
        """Whether it stores anew what can be purged then: it may use what is kept for acknowledgements."""
        self.follows = False
        """Whether the log has to be followed before it is committed."""
        self.answer: Callable[[], Any] | None = None
        """What it gives, if it need not be heard in the log."""
        self.future: asyncio.Future[Any]

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    @property
    def is_in_parts(self) -> bool:
        """Whether the messages that it brings are stored before its commit."""
        return self.prepare is not None

    @property
    def is_void(self) -> bool:
        """Whether it would claim for nobody: a claim behind it gets what it would have got."""
        return self.claims_for is not None and self.future.cancelled()

    def finish(self, result: Any) -> None:
        if self.on_done is not None:
            self.on_done(result)
        if not self.future.done():
            self.future.set_result(result)
        elif self.on_orphan is not None:
            self.on_orphan(result)

    def give_back(self) -> None:
        """To be called by who was cancelled in the moment in which it was done."""
        future = getattr(self, "future", None)
        if future is None or not future.done() or future.cancelled() or future.exception() is not None:
            return
        if self.on_orphan is not None:
            self.on_orphan(future.result())

    def fail(self, error: BaseException) -> None:
        if self.on_done is not None:
            self.on_done(None)
        if not self.future.done():
            self.future.set_exception(error)


class Step(Call):
    """An acknowledgement with what is sent in its commit."""

    def __init__(
        self,
        holder: int,
        message_id: UUID,
        own: bytes,
        sends: dict[str, bytes],
        informed: dict[str, list[Listener]],
        parts: Callable[[], Awaitable[tuple[bytes, dict[str, bytes]]]] | None = None,
        *,
        stores: int,
    ) -> None:
        settle = codec.encode_command(Op.SETTLE, codec.pack_fields(holder) + message_id.bytes)
        super().__init__(settle, stores=stores)
        self.holder = holder
        self.message_id = message_id
        self.own = own
        """The command that stores what is for the same mailbox; empty if nothing is."""
        self.sends = sends
        """Those for other mailboxes, by their tokens."""
        self.informed_in = informed
        """By the tokens of all mailboxes."""
        self.parts = parts
        """Stores what is too large beforehand; gives ``own`` and ``sends``."""

    @property
    def size(self) -> int:
        return len(self.pieces[0]) + len(self.own) + sum(map(len, self.sends.values()))

    @property
    def is_in_parts(self) -> bool:
        return self.parts is not None

    def can_have_behind_it(self, call: Call, last: Call) -> bool:
        """Whether its commit can have another call in it, behind the last one: a step of its holder's to the same
        mailboxes, or, behind all steps, a claim of its holder's, who is known when a step is stored.
        """
        if not isinstance(call, Step):
            return call.claims_for == self.holder
        is_alike = call.holder == self.holder and call.sends.keys() == self.sends.keys()
        return is_alike and call.parts is None and isinstance(last, Step)


class Sent:
    """A commit that is under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, nonce: bytes) -> None:
        self.nonce = nonce
        self.awaited: set[tuple[int, str]] = set()
        """Numbers of its pieces, with the mailboxes where they are to be heard."""
        self.results: dict[tuple[int, str], list[Any]] = {}
        self.on_known: Callable[[], None] | None = None
        """Called when it is known to be stored and, where it is followed, heard."""
        self.is_known = False
        self.error: BaseException | None = None
        """Why that will never be known."""
        self._loop = loop
        self._informed: dict[tuple[int, str], list[list[Listener]]] = {}
        self._attempt: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_stored = False

    def expect(self, number: int, token: str, informed: list[list[Listener]]) -> None:
        self.awaited.add((number, token))
        self._informed[number, token] = informed

    def heard(self, number: int, token: str, results: list[Any]) -> None:
        if (number, token) in self.awaited:
            self.awaited.discard((number, token))
            self.results[number, token] = results
            if not self.awaited:
                self._know()

    def forget(self, token: str) -> None:
        """Nothing is heard of a mailbox any more."""
        if self.awaited and all(of == token for _, of in self.awaited) and (self.results or self._is_stored):
            self.awaited.clear()
            self._know()
        self.awaited = {(number, of) for number, of in self.awaited if of != token}

    def informed(self, number: int, token: str) -> list[list[Listener]] | None:
        return self._informed.get((number, token))

    def fail(self, error: BaseException) -> None:
        self.error = error
        self._end(error)

    async def attempt(self, answer: asyncio.Future[Answer] | None) -> None:
        """Returns when it is known; raises the server's refusal, or ``TimedOutError`` after a while.

        Without an answer it can only be heard.
        """
        if self.error is not None:
            raise self.error
        if self.is_known:
            return
        self._attempt = attempt = self._loop.create_future()
        self._timer = self._loop.call_later(_QUIET_ATTEMPT if answer is None else _ATTEMPT, self._on_time)
        self._is_stored = False
        if answer is not None:
            answer.add_done_callback(self._on_answer)
        try:
            await attempt
        finally:
            self._attempt = None
            self._timer.cancel()

    def _on_answer(self, answer: asyncio.Future[Answer]) -> None:
        if answer.cancelled() or self._attempt is None:
            return
        error = answer.exception()
        if error is None and b'"error"' in (told := answer.result().data):
            error = RefusedError(json.loads(told)["error"])
        if error is not None:
            self._end(error)
        elif not self.awaited:
            self._know()
        else:
            self._is_stored = True

    def _on_time(self) -> None:
        if self._is_stored:  # and only to be heard
            self._is_stored = False
            self._timer = self._loop.call_later(PATIENCE, self._on_time)
        else:
            self._end(TimedOutError())

    def _know(self) -> None:
        if self.is_known or self.error is not None:
            return
        self.is_known = True
        if self.on_known is not None:
            self.on_known()
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        if self._attempt is None or self._attempt.done():
            return
        if error is None:
            self._attempt.set_result(None)
        else:
            self._attempt.set_exception(error)


class Writer:
    """The calls of one mailbox's handles in an event loop."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._link: Link = replica.link
        self.nonce = secrets.token_bytes(8)
        self._number = 0
        self._queue: deque[Call] = deque()
        self._pumping: asyncio.Task[None] | None = None
        self.sent: dict[int, Sent] = {}
        """By the numbers of their pieces."""
        self.holders: set[int] = set()
        """Of this event loop's handles."""
        self.is_checking = False
        self._stopped = False
        self._in_doubt = False
        """Whether a copy of an earlier commit may still come."""

    def submit(self, call: Call, *, first: bool = False) -> asyncio.Future[Any]:
        """Its place is behind all calls before it, or before all that are not yet sent."""
        call.future = self._link.loop.create_future()
        if self._stopped:
            call.fail(MailboxClosedError())
            return call.future
        if first:
            self._queue.appendleft(call)
        else:
            self._queue.append(call)
        if self._pumping is None or self._pumping.done():
            self._pumping = self._link.loop.create_task(self._pump())
        return call.future

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way, and no outcome is unknown."""
        return not self._in_doubt and (self._pumping is None or self._pumping.done())

    async def stop(self) -> None:
        """Ends what is under way."""
        self._stopped = True
        self.forget_others()
        if self._pumping is not None:
            self._pumping.cancel()
            with suppress(asyncio.CancelledError):
                await self._pumping
        while self._queue:
            self._queue.popleft().fail(MailboxClosedError())

    def forget_others(self) -> None:
        """Nothing is heard of this mailbox any more: steps to it do not wait for that."""
        for writer in _writers_of(self._link):
            if writer is not self:
                for sent in set(writer.sent.values()):
                    sent.forget(self._replica.token)

    def sent_by(self, commit: Commit) -> Sent | None:
        """The commit of this event loop's that was heard."""
        for writer in _writers_of(self._link):
            if writer.nonce == commit.nonce:
                return writer.sent.get(commit.number)
        return None

    # -- the pump ------------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        while self._queue:
            if self._queue[0].follows and not self._replica.following:
                await self._follow()
                continue
            calls = self._take()
            try:
                await self._try(calls)
            except asyncio.CancelledError:
                for call in calls:
                    call.fail(MailboxClosedError())
                raise

    async def _try(self, calls: list[Call]) -> None:
        """Commits calls together; each apart, if they are refused together."""
        is_shared = False
        try:
            await self._settle_doubts()
            calls = [call for call in calls if not call.is_void]
            is_shared = len(calls) > 1
            if not calls:
                return
            if isinstance(calls[0], Step):
                calls = await self._commit_steps(calls)
            if calls:
                await self._commit(calls)
        except Exception as error:
            nothing_is_stored = isinstance(error, (RefusedError, StorageFullError, ValueError))
            calls = [call for call in calls if not call.future.done()]
            if nothing_is_stored and is_shared:  # or what is left would fail for one that was cancelled meanwhile
                for call in calls:
                    await self._try([call])
                return
            self._in_doubt |= not nothing_is_stored
            meant = failed(f"the mailbox {self._replica.name!r}", error) if _is_expected(error) else error
            for call in calls:
                call.fail(meant)

    async def _follow(self) -> None:
        try:
            await self._replica.follow()
        except Exception as error:
            waiting = [call for call in self._queue if call.follows]
            self._queue = deque(call for call in self._queue if not call.follows)
            for call in waiting:
                call.fail(error)

    async def _settle_doubts(self) -> None:
        """A copy that comes after this is void, or refused if it is a step: nothing that follows is undone by it."""
        if not self._in_doubt:
            return
        for holder in list(self.holders):
            await self._admit(holder)
        self._in_doubt = False

    def _take(self) -> list[Call]:
        """The calls of the next commit."""
        queue = self._queue
        first = queue.popleft()
        calls = [first]
        if first.prepare is not None or len(first.pieces) > 1 or (isinstance(first, Step) and first.parts is not None):
            return calls
        size, via = first.size, self._via(first)
        while queue and len(calls) < _MOST_CALLS:
            call = queue[0]
            size += call.size + codec.COMMAND_SIZE
            if size > self._link.largest or call.prepare is not None or len(call.pieces) > 1:
                break
            if call.follows and not self._replica.following:
                break
            if isinstance(first, Step):
                if not first.can_have_behind_it(call, calls[-1]):
                    break
            elif isinstance(call, Step) or (
                (bool(call.stores), call.makes_room) != (bool(first.stores), first.makes_room)
            ):
                break
            else:
                other = self._via(call)
                if via is not None and other is not None and other != via:
                    break
                via = via or other
            calls.append(queue.popleft())
        return calls

    def _via(self, call: Call) -> int | None:
        if call.claims_for is not None and call.claims_for not in self._replica.log.fences:
            return call.claims_for
        return call.via

    @property
    def last_number(self) -> int:
        """Of its commits so far."""
        return self._number

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _commit(self, calls: list[Call]) -> None:
        first = calls[0]
        if first.prepare is not None:
            first.pieces = await first.prepare()
        via = next((via for via in map(self._via, calls) if via is not None), None)
        token = self._replica.token
        pieces = [[piece] for piece in first.pieces] if len(calls) == 1 else [[call.pieces[0] for call in calls]]
        vias = first.vias or [via] * len(pieces)
        if len(pieces) > _MOST_PIECES:
            raise ValueError(f"this is too much for one commit of {_MOST_PIECES} messages of the stream")
        sent = Sent(self._link.loop, self.nonce)
        messages = []
        numbers = []
        for commands, via in zip(pieces, vias, strict=True):
            number = self._next()
            for call in calls:
                if call.on_numbered is not None:
                    call.on_numbered(number)
            numbers.append(number)
            messages.append((self._subject(first, via), codec.encode(self.nonce, number, commands)))
            if self._replica.following and any(call.answer is None for call in calls):
                sent.expect(number, token, [call.informed for call in calls])

        def finish() -> None:
            if not sent.results:
                for call in calls:
                    call.finish(None if call.answer is None else call.answer())
                return
            results = [sent.results[number, token] for number in numbers]
            if len(calls) == 1:
                calls[0].finish(results[0][0] if len(results) == 1 else [result[0] for result in results])
                return
            for call, result in zip(calls, results[0], strict=True):
                call.finish(result)

        sent.on_known = finish
        async with self._room_for(messages, [] if first.makes_room else calls):
            await self._store(sent, messages, numbers)

    def _room_for(
        self, commits: Sequence[tuple[str, bytes]], calls: Sequence[Call]
    ) -> AbstractAsyncContextManager[None]:
        """Commits calls within it; there has to be room for the messages that they bring."""
        if not any(call.stores for call in calls):
            return nullcontext()
        # for those that are in parts there was room before
        count = sum(call.stores for call in calls if not call.is_in_parts)
        return self._link.space.taking(sum(len(data) for _, data in commits), count)

    def _subject(self, call: Call, via: int | None) -> str:
        if call.stores:
            return f"{self._replica.base}.in"
        return f"{self._replica.base}.c" if via is None else f"{self._replica.base}.h.{via:x}"

    async def _commit_steps(self, calls: list[Call]) -> list[Call]:
        """Commits steps, and the claims behind them; gives these back, and commits nothing, if no step holds good."""
        replica, link = self._replica, self._link
        steps = [call for call in calls if isinstance(call, Step)]
        claims = calls[len(steps) :]
        first = steps[0]
        if first.parts is not None:
            first.own, first.sends = await first.parts()
        deadline = link.loop.time() + PATIENCE
        while True:
            held: dict[UUID, Step] = {}
            late: list[Step] = []
            for step in steps:
                if not replica.log.holds(step.holder, step.message_id):
                    step.finish(None)
                elif held.setdefault(step.message_id, step) is not step:
                    late.append(step)
            if not held:
                return claims
            steps = list(held.values())
            fence = replica.log.fences.get(first.holder)
            if fence is None:
                await self._admit(first.holder)
                steps = [*steps, *late]
                continue
            sent, messages, numbers = self._steps(steps, claims)
            sent.on_known = partial(self._finish_steps, steps, late, claims, sent, numbers)
            headers = {
                "Nats-Expected-Last-Subject-Sequence": str(fence),
                "Nats-Expected-Last-Subject-Sequence-Subject": f"{replica.base}.h.{first.holder:x}",
            }
            try:
                async with self._room_for(messages, steps):
                    await self._store(sent, messages, numbers, headers)
            except RefusedError as error:
                if error.code not in CHANGED:
                    raise
                if link.loop.time() > deadline:
                    self._lose(error)
                self.sent.update(dict.fromkeys(numbers, sent))  # an attempt before that may have been stored
                try:
                    await self._admit(first.holder)
                    if (numbers[0], replica.token) not in sent.results:
                        steps = [*steps, *late]
                        continue
                    await self._until_heard(sent)
                finally:
                    for number in numbers:
                        del self.sent[number]
            return []

    def _finish_steps(
        self, steps: list[Step], late: list[Step], claims: list[Call], sent: Sent, numbers: list[int]
    ) -> None:
        replica = self._replica
        own = sent.results[numbers[0], replica.token]
        at = 0
        depths: list[dict[str, int | None]] = []
        for step in steps:
            if not own[at]:
                step.fail(
                    StorageCorruptError(
                        f"the mailbox {replica.name!r} has stored a step whose message {step.message_id} was not held. "
                        "Somebody has changed the stream, or pymailbox has an error"
                    )
                )
            at += 1
            depths.append({})
            if step.own:
                depths[-1][replica.token] = own[at].depth
                at += 1
        for claim, result in zip(claims, own[at:], strict=True):
            claim.finish(result)
        for position, token in enumerate(steps[0].sends):
            stored = sent.results.get((numbers[position], token))
            for index, _ in enumerate(steps):
                depths[index][token] = None if stored is None else stored[index].depth
        for step, of_step in zip(steps, depths, strict=True):
            step.finish(of_step)
        for step in late:
            step.finish(None)

    async def _until_heard(self, sent: Sent) -> None:
        """Of a commit that is known to be stored."""
        deadline = self._link.loop.time() + PATIENCE
        while not sent.is_known:
            if sent.error is not None:
                raise sent.error
            if self._link.loop.time() > deadline:
                self._lose(TimedOutError())
            await asyncio.sleep(_PAUSE)

    def _lose(self, cause: BaseException) -> NoReturn:
        self._link.lost(f"the mailbox {self._replica.name!r}", cause)

    def _steps(self, steps: Sequence[Step], claims: Sequence[Call]) -> tuple[Sent, list[tuple[str, bytes]], list[int]]:
        """One stream message for each other mailbox; the first has what is for this one, claims last."""
        replica, link = self._replica, self._link
        sent = Sent(link.loop, self.nonce)
        commands: list[bytes] = []
        informed: list[list[Listener]] = []
        for step in steps:
            commands.append(step.pieces[0])
            informed.append([])
            if step.own:
                commands.append(step.own)
                informed.append(step.informed_in.get(replica.token, []))
        for claim in claims:
            commands += claim.pieces
            informed.append([])
        messages: list[tuple[str, bytes]] = []
        numbers: list[int] = []
        for token in list(steps[0].sends) or [replica.token]:
            number = self._next()
            numbers.append(number)
            if not messages:
                sent.expect(number, replica.token, informed)
            if token != replica.token:
                commands += [step.sends[token] for step in steps]
                other = next((each for each in link.replicas.values() if each.token == token), None)
                if other is not None and other.following:
                    sent.expect(number, token, [step.informed_in.get(token, []) for step in steps])
            subject = f"{link.stream}.x.{replica.token}.{token}"
            messages.append((subject, codec.encode(self.nonce, number, commands)))
            commands = []
        return sent, messages, numbers

    async def _admit(self, holder: int) -> None:
        """A mark on a holder's subject: all that others have said of it is in the state when it is heard."""
        sent = Sent(self._link.loop, self.nonce)
        number = self._next()
        sent.expect(number, self._replica.token, [[]])
        mark = codec.encode(self.nonce, number, [codec.encode_command(Op.MARK)])
        await self._store(sent, [(f"{self._replica.base}.h.{holder:x}", mark)], [number])

    # -- storing -------------------------------------------------------------------------------------------------------

    async def _store(
        self,
        sent: Sent,
        messages: list[tuple[str, bytes]],
        numbers: list[int],
        headers: dict[str, str] | None = None,
    ) -> None:
        """Returns when all is known to be stored once and, where it is followed, heard.

        Raises:
            RefusedError: the server refuses it.
            ConnectionLostError: its outcome is unknown after a minute.
        """
        for number in numbers:
            self.sent[number] = sent
        try:
            await self._send_until_known(sent, messages, headers)
        finally:
            for number in numbers:
                del self.sent[number]

    async def _send_until_known(
        self, sent: Sent, messages: list[tuple[str, bytes]], headers: dict[str, str] | None
    ) -> None:
        link = self._link
        deadline = link.loop.time() + PATIENCE
        wipes = link.wipes
        cause: BaseException
        in_doubt = False
        """Whether an attempt may have been stored, of which nobody hears."""
        told_on = 0
        """The connection of an attempt that has no answer and can only be heard."""
        link.hurry()
        # what is heard needs no answer besides: it would cost as much again
        if sent.awaited and len(messages) == 1 and headers is None and link.tell(*messages[0]):
            told_on = link.connections
            with suppress(TimedOutError):
                await sent.attempt(None)
                return
        while True:
            number = ""
            try:
                number, answer = await self._send(messages, headers)
                await sent.attempt(answer)
                return
            except RefusedError as error:
                if not error.passing:
                    if told_on and await self._is_heard(sent):
                        return
                    if (in_doubt or told_on not in (0, link.connections)) and error.code not in CHANGED:
                        self._lose(error)
                    raise
                cause = error
            except NotThereError as error:
                cause = error
                await link.look_for_stream()
            except (TimedOutError, CutOffError) as error:
                cause = error
                in_doubt |= not isinstance(error, NotSentError)
            finally:
                link.forget(number)
            if link.wipes != wipes and not sent.is_known:
                raise WipedError(link.stream)
            if link.loop.time() > deadline or link.is_closed:
                self._lose(cause)
            link.keep_hurrying()
            await asyncio.sleep(_PAUSE)
            if sent.is_known:
                return

    async def _is_heard(self, sent: Sent) -> bool:
        """Of a commit that was refused, though an attempt before may have been stored: then it comes soon."""
        for _ in range(_LAST_CHANCES):
            with suppress(TimedOutError):
                await sent.attempt(None)
                return True
        return False

    async def _send(
        self, messages: list[tuple[str, bytes]], headers: dict[str, str] | None
    ) -> tuple[str, asyncio.Future[Answer]]:
        link = self._link
        if len(messages) == 1:
            return await link.start(*messages[0], headers)
        batch = secrets.token_hex(8)
        pieces = [
            Piece(subject, data, {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(sequence)})
            for sequence, (subject, data) in enumerate(messages, 1)
        ]
        pieces[0].headers.update(headers or {})
        last = pieces.pop()
        return await link.start(last.subject, last.data, last.headers | {"Nats-Batch-Commit": "1"}, pieces)


def _writers_of(link: Link) -> list[Writer]:
    return [replica.writer for replica in link.replicas.values()]


def _is_expected(error: Exception) -> bool:
    return isinstance(error, (MailboxError, RefusedError, NotThereError, TimedOutError, CutOffError))
