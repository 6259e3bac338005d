"""Brings what waits in this browser's outboxes to a mailbox on a server, whenever that can be reached."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

from answering import Answering, describe

from pymailbox import Mailbox, MailboxError, Relayer, RetryPolicy, open_mailbox, relay

RETRY = RetryPolicy(first_delay=0.5, longest_delay=4.0)
"""Short pauses: somebody is watching."""

PAUSE = 0.5
"""Seconds until a server that was not there is looked for again."""


class Outboxes(Answering):
    """What the page can ask for."""

    def __init__(self) -> None:
        self._relays: list[Relayer] = []
        self._obstacle: str | None = None
        self._work: asyncio.Task[None]

    async def open(self, names: Iterable[str], location: str) -> None:
        """Begins to relay the outboxes `names` to the mailbox at `location`."""
        self._work = asyncio.create_task(self._relay(list(names), location))

    async def state(self) -> dict[str, Any]:
        """How the relays are, why there are none yet, and why they have stopped."""
        statuses = await asyncio.gather(*(relayer.status() for relayer in self._relays))
        error = self._work.exception() if self._work.done() else None
        return {
            "relays": [status.to_dict() for status in statuses],
            "obstacle": self._obstacle,
            "stopped": error and describe(error),
        }

    async def _relay(self, names: list[str], location: str) -> None:
        async with AsyncExitStack() as opened:
            outboxes = [await opened.enter_async_context(open_mailbox(f"indexeddb://{name}")) for name in names]
            server = await opened.enter_async_context(await self._open_when_it_is_there(location))
            self._relays = [relay(outbox, server, retry=RETRY) for outbox in outboxes]
            try:
                await asyncio.gather(*self._relays)
            finally:
                self._relays = []

    async def _open_when_it_is_there(self, location: str) -> Mailbox:
        while True:
            try:
                mailbox = await open_mailbox(location)
            except MailboxError as error:
                if not error.passing:
                    raise
                self._obstacle = str(error)
                await asyncio.sleep(PAUSE)
            else:
                self._obstacle = None
                return mailbox


rpc = Outboxes()
