"""How fast messages have lately been handled, and so how many a claim may take without making others wait."""

from __future__ import annotations

from collections.abc import Callable

SOON = 0.05
"""Seconds. What is claimed should begin within about this time."""

MORE_THAN_ANY_BATCH = 1_000_000


class Pace:
    """Counts the messages handled, and the time in which any handler was running."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._running = 0
        self._since = 0.0
        """When time was last counted, or the first running handler began."""
        self._busy = 0.0
        self._handled = 0.0

    def begins(self) -> None:
        """A handler begins."""
        if not self._running:
            self._since = self._clock()
        self._running += 1

    def ends(self) -> None:
        """A handler has ended."""
        self._count()
        self._running -= 1
        self._handled += 1

    def soon(self) -> int:
        """How many messages have lately been handled in ``SOON`` seconds; anything before the last call counts half."""
        self._count()
        if not self._handled:
            return 0
        count = SOON * self._handled / self._busy if self._busy > 0 else MORE_THAN_ANY_BATCH
        self._handled /= 2
        self._busy /= 2
        return int(min(count, MORE_THAN_ANY_BATCH))

    def _count(self) -> None:
        if self._running:
            now = self._clock()
            self._busy += now - self._since
            self._since = now
