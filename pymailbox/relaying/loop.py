"""The loop: claims, hops and acknowledgements, and what it does while nothing can be sent.

It works in sessions. A session begins with holding the cursor, and with acknowledging at the source what the cursor
lists; then, in turn, it claims (acknowledging the last hop in the same transaction) and sends. While a full batch is
sent, the next one is claimed already; so each hop's cursor lists also what was sent before and is not yet known to be
acknowledged. Whatever goes wrong ends the session: what was claimed goes back, the cursor is let go, and after a pause
the next session finds out from the cursor what has happened. So a hop whose outcome is unknown needs no treatment of
its own.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar, cast
from uuid import UUID

from .._open import MailboxOpening
from ..actors import RetryPolicy
from ..actors.consumer import PAUSE_AFTER_UNLOAD
from ..actors.stopping import Interruptions, Running, Stop
from ..contract.arguments import check_count, check_flag
from ..contract.capabilities import Capability
from ..contract.companions import Companion, Nearby
from ..contract.errors import MailboxClosedError, MailboxError, StorageFullError, UnsupportedError
from ..contract.location import check_name
from ..contract.mailbox import Mailbox, check_mailbox
from ..contract.moments import aware
from ..contract.polling import POLL_INTERVAL
from ..contract.values import DeadLetter, MailboxStats, MessageRecord
from ..runtime.network import when_it_may_be_back
from ..runtime.turns import begin_turn, turn_is_due
from .cursor import LEASE, REFUSALS, Cursor, begin
from .origin import name_of_cursor, name_of_cursor_for
from .plain import PlainRoute
from .status import RelayStatus

_T = TypeVar("_T")

_PAUSES: Final = RetryPolicy(first_delay=1.0, longest_delay=60.0)
"""Between two attempts, if the caller names no others."""

SLOW: Final = 5.0
"""Seconds without an answer from the target after which it counts as not connected, and what was claimed goes back; and
in which each of both may still answer once a stop was asked for.
"""

LOOK_EVERY: Final = 2.0
"""Seconds after which a relay that another one is ahead of looks again. It does not wait to be woken: each hop lets the
cursor go for a moment, and whoever waits would get it."""

_STATUS_PATIENCE: Final = 1.0
"""Seconds that ``Relayer.status`` waits for the source."""

_LONGEST_LOOK: Final = 1.0
"""Seconds between two looks at what a dead relay had claimed."""

_NEEDED: Final = (Capability.ACK_AND_SEND, Capability.MESSAGE_ID, Capability.DEDUPE, Capability.ASK)
"""Of a target, so that nothing is repeated."""

_logger = logging.getLogger("pymailbox")


class _StoppedError(Exception):
    """A stop was asked for while something was waited for."""


class _Hop(NamedTuple):
    """What was sent at once."""

    began: float
    """Time of the event loop."""
    records: list[MessageRecord]


class Relayer(Running):
    """A running ``relay``: await it, or make it a task; ``stop`` ends it, ``status`` says how it is."""

    def __init__(
        self,
        source: Mailbox | MailboxOpening,
        target: Mailbox | MailboxOpening,
        batch: int,
        retry: RetryPolicy | None,
        at_least_once: bool,
        name: str | None,
    ) -> None:
        self._ends: dict[str, Mailbox | MailboxOpening] = {"source": source, "target": target}
        for argument, end in self._ends.items():
            if isinstance(end, MailboxOpening):
                end._is_used = True  # a stop may come first
            else:
                check_mailbox(argument, end)
        self._opened: dict[str, Mailbox] = {}
        """Those that it has opened itself, and closes."""
        self._batch = check_count("batch", batch)
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise TypeError(f"retry must be a RetryPolicy, not {type(retry).__name__}")
        if retry is not None and retry.max_deliveries is not None:
            raise ValueError("retry must have no max_deliveries: a relay gives up only what is refused")
        check_flag("at_least_once", at_least_once)
        self._cursor_name = None if name is None else name_of_cursor(_checked(name))
        self._at_least_once = at_least_once
        self._is_exact = False
        self._check_both()
        self._pauses = retry or _PAUSES
        self._stop = Stop()
        self._cancellations = Interruptions()
        self._ended = asyncio.Event()
        self._is_checked = False
        """Whether both mailboxes were found to be open, and to work together."""
        self._route: Cursor | PlainRoute | None = None
        self._claimed: list[MessageRecord] = []
        """Held by this relay and not known to be settled."""
        self._unacknowledged: tuple[_Hop, ...] = ()
        """Sent in this session, and not known to be acknowledged at the source."""
        self._ahead: asyncio.Future[list[MessageRecord]] | None = None
        """The claim of the next batch, begun before this one was sent."""
        self._kept: list[MessageRecord] = []
        """Those of a source that takes nothing back, for the next session."""
        self._in_doubt: list[MessageRecord] = []
        """Sent, or not, in a hop whose outcome is unknown."""
        self._patience = {"source": SLOW, "target": SLOW}
        """Seconds for which each is still waited for once a stop was asked for: all its calls together."""
        self._endings: list[Callable[[], None]] = []
        """What ends what it has asked to be told."""
        self._refused: dict[tuple[UUID, datetime], str] = {}
        """Why the target refused a message that had gone back by then, by its id and ``created_at``."""
        self._rests_until = 0.0
        """Nothing is claimed before that time of the event loop: the page was left, and may be going away."""
        self._is_life_over = False
        """Whether the page was left in this session."""
        self._has_progressed = False
        self._sent = 0
        self._last_success_at: datetime | None = None
        self._disconnected_since: datetime | None = datetime.now(UTC)
        self._is_active = False
        self._last_error: tuple[str, datetime] | None = None
        super().__init__(self._supervise())

    def __repr__(self) -> str:
        source, target = self._ends.values()
        return f"<relay from {source!r} to {target!r}>"

    @property
    def _source(self) -> Mailbox:
        return cast(Mailbox, self._ends["source"])

    @property
    def _target(self) -> Mailbox:
        return cast(Mailbox, self._ends["target"])

    def _check_both(self) -> None:
        """Sees to it that they work together, as far as they are open."""
        source, target = self._ends.values()
        if not isinstance(target, Mailbox):
            return
        if isinstance(source, Mailbox) and source._place == target._place:
            raise ValueError(f"target must be another mailbox than source, not {target!r} as well")
        self._is_exact = set(_NEEDED) <= target.capabilities and target._nearby is not None
        if not self._is_exact and not self._at_least_once:
            raise UnsupportedError(_lacking(target))

    def stop(self) -> None:
        """Asks for a clean stop: what is being sent is finished, and what was claimed goes back.

        It returns at once; awaiting the relay ends when all of that is done. Cancelling a relay asks for the same;
        cancelling it after either of these ends what is under way, too: the next relay finds out what has happened.
        Stopping twice is fine. Any thread may call this, and any signal handler.
        """
        self._stop.reach(self._stop.ask)

    @property
    def stopping(self) -> bool:
        """Whether a stop has been asked for, or has come about."""
        return self._stop.asked

    async def status(self) -> RelayStatus:
        """How the relay is, now or after its end.

        Raises:
            MailboxClosedError: the source is closed.
        """
        stats = await self._stats()
        open_ends = [end for end in self._ends.values() if isinstance(end, Mailbox)]
        away = [self._disconnected_since, *(end._away_since for end in open_ends)]
        since = min(filter(None, away), default=None)
        return RelayStatus(
            waiting=None if stats is None else stats.queued_messages + stats.inflight_messages,
            oldest_waiting_at=None if stats is None else stats.oldest_queued_at,
            sent=self._sent,
            last_success_at=self._last_success_at,
            active=self._is_active,
            connected=since is None,
            disconnected_since=since,
            last_error=self._last_error and self._last_error[0],
            last_error_at=self._last_error and self._last_error[1],
        )

    async def _stats(self) -> MailboxStats | None:
        """The source's; None without an answer, or while it is not opened, or when this relay has closed it."""
        source = self._ends["source"]
        if isinstance(source, MailboxOpening):
            return None
        asked = begin(source.status())
        try:
            await asyncio.wait([asked], timeout=_STATUS_PATIENCE)
            return asked.result() if asked.done() else None
        except MailboxError as error:
            if isinstance(error, MailboxClosedError) and "source" not in self._opened:
                raise
            return None
        finally:
            asked.cancel()

    # -- running -------------------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        self._stop.begin()
        # at once: whoever closes one from now on ends it
        untie = _tie(self, *(end for end in self._ends.values() if isinstance(end, Mailbox)))
        self._work = work = asyncio.ensure_future(self._run())

        def end(_: object) -> None:
            untie()
            self._ended.set()

        work.add_done_callback(end)
        cancelled: asyncio.CancelledError | None = None
        try:
            while not work.done():
                try:
                    await asyncio.wait([work])
                except asyncio.CancelledError as error:
                    cancelled = error
                    if self._cancellations.is_new():
                        if self._stop.asked:
                            work.cancel()
                        self.stop()
        finally:
            work.cancel()  # unless it is done; otherwise this coroutine is being closed
        if not work.cancelled():
            work.result()
        elif cancelled is None:
            raise MailboxClosedError(f"{self!r}: a mailbox has died")
        if cancelled is not None:
            raise cancelled

    async def _run(self) -> None:
        self._endings.append(when_it_may_be_back(self._stop.hurry))
        if isinstance(self._ends["source"], Mailbox):
            self._hear_of_lives()
        attempt = 0
        try:
            while not self._stop.asked:
                self._has_progressed = False
                try:
                    await self._session()
                    attempt = 0 if self._has_progressed else attempt + 1
                    pause = self._pauses.delay_after(attempt) if attempt else 0.0
                except MailboxClosedError as error:
                    if not self._is_checked:
                        await self._stop.pause(POLL_INTERVAL)  # one that is just being closed stops it at once
                        if not self._stop.asked:
                            self._note_failure(error, False)
                            raise
                    return
                except MailboxError as error:
                    self._note_failure(error, isinstance(error, StorageFullError))
                    if not error.passing:
                        raise
                    attempt = 1 if self._has_progressed else attempt + 1
                    pause = self._pauses.delay_after(attempt)
                    _logger.warning("%r: tried again in %.1f s, attempt %d: %s", self, pause, attempt + 1, error)
                await self._stop.pause(pause)
        except _StoppedError:
            pass
        finally:
            self._stop.ask()
            for ending in self._endings:
                ending()
            try:
                await self._give_back_at_last()
            finally:
                await self._close(self._opened)

    async def _session(self) -> None:
        """Relays until a stop is asked for, or another relay has taken over."""
        try:
            await self._begin()
            while not self._stop.asked:
                if turn_is_due():  # for others, between two mailboxes that never suspend
                    await asyncio.sleep(0)
                    begin_turn()
                records = await self._claim()
                if records is None:
                    break
                if self._refused:
                    records = [record for record in records if not await self._is_refused(record)]
                if not records:
                    continue
                self._claim_ahead(records)
                if not (await self._send(records) and self._is_held):  # what waits now is for another relay
                    _logger.info("%r: another relay has taken over", self)
                    break
            # whoever has taken over waits for that
            await self._give_back_ahead()
            if self._unacknowledged:  # or not: a claim that was called off may have done it
                await self._acknowledge(late=True)
        finally:
            await self._leave()

    async def _begin(self) -> None:
        if not self._is_checked:
            await self._open_both()
        self._check_stop()
        self._is_life_over = False
        if self._is_exact and self._cursor_name is None:
            self._cursor_name = await self._at_source(name_of_cursor_for(self._source))
        self._check_stop()
        route = await self._at_target(self._open_route())
        if not self._is_checked:
            await _is_open("target", self._at_target(route.commits_with_target()))
            self._is_checked = True
        self._check_stop()
        while (sent := await self._at_target(route.hold())) is None:
            self._disconnected_since = None
            await self._stop.pause(LOOK_EVERY)
            self._check_stop()
        self._is_active = True
        await self._give_back()
        if sent:
            await self._acknowledge_late(sent)
        await self._wait_for_what_another_had(route.another_may_have_more)
        ids = {record.id for record in sent}
        self._sent += sum(record.id in ids for record in self._in_doubt)
        self._in_doubt = []
        self._kept = [record for record in self._kept if record.id not in ids]

    def _check_stop(self) -> None:
        if self._stop.asked:
            raise _StoppedError

    async def _open_both(self) -> None:
        source, target = self._ends.values()
        if isinstance(source, MailboxOpening):
            await self._at_source(self._open("source", source))
            self._hear_of_lives()
        if isinstance(target, MailboxOpening):
            await self._at_target(self._open("target", target))
        self._check_both()
        await _is_open("source", self._at_source(self._source.status()))

    async def _open(self, end: str, opening: MailboxOpening) -> None:
        self._ends[end] = self._opened[end] = await opening  # noted here, since nobody may wait for it any more

    def _hear_of_lives(self) -> None:
        self._endings.append(self._source._on_life_over(self._on_life_over))

    async def _wait_for_what_another_had(self, may_have_more: bool) -> None:
        """What another relay had claimed comes first. It may be back only later: where a lease decides whether that one
        has died, or if it has yet to notice that it has lost the cursor.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self._stop.asked:
            if Capability.RECOVER in self._source.capabilities:
                await self._at_source(self._source.recover())
            inflight = (await self._at_source(self._source.status())).inflight_messages - len(self._kept)
            self._disconnected_since = None  # both have answered
            waited = loop.time() - began
            if inflight <= 0 or not may_have_more or waited > LEASE:
                return
            await self._stop.pause(min(max(POLL_INTERVAL, waited), _LONGEST_LOOK))

    @property
    def _is_held(self) -> bool:
        return self._route is not None and self._route.is_held

    async def _open_route(self) -> Cursor | PlainRoute:
        if self._is_exact:
            nearby, name = cast(Nearby, self._target._nearby), cast(str, self._cursor_name)
            self._route = await Cursor.open(nearby, self._target, name)  # noted here, as in _open
        else:
            self._route = PlainRoute(self._target)
        return self._route

    async def _leave(self) -> None:
        self._is_active = False
        route, self._route = self._route, None
        try:
            with suppress(MailboxError):
                await self._give_back()
        finally:
            self._unacknowledged = ()  # the cursor says it to whoever begins
            if route is not None:
                await self._close({"target": route})

    async def _close(self, what: Mapping[str, Mailbox | Cursor | PlainRoute]) -> None:
        """One that is silent ends by itself, later. All begin to, before the first is waited for."""
        for end, closing in [(end, begin(one.close())) for end, one in what.items()]:
            await self._stop.first(closing)
            await self._wait_a_little_longer(end, closing)

    # -- at the source -------------------------------------------------------------------------------------------------

    async def _at_source(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What a call at the source gives. Once a stop was asked for, it is waited for a little longer only.

        Raises:
            _StoppedError: there was no answer until then; the call has been cancelled.
        """
        async with _within(call := begin(work)):
            await self._stop.first(call)
            await self._wait_a_little_longer("source", call)
            return _result(call)

    async def _wait_a_little_longer(self, end: str, call: asyncio.Future[Any]) -> None:
        if not call.done():
            loop = asyncio.get_running_loop()
            began = loop.time()
            await asyncio.wait([call], timeout=max(0.0, self._patience[end]))
            self._patience[end] -= loop.time() - began

    async def _claim(self) -> list[MessageRecord] | None:
        """The next messages, and none where it cannot wait for them. None if a stop was asked for, or if the source has
        given back what was claimed: then another relay may have taken over. Unless they are here already, what was sent
        is acknowledged.
        """
        await self._rest()
        ahead = await self._end_ahead(waits=True)
        if self._stop.asked or self._is_life_over:
            return None
        if self._was_sent(ahead):  # it had gone back meanwhile, as with a page that was left
            await self._give_back()
            ahead = []
            await self._acknowledge(late=True)
        elif self._kept or self._is_late or Capability.GET not in self._source.capabilities:
            await self._acknowledge(late=self._is_late)
        if ahead:
            return ahead
        if self._kept:
            records, self._kept = self._kept, []
            self._claimed = records
            return records
        can_wait = Capability.RELEASE in self._source.capabilities  # a cancelled claim hands nothing out
        claim = begin(self._dequeue(self._unacknowledged, math.inf if can_wait else None))
        async with _within(claim):
            await self._stop.first(claim)
            if not can_wait:
                await self._wait_a_little_longer("source", claim)
        if claim.cancelled():
            return None
        records = claim.result()
        if not records:
            await self._stop.pause(POLL_INTERVAL)
        return records

    async def _dequeue(self, hops: tuple[_Hop, ...], wait: float | None = None) -> list[MessageRecord]:
        """Claims, and acknowledges what was sent in some hops, in one transaction; notes both before it ends."""
        how: dict[str, Any] = {"wait": wait}
        if self._source._takes_limit:
            how["limit"] = self._batch
        if hops:
            how["ack"] = [record.id for record in _records_of(hops)]
        records = await self._source.dequeue(**how)
        if hops:
            self._note_acknowledged(hops)
        self._claimed = [*self._claimed, *records]
        return records

    def _claim_ahead(self, records: list[MessageRecord]) -> None:
        """Begins to claim what comes after a batch that is about to be sent, if there may be something, and to
        acknowledge what was sent before it.
        """
        if (
            (len(records) >= self._batch or self._unacknowledged)
            and {Capability.GET, Capability.RELEASE} <= self._source.capabilities
            and not self._is_late
            and asyncio.get_running_loop().time() > self._rests_until
        ):
            self._ahead = begin(self._dequeue(self._unacknowledged))

    async def _end_ahead(self, *, waits: bool = False) -> list[MessageRecord]:
        """What was claimed ahead; unless it ``waits``, and no stop is asked for, that is called off."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return []
        async with _within(ahead):
            if waits:
                await self._stop.first(ahead)
        return [] if ahead.cancelled() or (ahead.exception() and not waits) else ahead.result()

    def _was_sent(self, records: list[MessageRecord]) -> bool:
        """Whether some of them have an id of what was sent, and may not be acknowledged."""
        ids = {record.id.int for record in records}
        return any(record.id.int in ids for record in _records_of(self._unacknowledged))

    async def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stop.asked and (left := self._rests_until - loop.time()) > 0:
            await self._stop.pause(left)

    @property
    def _is_late(self) -> bool:
        """Whether a hop began so long ago that another relay may have taken over since, as after a process was stopped:
        the ids that were sent may be those of new messages by now."""
        hops = self._unacknowledged
        return bool(hops) and asyncio.get_running_loop().time() - hops[0].began > SLOW

    async def _acknowledge(self, *, late: bool) -> None:
        """What was sent; nothing is claimed meanwhile."""
        hops = self._unacknowledged
        if hops:
            sent = _records_of(hops)
            await (self._acknowledge_late(sent) if late else self._ack(sent))
            self._note_acknowledged(hops)

    def _note_acknowledged(self, hops: tuple[_Hop, ...]) -> None:
        self._unacknowledged = tuple(hop for hop in self._unacknowledged if hop not in hops)
        self._forget(_records_of(hops))

    async def _ack(self, sent: list[MessageRecord]) -> None:
        ids = [record.id for record in sent]
        if Capability.ACK_MANY in self._source.capabilities:
            await self._at_source(self._source.ack_many(ids))
        else:
            for message_id in ids:
                await self._at_source(self._source.ack(message_id))
        self._forget(sent)

    async def _acknowledge_late(self, sent: list[MessageRecord]) -> None:
        if Capability.GET not in self._source.capabilities:
            await self._ack(sent)
            return
        await self._at_source(self._source._ack_late(sent))
        self._forget(sent)
        if Capability.DEAD_LETTERS in self._source.capabilities:
            await self._at_source(self._discard(sent))

    async def _discard(self, sent: list[MessageRecord]) -> None:
        if not (await self._source.status()).dead_letters:
            return
        for record in sent:
            found = await self._source.get(record.id)
            # it has arrived, though whoever sent it died too often
            if isinstance(found, DeadLetter) and aware(found.record.created_at) == aware(record.created_at):
                await self._source.discard(record.id)

    async def _give_back(self) -> None:
        await self._end_ahead()
        if self._unacknowledged:  # it is known to have arrived; a claim that was to acknowledge it was called off
            with suppress(MailboxError):
                await self._acknowledge(late=True)
        if self._claimed and self._source._can_release:
            await self._at_source(self._release(self._claimed))  # if it fails, the next session does it
        elif self._claimed:
            self._kept = self._claimed
        self._claimed = []

    async def _give_back_ahead(self) -> None:
        if ahead := await self._end_ahead():
            await self._at_source(self._release(ahead))
            self._forget(ahead)

    def _release(self, records: list[MessageRecord]) -> Coroutine[Any, Any, None]:
        return self._source._release([record.id for record in records])

    async def _give_back_at_last(self) -> None:
        """There is no next session, and on a handle that stays open nobody else would do it. A silent source does it
        later, when it answers."""
        deadline = asyncio.get_running_loop().time() + self._patience["source"]
        while self._claimed and self._source._can_release:
            releasing = begin(self._release(self._claimed))
            await self._wait_a_little_longer("source", releasing)
            with suppress(_StoppedError):
                try:
                    _result(releasing)
                except MailboxError as error:
                    if error.passing and asyncio.get_running_loop().time() < deadline:
                        await asyncio.sleep(POLL_INTERVAL)
                        continue
            return

    def _forget(self, settled: Iterable[MessageRecord]) -> None:
        ids = {record.id.int for record in settled}
        self._claimed = [record for record in self._claimed if record.id.int not in ids]

    def _on_life_over(self) -> None:
        self._is_life_over = True
        self._rests_until = asyncio.get_running_loop().time() + PAUSE_AFTER_UNLOAD

    # -- at the target -------------------------------------------------------------------------------------------------

    async def _send(self, records: list[MessageRecord]) -> bool:
        """Sends messages; False if another relay has taken over."""
        try:
            return await self._hop(records)
        except (*REFUSALS, StorageFullError) as error:
            await self._give_back_ahead()  # it comes after these
            if len(records) == 1:
                if isinstance(error, StorageFullError):
                    raise
                await self._set_aside(records[0], error)
                return True
        for record in records:  # of which some may be taken
            if self._stop.asked or not self._is_held:
                break
            if not await self._send([record]):
                return False
            await self._acknowledge(late=self._is_late)
        return True

    async def _hop(self, records: list[MessageRecord]) -> bool:
        if self._route is None:  # it has died while it claimed
            return False
        self._in_doubt = records
        began = asyncio.get_running_loop().time()
        try:
            before, has_more = _records_of(self._unacknowledged), self._ahead is not None
            sent = await self._at_target(self._route.send(records, before, has_more=has_more))
        except (*REFUSALS, StorageFullError):
            self._in_doubt = []
            raise
        self._in_doubt = []
        self._disconnected_since = None
        if not sent:
            return False
        self._unacknowledged = (*self._unacknowledged, _Hop(began, records))
        self._sent += len(records)
        self._has_progressed = True
        self._last_success_at = datetime.now(UTC)
        if self._kept:  # it was slow
            ids = {record.id for record in records}
            self._kept = [record for record in self._kept if record.id not in ids]
        return True

    async def _set_aside(self, record: MessageRecord, error: Exception) -> None:
        """What the target will never take becomes a dead letter."""
        self._note_failure(error, True)
        self._refused[record.id, record.created_at] = f"{self._target!r} refused it: {error}"
        await self._is_refused(record)

    async def _is_refused(self, record: MessageRecord) -> bool:
        """Whether a message has been refused; then it becomes a dead letter, if it has not gone back."""
        key = record.id, record.created_at
        if (reason := self._refused.get(key)) is None:
            return False
        if await self._at_source(self._source.dead_letter(record.id, reason)):
            del self._refused[key]
            self._has_progressed = True
            _logger.warning("message %s of %r became a dead letter: %s", record.id, self._source, reason)
        self._forget([record])
        return True

    async def _at_target(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What a call at the target gives. If it takes long, what was claimed goes back meanwhile, and a stop ends it.
        Otherwise it is waited for a little longer once a stop was asked for.

        Raises:
            _StoppedError: there was no answer until then; the call has been cancelled.
        """
        async with _within(call := begin(work)):
            await self._stop.first(call, SLOW)
            if self._stop.asked:
                await self._wait_a_little_longer("target", call)
            if not call.done():
                self._note_failure(TimeoutError(f"no answer from the target for {SLOW:g} s"), False)
                await self._give_back()
                await self._stop.first(call)
                if not call.done():
                    self._patience["target"] = 0.0
            return _result(call)

    def _note_failure(self, error: Exception, connected: bool) -> None:
        now = datetime.now(UTC)
        self._last_error = str(error), now
        if connected:
            self._disconnected_since = None
        elif self._disconnected_since is None:
            self._disconnected_since = now

    # -- the ends of its mailboxes -------------------------------------------------------------------------------------

    async def _until_ended(self) -> None:
        self.stop()
        await self._ended.wait()

    def _die(self) -> None:
        """As the end of its process would end it; for ``pymailbox.testing``."""
        route, self._route = self._route, None
        if route is not None:
            route.die()
        self._claimed = []
        opened, self._opened = self._opened, {}
        for mailbox in opened.values():
            mailbox._die()
        self._work.cancel()


class _Tie(Companion):
    """Ends a relay with its mailboxes."""

    def __init__(self, relay: Relayer) -> None:
        super().__init__(cast(Nearby, None))  # it opens nothing
        self._relay = relay

    async def _end(self) -> None:
        await self._relay._until_ended()

    def die(self) -> None:
        self._relay._die()


def _records_of(hops: Iterable[_Hop]) -> list[MessageRecord]:
    return [record for hop in hops for record in hop.records]


def _tie(relay: Relayer, *mailboxes: Mailbox) -> Callable[[], None]:
    tie = _Tie(relay)
    for mailbox in mailboxes:
        mailbox._companions += (tie,)

    def untie() -> None:
        for mailbox in mailboxes:
            mailbox._companions = tuple(one for one in mailbox._companions if one is not tie)

    return untie


@asynccontextmanager
async def _within(call: asyncio.Future[Any]) -> AsyncIterator[None]:
    """In which a call is waited for; if it is not done at the end, it is cancelled, and has ended then."""
    try:
        yield
    finally:
        if not call.done():
            call.cancel()
            await asyncio.wait([call])


def _result(call: asyncio.Future[_T]) -> _T:
    if not call.done():
        raise _StoppedError
    return call.result()


async def _is_open(argument: str, call: Coroutine[Any, Any, object]) -> None:
    try:
        await call
    except MailboxClosedError as error:
        raise MailboxClosedError(f"{argument} is closed. Open it again with open_mailbox()") from error


def _checked(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, not {type(name).__name__}")
    if not name:
        raise ValueError("name must not be empty; None makes one of the source's own")
    try:
        check_name(name_of_cursor(name))
    except ValueError as error:
        raise ValueError(f"name must make {name_of_cursor(name)!r} a valid name of a mailbox: {error}") from error
    return name


def _lacking(target: Mailbox) -> str:
    lacking = [str(one) for one in _NEEDED if one not in target.capabilities]
    why = f"lacks {', '.join(lacking)}" if lacking else "cannot make a mailbox beside itself: use open_mailbox()"
    return (
        f"target: {target!r} {why}, without which a message may arrive more than once; at_least_once=True accepts that"
    )


def relay(
    source: Mailbox | MailboxOpening,
    target: Mailbox | MailboxOpening,
    *,
    batch: int = 100,
    retry: RetryPolicy | None = None,
    at_least_once: bool = False,
    name: str | None = None,
) -> Relayer:
    """Moves every message of a mailbox into another one, as they come, until it is stopped: an outbox that drains into
    a server while there is a network, or what comes down from one.

        outbox = await open_mailbox("outbox")
        inbox = await open_mailbox("nats://example.org/inbox")
        await relay(outbox, inbox)

    Each message arrives exactly once, in its order within its priority, with its id, sender, payload, priority and
    headers; it is a new message there in all other respects. What has been sent is written down in the target's
    database, in the transaction that stores it: in a mailbox of its own, whose name begins with ``relay:``. Whoever
    holds the message in there relays, so of several relays of one source into one database one works and the others
    wait until it is gone: at once where the platform can tell, else after 30 seconds.

    While nothing can be sent, nothing is claimed. It is tried again after a pause that grows to 60 seconds, and at once
    when the browser goes online or the page becomes visible. A target that is full is waited for. A message that the
    target will never take (too large, with headers that it does not keep) becomes a dead letter of the source.

    The source should have no other consumer. One that gets a message while the outcome of its hop is unknown handles
    what the target may have got, too.

    To stop it, call ``stop()`` of what this returns, or cancel it: a hop under way is finished and acknowledged, and
    what else was claimed goes back; a mailbox that gives no answer is waited for 5 seconds. A second cancellation ends
    the hop, too. Closing one of the mailboxes stops it as well, but what has just been sent may stay unacknowledged.
    In both cases the next relay finds out what has arrived, and does not send it again.

    Args:
        source: an open mailbox, or what ``open_mailbox`` gives: then the relay opens it, as soon as that works, and
            closes it in the end. Nothing has to be known of its backend beyond the core verbs.
        target: the same; it need not be in another database.
        batch: how many messages are sent in one transaction at most.
        retry: the pauses after a failure; ``max_deliveries`` has no meaning here. None for 1 to 60 seconds.
        at_least_once: whether to accept a target that has no ``ack_and_send``, ``message_id`` or ``dedupe_for``, or
            cannot have a mailbox beside itself. There a message may arrive again after a failure.
        name: what the source is known by at the target, whose mailbox ``relay:NAME`` notes what was sent. It must be
            different for each source that is relayed into that database, and stay the same. None for a name that is
            made of the source's own and of an id which is kept in its database, in the mailbox
            ``pymailbox-identity``.

    Returns:
        A coroutine that ends after a clean stop, and has the methods ``stop`` and ``status``.

    Raises:
        TypeError, ValueError: an argument is invalid, or both mailboxes are the same; raised at the call, or when both
            are open.
        UnsupportedError: the target cannot take each message exactly once; raised then, too.
        MailboxClosedError: a mailbox was closed before. If one is closed later, the relay just ends.
        StorageCorruptError: something else is in the cursor's mailbox, or the cursor has been taken out.
        MailboxError: a mailbox cannot go on. A passing error (``error.passing``) does not end the relay.
    """
    return Relayer(source, target, batch, retry, at_least_once, name)
