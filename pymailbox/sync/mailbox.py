"""Mailboxes for programs without ``await``."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Concatenate, Final, NoReturn, ParamSpec, Self, TypeVar
from uuid import UUID

from .. import _open
from .._open import MailboxLocation, MailboxOpening
from ..actors import RetryPolicy
from ..actors import ask as _ask
from ..contract.arguments import Durability
from ..contract.capabilities import Capability
from ..contract.errors import MailboxClosedError, WrongThreadError
from ..contract.mailbox import Mailbox
from ..contract.values import BytesLike, MailboxDepthObserver, MessagePriority, MessageRecord, NewMessage
from .consuming import SyncHandler, consume
from .loop import Caller, _inherited, shared_caller

_P = ParamSpec("_P")
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

_OnLost = Callable[[Mailbox, Any], Coroutine[Any, Any, object]]


def _verb(
    method: Callable[Concatenate[Any, _P], Coroutine[Any, Any, _T]], on_lost: _OnLost | None = None
) -> Callable[Concatenate[SyncMailbox, _P], _T]:
    """The verb of a ``Mailbox``, without ``await``; ``on_lost`` gets a result that no longer reaches its caller."""
    name = method.__name__
    iterates = name in _ITERATING

    def verb(self: SyncMailbox, /, *arguments: _P.args, **options: _P.kwargs) -> _T:
        caller, mailbox = self._handle()
        lost = None if on_lost is None else functools.partial(on_lost, mailbox)
        positional = [_run_through(argument) for argument in arguments] if iterates else arguments
        named = {key: _run_through(argument) for key, argument in options.items()} if iterates else options
        result: _T = caller.run(lambda: getattr(mailbox, name)(*positional, **named), lost)
        return result

    return _documented(verb, method, _AWAITED, _OF_A_MAILBOX)


_AWAITED: Final = "Coroutine[Any, Any, "

_OF_A_MAILBOX: Final = "SyncMailbox."

_ITERATING: Final = ("enqueue_many", "dequeue", "ack_many", "promote")
"""Verbs that take an iterable."""


def _run_through(argument: Any) -> Any:
    """The items of an iterable: it may do anything as it is iterated, and has to do so in the thread that passes it."""
    known = isinstance(argument, (list, tuple, str, bytes)) or not isinstance(argument, Iterable)
    return argument if known else list(argument)


def _stream(
    method: Callable[Concatenate[Any, _P], AsyncIterator[_T]], on_lost: _OnLost | None = None
) -> Callable[Concatenate[SyncMailbox, _P], SyncIterator[_T]]:
    """The asynchronous iterator of a ``Mailbox`` as a plain one."""
    name = method.__name__

    def stream(self: SyncMailbox, /, *arguments: _P.args, **options: _P.kwargs) -> SyncIterator[_T]:
        caller, mailbox = self._handle()

        async def begin() -> AsyncIterator[_T]:
            iterator: AsyncIterator[_T] = getattr(mailbox, name)(*arguments, **options)
            return iterator

        return SyncIterator(self, caller, caller.run(begin), functools.partial(on_lost, mailbox) if on_lost else None)

    return _documented(stream, method, "Async", _OF_A_MAILBOX)


def _documented(
    function: Callable[_P, _T], method: Callable[..., Any], prefix: str, owner: str = ""
) -> Callable[_P, _T]:
    """With name, docstring and signature of what is awaited; its result is what is left without the prefix."""
    signature = inspect.signature(method)
    result = str(signature.return_annotation)
    if result.startswith(prefix):
        result = result.removeprefix(prefix)
        result = result[:-1] if prefix.endswith(" ") else result
    function.__name__, function.__doc__ = method.__name__, method.__doc__
    function.__qualname__ = f"{owner}{method.__name__}"
    function.__signature__ = signature.replace(return_annotation=result)  # type: ignore[attr-defined]
    return function


async def _give_back(mailbox: Mailbox, records: list[MessageRecord]) -> None:
    await mailbox._release([record.id for record in records])


async def _give_one_back(mailbox: Mailbox, record: MessageRecord) -> None:
    await mailbox._release([record.id])


class SyncMailbox:
    """A mailbox for programs without ``await``: the verbs of ``Mailbox``, each of which returns when it is done.

    Made by ``pymailbox.sync.open_mailbox``. It is one consumer, which any thread of the process may use, any number of
    them at a time. Use it with ``with``, or ``close()`` it; what is still open when the process ends is closed then. An
    exception from a signal handler, such as ``KeyboardInterrupt``, ends a call that waits, as a cancellation ends an
    awaited one.

    In a forked process (gunicorn with ``--preload``, ``multiprocessing``) a handle that was opened before the fork is
    opened anew when it is first used there, as a consumer of its own that holds nothing; one on a mailbox in memory,
    which stays with the parent, raises ``WrongThreadError``.
    """

    def __init__(self, caller: Caller, mailbox: Mailbox, opening: MailboxOpening | None) -> None:
        self._caller = caller
        self._mailbox = mailbox
        self._opening = opening
        """How to open it in a forked process; None if that makes no sense."""
        self._closed = False
        self._observer: MailboxDepthObserver | None = None
        self._stops: set[Callable[[], None]] = set()
        """What stops the consumers that run."""

    enqueue = _verb(Mailbox.enqueue)
    enqueue_json = _verb(Mailbox.enqueue_json)
    enqueue_many = _verb(Mailbox.enqueue_many)
    dequeue = _verb(Mailbox.dequeue, _give_back)
    ack = _verb(Mailbox.ack)
    ack_many = _verb(Mailbox.ack_many)
    nack = _verb(Mailbox.nack)
    dead_letter = _verb(Mailbox.dead_letter)
    dead_letters = _verb(Mailbox.dead_letters)
    redrive = _verb(Mailbox.redrive)
    discard = _verb(Mailbox.discard)
    recover = _verb(Mailbox.recover)
    status = _verb(Mailbox.status)
    peek = _verb(Mailbox.peek)
    get = _verb(Mailbox.get)
    promote = _verb(Mailbox.promote)
    purge = _verb(Mailbox.purge)
    storage_report = _verb(Mailbox.storage_report)
    request_persistence = _verb(Mailbox.request_persistence)
    messages = _stream(Mailbox.messages, _give_one_back)
    changes = _stream(Mailbox.changes)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this backend can do; a verb that needs anything else raises ``UnsupportedError``."""
        return self._mailbox.capabilities

    def ack_and_send(self, message_id: UUID, messages: Iterable[tuple[SyncMailbox, NewMessage]]) -> bool:
        """Acknowledges a message that this handle holds and enqueues others, in one transaction: both or neither.

        As ``Mailbox.ack_and_send``, with pairs of a ``SyncMailbox`` of the same database and what to enqueue there.
        """
        caller, mailbox = self._handle()
        sends = self._sends(messages) if isinstance(messages, Iterable) else messages
        return caller.run(lambda: mailbox.ack_and_send(message_id, sends))

    def set_depth_observer(self, observer: MailboxDepthObserver | None) -> bool:
        """Installs the observer of this handle, as ``Mailbox.set_depth_observer``; True if this backend supports one.

        It is called before the enqueue call returns, maybe in another thread. It must not call verbs of
        ``pymailbox.sync``, which raise ``WrongThreadError`` there.
        """
        caller, mailbox = self._handle()

        async def install() -> bool:
            return mailbox.set_depth_observer(observer)

        installed = caller.run(install)
        self._observer = observer
        return installed

    def consume(
        self,
        handler: SyncHandler,
        *,
        concurrency: int = 1,
        ordered_by_sender: bool = False,
        retry: RetryPolicy | None = None,
    ) -> None:
        """Hands every message to a handler, as they come, and returns when it is stopped: the loop of a worker.

        As ``Mailbox.consume``, with a synchronous handler that takes a message, or a message and its ``SyncContext``.
        With a ``concurrency`` of 1 it is called in the thread that calls this; otherwise in as many threads of their
        own.

        It is stopped by ``SyncContext.stop()``, by ``stop_consuming()`` from any thread, and by ``close()``. Ctrl-C
        during a handler gives its message back as if it had never been handed out; between two it stops cleanly. Either
        way this raises ``KeyboardInterrupt``. If handlers in other threads are still running then, it waits for them;
        a second Ctrl-C does not, and gives their messages back.

        Raises:
            TypeError, ValueError: an argument is invalid, or the handler is asynchronous.
            MailboxError: the mailbox cannot go on.
            BaseException: the handler raised ``KeyboardInterrupt`` or ``SystemExit``; its message goes back.
        """
        consume(self, self._handle, self._stops, handler, concurrency, ordered_by_sender, retry)

    def stop_consuming(self) -> None:
        """Asks every ``consume`` of this handle to stop cleanly; returns at once. For any thread, or a signal handler.

        Running handlers finish, and what else was claimed goes back to the queue.
        """
        for stop in list(self._stops):
            stop()

    def close(self) -> None:
        """Lets calls under way finish, then gives back what this handle still holds, as if never handed out.

        Every later verb raises ``MailboxClosedError``. Closing twice is fine.
        """
        self._closed = True
        if not self._caller.is_inherited and not self._caller.loop.is_closed():
            self._caller.run(self._mailbox.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._mailbox!r}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a SyncMailbox cannot be pickled or copied: open the mailbox again where it is needed")

    def _handle(self) -> tuple[Caller, Mailbox]:
        """The mailbox in its event loop, as every verb needs them."""
        if self._caller.is_inherited:
            self._open_in_child()
        return self._caller, self._mailbox

    def _sends(self, messages: Iterable[Any]) -> list[Any]:
        """The pairs, with the mailboxes to send to; the verb says what is wrong with what is no pair."""
        return [
            (self._target(one[0], f"messages[{index}][0]"), *one[1:]) if isinstance(one, tuple) and one else one
            for index, one in enumerate(messages)
        ]

    @staticmethod
    def _target(mailbox: SyncMailbox, name: str = "mailbox") -> Mailbox:
        """The mailbox to send to, which is the argument of that name."""
        if not isinstance(mailbox, SyncMailbox):
            raise TypeError(f"{name} must be an open SyncMailbox, not {type(mailbox).__name__}")
        return mailbox._handle()[1]

    def _open_in_child(self) -> None:
        if self._closed:
            raise MailboxClosedError(f"{self!r}: open it again with open_mailbox()")
        opening = self._opening
        if opening is None:
            raise WrongThreadError(
                f"{self!r} was opened before this process was forked, and its messages stay with the parent. Open "
                "another one here"
            )
        with _reopening:
            if self._caller.is_inherited:
                caller = shared_caller(_close_all)
                inherited = self._mailbox
                self._mailbox = caller.run(lambda: _opened(opening))
                _inherited.append(inherited)
                self._caller = caller
                if self._observer is not None:
                    self.set_depth_observer(self._observer)


class SyncIterator(Iterator[_T]):
    """What comes of an asynchronous iterator, one after the other. ``close()`` it, or just drop it, to end early."""

    def __init__(
        self,
        owner: SyncMailbox,
        caller: Caller,
        iterator: AsyncIterator[_T],
        on_lost: Callable[[_T], Coroutine[Any, Any, object]] | None,
    ) -> None:
        self._owner = owner
        """Kept open as long as this is used."""
        self._caller = caller
        self._iterator = iterator
        self._on_lost = on_lost
        self._ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _T:
        if self._caller.is_inherited:
            raise WrongThreadError("this iterator was begun before this process was forked; begin another one here")
        if self._ended:
            raise StopIteration
        try:
            return self._caller.run(self._next, self._on_lost)
        except StopAsyncIteration:
            self._ended = True
            raise StopIteration from None

    def close(self) -> None:
        """Ends it, and returns when what it had taken and not yielded has gone back. Closing twice is fine."""
        self._ended = True
        if not self._caller.is_inherited and not self._caller.loop.is_closed():
            self._caller.run(self._close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_ended", True) and not self._caller.is_inherited:
            iterator = self._iterator
            self._caller.start(lambda: _close(iterator))

    async def _next(self) -> _T:
        return await anext(self._iterator)

    async def _close(self) -> None:
        await _close(self._iterator)


async def _close(iterator: AsyncIterator[Any]) -> None:
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()


_reopening = threading.Lock()


def _renew_lock() -> None:
    """In a forked process: a thread that is not there may have held it."""
    global _reopening
    _reopening = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)

_open_handles: Final[weakref.WeakSet[SyncMailbox]] = weakref.WeakSet()


async def _opened(opening: MailboxOpening) -> Mailbox:
    return await opening


async def _close_all() -> None:
    """When the process ends: what was left open is closed."""
    left = [handle._mailbox for handle in _open_handles if not (handle._closed or handle._caller.is_inherited)]
    await asyncio.gather(*(mailbox.close() for mailbox in left), return_exceptions=True)


def open_mailbox(
    location: MailboxLocation,
    *,
    batch_size: int = 32,
    max_deliveries: int | None = None,
    lease: float = 300.0,
    durability: Durability = "strict",
    connect: Mapping[str, Any] | None = None,
) -> SyncMailbox:
    """Opens a mailbox, and creates it if it does not exist. Arguments and errors are as for ``pymailbox.open_mailbox``.

    Use it as ``with open_mailbox("inbox") as mailbox:``, or keep it open as long as the program runs.
    In Pyodide, which has no threads, it raises ``StorageUnavailableError``; ``pymailbox.run_sync`` is for synchronous
    code there.
    """
    opening = _open.open_mailbox(
        location,
        batch_size=batch_size,
        max_deliveries=max_deliveries,
        lease=lease,
        durability=durability,
        connect=connect,
    )
    opening._any_thread = True  # only one at a time runs the loop
    opening._is_used = True  # the caller is not at fault if it is interrupted before this is awaited
    caller = shared_caller(_close_all)
    mailbox = caller.run(lambda: _opened(opening), lambda lost: lost.close())
    handle = SyncMailbox(caller, mailbox, None if opening._location.scheme == "memory" else opening)
    _open_handles.add(handle)
    return handle


def _blocking(function: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, _T]:
    """A function of ``pymailbox`` without ``await``."""

    def call(*arguments: _P.args, **options: _P.kwargs) -> _T:
        coroutine = function(*arguments, **options)  # a relative path is resolved at the call
        try:
            caller = shared_caller(_close_all)
        except BaseException:
            coroutine.close()
            raise
        return caller.run(lambda: coroutine)

    return _documented(call, function, _AWAITED)


def ask(
    mailbox: SyncMailbox,
    payload: BytesLike,
    *,
    timeout: float,
    sender: BytesLike = b"",
    priority: MessagePriority = MessagePriority.NORMAL,
    headers: Mapping[str, str] | None = None,
    message_id: UUID | None = None,
) -> MessageRecord:
    """``pymailbox.ask`` without ``await``, for any number of threads at once: it has the same arguments and errors.

        answer = ask(prices, b"tea", timeout=5.0)

    ``timeout`` counts from the call. If that is interrupted, the question may still be handled; its answer is dropped.
    """
    SyncMailbox._target(mailbox)  # which checks it
    caller, handle = mailbox._handle()
    return caller.run(
        lambda: _ask(
            handle,
            payload,
            timeout=timeout,
            sender=sender,
            priority=priority,
            headers=headers,
            message_id=message_id,
        )
    )


list_mailboxes = _blocking(_open.list_mailboxes)
delete_mailbox = _blocking(_open.delete_mailbox)
backup = _blocking(_open.backup)
compact = _blocking(_open.compact)
