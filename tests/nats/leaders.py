"""A stream whose leaders' clocks differ, as a proxy tells it."""

from __future__ import annotations

from tests.nats.proxy import Proxy


class Leaders:
    """Who leads the stream, one after the other; the first one's clock is right."""

    def __init__(self, proxy: Proxy) -> None:
        self._changes = [(0, 0)]
        proxy.clock = lambda seq: next(ahead for after, ahead in reversed(self._changes) if seq > after)

    def change(self, after: int, ahead: int) -> None:
        """What comes after a message of the stream is of one whose clock is that many seconds ahead, or behind."""
        self._changes.append((after, ahead))
