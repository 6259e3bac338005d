"""What a file's thread does between calls: it listens to other processes, and checks its own handles.

SQLite does not notify other processes of a commit. While somebody waits or observes here, the header of the log's index
is read every ``QUIET_INTERVAL`` seconds, or every ``WATCH_INTERVAL`` while other processes are working: one system call
for the whole file, however many wait. If it cannot be read, SQLite is asked. While a handle of this process may hold
something, its event loop is checked every ``HANDLES_INTERVAL`` seconds. Otherwise nothing is done.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from ...contract.errors import MailboxError
from ..notifier import Notifier
from . import claiming
from .engine import Access, Call, Engine
from .liveness import Holder, Liveness
from .session import Session

WATCH_INTERVAL: Final = 0.01
QUIET_INTERVAL: Final = 0.05

_QUIET_AFTER: Final = 1.0
"""Seconds after the last commit of another process."""

HANDLES_INTERVAL: Final = 0.25

_HEARTBEATS_PER_LEASE: Final = 8

_logger = logging.getLogger("pymailbox")


class Watcher:
    """Watches a file for one process. All of it runs in the thread that works on the file."""

    def __init__(
        self, engine: Engine, notifier: Notifier, liveness: Liveness, on_gone: Callable[[Holder], None]
    ) -> None:
        self._engine = engine
        self._notifier = notifier
        self._liveness = liveness
        self._on_gone = on_gone
        """Called with a gone handle once what it held is back."""
        self._reaped: list[Holder] = []
        self._seen: bytes | None = None
        """The header of the log's index, as last seen."""
        self._last_seen: dict[str, _Seen] = {}
        """What was last seen of the mailboxes that somebody listens to; commits to others do not matter."""
        self._busy_until = 0.0
        self._next_poll = 0.0
        self._next_handles_check = 0.0

    @property
    def _interval(self) -> float:
        """Seconds between two polls of the file: waking up takes more time than the poll."""
        return WATCH_INTERVAL if time.monotonic() < self._busy_until else QUIET_INTERVAL

    def timeout(self) -> float | None:
        """Seconds until the next poll is due; None if there is nothing to watch for."""
        due = math.inf
        if self._notifier.listening:
            due = self._next_poll
        if self._liveness.active or self._notifier.listening:
            due = min(due, self._next_handles_check)
        return None if due == math.inf else max(0.0, due - time.monotonic())

    @property
    def listens(self) -> bool:
        """Whether anybody waits or observes."""
        return self._notifier.listening

    @property
    def is_late(self) -> bool:
        """Whether a poll is overdue because calls came in between."""
        return self.timeout() == 0.0

    def poll(self) -> None:
        """Checks the file, and now and then the handles; ``report_gone`` must follow."""
        now = time.monotonic()
        self._next_poll = now + self._interval
        checks_handles = now >= self._next_handles_check
        if self._notifier.listening:
            self._poll_file(thoroughly=checks_handles)
        if checks_handles:
            self._check_handles(now)
        elif self._liveness.some_abandoned:
            self.find_gone()

    def reap(self) -> None:
        """Takes back what gone handles of this process held."""
        self.find_gone()
        self.report_gone()

    def report_gone(self) -> None:
        """Calls ``on_gone`` for the gone handles, without the worker's lock."""
        while self._reaped:
            try:
                holder = self._reaped.pop(0)
            except IndexError:  # another thread is doing it: at the end of the process there may be two
                return
            self._on_gone(holder)

    def _poll_file(self, thoroughly: bool) -> None:
        """Announces what others have committed; ``thoroughly`` also notices that the file is gone."""
        header = self._liveness.locks.index_header()
        if header is not None and header == self._seen and not self._engine.unannounced and not thoroughly:
            return
        try:
            if not self._engine.others_committed():
                self._seen = header  # our own commit, or none
                return
        except MailboxError:
            self._wake_all()  # their next call reports what is wrong
            return
        self._seen = header
        self._busy_until = time.monotonic() + _QUIET_AFTER
        self._notifier.forget_gone()
        call = Call(partial(_read_mailboxes, names=self._notifier.watched), Access.READ, None)
        self._engine.run([call])
        if call.error is not None:
            self._wake_all()
            return
        self._engine.unannounced = False
        self._notifier.all_changed()
        last_seen, self._last_seen = self._last_seen, {}
        for name, seen in call.result:
            # what was there before anybody here knew the mailbox is not new
            stored = seen.ever_queued != self._engine.last_stored.get(name, seen.ever_queued)
            self._engine.last_stored[name] = seen.ever_queued
            # a waiter also has to know what holders hold: they may die with it
            self._last_seen[name] = seen
            if seen != last_seen.get(name):
                self._notifier.notify(name, seen.queued if stored else None, count=max(1, seen.queued))

    def _wake_all(self) -> None:
        for name in self._notifier.awaited:
            self._notifier.notify(name, None)
        self._notifier.all_changed()

    def _check_handles(self, now: float) -> None:
        self._liveness.keep_lock_file()
        self.find_gone()
        soonest = HANDLES_INTERVAL
        for holder in list(self._liveness.active):
            if holder.lease is None:
                continue
            interval = holder.lease / 1000 / _HEARTBEATS_PER_LEASE
            soonest = min(soonest, interval)
            if now >= holder.heartbeat_at + interval:
                holder.heartbeat_at = now
                call = Call(partial(claiming.heartbeat, name=holder.name, holder=holder), Access.WRITE, None)
                self._engine.run([call])
        self._next_handles_check = now + soonest

    def find_gone(self) -> None:
        """Takes back what gone handles of this process held; ``report_gone`` must follow."""
        for holder in self._liveness.gone():
            if holder.has_held:
                take_back = partial(claiming.take_back, name=holder.name, holder=holder.number, liveness=self._liveness)
                call = Call(take_back, Access.WRITE, None)
                self._engine.run([call])
                if call.error is not None:
                    # nobody owns it any more, so the next poll takes back what it held
                    _logger.warning("what a gone handle held is not back yet", exc_info=call.error)
                elif call.result:
                    self._notifier.notify(holder.name, None, count=call.result)
            if self._liveness.remove(holder):
                self._reaped.append(holder)


class _Seen(NamedTuple):
    """What a listener has to know about its mailbox."""

    ever_queued: int
    queued: int
    next_due: int | None
    holders: int


def _read_mailboxes(session: Session, names: list[str]) -> list[tuple[str, _Seen]]:
    seen = []
    for name in names:
        mailbox = session.mailbox(name)
        if mailbox is not None:
            state = mailbox.state
            seen.append((name, _Seen(state.ever_queued, state.queued, state.next_due, len(state.holders.by_number))))
    return seen
