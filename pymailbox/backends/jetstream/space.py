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
from .state import PACKED

if TYPE_CHECKING:
    from .link import Link

_logger = logging.getLogger("pymailbox")

_RESERVED: Final = 4
"""A part of this of the whole is what is left. That is not enough for small messages, many to a commit: a snapshot may
take a third of what they take, and the next one has to fit in beside it. So then it is room for two snapshots of what
is followed here, or of as many messages as there would be if all were like those that are to be stored.
"""

_SNAPSHOTS: Final = 2

_LEAST_RESERVE: Final = 64 * 1024

_COUNTED_FOR: Final = 0.5
"""Seconds after which the bytes of a stream with a limit are counted again."""

_COUNTED_NEAR_THE_END: Final = 0.05
"""The same while not much more may be stored."""

_LIMIT_KNOWN_FOR: Final = 10.0
"""Seconds after which it is asked again whether a stream has one."""

HEAD: Final = 160
"""Bytes that a stream message takes beside its own, more or less."""

_SHORT: Final = 16
"""A part of this of the whole is what others may take before that is counted."""

_COUNTED_AGAIN: Final = 8
"""A part of what is left after which the bytes of a stream are counted again."""

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
        self._snapshots = 0
        """Bytes of snapshots of all that is followed here."""
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
        self._snapshots = self._link.packed_weight if self.is_limited else 0
        self._counted_at = self._link.loop.time()

    @asynccontextmanager
    async def taking(self, size: int, messages: int) -> AsyncIterator[None]:
        """Stores so many bytes of so many messages within it: keeps that from filling the stream.

        Raises:
            StorageFullError: there is no room but the reserve.
        """
        if self._is_old or (self.is_limited and self._may_be_full(size, messages)):
            await self._count()
        if self._most is not None and self._left_beside(size, messages) < 0:
            raise StorageFullError(
                f"the stream {self._link.stream!r} may hold {self._most} bytes, of which "
                f"{self._reserve_beside(size, messages)} are kept for acknowledgements, and nothing was stored. "
                "Acknowledge messages, or raise its max_bytes, and try again"
            )
        self._allowed += size
        self._used += size
        try:
            yield
        finally:
            self._settled += size

    async def has(self, size: int, what: str) -> bool:
        """Whether to store a snapshot of so many bytes now: all of it fits in, as a part of it would only take what is
        left for claims and acknowledgements, which the log says when it is no longer so; and the next one will fit in
        beside it, or this is the last moment for one. Messages are taken out meanwhile, so a later one is smaller.
        """
        created = await self._ask()  # once: whoever waits for an answer would make a stream that was deleted anew
        if created != self._link.created:
            return False  # what is in the snapshot is no more
        left = self._left
        if not self.is_limited or left >= size + _MARGIN:
            self._refused.discard(what)
            is_last_moment = left <= _room_for(size) + _MARGIN
            return not self.is_limited or is_last_moment or left >= size + _room_for(size)
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
        return max(0, min(size, self._left - self._heard - _room_for(snapshot_size)))

    @property
    def is_limited(self) -> bool:
        """Whether the stream may not hold whatever comes."""
        return self._most is not None

    def is_short(self, size: int, in_log: int, snapshot_size: int) -> bool:
        """Notes a commit of so many bytes that was heard; whether it is time for a snapshot that lets others be purged,
        of which there are ``in_log`` bytes.
        """
        self._heard += size + HEAD
        left = self._left - self._heard
        is_old = self._is_old or (self.is_limited and self._heard > left // _COUNTED_AGAIN)
        if is_old and (self._counting is None or self._counting.done()):
            self._counting = self._link.loop.create_task(self._count_quietly())
        if not self.is_limited:
            return False
        if left >= max((self._most or 0) // _SHORT, _LEAST_RESERVE // 2, _room_for(snapshot_size)):
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

    def _reserve_beside(self, size: int, messages: int) -> int:
        """Bytes that so many messages leave, of so many bytes."""
        return max(self._reserve, _SNAPSHOTS * PACKED * messages * (self._used + size) // (size + HEAD))

    def _left_beside(self, size: int, messages: int) -> int:
        """Bytes that they leave beside that; less than 0 if there is no room for them."""
        return self._left - self._reserve_beside(size, messages) - size

    def _may_be_full(self, size: int, messages: int) -> bool:
        """Whether they would be refused, or others may have taken what is left."""
        left = self._left_beside(size, messages)
        return left < 0 or (left < self._reserve and self._age > _COUNTED_NEAR_THE_END)

    @property
    def _age(self) -> float:
        """Seconds since the bytes were counted."""
        return self._link.loop.time() - self._counted_at

    @property
    def _is_old(self) -> bool:
        return self._age > (_LIMIT_KNOWN_FOR if self._most is None else _COUNTED_FOR)

    @property
    def _reserve(self) -> int:
        return max((self._most or 0) // _RESERVED, _LEAST_RESERVE, _SNAPSHOTS * self._snapshots)

    @property
    def _left(self) -> int:
        """Bytes that are left, the reserve included."""
        return (self._most or 0) - self._used


def _room_for(snapshot_size: int) -> int:
    """Bytes for a snapshot, and for what is committed until it is written."""
    return snapshot_size + snapshot_size // 16 + 3 * _MARGIN
