"""A mailbox as its log has it: the core's rules, applied to one commit after the other, at the log's time.

Nothing here waits, reads a clock or draws a random number: whoever applies the same commits has the same state.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sized
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from ...contract.archive import Remembered
from ...contract.arguments import PreparedMessage
from ...contract.values import MessagePriority, MessageRecord
from ...core import archive, claiming, dead_letters, verbs
from ...core import delivery as deliveries
from ...core.dictionaries import Notes
from ...core.page import BURIED, HELD
from ...core.state import LaneRun
from ...core.store import Holder, Message, Place, find
from . import codec
from .arrivals import Arrivals, Row
from .codec import PLAIN, Command, Commit, Fields, Op, PlainCommit, Reference, Sent
from .shelves import Shelves

REPEATED_FOR: Final = 600_000
"""Milliseconds for which it is known who committed what: nobody sends a commit again after a minute."""

MOST_WRITERS: Final = 1000
WRITERS_KEPT_FOR: Final = 180_000
"""If more than so many have committed lately, those are forgotten who have not for that long, in milliseconds."""

LONGEST_STEP: Final = 30_000
"""Milliseconds by which the log gets older from one commit to the next at most: its clock may have jumped."""

PARTS_KEPT_FOR: Final = 120_000
"""Milliseconds after which a part that belongs to nothing is cleared away, if nobody has said that its rest comes."""

CHECKPOINT_COMMITS: Final = 1000
CHECKPOINT_BYTES: Final = 1024 * 1024
"""After so much a checkpoint is due, or after four times what the last one was long."""

_TAKEN: Final = 300
"""Bytes that a message counts for beside its own when a checkpoint is due: to hear it takes time, too."""

_WEIGHT: Final = 64
"""Bytes of a message or another entry in a snapshot, more or less."""

PACKED: Final = 32
"""The same when that is packed: little is left but an id, and sizes that differ."""

_NOT_OURS: Final = -1
"""An id base that no id has: all ids are made by clients."""


EXPIRED: Final = 0
DIED: Final = 1
RELEASED: Final = 2
"""How a holder went."""


class Claimed(NamedTuple):
    holder: int
    records: list[MessageRecord]
    """With references for payloads."""
    acked: int
    elsewhere: list[UUID]
    """Ids of what others hold: nothing was done, as only a batch with a mark on their subjects may acknowledge them."""


class Acked(NamedTuple):
    acked: int
    elsewhere: list[UUID]


class Stored(NamedTuple):
    ids: list[UUID]
    depth: int | None


class NotAdmitted(NamedTuple):
    """A claim of a holder that the mailbox does not know: it has to be made on the holder's subject."""


class Effects:
    """What commands have done that others want to hear of."""

    def __init__(self) -> None:
        self.depths: list[tuple[int, int, int]] = []
        """Queued messages after a call that stored some, how many these were, and which command it was."""
        self.returned = 0
        """How many messages came back to the queue, or may have."""
        self.checkpoint = False
        self.reset = False


class Store(Notes):
    """The core's ``Store``, with references in the place of bytes."""

    id_base = _NOT_OURS

    def __init__(self) -> None:
        super().__init__()
        self.bodies = Shelves()

    def clear_away(self, runs: list[LaneRun]) -> None:
        for priority, first, end, delivery, _, _ in runs:
            if delivery & deliveries.HAS_ERROR:
                self.forget_errors(priority, first, end)
            self.bodies.remove(priority, first, end)

    def clear_queued(self, special: list[LaneRun]) -> None:
        self.clear_away(special)  # which are all, as all ids are their senders'

    def note_id(self, message_id: UUID, priority: int, number: int) -> None:
        """``bodies`` does."""

    def find_id(self, message_id: UUID) -> tuple[int, int] | None:
        return self.bodies.find(message_id)

    def reference(self, place: Place) -> Reference:
        """Where the bytes of a message are."""
        return cast(Reference, self.bodies.get(place.priority, place.number).payload)


class LogState:
    """All that follows from a mailbox's log up to some place in it."""

    def __init__(self) -> None:
        self._store = Store()
        self._arrivals = Arrivals()
        """What the store lacks until somebody looks at it."""
        self.now = 0
        """The log's time, milliseconds since 1970: it never goes back."""
        self.age = 0
        """Milliseconds that went by in the log, without what is more than ``LONGEST_STEP`` from one commit to the
        next."""
        self.seq = 0
        """Of the last commit."""
        self.applied: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        """The last commit of each nonce, and at which age; the one that was longest ago first."""
        self.fences: dict[int, int] = {}
        """The last commit on the subject of each holder that was admitted."""
        self.uploads: dict[int, int] = {}
        """The first parts of what is being stored for long, and at which age that was said last."""
        self.checkpoint = 0
        """How many there were."""
        self.commits = 0
        """Since the last one."""
        self.bytes = 0
        self.size = 0
        """``weight`` at the last one."""
        self.touched = False
        """Whether anything was ever committed, or since the mailbox was deleted."""
        self._more = b""
        """The beginning of the next command's body. No snapshot is taken before that comes, in the same batch."""

    @property
    def store(self) -> Store:
        if self._arrivals:
            self._arrivals.put_into(self._store)
        return self._store

    # -- applying ------------------------------------------------------------------------------------------------------

    def is_new(self, commit: Commit | PlainCommit) -> bool:
        """Whether it is no second copy."""
        last = self.applied.get(commit.nonce)
        return last is None or commit.number > last[0]

    def advance(self, seq: int, time: int, size: int) -> None:
        """Goes on to the next commit, or to what is none."""
        self.seq = seq
        if time > self.now:
            self.age += min(time - self.now, LONGEST_STEP)
            self.now = time
        self.commits += 1
        self.bytes += size

    def apply(
        self, commit: Commit, seq: int, holder: int | None, target: bool, effects: Effects, wanted: bool = True
    ) -> list[Any]:
        """What each command gives that is for this mailbox; ``holder`` is the one whose subject it came on.

        The records of claims are there only if they are ``wanted``.
        """
        self._note_writer(commit.nonce, commit.number)
        if holder is not None:
            self.fences[holder] = seq
        results: list[Any] = []
        self.store.bodies.records_wanted = wanted
        try:
            for command in commit.commands:
                if command.for_target is target:
                    results.append(self._perform(command, seq, effects, len(results)))
        finally:
            self.store.bodies.records_wanted = True
        return results

    def _note_writer(self, nonce: bytes, number: int) -> None:
        applied, age = self.applied, self.age
        applied[nonce] = number, age
        applied.move_to_end(nonce)
        kept_for = REPEATED_FOR if len(applied) <= MOST_WRITERS else WRITERS_KEPT_FOR
        while next(iter(applied.values()))[1] < age - kept_for:
            applied.popitem(last=False)

    def apply_later(self, commit: PlainCommit, seq: int, time: int, size: int) -> bool:
        """As ``advance`` and ``apply``, of plain enqueues that nobody waits for; False, and nothing changes, if they
        cannot be put off.
        """
        if not self._can_wait:
            return False
        self.advance(seq, time, size)
        self._note_writer(commit.nonce, commit.number)
        for priority, message_id, at, sender, payload, headers in commit.messages:
            self._arrive(priority, (message_id, self.now, seq, at, sender, payload, headers))
        return True

    def enqueue_plain_later(self, message_id: bytes, seq: int, time: int, size: int) -> bool:
        """As ``apply_later``, of what another program has sent without headers."""
        if not self._can_wait:
            return False
        self.advance(seq, time, size)
        self._arrive(MessagePriority.NORMAL, (message_id, self.now, seq, PLAIN, 0, size, 0))
        return True

    @property
    def _can_wait(self) -> bool:
        """Whether no more than its id decides what becomes of a message."""
        return not (self._store.state.remembered or self._more)

    def _arrive(self, priority: int, row: Row) -> None:
        self.touched = True
        self.bytes += _TAKEN
        self._arrivals.add(priority, row)
        if self._arrivals.are_many:
            self._arrivals.put_into(self._store)

    def enqueue_plain(self, message: Sent, effects: Effects) -> None:
        """Stores what another program has sent."""
        self._enqueue([message], None, effects, 0)

    def _enqueue(self, messages: list[Sent], sent_on: UUID | None, effects: Effects, index: int) -> Stored:
        """Those that are neither known nor delayed go to the end of the queue in one step."""
        store, now = self.store, self.now
        before, self.touched = store.state.queued, True
        self.bytes += _TAKEN * len(messages)
        stored = False
        run: dict[UUID, Message] = {}
        lane = 0
        for message in messages:
            message_id, priority, delay, dedupe, reference = message
            if run and (priority != lane or delay or dedupe or message_id in run):
                verbs.append_all(store, lane, list(run.values()))
                run.clear()
            if delay or dedupe or store.state.remembered or find(store, message_id):
                prepared = _prepared(message)
                stored |= verbs.enqueue(store, [prepared], now, sent_on)[1] is not None
            else:
                lane, stored = priority, True
                run[message_id] = Message(message_id, b"", cast(bytes, reference), now)
        if run:
            verbs.append_all(store, lane, list(run.values()))
        depth = store.state.queued if stored else None
        if depth is not None:
            effects.depths.append((depth, depth - before, index))
        return Stored([message.id for message in messages], depth)

    def bury_foreign(self, message_id: UUID, reference: Reference, reason: str) -> None:
        """Makes a dead letter of what somebody else has published."""
        message = Message(message_id, b"", cast(bytes, reference), self.now)
        number = verbs.append(self.store, MessagePriority.NORMAL, message, deliveries.CUSTOM_ID, where=BURIED)
        dead_letters.note(self.store, MessagePriority.NORMAL, number, reason, self.now)
        self.touched = True

    @property
    def weight(self) -> int:
        """Bytes of a snapshot of it before it is packed, more or less."""
        return _WEIGHT * self._entries

    @property
    def packed_weight(self) -> int:
        """Bytes that it takes in the stream, more or less."""
        return PACKED * self._entries

    @property
    def _entries(self) -> int:
        store = self.store
        tables: list[Sized] = [store.bodies, store.known_ids, store.error_texts, store.deaths, self.applied]
        return sum(map(len, tables))

    @property
    def first_needed(self) -> tuple[int | None, int | None]:
        """The first stream message, and the first part, that have bytes of messages."""
        bodies = self.store.bodies
        return bodies.first_body, min((first for first in (bodies.first_part, *self.uploads) if first), default=None)

    @property
    def checkpoint_is_due(self) -> bool:
        return self.commits >= CHECKPOINT_COMMITS or self.bytes >= max(CHECKPOINT_BYTES, 4 * self.size)

    # -- commands ------------------------------------------------------------------------------------------------------

    def _perform(self, command: Command, seq: int, effects: Effects, index: int) -> Any:
        store, now = self.store, self.now
        if command.op == Op.MORE:
            self._more += command.body
            return None
        if self._more:
            command, self._more = command._replace(body=self._more + command.body), b""
        fields = Fields(command.body)
        match command.op:
            case Op.ENQUEUE:
                return self._enqueue(*codec.decode_messages(command, seq), effects, index)
            case Op.CLAIM:
                return self._claim(fields, seq)
            case Op.ACK:
                holder, held_only, witnesses = (fields.number() for _ in range(3))
                self._beat(holder)
                return self._ack(holder, bool(held_only), witnesses, fields.ids(), seq)
            case Op.SETTLE:
                holder = fields.number()
                self._beat(holder)
                return verbs.ack_held(store, holder, fields.ids()) > 0
            case Op.RELEASE:
                holder = fields.number()
                self._beat(holder)
                released = claiming.release(store, holder, fields.ids())
                effects.returned += released
                return released
            case Op.RELEASE_ALL:
                released = claiming.release_all(store, fields.number())
                effects.returned += released
                return released
            case Op.NACK:
                holder, most, delay, failed = (fields.number() for _ in range(4))
                self._beat(holder)
                nacking = Holder(holder, most or None)
                nacked = claiming.nack(store, nacking, fields.id(), delay, fields.text(), bool(failed), now)
                effects.returned += nacked is True
                return nacked
            case Op.BURY:
                holder = fields.number()
                self._beat(holder)
                return claiming.bury_held(store, holder, fields.id(), fields.text() or "", now)
            case Op.REDRIVE:
                depth = dead_letters.redrive(store, fields.id())
                if depth is not None:
                    effects.depths.append((depth, 1, index))
                return depth
            case Op.DISCARD:
                return dead_letters.discard(store, fields.id())
            case Op.PROMOTE:
                promoted = verbs.promote(store, None if fields.number() else fields.ids(), now)
                effects.returned += promoted
                return promoted
            case Op.PURGE:
                return verbs.purge(store)
            case Op.BEAT:
                return self._beat(fields.number())
            case Op.GONE:
                return self._gone(fields, effects)
            case Op.RESET:
                return self._reset(fields, effects)
            case Op.ADOPT:
                self.touched = True
                whole = codec.decode_whole(command, seq)
                before = store.state.queued
                stored, depth = archive.adopt(store, whole, now)
                if depth is not None:
                    effects.depths.append((depth, depth - before, index))
                return stored, depth
            case Op.REMEMBER:
                self.touched = True
                known = [Remembered(fields.id(), fields.number()) for _ in range(len(command.body) // 24)]
                archive.remember(store, known, now)
                return None
            case Op.MOVE:
                for message_id, _, from_seq, _, reference in codec.decode_messages(command, seq)[0]:
                    self._move(message_id, from_seq, reference)
                return None
            case Op.UPLOAD:
                self.uploads[fields.number()] = self.age
                return None
            case Op.CHECKPOINT:
                return self._check_point(effects, asked_for=bool(command.body))
            case _:  # a mark
                return None

    def _claim(self, fields: Fields, seq: int) -> Claimed | NotAdmitted:
        number, limit, most, lease, ack, witnesses = (fields.number() for _ in range(6))
        acked = Acked(0, [])
        if number not in self.fences:
            return NotAdmitted()
        self._beat(number)
        if ack:
            acked = self._ack(number, ack == 2, witnesses, fields.ids(), seq)
            if acked.elsewhere:
                return Claimed(number, [], *acked)
        holder = Holder(number, most or None)
        holder.lease, holder.heartbeats = lease, self.now
        return Claimed(number, claiming.claim(self.store, holder, limit, self.now), *acked)

    def _ack(self, holder: int, held_only: bool, witnesses: int, ids: list[UUID], seq: int) -> Acked:
        """Nothing is acknowledged if others hold something of it, unless this batch has marks on their subjects too:
        steps of theirs must know of it.
        """
        if held_only:
            return Acked(verbs.ack_held(self.store, holder, ids), [])
        holders = self.store.state.holders
        others = {
            claims.slot
            for number, claims in holders.by_number.items()
            if number != holder and not (witnesses and self.fences.get(number, 0) >= seq - witnesses)
        }
        if others:
            elsewhere = [
                message_id
                for message_id in ids
                if (where := self._place_of(message_id)) is not None and where - HELD in others
            ]
            if elsewhere:
                return Acked(0, elsewhere)
        return Acked(verbs.ack(self.store, ids), [])

    def _move(self, message_id: UUID, from_seq: int, reference: Reference) -> None:
        """The bytes of a message have been stored anew."""
        place = find(self.store, message_id)
        if place is None:
            return
        old = self.store.reference(place)
        if old.seq == from_seq and not old.parts:
            self.store.bodies.set_reference(place.priority, place.number, reference)

    def _place_of(self, message_id: UUID) -> int | None:
        place = find(self.store, message_id)
        return None if place is None else place.where

    def _beat(self, holder: int) -> bool:
        return self.store.state.heartbeat(holder, self.now)

    def _gone(self, fields: Fields, effects: Effects) -> int:
        """What a holder had comes back: it has said nothing for too long, it has died, or it is done."""
        number, how = fields.number(), fields.number()
        if verbs.is_kept(self.store, fields.unless()):
            return 0
        claims = self.store.state.holders.by_number.get(number)
        if claims is None:
            return 0
        if how == EXPIRED and claims.heartbeats + (claims.lease or 0) >= self.now:
            return 0
        if how == RELEASED:
            returned = claiming.release_all(self.store, number)
        else:
            returned = claiming.recover_from(self.store, number, self.now)
        effects.returned += returned
        return returned

    def _reset(self, fields: Fields, effects: Effects) -> bool | None:
        """Deletes everything; whether there was anything. Nothing happens while somebody holds something, nor, which is
        None, where a message keeps it.
        """
        if verbs.is_kept(self.store, fields.unless()):
            return None
        there = self.touched
        if not self.store.state.holders.by_number:
            self._store = Store()
            self.touched = False
            effects.reset = True
        return there

    def _check_point(self, effects: Effects, asked_for: bool) -> int | None:
        """Its number; None if there was another one just before: others follow too, and see at once that it is due."""
        if self.commits < 2 or not (asked_for or self.checkpoint_is_due):
            return None
        self.checkpoint += 1
        self.commits = self.bytes = 0
        held = self.store.state.holders.by_number
        self.fences = {number: seq for number, seq in self.fences.items() if number in held}
        self.uploads = {first: told for first, told in self.uploads.items() if told >= self.age - PARTS_KEPT_FOR}
        self.size = self.weight
        effects.checkpoint = True
        return self.checkpoint

    # -- looking -------------------------------------------------------------------------------------------------------

    def expired(self, now: int, is_gone: Callable[[int], bool]) -> list[tuple[int, int]]:
        """Holders that should be gone by now, and how; the log decides."""
        found = []
        for number, claims in self.store.state.holders.by_number.items():
            if is_gone(number):
                found.append((number, RELEASED))
            elif claims.heartbeats + (claims.lease or 0) < now:
                found.append((number, EXPIRED))
        return found

    def holds(self, holder: int, message_id: UUID) -> bool:
        claims = self.store.state.holders.by_number.get(holder)
        return claims is not None and self._place_of(message_id) == HELD + claims.slot

    def holder_of(self, message_id: UUID) -> int | None:
        where = self._place_of(message_id)
        if where is None or where < HELD:
            return None
        return self.store.state.holders.by_slot[where - HELD].number

    def held_by(self, holder: int) -> set[UUID]:
        claims = self.store.state.holders.by_number.get(holder)
        if claims is None:
            return set()
        where, size, state = HELD + claims.slot, self.store.state.page_numbers, self.store.state
        return {
            self.store.bodies.get(lane, number).id
            for lane, page in claims.pages
            for run in state.living(lane, page * size, (page + 1) * size)
            if run.where == where
            for number in range(run.first, run.end)
        }


def _prepared(message: Sent) -> PreparedMessage:
    payload = cast(bytes, message.reference)
    priority = MessagePriority(message.priority)
    return PreparedMessage(b"", payload, priority, message.id, message.delay_ms, b"", message.dedupe_ms)


def foreign_id(stream: str, seq: int, time: int) -> bytes:
    """The id of a message that came without one: the same for everybody who follows the log."""
    made = bytearray(hashlib.sha256(f"{stream} {seq} {time}".encode()).digest()[:16])
    made[6] = made[6] & 0x0F | 0x80
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)
