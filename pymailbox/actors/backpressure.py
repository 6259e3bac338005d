"""When a producer has to pause, so that a mailbox does not grow without end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from ..contract.arguments import check_count, check_period
from ..contract.errors import MailboxClosedError, MailboxError
from ..contract.mailbox import Mailbox, check_mailbox

_logger = logging.getLogger("pymailbox")


class Backpressure:
    """Holds producers back while too many messages are queued.

        async with Backpressure(mailbox, pause_at=1000) as pressure:
            async for frame in frames:
                await pressure.room()
                await mailbox.enqueue(sender, frame)

    It learns the depth as the mailbox's observer, whose place it takes while it is entered. If the mailbox supports
    none (``set_depth_observer`` gives False) it looks at ``status()`` every ``interval`` seconds, so a producer may
    exceed ``pause_at`` by what it enqueues in that time. No observer is told that the queue gets shorter, so while it
    is too long, it is polled in the same way.
    """

    paused: bool = False
    """Whether producers should wait."""
    queued_messages: int = 0
    """Queued messages, as last known."""

    def __init__(
        self,
        mailbox: Mailbox,
        *,
        pause_at: int,
        resume_at: int | None = None,
        interval: float = 0.1,
        on_change: Callable[[bool], None] | None = None,
    ) -> None:
        """
        Args:
            mailbox: the one that is filled.
            pause_at: number of queued messages from which producers should wait.
            resume_at: number of queued messages at which they may go on; half of ``pause_at`` if not given.
            interval: seconds between two checks of the mailbox.
            on_change: called with ``paused`` when it has changed, for example to tell a peer; must be quick.

        Raises:
            TypeError, ValueError: an argument is invalid.
        """
        check_mailbox("mailbox", mailbox)
        self._pause_at = check_count("pause_at", pause_at)
        self._resume_at = pause_at // 2 if resume_at is None else resume_at
        if not isinstance(self._resume_at, int) or isinstance(self._resume_at, bool):
            raise TypeError(f"resume_at must be an int, not {type(resume_at).__name__}")
        if not 0 <= self._resume_at < pause_at:
            raise ValueError(f"resume_at must be an int from 0 to less than pause_at, not {resume_at!r}")
        check_period("interval", interval)
        if on_change is not None and not callable(on_change):
            raise TypeError(f"on_change must be a function, not {type(on_change).__name__}")
        self._mailbox = mailbox
        self._interval = interval
        self._on_change = on_change
        self._observing = False
        self._left = False
        self._watching: asyncio.Task[None] | None = None
        self._high = asyncio.Event()
        self._low = asyncio.Event()
        self._low.set()

    async def room(self) -> None:
        """Waits until producers may go on; returns at once while they may, and when the block has been left.

        Raises:
            MailboxError: what ``status()`` raised last; while an error is passing (``error.passing``), this waits.
        """
        if self._watching is None:
            raise RuntimeError("use Backpressure with async with")
        if not self._observing:
            await asyncio.sleep(0)  # otherwise a producer that never has to wait would keep the checks from happening
        while self.paused and not self._watching.done():
            low = asyncio.ensure_future(self._low.wait())
            try:
                await asyncio.wait((low, self._watching), return_when=asyncio.FIRST_COMPLETED)
            finally:
                low.cancel()
        if self._watching.done() and not self._left:
            self._watching.result()

    async def __aenter__(self) -> Self:
        self._observing = self._mailbox.set_depth_observer(self)
        try:
            await self._check_depth()
        except BaseException:
            self._stop_observing()
            raise
        self._watching = asyncio.ensure_future(self._watch())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left = True
        self._stop_observing()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)  # its error goes to those who call room()

    def on_depth_change(self, queued_messages: int) -> None:
        """Takes the new depth; called by the mailbox."""
        self.queued_messages = queued_messages
        if queued_messages >= self._pause_at:
            self._set(True)
        elif queued_messages <= self._resume_at:
            self._set(False)

    def _stop_observing(self) -> None:
        if self._observing:
            with suppress(MailboxClosedError):
                self._mailbox.set_depth_observer(None)

    def _set(self, paused: bool) -> None:
        if paused == self.paused:
            return
        self.paused = paused
        now, no_longer = (self._high, self._low) if paused else (self._low, self._high)
        no_longer.clear()
        now.set()
        if self._on_change is not None:
            try:
                self._on_change(paused)
            except Exception:
                _logger.exception("on_change of %r's backpressure raised", self._mailbox)

    async def _watch(self) -> None:
        while True:
            if self._observing:
                await self._high.wait()
            await asyncio.sleep(self._interval)
            await self._check_depth()

    async def _check_depth(self) -> None:
        try:
            self.on_depth_change((await self._mailbox.status()).queued_messages)
        except MailboxError as error:
            if not error.passing:
                raise
            _logger.warning("the depth of %r is not known: %s", self._mailbox, error)
