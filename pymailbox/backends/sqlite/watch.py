"""What the thread of a file does between calls: it listens to other processes, and looks after its own handles.

SQLite tells nobody that another process has committed. While somebody waits or observes here, the file's
``data_version`` is read every ``WATCH_INTERVAL`` seconds: a look at shared memory that reads no page. While a handle of
this process may hold something, every ``HANDLES_INTERVAL`` seconds its event loop is looked at. Else nothing is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from ..._errors import MailboxError
from .._waiting import Exchange
from . import handing
from .engine import Access, Call, Engine
from .holders import Holder, Lives
from .session import HolderRow, MailboxRow, Session

WATCH_INTERVAL: Final = 0.01
HANDLES_INTERVAL: Final = 0.25

_BEATS_IN_A_LEASE: Final = 8

_logger = logging.getLogger("pymailbox")


class Watch:
    """Watches a file for one process. All of it runs in the thread that works on the file."""

    def __init__(self, engine: Engine, exchange: Exchange, lives: Lives, left: Callable[[Holder], None]) -> None:
        self._engine = engine
        self._exchange = exchange
        self._lives = lives
        self._left = left
        """Told of a handle that is gone, once what it held is back."""
        self._reaped: list[Holder] = []
        self._next_look = 0.0
        self._next_look_at_handles = 0.0

    def patience(self) -> float | None:
        """Seconds until the next look is due; None if there is nothing to watch for."""
        if self._exchange.listening:
            return max(0.0, self._next_look - time.monotonic())
        if self._lives.active:
            return max(0.0, self._next_look_at_handles - time.monotonic())
        return None

    @property
    def is_late(self) -> bool:
        """Whether calls have kept a look from being made that is due."""
        return self.patience() == 0.0

    def look(self) -> None:
        """Looks at the file and at the handles; ``reap_left`` comes after it."""
        now = time.monotonic()
        self._next_look = now + WATCH_INTERVAL
        if self._exchange.listening:
            self._look_at_file()
        self._find_gone()
        if now >= self._next_look_at_handles:
            self._show_life(now)

    def reap(self) -> None:
        """Takes back what handles of this process held that are gone."""
        self._find_gone()
        self.reap_left()

    def reap_left(self) -> None:
        """Says which handles are gone; without the worker's lock."""
        reaped, self._reaped = self._reaped, []
        for holder in reaped:
            self._left(holder)

    def _look_at_file(self) -> None:
        try:
            if not self._engine.others_committed():
                return
        except MailboxError:
            self._wake_all()  # their own next call says what is wrong
            return
        names = self._exchange.names(lambda listener: listener.waits or listener.observes)
        if not names:
            self._exchange.forget_gone()
            return
        call = Call(partial(_read_mailboxes, names=names), Access.READ, None)
        self._engine.run([call])
        if call.error is not None:
            self._wake_all()
            return
        for name, mailbox in call.result:
            stored = mailbox.last_stored != self._engine.last_stored.get(name)
            self._engine.last_stored[name] = mailbox.last_stored
            if stored or mailbox.queued.total:
                self._exchange.tell(name, mailbox.queued.total if stored else None)

    def _wake_all(self) -> None:
        for name in self._exchange.names(lambda listener: listener.waits):
            self._exchange.tell(name, None)

    def _find_gone(self) -> None:
        for holder in self._lives.gone():
            if holder.has_held:
                recover = partial(handing.recover, name=holder.name, me=None, is_gone=partial(_is, holder))
                call = Call(recover, Access.WRITE, None)
                self._engine.run([call])
                if call.error is not None:
                    _logger.warning("what a handle held that is gone is not back yet", exc_info=call.error)
                elif call.result:
                    self._exchange.tell(holder.name, None)
            # if it failed: its lock is gone, and whoever looks next takes back what it held
            self._reaped.append(holder)

    def _show_life(self, now: float) -> None:
        soonest = HANDLES_INTERVAL
        for holder in self._lives.active:
            if holder.lease is None:
                continue
            interval = holder.lease / 1000 / _BEATS_IN_A_LEASE
            soonest = min(soonest, interval)
            if now >= holder.beaten_at + interval:
                holder.beaten_at = now
                call = Call(partial(handing.beat, name=holder.name, holder=holder.number), Access.WRITE, None)
                self._engine.run([call])
        self._next_look_at_handles = now + soonest


def _is(holder: Holder, row: HolderRow) -> bool:
    return row.holder == holder.number


def _read_mailboxes(session: Session, names: list[str]) -> list[tuple[str, MailboxRow]]:
    return [(name, mailbox) for name in names if (mailbox := session.mailbox(name))]
