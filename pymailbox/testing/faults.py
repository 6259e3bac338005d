"""A mailbox that fails on demand, for tests of your own actors.

    inbox = FaultyMailbox(
        await open_mailbox("memory://inbox"),
        [Fault(FaultKind.LOST_AFTER, "ack", nth=2), Fault(FaultKind.DEATH_BEFORE, "ack", nth=5)],
    )
    with suppress(HolderDied):
        await my_actor(inbox)  # its second ack takes effect, but seems to fail; before the fifth, its process ends
    # what the actor held is handed out again: run it once more, and check that its work was done right

The planned faults and a seed decide everything that happens, so that a failure can be repeated.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Generic, Self, TypeVar
from uuid import UUID

from ..contract.companions import Nearby, Unless
from ..contract.errors import ConnectionLostError, StorageFullError
from ..contract.mailbox import Mailbox
from ..contract.values import (
    BytesLike,
    MailboxDepthObserver,
    MailboxStats,
    MessagePriority,
    MessageRecord,
    NewMessage,
)
from ._verbs import VERBS as VERBS_OF_A_MAILBOX

_T = TypeVar("_T")

STORING_VERBS: Final = frozenset(name for name, verb in VERBS_OF_A_MAILBOX.items() if verb.stores)
"""Verbs that need room; everything else still works when the storage is full."""

LOOPS: Final = frozenset({"messages", "changes"})

VERBS: Final = LOOPS.union(name for name, verb in VERBS_OF_A_MAILBOX.items() if verb.touches_storage)
"""What a fault can strike. A call of a loop is one turn of it; a ``dequeue`` that acknowledges is also a call of
``ack_many``, in one transaction: a fault of either strikes all of it.
"""


class HolderDied(BaseException):
    """The process that held the mailbox has ended, as far as the mailbox can tell.

    It is not an ``Exception``, so an actor's exception handlers do not run, just as after a real death.
    """


class FaultKind(StrEnum):
    """How a call fails."""

    LOST_BEFORE = "lost before"
    """Nothing happened: ``ConnectionLostError``."""
    LOST_AFTER = "lost after"
    """It happened, but the caller gets a ``ConnectionLostError``. What a ``dequeue`` had claimed stays with the handle
    until the handle is closed or dies.
    """
    FULL = "full"
    """The storage is full: ``StorageFullError``, and nothing happened. Verbs that need no room still work."""
    REFUSED = "refused"
    """What was to be stored is refused for good: ``ValueError``, and nothing happened."""
    DEATH_BEFORE = "death before"
    """The holder dies, and nothing happened: ``HolderDied``, from this call and every later one."""
    DEATH_AFTER = "death after"
    """It happened, and then the holder dies: ``HolderDied``, from this call and every later one."""


def _struck_by(kind: FaultKind) -> frozenset[str]:
    """The verbs that can fail in that way."""
    return STORING_VERBS if kind in (FaultKind.FULL, FaultKind.REFUSED) else VERBS


@dataclass(frozen=True)
class Fault:
    """A plan: which calls fail, and how. Calls are counted from the moment the fault is planned."""

    kind: FaultKind
    verb: str | None = None
    """The verb that it strikes; None for any (if the storage is full, or refuses, any that needs room)."""
    nth: int = 1
    """The first call of such a verb that it strikes."""
    times: int | None = 1
    """How many calls it strikes from then on; None for all."""
    probability: float = 1.0
    """The probability that it strikes such a call at all; the mailbox's seed decides."""

    def __post_init__(self) -> None:
        possible = _struck_by(self.kind)
        if self.verb is not None and self.verb not in possible:
            raise ValueError(f"verb of a fault {self.kind.name} must be one of {sorted(possible)}, not {self.verb!r}")
        if self.nth < 1:
            raise ValueError(f"nth must be 1 or more, not {self.nth}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be 1 or more, or None, not {self.times}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, not {self.probability}")


class _Plan:
    """A fault, and the calls that it might have struck so far."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._calls = 0

    def strikes(self, verbs: tuple[str, ...], rng: random.Random) -> bool:
        """Counts a call, which may count for several verbs."""
        fault = self.fault
        possible = _struck_by(fault.kind)
        if not possible.intersection(verbs) or fault.verb not in (None, *verbs):
            return False
        self._calls += 1
        planned = self._calls >= fault.nth and (fault.times is None or self._calls < fault.nth + fault.times)
        return planned and rng.random() < fault.probability


class _Prepared(Generic[_T]):
    """A call of the mailbox, made now so that it has the present arguments, but not begun yet."""

    def __init__(self, call: Awaitable[_T]) -> None:
        self.call = call

    def __del__(self) -> None:
        if isinstance(self.call, Coroutine):
            self.call.close()  # it may never have begun


class _EarlyAnswer:
    """Passes on what a call reports before it is over, unless its result will be lost."""

    def __init__(self, hear: Callable[[int], None]) -> None:
        self._hear = hear
        self.is_lost = False

    def __call__(self, answer: int) -> None:
        if not self.is_lost:
            self._hear(answer)


def _passed_on(verb: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    """A verb of a ``FaultyMailbox`` with the same arguments as the mailbox's own."""

    def call(self: FaultyMailbox, *arguments: Any, **keywords: Any) -> Coroutine[Any, Any, Any]:
        return self._call(verb, getattr(self._living, verb)(*arguments, **keywords))

    method = getattr(Mailbox, verb)
    call.__name__, call.__qualname__, call.__doc__ = verb, f"FaultyMailbox.{verb}", method.__doc__
    call.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return call


class FaultyMailbox(Mailbox):
    """Any mailbox, with faults. Without faults it behaves like the mailbox that it was given.

    ``ack_and_send`` accepts as targets other faulty mailboxes and plain ones of the same database; the faults of a
    target do not strike there. For a mailbox that is not faulty, a faulty one belongs to another database.

    Args:
        mailbox: an open mailbox, which belongs to this one from now on.
        faults: faults to plan from the start.
        seed: decides whether faults with a probability strike.
        beside: faults of the mailboxes that are opened beside it, in the same database: of a relay's cursor, or where
            answers go. Their calls are counted together.
    """

    def __init__(
        self, mailbox: Mailbox, faults: Iterable[Fault] = (), *, seed: int = 0, beside: Iterable[Fault] = ()
    ) -> None:
        self.capabilities = mailbox.capabilities  # type: ignore[misc]  # those of the mailbox that it was given
        self.struck: list[tuple[str, FaultKind]] = []
        """What has failed so far, here and beside: each verb, and how."""
        self._mailbox: Mailbox | None = mailbox
        self._plans: list[_Plan] = []
        self._rng = random.Random(seed)
        self._under_way: set[asyncio.Task[Any] | None] = set()
        self._loops: weakref.WeakSet[_FaultyLoop[Any]] = weakref.WeakSet()
        self._dying = False
        self._killers: set[asyncio.Task[Any] | None] = set()
        """The task in which the holder dies; its call may be under way."""
        self._alone = asyncio.Event()
        """Set when no other call is under way."""
        self.plan(*faults)
        self._plans_beside = list(map(_Plan, beside))

    def __repr__(self) -> str:
        return f"<FaultyMailbox {'dead' if self._mailbox is None else self._mailbox!r}>"

    # -- faults --------------------------------------------------------------------------------------------------------

    def plan(self, *faults: Fault) -> None:
        """Plans more faults; if several would strike the same call, the one planned first does."""
        self._plans += map(_Plan, faults)

    def heal(self) -> None:
        """Forgets all planned faults, those beside it too. A holder that has died stays dead."""
        self._plans.clear()
        self._plans_beside.clear()

    async def die(self) -> None:
        """The holder dies as if its process had ended: whatever it held comes back as after a crash.

        Calls under way in other tasks end with ``HolderDied``; they may have happened or not. What a loop over
        ``messages()`` had claimed and not yielded goes back as released. Other references to the mailbox then have a
        closed one.
        """
        if self._mailbox is None or self._dying:
            return
        self._dying = True
        self._killers.add(asyncio.current_task())
        others = self._under_way - self._killers
        for task in others:
            if task is not None:
                task.cancel()
        await asyncio.shield(self._end(bool(others)))  # a death cannot be called off

    async def _end(self, others: bool) -> None:
        if others:
            await self._alone.wait()
        for loop in list(self._loops):
            await loop.aclose()
        assert self._mailbox is not None
        self._die()
        self._mailbox = None

    def _die(self) -> None:
        if self._mailbox is not None:
            self._mailbox._die()

    # -- verbs ---------------------------------------------------------------------------------------------------------

    locals().update({verb: _passed_on(verb) for verb in VERBS_OF_A_MAILBOX})  # all of them except those below

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
        keywords: dict[str, Any] = _given(message_id=message_id, delay=delay, headers=headers, dedupe_for=dedupe_for)
        return self._call("enqueue", self._living.enqueue(sender, payload, priority, **keywords))

    def enqueue_json(self, value: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        return self._call("enqueue_json", self._living.enqueue_json(value, **keywords))

    def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> Coroutine[Any, Any, list[MessageRecord]]:
        keywords: dict[str, Any] = _given(limit=limit, wait=wait)
        if ack == ():
            return self._call("dequeue", self._living.dequeue(**keywords))
        return self._call("dequeue", self._living.dequeue(**keywords, ack=ack), "ack_many")

    def ack(self, message_id: UUID) -> Coroutine[Any, Any, bool]:
        return self._call("ack", self._living.ack(message_id))

    def ack_and_send(
        self, message_id: UUID, messages: Iterable[tuple[Mailbox, NewMessage]]
    ) -> Coroutine[Any, Any, bool]:
        can_be_pairs = isinstance(messages, Iterable) and not isinstance(messages, (str, bytes))
        sends = _unwrapped(messages) if can_be_pairs else messages
        return self._call("ack_and_send", self._living.ack_and_send(message_id, sends))

    def nack(
        self,
        message_id: UUID,
        *,
        delay: float | timedelta | None = None,
        error: str | None = None,
        failed: bool = True,
    ) -> Coroutine[Any, Any, bool]:
        how: dict[str, Any] = {} if failed is True else {"failed": failed}
        return self._call("nack", self._living.nack(message_id, delay=delay, error=error, **how))

    def status(self) -> Coroutine[Any, Any, MailboxStats]:
        return self._call("status", self._living.status())

    def changes(self) -> AsyncIterator[MailboxStats]:
        loop = _FaultyLoop(self, "changes", self._living.changes())
        self._loops.add(loop)
        return loop

    def set_depth_observer(self, observer: MailboxDepthObserver | None) -> bool:
        return self._living.set_depth_observer(observer)

    def messages(self) -> AsyncIterator[MessageRecord]:
        loop = _FaultyLoop(self, "messages", self._living.messages())
        self._loops.add(loop)
        return loop

    def _release(self, ids: list[UUID]) -> Coroutine[Any, Any, None]:
        return self._call("release", self._living._release(ids))

    @property
    def _can_release(self) -> bool:
        return self._living._can_release

    @property
    def _undoes_hand_outs(self) -> bool:
        return self._living._undoes_hand_outs

    def _ack_if_held(self, ids: list[UUID]) -> Coroutine[Any, Any, int]:
        return self._call("ack_many", self._living._ack_if_held(ids))

    @property
    def _place(self) -> Hashable:
        return self._living._place

    def _enqueue_sent_on(self, message_id: UUID, messages: list[NewMessage]) -> Coroutine[Any, Any, object]:
        return self._call("enqueue_many", self._living._enqueue_sent_on(message_id, messages))

    def _ack_late(self, records: list[MessageRecord]) -> Coroutine[Any, Any, None]:
        return self._call("ack_many", self._living._ack_late(records))

    def _ack_if_held_and_claim(
        self, ids: list[UUID], limit: int, wait: float | None, on_acked: Callable[[int], None]
    ) -> Coroutine[Any, Any, list[MessageRecord]]:
        early = _EarlyAnswer(on_acked)
        call = self._living._ack_if_held_and_claim(ids, limit, wait, early)
        return self._make(("dequeue", "ack_many"), _Prepared(call), early)

    @property
    def _acks_if_held_with_claims(self) -> bool:
        return self._living._acks_if_held_with_claims

    @property
    def _acks_with_claims(self) -> bool:
        return self._living._acks_with_claims

    @property
    def _most_at_once(self) -> int:
        return self._living._most_at_once

    def _nack_with_reason(
        self, message_id: UUID, *, delay: float | timedelta | None = None, error: str | None = None, failed: bool = True
    ) -> Coroutine[Any, Any, bool | str]:
        call = self._living._nack_with_reason(message_id, delay=delay, error=error, failed=failed)
        return self._call("nack", call)

    @property
    def _tells_of_dead_letters(self) -> bool:
        return self._living._tells_of_dead_letters

    @property
    def _takes_limit(self) -> bool:
        return self._living._takes_limit

    def _on_life_over(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self._living._on_life_over(callback)

    @property
    def _nearby(self) -> Nearby | None:  # type: ignore[override]
        nearby = self._living._nearby
        return None if nearby is None else _FaultyNearby(nearby, self)

    @property
    def name(self) -> str:
        """That of the mailbox that it was given, if that has one."""
        return getattr(self._living, "name", "")

    async def close(self) -> None:
        """Closes the mailbox; for a dead one there is nothing to do."""
        if self._mailbox is not None:
            await self._mailbox.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _living(self) -> Mailbox:
        if self._mailbox is None:
            raise HolderDied("this mailbox's holder has died; open the mailbox again, as another process would")
        return self._mailbox

    def _call(self, verb: str, call: Awaitable[_T], *also: str) -> Coroutine[Any, Any, _T]:
        return self._make((verb, *also), _Prepared(call))

    async def _make(self, verbs: tuple[str, ...], prepared: _Prepared[_T], early: _EarlyAnswer | None = None) -> _T:
        """Makes a call, or lets it fail."""
        verb = verbs[0]
        if self._dying:
            del prepared
            raise HolderDied(f"{verb}: the holder has died")
        kind = self._next_fault(verbs)
        if early is not None:
            early.is_lost = kind is not None
        if kind in (None, FaultKind.LOST_AFTER, FaultKind.DEATH_AFTER):
            answer = await self._made(prepared.call)
        del prepared  # this closes a call that was never begun; an error's traceback would keep it
        match kind:
            case None:
                return answer
            case FaultKind.FULL:
                raise StorageFullError(f"{verb}: the storage is full, as planned; nothing was stored")
            case FaultKind.REFUSED:
                raise ValueError(f"{verb}: refused, as planned; nothing was stored")
            case FaultKind.LOST_BEFORE:
                raise ConnectionLostError(f"{verb}: the connection was lost, as planned, before anything happened")
            case FaultKind.LOST_AFTER:
                raise ConnectionLostError(f"{verb}: the connection was lost, as planned, before the answer came")
            case FaultKind.DEATH_BEFORE | FaultKind.DEATH_AFTER:
                await self.die()
                raise HolderDied(f"{verb}: the holder died, as planned")

    def _next_fault(self, verbs: tuple[str, ...]) -> FaultKind | None:
        # each plan counts the call, whichever strikes it
        striking = [plan.fault for plan in self._plans if plan.strikes(verbs, self._rng)]
        self.struck += [(fault.verb or verbs[0], fault.kind) for fault in striking[:1]]
        return striking[0].kind if striking else None

    async def _made(self, call: Awaitable[_T]) -> _T:
        task = asyncio.current_task()
        self._under_way.add(task)
        try:
            return await call
        except asyncio.CancelledError:
            if not self._dying or task is None:
                raise
            task.uncancel()
        finally:
            self._under_way.discard(task)
            if self._dying and not self._under_way - self._killers:
                self._alone.set()
        # not inside the handler: the cancellation's traceback would keep the mailbox alive
        raise HolderDied("the holder died during this call")


class _FaultyNearby(Nearby):
    """The mailboxes beside a faulty one; to commit together with it, they are of its kind."""

    def __init__(self, nearby: Nearby, faulty: FaultyMailbox) -> None:
        self._nearby = nearby
        self._plans, self._rng, self._struck = faulty._plans_beside, faulty._rng, faulty.struck

    async def open(self, name: str, *, relaxed: bool = False, lease: float | None = None) -> Mailbox:
        mailbox = FaultyMailbox(await self._nearby.open(name, relaxed=relaxed, lease=lease))
        mailbox._plans, mailbox._rng, mailbox.struck = self._plans, self._rng, self._struck
        mailbox._is_beside_another = True
        return mailbox

    async def names(self) -> list[str]:
        return await self._nearby.names()

    async def delete(self, name: str, unless: Unless | None = None) -> bool:
        return await self._nearby.delete(name, unless)


class _FaultyLoop(Generic[_T]):
    """A loop over the messages of a mailbox, or over its changes, in which each turn may fail."""

    def __init__(self, mailbox: FaultyMailbox, verb: str, values: AsyncIterator[_T]) -> None:
        self._mailbox = mailbox
        self._verb = verb
        self._values: AsyncIterator[_T] | None = values

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        if self._values is None:
            self._mailbox._living  # noqa: B018  which raises if the holder has died
            raise StopAsyncIteration
        return await self._mailbox._call(self._verb, anext(self._values))

    async def aclose(self) -> None:
        values, self._values = self._values, None
        aclose = getattr(values, "aclose", None)
        if aclose is not None:
            await aclose()


def _unwrapped(messages: Iterable[Any]) -> Iterator[Any]:
    """The pairs of ``ack_and_send``, with faulty mailboxes replaced by those that they were given."""
    for pair in messages:
        if isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], FaultyMailbox):
            yield pair[0]._living, pair[1]
        else:
            yield pair


def _given(**keywords: Any) -> dict[str, Any]:
    """The arguments that are not None: a mailbox with only the core verbs takes no others."""
    return {name: value for name, value in keywords.items() if value is not None}
