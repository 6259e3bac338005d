"""The contract: what every mailbox promises, wherever it keeps its messages.

The verbs and their names follow the Rust trait ``Mailbox`` of the crate ``actr_runtime_mailbox``. A backend implements
the core verbs (``enqueue``, ``dequeue``, ``ack`` and ``status``) and ``close``; everything else has a working default
here, or raises ``UnsupportedError``. ``capabilities`` tells callers in advance.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self
from uuid import UUID

from .archive import Archive
from .capabilities import Capability
from .companions import Companion, Nearby, ending_companions, killing_companions
from .errors import MailboxClosedError, UnsupportedError
from .json_payloads import json_headers, json_payload
from .moments import aware
from .plain_archive import PlainArchive
from .polling import with_wait_and_ack
from .settling import SETTLING_VERBS, SettlingListener, notifying, notifying_dequeue
from .values import (
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

if TYPE_CHECKING:
    from ..actors import Consumer, Handler, RetryPolicy


class Mailbox(ABC):
    """A durable queue of messages for one actor: enqueue, dequeue a batch that is marked inflight, acknowledge.

    A mailbox handle belongs to the thread, event loop and process that opened it, and is one consumer. Use it with
    ``async with``, or ``close()`` it.

    Each verb is one transaction, unless its own docstring says otherwise. If it is cancelled, all of it has happened or
    none of it. If it raises, none of it has; only after a ``ConnectionLostError`` it may have.

    Raises:
        TypeError, ValueError: an argument of a verb is invalid; the message names it.
        MailboxClosedError: the handle is closed.
        UnsupportedError: this backend lacks the verb, or what one of its arguments asks for.
        WrongThreadError: the call comes from another thread, event loop or process.
        StorageFullError: there is no room for what a verb stores (an enqueue, a send, a dead letter, a redrive).
        ConnectionLostError, StorageUnavailableError, StorageCorruptError: the storage has failed; the message says how.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    """What this backend can do; a verb that needs anything else raises ``UnsupportedError``."""

    _settling_listeners: tuple[SettlingListener, ...] = ()
    """The consumers of this handle, which do not settle what a handler has settled itself."""

    _companions: tuple[Companion, ...] = ()
    """What was opened for this handle, and ends with it."""

    _is_beside_another = False
    """Whether it was opened for another handle, which says itself that it was never closed."""

    _nearby: Nearby | None = None
    """The mailboxes of the same database, if this handle can open them."""

    _consumer_type: ClassVar[type[Consumer]]
    """What ``consume`` starts. It is written in terms of this class, so ``pymailbox`` puts the two together."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in (*SETTLING_VERBS, "_nack_with_reason"):
            if inspect.isfunction(call := cls.__dict__.get(name)):
                setattr(cls, name, notifying("nack" if name == "_nack_with_reason" else name, call))
        if inspect.isfunction(close := cls.__dict__.get("close")):
            cls.close = ending_companions(close)  # type: ignore[assignment, method-assign]
        if inspect.isfunction(die := cls.__dict__.get("_die")):
            cls._die = killing_companions(die)  # type: ignore[assignment, method-assign]
        dequeue = cls.__dict__.get("dequeue")
        if dequeue is not None:
            known = inspect.signature(dequeue).parameters
            if "wait" in known and "ack" in known:
                cls.dequeue = notifying_dequeue(dequeue)  # type: ignore[method-assign]
            else:  # a backend with a plain dequeue(): what it lacks comes from here
                cls.dequeue = with_wait_and_ack(dequeue, "wait" in known)  # type: ignore[method-assign]

    @abstractmethod
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
        """Stores one message and returns its id, after the message is committed.

        ``sender`` and ``payload``, any buffers of bytes, are stored as they were at the call; a buffer may be reused at
        once. With the headers they hold at most 64 MiB together. The order of calls on a handle is the order of its
        messages. If the call is cancelled, the message may or may not have been stored; repeat it with the same
        ``message_id``.

        Args:
            sender: who sent it, in the caller's own encoding.
            payload: its content.
            priority: ``HIGH`` messages are handed out before any ``NORMAL`` one.
            message_id: the message's id. While a message with it is still in the mailbox (queued, inflight or dead), a
                call stores nothing and returns the id.
            delay: seconds, or a ``timedelta``, before which the message is not handed out; at most 100 years.
            headers: texts by name that travel with the message: at most 64, and 8 KiB of UTF-8 in all.
            dedupe_for: seconds, or a ``timedelta``, for which the id stays known from now on, whatever becomes of the
                message: until then a call with this id stores nothing and returns it. Such a repeat changes nothing
                else either: the time is not extended. At most 100 years; needs a ``message_id``.

        Raises:
            TypeError, ValueError: an argument is invalid; nothing was stored.
            StorageFullError: there is no room; nothing was stored.
            UnsupportedError: this backend lacks what an optional argument asks for.
        """

    @abstractmethod
    def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> Coroutine[Any, Any, list[MessageRecord]]:
        """Takes the next batch: up to ``limit`` (else ``batch_size``) messages, atomically marked inflight.

        Every ``HIGH`` message comes before any ``NORMAL`` one, the oldest first within a priority, in the order in
        which they were committed. A batch holds at most 64 MiB of payload unless it is a single message. No two calls,
        handles, tabs, workers or processes ever get the same message at the same time. If the mailbox is empty, the
        result is ``[]``, at once or after up to ``wait`` seconds (``math.inf``: for ever; else at most
        100 years).

        The messages in ``ack`` are acknowledged first, as ``ack_many`` would, in the same transaction, even if there is
        nothing to hand out; a call that then waits has committed them before. So a loop that acknowledges what it has
        handled when it asks for more needs one transaction instead of two.

        A call that is cancelled hands nothing out; either all of its acknowledgements have happened or none has, and
        repeating them does no harm.

        A backend whose own ``dequeue`` has no ``ack`` gets it from here as two steps: ``ack_many`` (or ``ack``, one
        after the other), and then its ``dequeue``. That is not atomic: others may see the state between the two, and if
        it fails or is cancelled on the way, all, none or some have been acknowledged.

        Raises:
            TypeError, ValueError: an argument is invalid; nothing was acknowledged or handed out.
        """

    @abstractmethod
    def ack(self, message_id: UUID) -> Coroutine[Any, Any, bool]:
        """Deletes a message for good, whoever holds it, even if it is queued.

        True if this call removed it. False if there was nothing to remove: it is unknown or was acknowledged before.
        If the call is cancelled, the message may or may not have been removed; repeating it does no harm.
        """

    @abstractmethod
    def status(self) -> Coroutine[Any, Any, MailboxStats]:
        """How many messages there are: exact, all counted at the same moment, over all handles."""

    @abstractmethod
    def close(self) -> Coroutine[Any, Any, None]:
        """Lets calls under way finish, then gives back what this handle still holds, as if never handed out.

        Every later verb raises ``MailboxClosedError``. Closing twice is fine.
        """

    def enqueue_json(
        self,
        value: Any,
        *,
        sender: BytesLike = b"",
        priority: MessagePriority = MessagePriority.NORMAL,
        message_id: UUID | None = None,
        delay: float | timedelta | None = None,
        headers: Mapping[str, str] | None = None,
        dedupe_for: float | timedelta | None = None,
    ) -> Coroutine[Any, Any, UUID]:
        """As ``enqueue``, of a value as JSON in UTF-8; ``MessageRecord.json`` gives it back.

        The header ``content-type: application/json`` says so, unless ``headers`` name another type.

        Raises:
            TypeError, ValueError: JSON cannot hold the value (a NaN, bytes, something that contains itself), or another
                argument is invalid; nothing was stored.
            UnsupportedError: this backend has no headers.
        """
        if Capability.HEADERS not in self.capabilities:
            self._lacks(Capability.HEADERS)
        payload, headers = json_payload(value), json_headers(headers)
        optional = {"message_id": message_id, "delay": delay, "dedupe_for": dedupe_for}
        given = {name: argument for name, argument in optional.items() if argument is not None}
        return self.enqueue(sender, payload, priority, headers=headers, **given)  # type: ignore[arg-type]

    async def enqueue_many(self, messages: Iterable[NewMessage]) -> list[UUID]:
        """Stores messages in their order, all or none of them, and returns their ids in the same order.

        If the iterable raises, its error reaches the caller, and nothing is stored. Otherwise as ``enqueue``.
        """
        self._lacks(Capability.ENQUEUE_MANY)

    async def ack_many(self, ids: Iterable[UUID]) -> int:
        """Deletes messages in one transaction and returns how many it removed; a repeated id counts once."""
        self._lacks(Capability.ACK_MANY)

    async def ack_and_send(self, message_id: UUID, messages: Iterable[tuple[Mailbox, NewMessage]]) -> bool:
        """Acknowledges a message that this handle holds and enqueues others, in one transaction: both or neither.

        So a step from actor to actor happens exactly once. The acknowledgement comes first, so a message may be sent on
        under its own id, also to its own mailbox while ``dedupe_for`` keeps the id known. If a target already has a
        message of an id, or knows the id, it stores nothing, and the result is still True.

        Args:
            message_id: the message to acknowledge.
            messages: pairs of an open mailbox of the same database and what to enqueue there.

        Returns:
            False if this handle no longer holds the message; then nothing was sent.

        Raises:
            TypeError, ValueError: an argument is invalid, or a mailbox is in another database; nothing was done.
            MailboxClosedError: this mailbox or a target is closed; nothing was done.
            StorageFullError: there is no room; nothing was done.
        """
        self._lacks(Capability.ACK_AND_SEND)

    async def nack(
        self,
        message_id: UUID,
        *,
        delay: float | timedelta | None = None,
        error: str | None = None,
        failed: bool = True,
    ) -> bool:
        """Gives back a message that this handle holds, to its old place in its priority.

        Args:
            message_id: the message.
            delay: seconds, or a ``timedelta``, before which it is not handed out; at most 100 years.
            error: what went wrong. Lone surrogates, which UTF-8 cannot hold, are stored as text such as ``\\udcff``.
            failed: whether that was a failed delivery. After ``max_deliveries`` of them the message becomes a dead
                letter instead, with the last ``error``. If not ("not now"), the hand-out is taken back, as in a
                release: ``delivery_count`` falls by one.

        Returns:
            False, and nothing changes, if this handle no longer holds it.
        """
        self._lacks(Capability.NACK)

    async def dead_letter(self, message_id: UUID, reason: str) -> bool:
        """Moves a message to the dead letters, in one transaction; False if this handle does not hold it."""
        self._lacks(Capability.DEAD_LETTERS)

    async def dead_letters(self, limit: int | None = None, *, offset: int = 0) -> list[DeadLetter]:
        """The newest ``limit`` (else ``batch_size``) dead letters, the newest first; ``offset`` are passed over.

        In a browser there are fewer if they hold more than 256 MiB; the next ones are at ``offset`` plus those shown.
        """
        self._lacks(Capability.DEAD_LETTERS)

    async def redrive(self, message_id: UUID) -> bool:
        """Puts a dead letter back at the end of its priority, as new; False if there is none.

        It keeps its id, bytes and ``created_at``, and counts as never handed out.
        """
        self._lacks(Capability.DEAD_LETTERS)

    async def discard(self, message_id: UUID) -> bool:
        """Deletes a dead letter for good; False if there is none."""
        self._lacks(Capability.DEAD_LETTERS)

    async def recover(self) -> int:
        """Returns to the queue every inflight message whose holder is gone; how many there were.

        This happens by itself when a mailbox is opened and while it is used; the call makes it happen now.
        """
        self._lacks(Capability.RECOVER)

    async def storage_report(self) -> StorageReport:
        """How safe the storage under this mailbox is, and how full."""
        self._lacks(Capability.STORAGE_REPORT)

    async def request_persistence(self) -> bool:
        """Asks the browser to keep this origin's storage when space gets scarce; True if it agrees.

        Raises:
            UnsupportedError: this is a worker, for which a page has to ask, or a platform that has no such request.
        """
        self._lacks(Capability.STORAGE_REPORT)

    async def peek(
        self, limit: int | None = None, *, status: MessageStatus | None = None, offset: int = 0
    ) -> list[MessageRecord]:
        """Shows up to ``limit`` (else ``batch_size``) messages, passing over ``offset`` of them, and changes nothing.

        Queued ones come first, in the order in which they would be handed out, then those not yet due, by their due
        time; then those inflight, in the same order. With ``status``, only messages with that status. In a browser
        there are fewer if they hold more than 256 MiB; the next ones are at ``offset`` plus those shown.
        """
        self._lacks(Capability.PEEK)

    async def get(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        """What there is of a message, wherever it is: queued, inflight or dead; None if nothing. Changes nothing."""
        self._lacks(Capability.GET)

    async def promote(self, ids: Iterable[UUID] | None = None) -> int:
        """Makes delayed messages due now, in one transaction: those of ``ids``, or all; how many there were.

        Each has its old place in its priority then.
        """
        self._lacks(Capability.PROMOTE)

    def changes(self) -> AsyncIterator[MailboxStats]:
        """The counts, now and again after anything has changed them, whoever did it, for ``async for``.

        That includes other tabs, workers and processes, and messages that have become due. Changes are merged to at
        most 20 a second, and the last state is never left out. It ends when the mailbox is closed.
        """
        self._lacks(Capability.CHANGES)

    async def purge(self) -> int:
        """Deletes all queued messages, delayed ones included, and returns how many. Those inflight stay."""
        self._lacks(Capability.PURGE)

    def set_depth_observer(self, observer: MailboxDepthObserver | None) -> bool:
        """Installs the observer of this handle; True if this backend supports one.

        It is called synchronously after each committed enqueue call, before that call returns, with the number of
        queued messages just after that call's own. A batch is one call; a call that stored nothing does not count. If
        an observer raises, that is logged and does no harm. A new one replaces the old one, ``None`` removes it.
        """
        return False

    def messages(self) -> AsyncIterator[MessageRecord]:
        """Records one after the other as they come, for ``async for``; ends when the mailbox is closed.

        It takes a batch at a time and acknowledges nothing, nor does it give back what the body of the loop failed
        with: that stays with the handle until it is acknowledged, or given back by ``nack`` or ``close``. However the
        loop is left, what was taken but not yielded goes back, if the backend can give it back
        (``Capability.RELEASE``).
        """
        return _messages_of(self)

    def consume(
        self,
        handler: Handler,
        *,
        concurrency: int = 1,
        ordered_by_sender: bool = False,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
    ) -> Consumer:
        """Hands every message to a handler, as they come, until it is stopped: the loop of an actor.

            async def handler(message, context):
                context.send(outbox, b"me", answer_to(message.payload))

            await mailbox.consume(handler)

        The handler takes a message, or a message and its ``Context`` (a second parameter that has a default keeps it,
        unless it is named ``context``); it may be ``async`` or not (then it blocks the event loop while it runs). How
        it ends decides:

        - It returns: the message is acknowledged. What it sent with ``context.send`` commits together with that.
        - It raises: the message is given back with ``nack``, its traceback as the error, and comes again after a pause
          (``retry``); after ``max_deliveries``, the policy's or the mailbox's, it is a dead letter.
        - It raises ``Reject``: the message is a dead letter at once.
        - It raises ``Retry``: the message comes again after the delay that it names, as a failed delivery or as none.
        - It takes longer than ``timeout``: it is cancelled, and has failed.
        - It has settled its message itself (``ack``, ``nack``, ``dead_letter``, ``ack_and_send``, on this handle): that
          is the last word. What it sent is stored if the message was acknowledged, and not if it went back.

        A claim takes as many messages as have lately been handled in 50 ms, at least one for each free handler and at
        most ``batch_size``; what then does not begin goes back.

        To stop it, call ``stop()`` of what this returns or ``Context.stop()``, or cancel it: running handlers finish
        and their messages are settled, and what else was claimed goes back to the queue as if never handed out. A
        second cancellation (not the same one delivered again, as in an anyio scope) ends the handlers as well, and
        their messages go back. When the page is left or frozen, what has not begun goes back, and the loop goes on if
        the page comes back. Closing the mailbox ends the loop too, but then nothing more is acknowledged.

        If the backend lacks ``nack``, a failed message stays with this handle and is tried again from memory; if it
        lacks dead letters, a message that has to be given up ends the loop with its handler's exception; if nothing can
        be given back, a stop finishes all that was claimed.

        Args:
            handler: what to do with a message. It may be called more than once with the same one ("at least once").
            concurrency: how many handlers may run at the same time.
            ordered_by_sender: whether messages with the same ``sender`` are handled one after the other, in their
                order. If one fails, the later ones wait until it is handled or given up. Other consumers of the same
                mailbox keep an order of their own.
            retry: pauses and limits; None for ``RetryPolicy()``.
            timeout: seconds that a handler may take, None for any time. Then it is cancelled, once, and that is a
                failed delivery, however the handler ends, unless it settles its message or raises ``Reject`` or
                ``Retry``. Until it has ended it keeps its place and its message.

        Returns:
            A coroutine that ends after a clean stop, and has a method ``stop``.

        Raises:
            TypeError, ValueError: an argument is invalid, or ``timeout`` was given with a synchronous handler, which
                cannot be cancelled; raised at the call.
            MailboxClosedError: the mailbox was closed before. If it is closed later, the loop just ends.
            MailboxError: the mailbox cannot go on. A passing error (``error.passing``: a lost connection, a full
                storage, a file that another program keeps locked) does not end the loop: it tries again until it works,
                and logs that it does.
            BaseException: a handler raised ``KeyboardInterrupt`` or ``SystemExit``; its message goes back.
        """
        return self._consumer_type(self, handler, concurrency, ordered_by_sender, retry, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled or copied: open the mailbox again where it is needed"
        )

    # -- hooks of ``consume``, for backends that can do better ---------------------------------------------------------

    async def _release(self, ids: list[UUID]) -> None:
        """Gives back those of these messages that this handle holds, as if never handed out.

        If the backend has no way of its own, they are given back with ``nack``, which counts as a failed delivery; if
        it lacks that too, they stay with the handle.
        """
        if Capability.NACK in self.capabilities:
            await asyncio.gather(*map(self.nack, ids))

    @property
    def _can_release(self) -> bool:
        """Whether ``_release`` gives anything back."""
        return self._undoes_hand_outs or Capability.NACK in self.capabilities

    @property
    def _undoes_hand_outs(self) -> bool:
        """Whether what ``_release`` gives back counts as never handed out."""
        return type(self)._release is not Mailbox._release

    async def _ack_if_held(self, ids: list[UUID]) -> int:
        """Acknowledges those of these messages that this handle holds; how many they were.

        If the backend has no way of its own, they are acknowledged with an ``ack_and_send`` of nothing, which checks
        the holder; if it lacks that too, they are acknowledged whoever holds them.
        """
        if Capability.ACK_AND_SEND in self.capabilities:
            return sum(await asyncio.gather(*(self.ack_and_send(message_id, ()) for message_id in ids)))
        if Capability.ACK_MANY in self.capabilities:
            return await self.ack_many(ids)
        return sum(await asyncio.gather(*map(self.ack, ids)))

    @property
    def _place(self) -> Hashable:
        """Equal for handles on one mailbox, where the backend can tell."""
        return self

    @property
    def _away_since(self) -> datetime | None:
        """Since when there has been no connection to its storage, where it needs one."""
        return None

    def _enqueue_sent_on(self, message_id: UUID, messages: list[NewMessage]) -> Awaitable[object]:
        """As ``enqueue_many``, of what a handler sent that had acknowledged the message of that id, of this mailbox,
        itself: that the id is still known keeps nothing out.
        """
        return self.enqueue_many(messages)

    async def _ack_late(self, records: list[MessageRecord]) -> None:
        """Acknowledges messages that this handle held, whoever has them now, but none that has only got the id of one
        since.

        One transaction in a backend whose handles have several lives, see ``_on_life_over``.
        """
        found = await asyncio.gather(*(self.get(record.id) for record in records))
        for record, one in zip(records, found, strict=True):
            if isinstance(one, MessageRecord) and aware(one.created_at) == aware(record.created_at):
                await self.ack(record.id)

    async def _ack_if_held_and_claim(
        self, ids: list[UUID], limit: int, wait: float | None, on_acked: Callable[[int], None]
    ) -> list[MessageRecord]:
        """As ``_ack_if_held`` and then ``dequeue(limit, wait=wait)``, in one transaction if the backend has its own.

        ``on_acked`` is called with what ``_ack_if_held`` would return as soon as that is committed, before any waiting.
        If this raises or is cancelled before that, the messages may or may not have been acknowledged.
        """
        on_acked(await self._ack_if_held(ids))
        return await self.dequeue(limit, wait=wait)

    @property
    def _acks_if_held_with_claims(self) -> bool:
        """Whether ``_ack_if_held_and_claim`` is one transaction."""
        return type(self)._ack_if_held_and_claim is not Mailbox._ack_if_held_and_claim

    @property
    def _acks_with_claims(self) -> bool:
        """Whether ``dequeue`` acknowledges in the transaction of its claim; one without ``ack`` does not."""
        return "ack" in inspect.signature(self.dequeue).parameters

    @property
    def _most_at_once(self) -> int:
        """How many messages one claim may take."""
        return 32

    async def _nack_with_reason(
        self, message_id: UUID, *, delay: float | timedelta | None = None, error: str | None = None, failed: bool = True
    ) -> bool | str:
        """As ``nack``; if that made a dead letter, its reason, where the backend can tell."""
        optional: dict[str, Any] = {} if delay is None else {"delay": delay}
        if not failed:
            optional["failed"] = False
        return await self.nack(message_id, error=error, **optional)

    @property
    def _tells_of_dead_letters(self) -> bool:
        """Whether ``_nack_with_reason`` says that it made a dead letter."""
        return type(self)._nack_with_reason is not Mailbox._nack_with_reason

    @property
    def _takes_limit(self) -> bool:
        """Whether ``dequeue`` takes a limit; the plain one of a small backend does not."""
        return "limit" in inspect.signature(self.dequeue).parameters

    def _on_life_over(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls ``callback`` whenever one life of this handle ends and the handle itself goes on: the page was left or
        frozen, or the handle's lock was taken away. All that it held has been given back, or was taken from it.

        Returns a function that ends this.
        """
        return lambda: None

    # -- hook of ``pymailbox.testing`` ---------------------------------------------------------------------------------

    def _die(self) -> None:
        """Ends this handle as the end of its process would: what it holds comes back as after a death.

        Every later verb raises ``MailboxClosedError``. A backend with ``Capability.RECOVER`` fills it in.
        """
        raise NotImplementedError(f"{type(self).__name__}._die(), by which pymailbox.testing lets a handle die")

    # -- hook of ``export`` and ``import_`` ----------------------------------------------------------------------------

    def _archive(self) -> Archive:
        """Everything that this mailbox knows of its messages."""
        return PlainArchive(self)

    def _lacks(self, capability: Capability) -> NoReturn:
        raise UnsupportedError(
            f"{type(self).__name__} does not support {capability}; Mailbox.capabilities lists what it can"
        )


def check_mailbox(name: str, value: Any) -> None:
    """Sees to it that an argument is an open mailbox; a ``TypeError`` that names it."""
    if not isinstance(value, Mailbox):
        raise TypeError(f"{name} must be an open mailbox, not {type(value).__name__}{_hint(value)}")


def _hint(value: Any) -> str:
    if hasattr(value, "__await__"):
        return ": await it, or use it with 'async with'"
    return ", which pymailbox.sync has functions for" if type(value).__name__ == "SyncMailbox" else ""


async def _messages_of(mailbox: Mailbox) -> AsyncIterator[MessageRecord]:
    try:
        while True:
            for record in await mailbox.dequeue(wait=math.inf):
                yield record
    except MailboxClosedError:
        return
