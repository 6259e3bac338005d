"""The iterator of ``changes``: the counts of a mailbox as they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Self

from ..contract.errors import MailboxClosedError
from ..contract.moments import now_in_ms
from ..contract.values import MailboxStats

if TYPE_CHECKING:
    from .base import EmbeddedMailbox

INTERVAL: Final = 0.05
"""The least seconds between two states."""

_CLOCK_CHECK: Final = 5.0
"""While a message is delayed, seconds between two looks at the wall clock, which may be set."""


class Changes:
    """The counts of a mailbox, now and after each change. Not a generator: not every event loop finalises those.

    It listens from its first state until it or its mailbox is closed or dropped.
    """

    def __init__(self, mailbox: EmbeddedMailbox) -> None:
        self._mailbox = mailbox
        self._changed: asyncio.Event | None = None
        """Set when the counts may have changed since they were last read; None while nobody listens."""
        self._stop_listening: Callable[[], None] | None = None
        self._last: MailboxStats | None = None
        self._earliest = 0.0
        """When the next state may be given, by the loop's clock."""
        self._left = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MailboxStats:
        loop = self._mailbox._loop
        try:
            while not self._is_over:
                if self._changed is None:
                    self._changed = changed = asyncio.Event()
                    changed.set()
                    self._stop_listening = self._mailbox._listen_to_changes(changed.set)
                else:
                    changed = self._changed
                    await self._until_it_may_have_changed(changed)
                await asyncio.sleep(max(0.0, self._earliest - loop.time()))
                stats = await self._read(changed)
                if self._last is None or stats != self._last or stats.ever_queued != self._last.ever_queued:
                    self._last, self._earliest = stats, loop.time() + INTERVAL
                    return stats
        except MailboxClosedError:
            pass
        self._end()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Ends it."""
        self._left = True
        self._end()

    async def _read(self, changed: asyncio.Event) -> MailboxStats:
        changed.clear()  # first, so that changes while the counts are read are not missed
        try:
            return await self._mailbox.status()
        except BaseException:
            changed.set()
            raise

    async def _until_it_may_have_changed(self, changed: asyncio.Event) -> None:
        due = await self._mailbox._next_due() if self._last and self._last.delayed_messages else None
        if due is None:
            await changed.wait()
            return
        loop = self._mailbox._loop
        timer = loop.call_later(min(_CLOCK_CHECK, max(0.0, (due - now_in_ms()) / 1000)), changed.set)
        try:
            await changed.wait()
        finally:
            timer.cancel()

    @property
    def _is_over(self) -> bool:
        return self._left or self._mailbox._closing is not None

    def _end(self) -> None:
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        if self._changed is not None:
            self._changed.set()

    def __del__(self) -> None:
        if self._stop_listening is not None and not self._mailbox._loop.is_closed():
            self._mailbox._loop.call_soon_threadsafe(self._stop_listening)
