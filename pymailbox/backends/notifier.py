"""How handles of one process notify each other, and how a ``dequeue`` waits.

Each handle has a ``Listener``; a ``Notifier`` knows the listeners of each mailbox and passes on what was committed
there, from any thread, to each listener's own event loop. Nobody polls. In each event loop, as many waiters are woken
as there are messages, longest wait first; one that was woken and does not take everything wakes the next. So a message
costs the same however many wait. If nobody listens to a mailbox, notifying costs next to nothing.
"""

from __future__ import annotations

import asyncio
import math
import threading
import weakref
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from typing import NamedTuple

from ..contract.errors import MailboxClosedError
from ..contract.moments import now_in_ms
from ..contract.values import MessageRecord

HOLDER_CHECK = 0.2
"""While somebody waits for what other holders have, seconds between two checks of whether they live."""

_CLOCK_CHECK = 5.0
"""While somebody waits for a delayed message, seconds between two looks at the wall clock, which may be set."""


class Listener:
    """Notifies one handle of what happens in its mailbox. Made and awaited in its loop, called from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.closed = False
        self.gone = False
        """The handle was abandoned: nobody listens any more."""
        self._waiting: set[asyncio.Future[None]] = set()
        self._observe: weakref.WeakMethod[Callable[[int], None]] | None = None
        self._on_change: weakref.WeakMethod[Callable[[], None]] | None = None
        self._superseded = 0
        """How often the handle itself has stored something."""
        self._is_to_tell = False
        """Whether the last change has not been passed on yet."""

    @property
    def is_gone(self) -> bool:
        return self.gone or self.loop.is_closed()

    def observe(self, observe: Callable[[int], None] | None) -> None:
        """Calls the method from now on, as long as its object lives."""
        self._observe = None if observe is None else weakref.WeakMethod(observe)

    def notify(self, depth: int) -> None:
        """Another handle has stored something; ``depth`` messages are queued now."""
        if self._observe is not None:
            with suppress(RuntimeError):  # nobody listens in a closed loop
                self.loop.call_soon_threadsafe(self._on_depth, depth, self._superseded)

    def supersede(self) -> None:
        """The handle itself has stored something, and tells its observer at once: after that, no older depth."""
        self._superseded += 1

    def listen_to_changes(self, on_change: Callable[[], None] | None) -> None:
        """As ``observe``, for changes of any kind."""
        self._on_change = None if on_change is None else weakref.WeakMethod(on_change)

    def notify_of_change(self) -> None:
        """The counts may have changed."""
        if self._on_change is not None and not self._is_to_tell:
            self._is_to_tell = True
            with suppress(RuntimeError):  # nobody listens in a closed loop
                self.loop.call_soon_threadsafe(self._tell_of_change)

    def _tell_of_change(self) -> None:
        self._is_to_tell = False  # first: anything from now on is another change
        on_change = self._on_change and self._on_change()
        if on_change:
            on_change()

    def close(self) -> None:
        """Ends all waiting, with ``MailboxClosedError``."""
        self.closed = True
        self._observe = self._on_change = None
        for wakeup in self._waiting:
            _finish(wakeup)

    def begin(self) -> asyncio.Future[None]:
        """A future that is done when this one is woken; ``end`` must follow."""
        wakeup: asyncio.Future[None] = self.loop.create_future()
        self._waiting.add(wakeup)
        return wakeup

    def end(self, wakeup: asyncio.Future[None]) -> None:
        self._waiting.discard(wakeup)
        wakeup.cancel()

    def _on_depth(self, depth: int, superseded: int) -> None:
        observe = self._observe and self._observe()
        if observe and superseded == self._superseded:
            observe(depth)


class Notifier:
    """Who listens to which mailbox.

    ``notify`` takes no lock, since a finaliser may call it while its thread has one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # none of these has names without listeners
        self._observing: dict[str, tuple[Listener, ...]] = {}
        self._of_changes: dict[str, tuple[Listener, ...]] = {}
        """Listeners to every change."""
        self._waiting: dict[str, dict[asyncio.Future[None], Listener]] = {}
        """Sleeping waiters, longest wait first. Code that takes one out has to wake it."""
        self._alarms: dict[tuple[str, asyncio.AbstractEventLoop], tuple[float, asyncio.Future[None]]] = {}
        """In each event loop, the one waiter that wakes by itself, and when, by that loop's clock."""

    @property
    def listening(self) -> bool:
        """Whether anybody waits or observes; some may be gone already."""
        return bool(self._waiting or self._observing or self._of_changes)

    @property
    def watched(self) -> list[str]:
        """The mailboxes that somebody waits for or observes."""
        return list({**self._waiting, **self._observing})

    @property
    def awaited(self) -> list[str]:
        """The mailboxes that somebody waits for."""
        return list(self._waiting)

    def observe(self, name: str, listener: Listener, observe: Callable[[int], None] | None) -> None:
        """Makes a listener start or stop calling the method with each new depth."""
        listener.observe(observe)
        self._list(self._observing, name, listener, observe is not None)

    def listen_to_changes(self, name: str, listener: Listener, on_change: Callable[[], None] | None) -> None:
        """Makes a listener start or stop calling the method after each change."""
        listener.listen_to_changes(on_change)
        self._list(self._of_changes, name, listener, on_change is not None)

    def _list(self, listeners: dict[str, tuple[Listener, ...]], name: str, listener: Listener, listens: bool) -> None:
        with self._lock:
            _take_out(listeners, name, lambda other: other is listener)
            if listens:
                listeners[name] = (*listeners.get(name, ()), listener)

    def is_observed(self, name: str) -> bool:
        return name in self._observing

    def forget_gone(self) -> None:
        """Removes listeners that are gone."""
        with self._lock:
            for listeners in self._observing, self._of_changes:
                for name in list(listeners):
                    _take_out(listeners, name, lambda listener: listener.is_gone)
            for name, waiting in list(self._waiting.items()):
                for wakeup, listener in list(waiting.items()):
                    if listener.is_gone:
                        waiting.pop(wakeup, None)
                if not waiting:
                    del self._waiting[name]

    # -- notifying -----------------------------------------------------------------------------------------------------

    def notify(self, name: str, depth: int | None, excluded: Collection[Listener] = (), count: int = 1) -> None:
        """Notifies listeners that there may be ``count`` messages to claim; with the ``depth``, if some were stored.

        Observers of the listeners in ``excluded`` already know the depth, and do not get it again.
        """
        if depth is not None:
            for listener in self._observing.get(name, ()):
                if listener in excluded:
                    listener.supersede()
                else:
                    listener.notify(depth)
        if name in self._waiting:
            self.wake(name, count)

    def changed(self, names: Iterable[str]) -> None:
        """These mailboxes may have changed; costs next to nothing if nobody listens for that."""
        if self._of_changes:
            for name in names:
                for listener in self._of_changes.get(name, ()):
                    listener.notify_of_change()

    def all_changed(self) -> None:
        """As ``changed``, for all mailboxes."""
        self.changed(list(self._of_changes))

    def wake(self, name: str, count: int = 1) -> None:
        """Wakes ``count`` waiters in each event loop, since any single loop may be busy for a long time."""
        waiting = self._waiting.get(name, {})
        woken: dict[asyncio.AbstractEventLoop, int] = {}
        for wakeup in list(waiting):
            loop = wakeup.get_loop()
            if woken.get(loop, 0) < count and waiting.pop(wakeup, None) is not None:
                with suppress(RuntimeError):  # nobody waits in a closed loop
                    loop.call_soon_threadsafe(_finish, wakeup)
                    woken[loop] = woken.get(loop, 0) + 1

    # -- waiting -------------------------------------------------------------------------------------------------------

    def begin(self, name: str, listener: Listener, wakeup: asyncio.Future[None]) -> None:
        """From now on a waiter is woken through its future; ``end`` must follow, whatever happens."""
        with self._lock:
            self._waiting.setdefault(name, {})[wakeup] = listener

    def end(self, name: str, listener: Listener, wakeup: asyncio.Future[None]) -> bool:
        """Whether it was woken, or is about to be."""
        with self._lock:
            waiting = self._waiting.get(name, {})
            woken = waiting.pop(wakeup, None) is None
            if not waiting:
                self._waiting.pop(name, None)
        alarm = self._alarms.get((name, listener.loop))
        if alarm and alarm[1] is wakeup:
            del self._alarms[name, listener.loop]
        listener.end(wakeup)
        return woken

    def sets_alarm(self, name: str, wakeup: asyncio.Future[None], time: float) -> bool:
        """Whether a waiter has to wake by itself at a time of its loop, because no other one there does so earlier."""
        key = name, wakeup.get_loop()
        if key in self._alarms and self._alarms[key][0] <= time:
            return False
        self._alarms[key] = time, wakeup
        return True


def _take_out(listeners: dict[str, tuple[Listener, ...]], name: str, which: Callable[[Listener], bool]) -> None:
    left = tuple(listener for listener in listeners.get(name, ()) if not which(listener))
    if left:
        listeners[name] = left
    else:
        listeners.pop(name, None)


class ClaimAttempt(NamedTuple):
    """The result of one attempt to claim messages."""

    records: list[MessageRecord]
    """The messages claimed; the attempt makes sure that they are not lost."""
    next_due: int | None
    """When the next delayed message is due, milliseconds since 1970."""
    again: float | None = None
    """Seconds after which to try again even without a notification."""
    more: bool = False
    """Whether messages remain: the batch may have been cut short."""


async def claim_or_wait(
    notifier: Notifier, name: str, listener: Listener, attempt: Callable[[], Awaitable[ClaimAttempt]], wait: float
) -> list[MessageRecord]:
    """Attempts to claim until there is something, for up to ``wait`` seconds, but at least once.

    It never suspends between an attempt that claimed something and its return, so cancelling it strands nothing if
    cancelling an attempt does not.

    Raises:
        MailboxClosedError: the listener was closed while it waited.
    """
    if not wait:
        return (await attempt()).records
    loop = listener.loop
    deadline = loop.time() + wait
    owes_attempt = False
    try:
        while True:
            wakeup = listener.begin()
            try:
                owes_attempt = True  # in case this one does not finish
                notifier.begin(name, listener, wakeup)  # so that nothing is missed between the attempt and the wait
                records, next_due, again, more = await attempt()
                # another waiter has to learn of what remains, or of the time that this one waited for
                owes_attempt = more or next_due is not None or again is not None
                if records:
                    return records
                if not listener.closed:
                    now = loop.time()
                    if now >= deadline:
                        return records
                    alarm = now + _timeout(next_due, again)
                    if alarm == math.inf or not notifier.sets_alarm(name, wakeup, alarm):
                        alarm = math.inf
                    await _until(wakeup, min(alarm, deadline))
                if listener.closed:
                    raise MailboxClosedError("the mailbox was closed while a dequeue waited")
            finally:
                owes_attempt |= notifier.end(name, listener, wakeup)
    finally:
        if owes_attempt:
            notifier.wake(name)


def _timeout(next_due: int | None, again: float | None) -> float:
    """Seconds after which to try even without a notification."""
    patience = math.inf if again is None else again
    if next_due is None:
        return patience
    return min(patience, _CLOCK_CHECK, max(0.0, (next_due - now_in_ms()) / 1000))


async def _until(wakeup: asyncio.Future[None], time: float) -> None:
    """Waits to be woken, at most until a time on the loop's clock, which may be infinite."""
    loop = wakeup.get_loop()
    # Pyodide's loop refuses a time that has passed
    timer = None if time == math.inf else loop.call_later(max(0.0, time - loop.time()), _finish, wakeup)
    try:
        await wakeup
    finally:
        if timer is not None:
            timer.cancel()


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
