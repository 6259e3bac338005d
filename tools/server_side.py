"""The demo's server side: a NATS server, and a program on CPython that handles what arrives in a mailbox there.

Nothing of it runs before it is asked for. It notes what arrives only for as long as it runs itself.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from pymailbox import Context, MailboxError, MessageRecord, RetryPolicy, open_mailbox
from tools.nats_servers import GET_ONE, Servers, executable

STREAM: Final = "demo"
NAME: Final = "arrivals"

AT_ONCE: Final = 100
LISTED: Final = 50
LISTED_BYTES: Final = 1000
PAUSE: Final = 1.0
"""Seconds until the mailbox is opened again."""


@dataclass(slots=True)
class Tally:
    """What came from one sender."""

    ids: set[UUID] = field(default_factory=set)
    twice: int = 0
    """Messages that came though they had come before; what is handed out again after a failure does not count."""

    def note(self, message: MessageRecord) -> None:
        """Count a message."""
        if message.id not in self.ids:
            self.ids.add(message.id)
        elif message.delivery_count == 1:
            self.twice += 1


class Arrivals:
    """What has arrived so far, counted, and the last of it."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._last: deque[dict[str, Any]] = deque(maxlen=LISTED)
        self._handled = 0

    async def handle(self, message: MessageRecord, _: Context) -> None:
        """The handler. Raises `ValueError` or `KeyError` if a message has no number: it is not of the demo."""
        number = int(message.headers["number"])
        sender = message.sender.decode(errors="replace")
        self._tallies.setdefault(sender, Tally()).note(message)
        self._handled += 1
        self._last.append(
            {
                "place": self._handled,
                "sender": sender,
                "number": number,
                "priority": message.priority.name,
                "text": message.payload[:LISTED_BYTES].decode(errors="replace"),
            }
        )

    def told(self) -> dict[str, Any]:
        """JSON-ready."""
        tallies = {sender: {"arrived": len(tally.ids), "twice": tally.twice} for sender, tally in self._tallies.items()}
        return {"tallies": tallies, "last": list(self._last)}


class ServerSide:
    """All of it, in the event loop of the main thread; `origins` are those of the pages that may connect."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._servers = Servers(1, origins=origins)
        self._arrivals = Arrivals()
        self._work: asyncio.Task[None] | None = None
        self._obstacle: str | None = None

    def told(self) -> dict[str, Any]:
        """How it is, JSON-ready: where a page finds the mailbox, if the server was ever there; whether it runs; what
        keeps it from that, for people; what has arrived."""
        server = self._servers.servers[0] if self._work else None
        return {
            "location": server and f"ws://{self._servers.websockets}/{NAME}?stream={STREAM}",
            "runs": server is not None and server.runs,
            "problem": self._problem,
            **self._arrivals.told(),
        }

    @property
    def _problem(self) -> str | None:
        if self._work is not None and self._work.done() and not self._work.cancelled():
            return str(self._work.exception())
        return self._obstacle

    async def open(self) -> None:
        """Begin, unless that was done before."""
        if self._work is not None:
            return
        self._obstacle = None
        try:
            executable()
            importlib.invalidate_caches()  # it may have been installed just now
            if importlib.util.find_spec("nats") is None:
                raise FileNotFoundError(f"there is no nats-py in this Python: {GET_ONE}")
            self._servers.__enter__()
        except FileNotFoundError as error:
            self._obstacle = f"{str(error)[0].upper()}{str(error)[1:]}. Then connect again."
        except (OSError, RuntimeError) as error:  # it does not start
            self._obstacle = str(error)
        else:
            self._work = asyncio.create_task(self._handle_arrivals())

    async def kill(self) -> None:
        """Let the NATS server die, by SIGKILL."""
        if self._work is not None:
            self._servers.servers[0].kill()

    async def start(self) -> None:
        """Start one that was killed, on its files."""
        if self._work is not None and not self._servers.servers[0].runs:
            self._servers.servers[0].start()
            await asyncio.to_thread(self._servers.wait_until_ready)

    async def close(self) -> None:
        """End all of it."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
            self._servers.__exit__()

    async def _handle_arrivals(self) -> None:
        location = self._servers.location(NAME, STREAM)
        retry = RetryPolicy(max_deliveries=3)
        while True:
            try:
                async with open_mailbox(location) as mailbox:
                    await mailbox.consume(self._arrivals.handle, concurrency=AT_ONCE, retry=retry)
            except MailboxError as error:
                if not error.passing:
                    raise
                await asyncio.sleep(PAUSE)
