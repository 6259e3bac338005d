"""How handles of one process hear of each other, and how a ``dequeue`` waits.

Each handle has a ``Listener``; an ``Exchange`` knows the listeners of each mailbox and passes on what was committed
there, from any thread, to each listener's own event loop. Who waits is woken; nobody polls. A listener that is neither
waited on nor observed costs a commit nothing.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import NamedTuple

from .._errors import MailboxClosedError
from .._values import MessageRecord
from ._clock import now_in_ms

HOLDER_CHECK = 0.2
"""Seconds between two looks at whether other holders live, while somebody waits for what they hold."""

_CLOCK_CHECK = 5.0
"""Seconds between two looks at the wall clock, which may be set, while somebody waits for a delayed message."""


class Listener:
    """What one handle hears of its mailbox. Made and waited on in its event loop, spoken to from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.closed = False
        self.gone = False
        """The handle was abandoned: nobody listens any more."""
        self.lists: tuple[set[Listener], ...] = ()
        """Where it enters itself while somebody waits or observes; its exchange's."""
        self._waiting: set[asyncio.Future[None]] = set()
        self._observe: weakref.WeakMethod[Callable[[int], None]] | None = None

    @property
    def waits(self) -> bool:
        return bool(self._waiting) and not self.is_gone

    @property
    def observes(self) -> bool:
        return self._observe is not None and not self.is_gone

    @property
    def is_gone(self) -> bool:
        return self.gone or self.loop.is_closed()

    def observe(self, observe: Callable[[int], None] | None) -> None:
        """Calls the method from now on, as long as its object lives."""
        self._observe = None if observe is None else weakref.WeakMethod(observe)
        self._enter()

    def hear(self, depth: int | None) -> None:
        """Something may be there to claim; with ``depth`` queued messages, if somebody else has stored some."""
        if self._waiting or (depth is not None and self._observe is not None):
            with suppress(RuntimeError):  # in a loop that was closed nobody listens
                self.loop.call_soon_threadsafe(self._heard, depth)

    def close(self) -> None:
        """Ends all waiting, with ``MailboxClosedError``."""
        self.closed = True
        self._observe = None
        self._wake()
        self._enter()

    def begin(self) -> asyncio.Future[None]:
        """A future that is done with the next news; ``end`` comes after it."""
        news: asyncio.Future[None] = self.loop.create_future()
        self._waiting.add(news)
        self._enter()
        return news

    def end(self, news: asyncio.Future[None]) -> None:
        self._waiting.discard(news)
        self._enter()
        news.cancel()

    def _enter(self) -> None:
        listens = self._waiting or self._observe is not None
        for listeners in self.lists:
            if listens:
                listeners.add(self)
            else:
                listeners.discard(self)

    def _heard(self, depth: int | None) -> None:
        self._wake()
        observe = self._observe and self._observe()
        if depth is not None and observe:
            observe(depth)

    def _wake(self) -> None:
        for news in self._waiting:
            _finish(news)


class Exchange:
    """Who listens to which mailbox."""

    def __init__(self) -> None:
        self.listening: set[Listener] = set()
        """Those who wait or observe; one who is gone may yet be among them."""
        self._lock = threading.Lock()
        # the tuples are replaced, never changed: they can be read without the lock, by a finaliser too
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._listening: dict[str, set[Listener]] = {}
        """Those of ``listening`` by mailbox."""

    def add(self, name: str, listener: Listener) -> None:
        with self._lock:
            self._listeners[name] = (*self._living(name), listener)
            listener.lists = self.listening, self._listening.setdefault(name, set())

    def remove(self, name: str, listener: Listener) -> None:
        with self._lock:
            for listeners in listener.lists:
                listeners.discard(listener)
            left = tuple(other for other in self._living(name) if other is not listener)
            if left:
                self._listeners[name] = left
            else:
                self._listeners.pop(name, None)
                self._listening.pop(name, None)

    def forget_gone(self) -> None:
        """Those who are gone listen no more."""
        for listener in tuple(self.listening):
            if listener.is_gone:
                for listeners in listener.lists:
                    listeners.discard(listener)

    def tell(self, name: str, depth: int | None, informed: Collection[Listener] = ()) -> None:
        """Passes on what was committed; those who are ``informed`` of the depth already are only woken."""
        for listener in tuple(self._listening.get(name, ())):
            listener.hear(None if listener in informed else depth)

    def names(self, wanted: Callable[[Listener], bool]) -> list[str]:
        """The mailboxes that have such a listener."""
        return [name for name, listeners in list(self._listeners.items()) if any(map(wanted, listeners))]

    def _living(self, name: str) -> tuple[Listener, ...]:
        return tuple(listener for listener in self._listeners.get(name, ()) if not listener.is_gone)


class Look(NamedTuple):
    """What one look for messages found."""

    records: list[MessageRecord]
    """Claimed; the look that returns them has kept them from being lost."""
    next_due: int | None
    """When the next delayed message is due, milliseconds since 1970."""
    again: float | None = None
    """Seconds after which to look again though nothing was heard."""


async def claim(listener: Listener, look: Callable[[], Awaitable[Look]], wait: float) -> list[MessageRecord]:
    """Looks until there is something, for up to ``wait`` seconds; once at least.

    It never suspends between a look that claimed something and its return, so that cancelling it strands nothing as
    long as cancelling a look strands nothing.

    Raises:
        MailboxClosedError: the listener was closed while it waited.
    """
    if not wait:
        return (await look()).records
    deadline = listener.loop.time() + wait
    while True:
        news = listener.begin()  # before the look, so that nothing is missed between it and the waiting
        try:
            records, next_due, again = await look()
            if records:
                return records
            if not listener.closed:
                left = deadline - listener.loop.time()
                if left <= 0:
                    return records
                await _until(news, _patience(left, next_due, again))
            if listener.closed:
                raise MailboxClosedError("the mailbox was closed while a dequeue waited")
        finally:
            listener.end(news)


def _patience(left: float, next_due: int | None, again: float | None) -> float:
    patience = left
    if next_due is not None:
        patience = min(patience, _CLOCK_CHECK, max(0.0, (next_due - now_in_ms()) / 1000))
    return patience if again is None else min(patience, again)


async def _until(news: asyncio.Future[None], seconds: float) -> None:
    """Waits for news, so many seconds at most; they may be infinite."""
    timer = None if seconds == float("inf") else news.get_loop().call_later(seconds, _finish, news)
    try:
        await news
    finally:
        if timer is not None:
            timer.cancel()


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
