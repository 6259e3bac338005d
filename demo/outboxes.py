"""Brings what waits in this browser's outboxes to a mailbox on a server, whenever that can be reached."""

import asyncio
from collections.abc import Iterable
from typing import Any

from answering import Answering, describe

from pymailbox import Relayer, RetryPolicy, open_mailbox, relay

RETRY = RetryPolicy(first_delay=0.5, longest_delay=4.0)
"""Short pauses: somebody is watching."""


class Outboxes(Answering):
    """What the page can ask for."""

    def __init__(self) -> None:
        self._relays: list[Relayer]
        self._work: asyncio.Future[list[None]]

    async def open(self, names: Iterable[str], location: str) -> None:
        """Begins to relay the outboxes `names` to the mailbox at `location`, each over a connection of its own."""
        self._relays = [
            relay(open_mailbox(f"indexeddb://{name}"), open_mailbox(location), retry=RETRY) for name in names
        ]
        self._work = asyncio.gather(*self._relays)

    async def state(self) -> dict[str, Any]:
        """How the relays are, and why one has stopped."""
        statuses = await asyncio.gather(*(relayer.status() for relayer in self._relays))
        error = self._work.exception() if self._work.done() else None
        return {"relays": [status.to_dict() for status in statuses], "stopped": error and describe(error)}


answering = Outboxes()
