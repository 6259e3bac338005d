"""pymailbox on JetStream, and other ways to spread its handles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from bench.competitors.nats_direct import delete_streams
from bench.competitors.ours import PACKAGE as OUR_PACKAGE
from bench.competitors.ours import MailboxQueue
from bench.competitors.servers import PLACE
from bench.queues import Durability
from pymailbox import open_mailbox

PACKAGE = OUR_PACKAGE
"""What a user imports."""

STREAM = "bench"


@dataclass
class OnServers:
    """Handles on mailboxes of the servers; each is closed before the next is destroyed."""

    apart: bool = False
    """Whether each handle has a connection of its own, and so follows by itself, as in a process of its own."""
    mailbox_each: bool = False
    stream_each: bool = False
    PACKAGE: str = PACKAGE
    _streams: set[str] = field(default_factory=set)
    _opened: int = 0

    async def open(self, durability: Durability) -> MailboxQueue:
        self._opened += 1
        stream = f"{STREAM}-{self._opened}" if self.stream_each else STREAM
        self._streams.add(stream)
        location = PLACE.location(f"bench-{self._opened}" if self.mailbox_each else "bench", stream)
        connect: dict[str, Any] | None = {"name": f"client {self._opened}"} if self.apart else None
        return MailboxQueue(await open_mailbox(location, durability=durability, connect=connect))

    async def destroy(self) -> None:
        await delete_streams(self._streams)
        self._streams.clear()
        self._opened = 0


APART: Final = OnServers(apart=True)
MAILBOX_EACH: Final = OnServers(apart=True, mailbox_each=True)
STREAM_EACH: Final = OnServers(apart=True, stream_each=True)

_usual: Final = OnServers()
open = _usual.open  # noqa: A001 - the competitors' common interface
destroy = _usual.destroy
