"""The cursor: a message in the target's database that says what was sent in the last hops.

Whoever holds it relays. A hop replaces it, in the transaction that stores what is sent, by one under a new id, so that
a hop is only ever made by whoever knows all hops before it. It lists what this hop sends, and what was sent before and
is not known to be acknowledged at the source. Whoever begins sends nothing until all that it lists is.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Coroutine, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from ..contract.companions import Nearby
from ..contract.errors import StorageCorruptError, StorageFullError, UnsupportedError
from ..contract.limits import LONGEST_DELAY
from ..contract.mailbox import Mailbox
from ..contract.moments import aware
from ..contract.values import MessagePriority, MessageRecord, MessageStatus, NewMessage, maker_of

_T = TypeVar("_T")

REFUSALS: Final = (TypeError, ValueError, UnsupportedError)
"""What a target raises that cannot take a message; nothing was sent then."""

LEASE: Final = 30.0
"""Seconds, where the platform cannot tell whether a relay lives."""

_FIRST: Final = UUID("7e1a7000-0000-8000-8000-000000000001")
"""The first cursor's id, which stays known: so it is made only once."""

_HAS_MORE: Final = b"has more"
"""The sender of a cursor whose holder has claimed more than it lists."""

_HEAD: Final = b"relay  1"
"""What a cursor's payload begins with."""

_TIME: Final = struct.Struct(">q")
_SENT: Final = struct.Struct(">16sq")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def pack_sent(records: Iterable[MessageRecord]) -> bytes:
    """A cursor's payload: after its head for each message 16 bytes of its id, and 8 of ``created_at``, microseconds.

    Raises:
        StorageCorruptError: that is no time.
    """
    parts = [_HEAD]
    last: object = parts
    time = b""
    for record in records:
        if record.created_at is not last:  # those of one batch may share it
            last = record.created_at
            time = _TIME.pack(_microseconds(record))
        parts += (record.id.int.to_bytes(16), time)
    return b"".join(parts)


def _microseconds(record: MessageRecord) -> int:
    time: Any = record.created_at
    if not isinstance(time, datetime):  # no target could help it: nothing that a target refuses
        raise StorageCorruptError(f"created_at of message {record.id} of the source must be a datetime, not {time!r}")
    return (aware(time) - _EPOCH) // _MICROSECOND


def unpack_sent(payload: bytes) -> list[MessageRecord]:
    """What a cursor lists; nothing more is known of these messages than their ids and ``created_at``.

    Raises:
        ValueError: it is no cursor.
    """
    if not payload.startswith(_HEAD):
        raise ValueError(f"it does not begin with {_HEAD!r}")
    normal, inflight = MessagePriority.NORMAL, MessageStatus.INFLIGHT
    try:
        sent = [
            (UUID(bytes=uuid), _EPOCH + time * _MICROSECOND) for uuid, time in _SENT.iter_unpack(payload[len(_HEAD) :])
        ]
    except (struct.error, OverflowError) as error:
        raise ValueError(str(error)) from error
    return [MessageRecord(message_id, b"", b"", normal, created_at, inflight, 1) for message_id, created_at in sent]


class Cursor:
    """The cursor of one source, as one handle on its mailbox knows it."""

    def __init__(self, mailbox: Mailbox, target: Mailbox, name: str) -> None:
        self._mailbox = mailbox
        self._target = target
        self._name = name
        self._held: UUID | None = None
        self._is_made = False
        self.another_may_have_more = False
        """Whether whoever had it before may have claimed more than it lists, and not have given that back yet."""

    @classmethod
    async def open(cls, nearby: Nearby, target: Mailbox, name: str) -> Cursor:
        return cls(await nearby.open(name, lease=LEASE), target, name)

    async def hold(self) -> list[MessageRecord] | None:
        """What was sent last; None if another relay has the cursor.

        Raises:
            StorageCorruptError: the cursor is not there any more, or something else is.
        """
        held = await self._mailbox.dequeue(1)
        if not held:
            await self._mailbox.recover()
            if not self._is_made:
                await self._mailbox.enqueue(b"", pack_sent(()), message_id=_FIRST, dedupe_for=LONGEST_DELAY)
                self._is_made = True
            held = await self._mailbox.dequeue(1)
        stats = await self._mailbox.status()
        if (count := stats.queued_messages + stats.inflight_messages) != 1:
            raise self._corrupt(f"{count} messages are in the mailbox {self._name!r}, where the cursor of a relay was")
        if not held:
            return None
        try:
            sent = unpack_sent(held[0].payload)
        except ValueError as error:
            raise self._corrupt(f"what is in the mailbox {self._name!r} is not the cursor of a relay") from error
        self._held = held[0].id
        # another has died with it (a release takes the hand-out back), or lost it between storing and claiming it
        self.another_may_have_more = held[0].delivery_count > 1 or held[0].sender == _HAS_MORE
        return sent

    def _corrupt(self, what: str) -> StorageCorruptError:
        return StorageCorruptError(f"{what}; delete that mailbox, and what was sent last may be sent again")

    async def commits_with_target(self) -> None:
        """Raises ``ValueError`` if messages cannot be sent in the transaction that moves the cursor; sends nothing.

        Nothing else is asked of the target, as a handle on a server that looks follows its mailbox from then on.
        """
        await self._mailbox.ack_and_send(uuid4(), [(self._target, NewMessage(b"", b""))])

    async def send(
        self, records: Sequence[MessageRecord], before: Sequence[MessageRecord] = (), *, has_more: bool = False
    ) -> bool:
        """Sends messages, in one transaction with the next cursor, which lists also what was sent ``before`` and may
        not be acknowledged yet, and says whether its holder ``has_more``, claimed ahead.

        False, and nothing is sent, if another relay has taken over. If it raises a passing error or is cancelled, it
        has happened or not: the cursor says it to whoever holds it next.
        """
        if self._held is None:
            return False
        following = uuid4()
        sends = [(self._target, message_of(record)) for record in records]
        listed, sender = pack_sent([*before, *records]), _HAS_MORE if has_more else b""
        sends.append((self._mailbox, NewMessage(sender, listed, message_id=following)))
        hop = begin(self._mailbox.ack_and_send(self._held, sends))  # if this call is refused, the cursor is still held
        held, self._held = self._held, None
        # in one step, so that they share a commit where the backend can do that, and no other relay gets in between
        holding = begin(self._mailbox.dequeue(1))
        calls: list[asyncio.Future[Any]] = [hop, holding]
        try:
            sent = await hop
            next_one = await holding
        except (*REFUSALS, StorageFullError):
            if hop.done() and not hop.cancelled() and hop.exception() is not None:  # nothing was done
                self._held = held
            raise
        finally:
            if not all(call.done() for call in calls):
                for call in calls:
                    call.cancel()
                await asyncio.wait(calls)  # so that both have ended with this one
        if sent and [following] == [record.id for record in next_one]:
            self._held = following
        return sent

    @property
    def is_held(self) -> bool:
        """Whether nobody else can have it, as far as is known."""
        return self._held is not None

    async def close(self) -> None:
        await self._mailbox.close()

    def die(self) -> None:
        self._mailbox._die()


def begin(call: Coroutine[Any, Any, _T]) -> asyncio.Future[_T]:
    """A call as a task; if whoever waits for it is interrupted, nobody has to hear of its error."""
    task = asyncio.ensure_future(call)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def message_of(record: MessageRecord) -> NewMessage:
    """A message of the source as it is sent."""
    return _message(record.sender, record.payload, record.priority, record.id, None, record.headers or None, None)


_message: Final = maker_of(NewMessage)
