"""How much more a stream with a limit may hold. What stores leaves some of that for claims and acknowledgements, which
take room as well until a snapshot makes them superfluous.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from ...contract.errors import MailboxError, StorageFullError
from .errors import CutOffError, NotThereError, RefusedError, TimedOutError

if TYPE_CHECKING:
    from .link import Link

_logger = logging.getLogger("pymailbox")

_RESERVED: Final = 8
"""A part of this of the whole is what is left: a snapshot of many small messages needs the most of it."""

_LEAST_RESERVE: Final = 64 * 1024

_COUNTED_FOR: Final = 0.5
"""Seconds after which the bytes of a stream with a limit are counted again."""

_LIMIT_KNOWN_FOR: Final = 10.0
"""Seconds after which it is asked again whether a stream has one."""

HEAD: Final = 100
"""Bytes that a stream message takes beside its own, more or less."""

_PURGED_AT_ONCE: Final = 16
"""A part of this of what is left may be in each mailbox's log before a snapshot is worth it."""

_WORTH_A_SNAPSHOT: Final = 2048

_MARGIN: Final = 4096
"""Bytes that have to be left behind a snapshot."""


class Space:
    """That of one stream, as one connection knows it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._most: int | None = None
        """Bytes that the stream may hold."""
        self._used = 0
        """Bytes that it held when they were last counted, and what we were to store then or since."""
        self._allowed = self._settled = 0
        """Bytes that ever were to be stored, and those of which the outcome is known."""
        self._heard = 0
        """Bytes of commits that were heard since then."""
        self._refused: set[str] = set()
        """Snapshots for which there was no room the last time."""
        self._counted_at = 0.0
        self._counting: asyncio.Task[None] | None = None

    def note(self, there: Mapping[str, Any], settled: int | None = None) -> None:
        """What the server says of the stream, of which it has all that was ``settled`` when it was asked."""
        most = there["config"].get("max_bytes", -1)
        self._most = most if most > 0 else None
        under_way = self._allowed - (self._settled if settled is None else settled)
        self._used, self._heard = there["state"]["bytes"] + under_way, 0
        self._counted_at = self._link.loop.time()

    @asynccontextmanager
    async def taking(self, size: int) -> AsyncIterator[None]:
        """Stores so many bytes within it: keeps that from filling the stream.

        Raises:
            StorageFullError: there is no room but the reserve.
        """
        if self._is_old or (self._most and self._left - size < self._reserve):
            await self._count()
        if self._most is not None and self._left < size:
            raise StorageFullError(
                f"the stream {self._link.stream!r} may hold {self._most} bytes, of which {self._reserve} are "
                "kept for acknowledgements, and nothing was stored. Acknowledge messages, or raise its max_bytes, and "
                "try again"
            )
        self._allowed += size
        self._used += size
        try:
            yield
        finally:
            self._settled += size

    async def has(self, size: int, what: str) -> bool:
        """Whether all of a snapshot of so many bytes fits in: a part of it would only take what is left for claims and
        acknowledgements. The log says it when that is no longer so.
        """
        created = await self._ask()  # once: whoever waits for an answer would make a stream that was deleted anew
        if created != self._link.created:
            return False  # what is in the snapshot is no more
        if self._most is None or self._left + self._reserve >= size + _MARGIN:
            self._refused.discard(what)
            return True
        if what not in self._refused:
            self._refused.add(what)
            _logger.warning(
                "the stream %r has no room for %s, of %d bytes, so nothing is purged there: raise its max_bytes",
                *(self._link.stream, what, size),
            )
        return False

    def at_most(self, size: int, snapshot_size: int) -> int:
        """So many bytes, or what is left beside the next snapshot and what is committed until then, if that is less."""
        if self._most is None:
            return size
        kept = snapshot_size + snapshot_size // _RESERVED + 2 * _MARGIN
        return max(0, min(size, self._left + self._reserve - self._heard - kept))

    def is_short(self, size: int, in_log: int) -> bool:
        """Notes a commit of so many bytes that was heard; whether it is time for a snapshot that lets others be purged,
        of which there are ``in_log`` bytes: half of the reserve is used up.
        """
        self._heard += size + HEAD
        if self._is_old and (self._counting is None or self._counting.done()):
            self._counting = self._link.loop.create_task(self._count_quietly())
        if self._most is None or (left := self._left + self._reserve - self._heard) >= self._reserve // 2:
            return False
        return in_log >= max(left // _PURGED_AT_ONCE, _WORTH_A_SNAPSHOT)

    def close(self) -> None:
        if self._counting is not None:
            self._counting.cancel()

    async def _count(self) -> None:
        await self._link.patiently(self._ask, "the size of the stream")

    async def _count_quietly(self) -> None:
        try:
            await self._ask()
        except (MailboxError, RefusedError, NotThereError, TimedOutError, CutOffError):
            self._counted_at = self._link.loop.time()  # later

    async def _ask(self) -> str:
        """Notes what the server says; when the stream was created."""
        settled = self._settled
        there = await self._link.api(f"STREAM.INFO.{self._link.stream}")
        self.note(there, settled)
        return str(there["created"])

    @property
    def _is_old(self) -> bool:
        age = self._link.loop.time() - self._counted_at
        return age > (_LIMIT_KNOWN_FOR if self._most is None else _COUNTED_FOR)

    @property
    def _reserve(self) -> int:
        return max((self._most or 0) // _RESERVED, _LEAST_RESERVE)

    @property
    def _left(self) -> int:
        return (self._most or 0) - self._reserve - self._used
