"""What this event loop knows of one mailbox: its state, followed in the log, and what is under way to it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import weakref
from base64 import b64decode
from collections import OrderedDict, deque
from collections.abc import Coroutine, Iterable, Sequence
from datetime import datetime
from math import inf
from typing import Any, Final, cast
from uuid import UUID

from ...contract.errors import ConnectionLostError, MailboxError, StorageCorruptError, StorageUnavailableError
from ...contract.location import IN_PYODIDE
from ...contract.moments import milliseconds, now_in_ms
from ...contract.values import MessagePriority
from ...core.store import Message, find
from ..notifier import HOLDER_CHECK, Listener
from . import codec, liveness, origin, snapshots
from .bodies import ID_HEADER, PRIORITY_HEADER, Bodies
from .cleaning import Stock, publish_snapshot
from .codec import PLAIN, RULES, Op, Reference, UnreadableError
from .errors import NO_MESSAGE, RefusedError, TimedOutError
from .follower import Entry, Follower
from .link import Link
from .liveness import Vigil
from .location import token_of
from .snapshots import Snapshot
from .space import HEAD
from .state import DIED, RELEASED, Claimed, Effects, LogState, foreign_id
from .wire import headers_of, lower_case
from .writer import Call, Writer

_logger = logging.getLogger("pymailbox")

_DIGESTS_KEPT: Final = 8

_TELLING: Final = 4096
"""Bytes that a snapshot should have by its entries to tell how long they are."""

_CLAIMED_SOON: Final = 4096
"""Messages before one that is kept in memory until it is claimed."""

_ASKED_FOR_THE_END: Final = 5
"""Times that a stream has to say that it ends before what was heard."""

_PAUSE: Final = 0.2
"""Seconds between them."""

_TO_PUBLISH: Final = 2.0
"""Seconds for which who leaves waits until a snapshot is written."""

_CLOCK_STEP: Final = 1000
"""Milliseconds by which clocks that go on alike do not part."""

_MARK_AGAIN: Final = 1.0
"""Seconds after a mark failed until the next one."""

_CHECKPOINTS_OF_STRAGGLERS: Final = 3
"""Checkpoints that a message has seen before it may be stored anew."""


class Replica:
    """One mailbox."""

    def __init__(self, link: Link, name: str) -> None:
        self.link = link
        self.name = name
        self.token = token_of(name)
        stream = link.stream
        self.base = f"{stream}.m.{self.token}"
        self._enqueues = f"{self.base}.in"
        self._target_prefix = f"{stream}.x."
        self.log = LogState()
        self.bodies = Bodies(link, self._present)
        self.writer = Writer(self)
        self.following = False
        self.broken: MailboxError | None = None
        """Why it cannot go on."""
        self._users = 0
        self._starting: asyncio.Task[None] | None = None
        self._vigil = Vigil(link.loop.time)
        self._follower = Follower(
            link,
            [f"{self.base}.>", f"{stream}.x.{self.token}.*", f"{stream}.x.*.{self.token}"],
            self._on_entry,
            self._place,
            self._break,
            self._vigil.tick,
        )
        self._packing = 1.0
        """By how much the last snapshot was longer than was thought."""
        self._snapshot_at = 0
        """The stream message that was read or heard last where snapshots are."""
        self._among_snapshots: set[int] = set()
        """Those that are there, and are none: the next snapshot takes their place."""
        self._heard_at = 0
        """When the stream message came that was heard last; 0 if none was since a snapshot."""
        self._digests: OrderedDict[int, bytes | None] = OrderedDict()
        """Of the states at the last checkpoints; None while one is being taken."""
        self._claims: dict[int, list[tuple[int, Snapshot]]] = {}
        """Snapshots that were heard meanwhile, by their checkpoints, and which messages of the stream they are."""
        self._checkpoints: deque[tuple[int, int]] = deque()
        """At which age of the log the last checkpoints were, and at which message of the stream."""
        self._news_after: weakref.WeakKeyDictionary[Listener, int] = weakref.WeakKeyDictionary()
        """The last of our own commits when an observer was set; it may be heard later: producers do not wait for it."""
        self._live = False
        self._live_from: int | None = None
        """The number of our own commit with which it becomes so."""
        """Whether what is heard is news."""
        self._ahead: float | None = None
        """By how many milliseconds the log's clock is ahead of the event loop's, at least: that one is never set."""
        self._asked_time: float | None = None
        """The number of our own commit that asks for the log's time."""
        self._wall_ahead = 0.0
        """By how many milliseconds the wall clock was, when somebody looked."""
        self.tasks: set[asyncio.Task[Any]] = set()
        self._checkpoint_seqs: deque[int] = deque(maxlen=_CHECKPOINTS_OF_STRAGGLERS)
        """Where the last checkpoints were."""
        self._publishing: asyncio.Task[Any] | None = None
        self._due: set[int] = set()
        """Holders that are about to give a sign of life."""
        self._beating: asyncio.Task[Any] | None = None
        self._beats = 0
        self._beats_nonce = secrets.token_bytes(8)
        """Of signs of life, which wait for no other commit."""
        self._locks_seen = 0.0
        """When a page has last asked which locks are held."""

    # -- coming and going ----------------------------------------------------------------------------------------------

    @classmethod
    def acquire(cls, link: Link, name: str) -> Replica:
        """``release`` comes after it."""
        replica: Replica | None = link.replicas.get(name)
        if replica is None:
            replica = link.replicas[name] = cls(link, name)
        replica._users += 1
        return replica

    async def release(self) -> None:
        self._users -= 1
        if not self._users:
            if self.link.replicas.get(self.name) is self:
                del self.link.replicas[self.name]
            await self.stop()

    async def stop(self) -> None:
        if self._publishing is not None and not self._publishing.done() and self.link.is_connected:
            # who opens the mailbox next would have to read all that it makes superfluous
            await asyncio.wait({self._publishing}, timeout=_TO_PUBLISH)
        await self.writer.stop()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
            if not self._starting.cancelled():
                self._starting.exception()
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        self.following = False
        await self._follower.stop()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Does something beside; it ends with this."""
        task = self.link.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.debug("the mailbox %r: %r", self.name, error)

    async def follow(self) -> None:
        """Follows the log from now on."""
        self.check()
        if self.following:
            return
        if self._starting is None or (self._starting.done() and not self.following):
            self._starting = self.link.loop.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        try:
            await self.link.patiently(self._follower.start, f"following the mailbox {self.name!r}")
        except RefusedError as error:
            raise error.meaning(f"following the mailbox {self.name!r}") from error
        self.following = True
        self.listen()

    def listen(self) -> None:
        """What is committed from now on is news for those who listen; what came before is history."""
        if self._live_from is None:
            self._live_from = 1 << 62
            mark = Call(codec.encode_command(Op.MARK), on_numbered=self._go_live_at)
            if (marked := self.submit_quietly(mark, first=True)) is not None:
                marked.add_done_callback(self._on_marked)

    def observe_from_now(self, listener: Listener) -> None:
        """What was committed here before is no news for a listener's new observer."""
        self._news_after[listener] = self.writer.last_number
        self.listen()

    def _go_live_at(self, number: int) -> None:
        self._live_from = number

    def _on_marked(self, marked: asyncio.Future[Any]) -> None:
        """One that is stored is heard sooner or later; for one that is not another one is made."""
        if not marked.cancelled() and marked.exception() is not None and not self._live:
            self._live_from = None
            self.link.loop.call_later(_MARK_AGAIN, self._listen_again)

    def _listen_again(self) -> None:
        if self.following and not self.link.is_closed:
            self.listen()

    def check(self) -> None:
        """Raises what keeps it from going on."""
        if self.broken is not None:
            raise self.broken.with_traceback(None)  # else it would grow with each call
        self.link.check(f"the mailbox {self.name!r}")

    def start_afresh(self) -> None:
        """The stream is another one."""
        self._forget()
        if self.following or (self._starting is not None and not self._starting.done()):
            self._follower.restart()

    def _forget(self) -> None:
        self._replace(LogState())
        self._snapshot_at = 0
        self._checkpoints.clear()
        self._checkpoint_seqs.clear()
        self._among_snapshots.clear()

    def _replace(self, log: LogState) -> None:
        self.log = log
        self._heard_at = 0
        self._digests = OrderedDict()
        self._claims.clear()
        self.bodies.forget()
        self.link.notifier.changed((self.name,))
        self.link.notifier.wake(self.name)

    # -- where the log begins ------------------------------------------------------------------------------------------

    async def _place(self, there: bool) -> int | None:
        """As ``Follower`` wants it."""
        wipes = self.link.wipes
        if not there:
            await self._check_stream()
        found = await self._last_snapshot()
        if found is None:
            return None if there else self.log.seq + 1
        at, snapshot = found
        if snapshot.seq <= self.log.seq and snapshot.checkpoint <= self.log.checkpoint:
            return None if there else self.log.seq + 1
        self._check_rules(snapshot.rules)
        encoded = await snapshots.unpack(await self._packed(snapshot), snapshot)
        log = await snapshots.decode(encoded, snapshot.seq)
        if self.link.wipes != wipes:
            raise TimedOutError  # and look again: it was of the stream before
        before = self.log
        self._replace(log)
        self._snapshot_at = at
        if self._live_from is not None:
            self._live |= self.log.applied.get(self.writer.nonce, (-1, 0))[0] >= self._live_from
        self._digests[snapshot.checkpoint] = snapshot.digest
        if before.seq > snapshot.seq:
            self._live_again()
        elif before.seq:
            self._after_a_gap(before)
        return snapshot.seq + 1

    async def _check_stream(self) -> None:
        """Whether the stream still has what was heard: it may be another one, or have lost its end in a power cut."""
        link, log = self.link, self.log
        for attempt in range(_ASKED_FOR_THE_END):
            there = await link.api(f"STREAM.INFO.{link.stream}")
            if there["created"] != link.created:
                await link.look_for_stream()
                if there["created"] != link.created:
                    raise TimedOutError  # and look again
                return
            if there["state"]["last_seq"] >= log.seq:
                break
            if attempt:  # a server that has just begun to lead may be behind
                await asyncio.sleep(_PAUSE)
        else:
            self._start_over()
            return
        if self._heard_at and await self._time_of(log.seq) not in (None, self._heard_at):
            self._start_over()

    async def _time_of(self, seq: int) -> int | None:
        """When a message of the stream came, milliseconds since 1970; None if it is not there."""
        message = await self._stored({"seq": seq})
        return None if message is None else milliseconds(datetime.fromisoformat(message["time"]))

    def _start_over(self) -> None:
        """The stream has lost its end: what was heard of that never was."""
        _logger.warning(
            "the stream %r has lost its end: the mailbox %r goes on with the rest", self.link.stream, self.name
        )
        self._forget()
        self._live_again()

    async def _last_snapshot(self) -> tuple[int, Snapshot] | None:
        """With the stream message that it is; what others have published after it hides it."""
        subject = f"{self.base}.s"
        message = await self._stored({"last_by_subj": subject})
        snapshot = _snapshot_in(message)
        if snapshot is not None or message is None:
            return None if snapshot is None else (message["seq"], snapshot)
        found = None
        message = await self._stored({"seq": 1, "next_by_subj": subject})
        while message is not None:
            snapshot = _snapshot_in(message)
            if snapshot is not None:
                found = message["seq"], snapshot
            message = await self._stored({"seq": message["seq"] + 1, "next_by_subj": subject})
        return found

    async def _stored(self, which: dict[str, Any]) -> Any:
        """A message of the stream; None if there is none."""
        try:
            answer = await self.link.api(f"STREAM.MSG.GET.{self.link.stream}", which)
        except RefusedError as error:
            if error.code == NO_MESSAGE:
                return None
            raise
        return answer["message"]

    async def _packed(self, snapshot: Snapshot) -> bytes:
        if not snapshot.parts:
            return snapshot.packed
        data = await self.bodies.joined(snapshot.parts)
        if data is None:
            raise StorageCorruptError(f"the snapshot of the mailbox {self.name!r} has lost a part of itself")
        return data

    def _after_a_gap(self, before: LogState) -> None:
        """A part of the log was purged before it was heard: what came of some commits cannot be known."""
        for sent in list(self.writer.sent.values()):
            for number, token in list(sent.awaited):
                last = self.log.applied.get(sent.nonce)
                if token == self.token and last is not None and last[0] >= number:
                    sent.fail(
                        ConnectionLostError(
                            f"the mailbox {self.name!r} was away for too long to learn what came of its last call"
                        )
                    )
        for holder in list(self.writer.holders):
            lost = self.log.held_by(holder) - before.held_by(holder)
            if lost:  # nobody knows of these
                self.submit_quietly(release_call(self.link, holder, lost))

    def _live_again(self) -> None:
        """What was heard was not what the log says, which is heard once more: nothing that handles held is theirs."""
        self._live, self._live_from = False, None
        for holder in list(self.writer.holders):
            self.submit_quietly(Call(codec.encode_command(Op.RELEASE_ALL, codec.pack_fields(holder))))
        self.listen()

    # -- following -----------------------------------------------------------------------------------------------------

    def _on_entry(self, entry: Entry) -> None:
        if self.broken is not None or entry.seq <= self.log.seq:
            return
        try:
            if self._live or entry.subject != self._enqueues or not self._apply_later(entry):
                self._apply(entry)
        except MailboxError as error:
            self._break(error)
        except Exception as error:
            # to pass over it would be to have another state than others
            told = f"message {entry.seq} of the stream {self.link.stream!r} cannot be applied ({error!r})"
            broken = StorageCorruptError(f"{told}: it is damaged, or pymailbox has an error")
            broken.__cause__ = error
            self._break(broken)

    def _break(self, error: MailboxError) -> None:
        self.broken = error
        _logger.error("the mailbox %r cannot go on: %s", self.name, error)
        for sent in list(self.writer.sent.values()):
            if any(token == self.token for _, token in sent.awaited):
                sent.fail(error)
        self.writer.forget_others()
        self.link.notifier.wake(self.name, 1 << 30)

    def _check_rules(self, rules: int) -> None:
        if rules > RULES:
            raise StorageUnavailableError(
                f"the mailbox {self.name!r} was written by rules of version {rules}, and this pymailbox knows version "
                f"{RULES}. Update pymailbox"
            )

    def _apply(self, entry: Entry) -> None:
        subject = entry.subject
        target, holder = False, None
        kind = ""
        if subject.startswith(self._target_prefix):
            owner, _, _ = subject[len(self._target_prefix) :].partition(".")
            target, kind = owner != self.token, "x"
        else:
            kind = subject[len(self.base) + 1 :]
            if kind == "s":
                self._snapshot_at = entry.seq
                snapshot = snapshots.decode_snapshot(entry.data)
                if snapshot is not None:
                    self._among_snapshots.clear()  # it took their place
                    self._on_snapshot(entry, snapshot)
                    return
                self._among_snapshots.add(entry.seq)
            if kind.startswith("h."):
                kind, holder = "h", _number(kind[2:])
        log = self.log
        now = self._loop_time
        has_jumped = entry.time > log.now + _CLOCK_STEP
        log.advance(entry.seq, entry.time, len(entry.data))
        self._heard_at = entry.time
        try:
            if kind == "s":
                raise UnreadableError
            commit = codec.decode(entry.data)
        except UnreadableError:
            self._follow_clock(entry.time, now, None)
            if not target:
                self._on_foreign(entry, plain=kind == "in")
            return
        self._check_rules(commit.rules)
        own = commit.nonce == self.writer.nonce
        self._follow_clock(entry.time, now, commit.number if own else None)
        if own and not self._live:
            self._live = self._live_from is not None and commit.number >= self._live_from
            if self._live:
                self.link.notifier.wake(self.name)  # of what came meanwhile nothing was told
        if not log.is_new(commit):
            return
        if kind in ("in", "x"):
            self._keep_body(entry)
        effects = Effects()
        results = log.apply(commit, entry.seq, holder, target, effects, wanted=own)
        if effects.reset:
            self.bodies.forget()
        sent = self.writer.sent_by(commit)
        if effects.checkpoint:
            self._on_checkpoint(entry.seq, sent is not None)
        if sent is not None:
            sent.heard(commit.number, self.token, results)
        elif own:
            self._release_claims(results)
        informed = None if sent is None else sent.informed(commit.number, self.token)
        early: list[Listener] = []
        if own:
            early = [listener for listener, last in self._news_after.items() if commit.number <= last]
        self._notify(effects, informed, early)
        if self._live and log.checkpoint_is_due:
            self._check_point()
        elif self._live and self._is_short(len(entry.data)):
            self._check_point(b"now")
        if self._live and has_jumped:
            for number in liveness.overdue(log, self.writer.holders):
                self.beat(number)

    def _is_short(self, heard: int) -> bool:
        """Whether others need the room that a snapshot would make, after a commit of so many bytes."""
        log, space = self.log, self.link.space
        return space.is_short(heard, log.bytes + HEAD * log.commits, self.packed_weight if space.is_limited else 0)

    @property
    def packed_weight(self) -> int:
        """Bytes of the next snapshot, more or less."""
        return int(self.log.packed_weight * self._packing)

    def _apply_later(self, entry: Entry) -> bool:
        """Applies an enqueue of long ago together with others; False if it is none, or more than that."""
        log, (_, data, headers, seq, time) = self.log, entry
        if not data.startswith(codec.MAGIC):
            made = foreign_id(self.link.stream, seq, time)
            done = not headers and log.enqueue_plain_later(made, seq, time, len(data))
        else:
            commit = codec.decode_plain(data)
            if commit is None or commit.nonce == self.writer.nonce or not log.is_new(commit):
                return False
            done = log.apply_later(commit, seq, time, len(data))
        if done:
            self._heard_at = time
        return done

    def _keep_body(self, entry: Entry) -> None:
        """If somebody may claim it soon: else it would be in memory for long."""
        if self._live and self.log.store.state.queued < _CLAIMED_SOON:
            self.bodies.keep(entry.seq, entry.data, entry.headers)

    def _release_claims(self, results: list[Any]) -> None:
        """Nobody waits any more for what these claims gave."""
        for result in results:
            if isinstance(result, Claimed) and result.records:
                ids = [record.id for record in result.records]
                self.submit_quietly(release_call(self.link, result.holder, ids), first=True)

    def _notify(self, effects: Effects, informed: list[list[Listener]] | None, early: Sequence[Listener] = ()) -> None:
        """Tells those who listen, but not observers that know it (``informed``) or were set later (``early``)."""
        notifier = self.link.notifier
        if self._live:
            for depth, count, index in effects.depths:
                known = [] if informed is None else informed[index]
                notifier.notify(self.name, depth, [*known, *early], count)
        elif effects.depths:
            notifier.wake(self.name, sum(count for _, count, _ in effects.depths))
        if effects.returned:
            notifier.notify(self.name, None, count=effects.returned)
        notifier.changed((self.name,))

    def _on_foreign(self, entry: Entry, plain: bool) -> None:
        """What another program has published: an enqueue, or a dead letter."""
        headers = lower_case(headers_of(entry.headers))
        own = UUID(bytes=foreign_id(self.link.stream, entry.seq, entry.time))
        reference = Reference(entry.seq, PLAIN, 0, len(entry.data), 0)
        self._keep_body(entry)
        log = self.log
        reason = "another program wrote this into the stream, and it is no part of a mailbox"
        if plain and not entry.data.startswith(codec.MAGIC):
            try:
                priority = MessagePriority[headers.get(PRIORITY_HEADER.lower(), "NORMAL")]
                given = headers.get(ID_HEADER.lower())
                message_id = own if given is None else UUID(given)
            except (KeyError, ValueError) as error:
                reason = f"another program sent this with a header that means nothing here ({error!r})"
            else:
                effects = Effects()
                log.enqueue_plain(codec.Sent(message_id, priority, 0, 0, reference), effects)
                self._notify(effects, None)
                return
        log.bury_foreign(own, reference, reason)
        self.link.notifier.changed((self.name,))

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def _check_point(self, body: bytes = b"") -> None:
        if not self.writer.is_checking:
            self.writer.is_checking = True
            self.submit_quietly(Call(codec.encode_command(Op.CHECKPOINT, body), on_done=self._checked))

    async def write_snapshot(self) -> None:
        """Writes one now, unless somebody else has just done so; purges what is settled."""
        await self.barrier()
        if (
            await self.submit(Call(codec.encode_command(Op.CHECKPOINT, b"now"))) is not None
            and self._publishing is not None
        ):
            await asyncio.wait({self._publishing})

    def make_room(self) -> None:
        """Writes a snapshot, so that what is settled can be purged."""
        if not self.writer.is_checking:
            self.spawn(self._make_room())

    async def _make_room(self) -> None:
        self.writer.is_checking = True
        try:
            await self.write_snapshot()
        finally:
            self.writer.is_checking = False

    def _checked(self, _: Any) -> None:
        self.writer.is_checking = False

    def _on_checkpoint(self, seq: int, own: bool) -> None:
        log = self.log
        self._checkpoint_seqs.append(seq)
        stock = Stock(log.checkpoint, seq, log.age, *log.first_needed)
        capture = snapshots.Capture(log)
        taking = self.spawn(self._take_stock(capture, log.packed_weight, stock, self._snapshot_at if own else None))
        self._digests[log.checkpoint] = None
        if own:
            self._publishing = taking
        while len(self._digests) > _DIGESTS_KEPT:
            self._digests.popitem(last=False)

    async def _take_stock(self, capture: snapshots.Capture, weight: int, stock: Stock, last: int | None) -> None:
        """Takes the digest of a state, and publishes it as a snapshot if ``last``, the one before it, is given."""
        digests = self._digests
        digest, packed = await snapshots.take(capture, pack=last is not None)
        if digests is not self._digests:  # the log is another one by now
            return
        if last is not None and weight > _TELLING:
            self._packing = len(packed) / weight
        if stock.checkpoint in digests:
            digests[stock.checkpoint] = digest
        try:
            for claim in self._claims.pop(stock.checkpoint, ()):
                self._compare(*claim)
        except StorageCorruptError as error:
            self._break(error)
            return
        if last is not None:
            await publish_snapshot(self, stock, digest, packed, last)

    def _on_snapshot(self, entry: Entry, snapshot: Snapshot) -> None:
        self._check_rules(snapshot.rules)
        if snapshot.seq > self.log.seq or snapshot.checkpoint > self.log.checkpoint:
            self._follower.restart()  # something before it is gone
        else:
            self._compare(entry.seq, snapshot)

    def _compare(self, at: int, snapshot: Snapshot) -> None:
        """A snapshot that is a message of the stream with our own state, now or as soon as that is encoded."""
        digest = self._digests.get(snapshot.checkpoint, snapshot.digest)
        if digest is None:
            self._claims.setdefault(snapshot.checkpoint, []).append((at, snapshot._replace(packed=b"")))
        elif digest != snapshot.digest:
            raise StorageCorruptError(
                f"the snapshot of the mailbox {self.name!r} at checkpoint {snapshot.checkpoint} (message {at} "
                f"of the stream {self.link.stream!r}, of its state at message {snapshot.seq}) differs from what its "
                "log says. Somebody has changed the stream, or a version of pymailbox has an error"
            )

    def settled_parts(self, seq: int, age: int, kept_for: int) -> int:
        """Before which message of the stream all parts belong to something, or never will."""
        settled = 0
        while self._checkpoints and self._checkpoints[0][0] <= age - kept_for:
            settled = self._checkpoints.popleft()[1]
        self._checkpoints.append((age, seq))
        if settled:
            self._checkpoints.appendleft((0, settled))
        return settled

    # -- time ----------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The log's time now, or a little less."""
        if self._ahead is None:
            return self.log.now
        now = self._loop_time
        if abs(now_in_ms() - now - self._wall_ahead) > _CLOCK_STEP:
            # the wall clock was set, or this machine has slept: the event loop's may not have gone on meanwhile
            self._wall_ahead = now_in_ms() - now
            self.submit_quietly(Call(codec.encode_command(Op.MARK)))
        return max(self.log.now, int(now + self._ahead))

    def _follow_clock(self, time: int, now: float, number: int | None) -> None:
        """The log's clock said something, to our own commit if that has a number."""
        ahead, before = time - now, self._ahead
        if before is None:
            self._wall_ahead = now_in_ms() - now
        elif before - _CLOCK_STEP <= ahead < before:
            ahead = before - 0.01
        elif ahead < before and (number is None or self._asked_time is None or number < self._asked_time):
            # it has gone back, with a new leader, or was only heard late
            self._ask_for_time()
            ahead = before
        self._ahead = ahead
        if before is not None and ahead > before + _CLOCK_STEP:
            self.link.notifier.wake(self.name)  # what was to be due much later

    def _ask_for_time(self) -> None:
        def asked(number: float | None) -> None:
            self._asked_time = number

        if self._live and self._asked_time is None:
            asked(inf)
            mark = codec.encode_command(Op.MARK)
            self.submit_quietly(Call(mark, on_numbered=asked, on_done=lambda _: asked(None)))

    def local(self, moment: int) -> int:
        """A moment of the log's time by the wall clock, or a little later."""
        if self._ahead is None:
            return moment + 1
        # while its clock has gone back the log's time stands still, and goes on later
        return now_in_ms() + int(moment - self._loop_time - self._ahead) + 1

    @property
    def _loop_time(self) -> float:
        return self.link.loop.time() * 1000

    # -- committing ----------------------------------------------------------------------------------------------------

    async def submit(self, call: Call) -> Any:
        """What a call gives; it takes its place at once."""
        self.check()
        return await self.writer.submit(call)

    def submit_quietly(self, call: Call, *, first: bool = False) -> asyncio.Future[Any] | None:
        """As ``submit``, with nobody waiting; None if it cannot go on."""
        if self.broken is not None:
            return None
        future = self.writer.submit(call, first=first)
        future.add_done_callback(_retrieve)
        return future

    def beat(self, holder: int) -> None:
        """A holder's sign of life, which overtakes calls: one commit for all who are due."""
        self._due.add(holder)
        if self._beating is None or self._beating.done():
            self._beating = self.spawn(self._beat())

    async def _beat(self) -> None:
        while self._due:
            due, self._due = self._due, set()
            self._beats += 1
            signs = [codec.encode_command(Op.BEAT, codec.pack_fields(holder)) for holder in due]
            data = codec.encode(self._beats_nonce, self._beats, signs)

            async def publish(data: bytes = data) -> None:
                await self.link.publish(f"{self.base}.c", data)

            await self.link.patiently(publish, f"a sign of life in the mailbox {self.name!r}")

    @property
    def stragglers_before(self) -> int:
        """Messages that came before this one of the stream have waited for long."""
        seqs = self._checkpoint_seqs
        return seqs[0] if len(seqs) == _CHECKPOINTS_OF_STRAGGLERS else 0

    async def keep_foreign(self) -> None:
        """Stores anew what others have published where the next snapshot takes its place."""
        if self._among_snapshots:
            messages = self.log.store.bodies.all()
            await self.move([each for each in messages if cast(Reference, each.payload).seq in self._among_snapshots])

    async def move(self, messages: list[Message]) -> None:
        """Stores the bytes of messages anew."""
        bodies = await self.bodies.of([(message.id, cast(Reference, message.payload)) for message in messages])
        moved = [
            (message.id, cast(Reference, message.payload).seq, body)
            for message, body in zip(messages, bodies, strict=True)
            if body is not None
        ]
        if moved:
            call = Call(codec.encode_command(Op.MOVE, codec.encode_moved(moved)), stores=len(moved))
            call.makes_room = True
            await self.submit(call)

    async def _present(self, ids: Sequence[UUID]) -> dict[UUID, Reference]:
        """Where the bytes of messages are by all that was committed before."""
        await self.barrier()
        store = self.log.store
        places = ((message_id, find(store, message_id)) for message_id in ids)
        return {message_id: store.reference(place) for message_id, place in places if place is not None}

    async def barrier(self) -> None:
        """Returns when all that was committed before the call is in the state."""
        await self.follow()
        await self.submit(Call(codec.encode_command(Op.MARK)))

    async def recover(self, me: int, *, patiently: bool = False) -> int:
        """Lets the log take back what those had who are gone; how many messages there were.

        ``patiently`` waits until those have had their time who may only seem to be gone.
        """
        ended = await self._ended_nearby(at_once=patiently)
        found, asked = self._vigil.gone(self.log, self.now)
        if asked := [holder for holder in asked if holder != me and holder not in ended]:
            # whoever lives hears the log's time, and gives a sign
            self.submit_quietly(Call(codec.encode_command(Op.MARK)))
            if patiently:
                await asyncio.sleep(min(liveness.GRACE, max(map(self._lease_of, asked))))
                found, _ = self._vigil.gone(self.log, self.now)
        gone = [(holder, how) for holder, how in found if holder != me or how == RELEASED]
        gone += [(holder, DIED) for holder in ended - dict(found).keys()]
        if not gone:
            return 0
        recovered = await asyncio.gather(*(self.submit(gone_call(holder, how, via=holder)) for holder, how in gone))
        for holder, how in gone:
            if how == RELEASED:
                liveness.remove_holder(holder)
        return sum(recovered)

    async def _ended_nearby(self, *, at_once: bool) -> set[int]:
        """Holders whose page or worker of this browser has ended; looked up once a second, unless `at_once`."""
        if not IN_PYODIDE or not (at_once or self.link.loop.time() > self._locks_seen + HOLDER_CHECK):
            return set()
        self._locks_seen = self.link.loop.time()
        return set(await origin.ended(list(self.log.store.state.holders.by_number)))

    def _lease_of(self, holder: int) -> float:
        """Seconds."""
        return (self.log.store.state.holders.by_number[holder].lease or 0) / 1000


def gone_call(holder: int, how: int, via: int | None = None) -> Call:
    """That a holder is gone; by way of its own subject where others say so."""
    return Call(codec.encode_command(Op.GONE, codec.pack_fields(holder, how)), via=via)


def release_call(link: Link, holder: int, ids: Iterable[UUID]) -> Call:
    """That a holder gives messages back."""
    return Call(*codec.encode_pieces(Op.RELEASE, codec.pack_fields(holder) + codec.encode_ids(ids), link.room))


def _snapshot_in(message: Any) -> Snapshot | None:
    return None if message is None else snapshots.decode_snapshot(b64decode(message.get("data", "")))


def _number(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
