"""Hears what is committed to a mailbox, in order and without a gap."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from ...contract.errors import MailboxError
from .errors import NO_STREAM, CutOffError, NotThereError, RefusedError, TimedOutError
from .link import Link
from .wire import OnMessage, headers_of

_logger = logging.getLogger("pymailbox")

_HEARTBEAT: Final = 1.0
"""Seconds after which the server says that it is there, if there is nothing else to say."""

_SILENCE: Final = 2.5
"""Seconds after which a consumer that says nothing counts as lost."""

_INACTIVE: Final = 30.0
"""Seconds after which the server forgets a consumer to which nobody listens."""

_AT_ONCE: Final = 500
"""Entries between two turns of others, at least."""

_SECOND: Final = 1_000_000_000


class Entry(NamedTuple):
    """A stream message as it was heard."""

    subject: str
    data: bytes
    headers: bytes
    """As they came."""
    seq: int
    time: int
    """Milliseconds since 1970, by the server's clock."""


class Follower:
    """An ordered consumer of some subjects: made again wherever it was when it is lost."""

    def __init__(
        self,
        link: Link,
        filters: list[str],
        on_entry: Callable[[Entry], None],
        place: Callable[[bool], Any],
        on_error: Callable[[MailboxError], None],
        on_tick: Callable[[], None],
    ) -> None:
        self._link = link
        self._filters = filters
        self._on_entry = on_entry
        self._on_error = on_error
        """Called with what keeps it from going on."""
        self._on_tick = on_tick
        """Called twice a second."""
        self._place = place
        """A coroutine that says where to begin; called with whether the consumer is there already: then None is no
        reason to begin elsewhere."""
        self._generation = 0
        self._subscription: int | None = None
        self._consumer = ""
        self._expected = 1
        self._heard = 0.0
        self._held_back: deque[Entry] | None = None
        """What was heard before it was certain that nothing is missing before it."""
        self._beginning = asyncio.Lock()
        self._again = False
        """Whether it is to begin once more."""
        self._told = ""
        """The last refusal, which is told once."""
        self._restarting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when it hears."""
        async with self._beginning:
            await self._begin()
        self._watching = asyncio.create_task(self._watch())
        self._link.on_reconnect.add(self.restart)

    async def stop(self) -> None:
        self._give_up()
        for task in (self._watching, self._restarting):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
        await self._end()

    def _give_up(self) -> None:
        """Does not begin again of itself."""
        self._link.on_reconnect.discard(self.restart)
        if self._watching is not None:
            self._watching.cancel()

    def restart(self) -> None:
        """Begins anew at its place; once more if it is just about to."""
        self._again = True
        self._expected = -1
        if not self._is_restarting:
            self._restarting = asyncio.create_task(self._begin_again())

    @property
    def _is_restarting(self) -> bool:
        return self._restarting is not None and not self._restarting.done()

    async def _begin(self) -> None:
        link = self._link
        while True:
            self._generation += 1
            await self._end()
            start = await self._place(False)
            deliver = link.new_inbox()
            self._expected, self._heard, self._held_back = 1, link.loop.time(), deque()
            self._subscription = await link.listen(deliver, self._listener(self._generation))
            config: dict[str, Any] = {
                "deliver_subject": deliver,
                "ack_policy": "none",
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": start,
                "filter_subjects": self._filters,
                "max_deliver": 1,
                "mem_storage": True,
                "num_replicas": 1,
                "replay_policy": "instant",
                "flow_control": True,
                "idle_heartbeat": int(_HEARTBEAT * _SECOND),
                "inactive_threshold": int(_INACTIVE * _SECOND),
            }
            try:
                made = await link.api(f"CONSUMER.CREATE.{link.stream}", {"stream_name": link.stream, "config": config})
                self._consumer = made["name"]
                # what lies before a snapshot is purged; from now on only what this consumer has had
                if await self._place(True) is not None:
                    continue
                await self._let_through()
            except BaseException:
                self._generation += 1
                self._held_back = None
                await self._end()
                raise
            return

    async def _let_through(self) -> None:
        """What was held back, and what comes meanwhile."""
        held_back = self._held_back
        assert held_back is not None
        while held_back and self._expected > 0:  # else it is to begin anew, maybe in another stream
            # a part of them, else more might come than are let through
            for _ in range(min(len(held_back), max(_AT_ONCE, len(held_back) // 4))):
                self._on_entry(held_back.popleft())
            await asyncio.sleep(0)  # a long log may have come meanwhile
        self._held_back = None

    async def _begin_again(self) -> None:
        while self._again:
            self._again = False
            try:
                async with self._beginning:
                    await self._begin()
                self._told = ""
                continue
            except RefusedError as error:
                if error.code == NO_STREAM:
                    await self._look_for_stream()
                elif not error.passing and str(error) != self._told:
                    self._told = str(error)
                    _logger.warning("a mailbox cannot be followed at the moment: %s", error)
            except NotThereError:
                await self._look_for_stream()
            except (TimedOutError, CutOffError):
                pass
            except MailboxError as error:
                if not error.passing:
                    self._give_up()
                    self._on_error(error)
                    return
            self._again = True
            await asyncio.sleep(0.1)

    async def _look_for_stream(self) -> None:
        try:
            await self._link.look_for_stream()
        except Exception as error:
            _logger.debug("the stream is not there: %s", error)

    async def _end(self) -> None:
        await self._unsubscribe()
        if self._consumer:
            self._link.tell(f"$JS.API.CONSUMER.DELETE.{self._link.stream}.{self._consumer}")
            self._consumer = ""

    async def _unsubscribe(self) -> None:
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            with suppress(Exception):  # of a connection that is lost
                await self._link.ignore(subscription)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT / 2)
            self._on_tick()
            if self._link.loop.time() - self._heard > _SILENCE and not self._is_restarting:
                self._heard = self._link.loop.time()
                self.restart()

    def _listener(self, generation: int) -> OnMessage:
        def listen(subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
            if generation != self._generation:
                return
            self._heard = self._link.loop.time()
            if not reply.startswith(b"$JS.ACK."):
                self._on_status(reply.decode(), headers_of(headers))
                return
            tokens = reply.split(b".")
            at = 5 if len(tokens) < 11 else 7
            if int(tokens[at + 1]) != self._expected:
                self.restart()
                return
            self._expected += 1
            entry = Entry(subject.decode(), data, headers, int(tokens[at]), int(tokens[at + 2]) // 1_000_000)
            if self._held_back is None:
                self._on_entry(entry)
            else:
                self._held_back.append(entry)

        return listen

    def _on_status(self, reply: str, headers: Mapping[str, str]) -> None:
        if headers.get("Status") == "100":
            reply = reply or headers.get("Nats-Consumer-Stalled", "")
            if reply:  # flow control
                self._link.tell(reply)
            last = headers.get("Nats-Last-Consumer")
            if last is not None and int(last) >= self._expected > 0:
                self.restart()
        elif headers.get("Status") == "409":  # the consumer was deleted
            self.restart()
