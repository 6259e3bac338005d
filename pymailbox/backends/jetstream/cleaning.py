"""Keeps a mailbox's part of the stream small: a snapshot of its state, and then a purge of what is settled."""

from __future__ import annotations

import logging
import secrets
import time
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ...contract.errors import MailboxError, StorageUnavailableError
from . import codec, snapshots
from .codec import Op
from .errors import NO_MESSAGE, CutOffError, NotThereError, RefusedError, TimedOutError
from .state import PARTS_KEPT_FOR

if TYPE_CHECKING:
    from .link import Link
    from .replica import Replica

_logger = logging.getLogger("pymailbox")

_TOLD_AFTER: Final = 30.0
"""Seconds after which whoever stores parts says in the log that more of them come."""

_TOO_LATE: Final = PARTS_KEPT_FOR / 1000 - 20
"""Seconds after which that may come when they are cleared away."""

_MOST_SETTLED: Final = 4
_FEW: Final = 8
"""Stream messages that may be kept for each that is needed, and in all."""

MOVED_HEAD: Final = 64
"""Bytes of a moved message beside its own."""

_ROLLUP: Final = {"Nats-Rollup": "sub"}


async def store_parts(link: Link, token: str, data: bytes) -> tuple[int, ...]:
    """Stores bytes that are too many for one stream message; the sequence numbers of those that hold them.

    Raises:
        StorageUnavailableError: it came on so slowly that the first of them may be gone.
    """
    parts: list[int] = []
    nonce, told = secrets.token_bytes(8), _clocks()
    for at in range(0, len(data), link.largest):
        piece = data[at : at + link.largest]

        async def store(piece: bytes = piece) -> int:
            return await link.publish(f"{link.stream}.p.{token}", piece)

        parts.append(await link.patiently(store, "storing a part of a message"))
        if _seconds_since(told) > _TOLD_AFTER:
            now = _clocks()
            command = codec.encode_command(Op.UPLOAD, codec.pack_fields(parts[0]))
            commit = codec.encode(nonce, len(parts), [command])

            async def tell(commit: bytes = commit) -> None:
                await link.publish(f"{link.stream}.m.{token}.c", commit)

            await link.patiently(tell, "storing the parts of a message")
            if _seconds_since(told) > _TOO_LATE:
                raise StorageUnavailableError(
                    "the parts of a message came so slowly that the first of them may be gone by now, and it was not "
                    "stored. Try again",
                    passing=True,
                )
            told = now
    return tuple(parts)


def _clocks() -> tuple[float, float]:
    """Of which one may be set, and the other stand still while the machine sleeps."""
    return time.time(), time.monotonic()


def _seconds_since(then: tuple[float, float]) -> float:
    return max(now - was for now, was in zip(_clocks(), then, strict=True))


class Stock(NamedTuple):
    """What there was at a checkpoint."""

    checkpoint: int
    """Its number."""
    seq: int
    """Of its commit."""
    age: int
    """Of the log."""
    first_body: int | None
    """The first stream message that has bytes of a message."""
    first_part: int | None
    """The first part of a message that is there, or is being stored."""


async def publish_snapshot(replica: Replica, stock: Stock, digest: bytes, packed: bytes, last: int) -> None:
    """Publishes the state at a checkpoint, and purges what nobody needs any more. If it fails, the next one does it.

    ``last`` is the snapshot before it. If that is not the last one any more, this one would come out of order: whoever
    began with it would miss what the other one's publisher has purged.
    """
    try:
        await _publish(replica, stock, digest, packed, last)
    except (MailboxError, RefusedError, NotThereError, TimedOutError, CutOffError) as error:
        _logger.debug("the mailbox %r could not write a snapshot: %r", replica.name, error)


async def _publish(replica: Replica, stock: Stock, digest: bytes, packed: bytes, last: int) -> None:
    link, token = replica.link, replica.token
    checkpoint, seq, age, first_body, first_part = stock
    parts: tuple[int, ...] = ()
    wipes = link.wipes
    data = snapshots.encode_snapshot(checkpoint, seq, digest, packed)
    what = f"a snapshot of the mailbox {replica.name!r}"
    if not await link.space.has(len(data), what):
        return
    if len(data) > link.largest:
        parts = await store_parts(link, token, packed)
        data = snapshots.encode_snapshot(checkpoint, seq, digest, b"", parts)
    await replica.keep_foreign()
    # whoever began with that of a stream that was deleted meanwhile would wait for messages that are no more
    if link.wipes != wipes or (parts and not await link.space.has(len(data), what)):
        return
    await link.publish(f"{replica.base}.s", data, _ROLLUP | {"Nats-Expected-Last-Subject-Sequence": str(last)})
    heard = await _heard_by_all(link, replica.base, seq)
    if heard is None:
        return  # the next one purges
    end = heard + 1
    first_needed = min(end, first_body or end)
    await _purge(link, f"{replica.base}.c", end)
    await _purge(link, f"{replica.base}.in", first_needed)
    await _purge_fences(replica, end)
    settled = replica.settled_parts(seq, age, PARTS_KEPT_FOR)
    if settled:
        await _purge(link, f"{link.stream}.p.{token}", min(settled, first_part or end, *parts[:1]))
    await _purge_steps(replica, first_needed)
    await _move_stragglers(replica, len(packed))


async def _move_stragglers(replica: Replica, snapshot_size: int) -> None:
    """Stores the oldest messages anew, if most of what came after them is settled: it can be purged with the next
    snapshot, for which there has to be room.
    """
    link, token = replica.link, replica.token
    before, bodies = replica.stragglers_before, replica.log.store.bodies
    if (bodies.first_body or before) >= before:
        return
    there = sum((await counts(link, f"{replica.base}.in")).values())
    there += sum((await counts(link, f"{link.stream}.x.*.{token}")).values())
    if there > _MOST_SETTLED * bodies.stream_messages + _FEW:
        await replica.move(bodies.oldest(before, link.space.at_most(link.largest // 2, snapshot_size), MOVED_HEAD))


async def _purge(link: Link, subject: str, end: int) -> None:
    """Purges the messages of a subject that come before one."""
    if end > 1:
        await link.api(f"STREAM.PURGE.{link.stream}", {"filter": subject, "seq": end})


async def _purge_fences(replica: Replica, end: int) -> None:
    """Of holders that hold nothing any more; they are admitted anew when they claim again."""
    link = replica.link
    prefix = f"{replica.base}.h."
    kept = {f"{prefix}{holder:x}": fence for holder, fence in replica.log.fences.items()}
    if not kept:
        await _purge(link, f"{prefix}*", end)
        return
    for subject, count in (await counts(link, f"{prefix}*")).items():
        if subject not in kept or count > 1:  # a later one has to stay, for the steps of its holder
            await _purge(link, subject, min(end, kept.get(subject, end)))


async def _purge_steps(replica: Replica, end: int) -> None:
    """Of steps to and from other mailboxes, as far as both need them no more."""
    link, token = replica.link, replica.token
    steps = {
        *await counts(link, f"{link.stream}.x.{token}.*"),
        *await counts(link, f"{link.stream}.x.*.{token}"),
    }
    if not steps:
        return
    await link.publish(f"{link.stream}.k.{token}", b"%d" % end, _ROLLUP)
    for subject in steps:
        owner, target = subject.split(".")[-2:]
        other = target if owner == token else owner
        needed = end if other == token else await _needed_from(link, other)
        if needed is not None:
            await _purge(link, subject, min(end, needed))


async def _needed_from(link: Link, token: str) -> int | None:
    """From where on another mailbox needs its steps; None if that is not known, as somebody else may have said it."""
    answer = await _last(link, f"{link.stream}.k.{token}")
    if answer is None:
        return None
    try:
        return int(b64decode(answer.get("data", "")))
    except ValueError:
        return None


async def _last(link: Link, subject: str) -> Any:
    try:
        answer = await link.api(f"STREAM.MSG.GET.{link.stream}", {"last_by_subj": subject})
    except RefusedError as error:
        if error.code == NO_MESSAGE:
            return None
        raise
    return answer["message"]


async def counts(link: Link, pattern: str) -> dict[str, int]:
    """The subjects of a pattern that have messages, and how many."""
    found: dict[str, int] = {}
    while True:
        info = await link.api(f"STREAM.INFO.{link.stream}", {"subjects_filter": pattern, "offset": len(found)})
        page = info["state"].get("subjects") or {}
        found |= page
        if not page or len(found) >= info.get("total", 0):
            return found


async def _heard_by_all(link: Link, base: str, seq: int) -> int | None:
    """Up to where everybody who follows a mailbox has been told, at most a place; None if not all could be asked."""
    least = seq
    names: set[str] = set()
    total: int | None = None
    offset = 0
    while True:
        answer = await link.api(f"CONSUMER.LIST.{link.stream}", {"offset": offset})
        consumers = answer.get("consumers") or []
        names |= {consumer["name"] for consumer in consumers}
        if answer.get("missing") or total not in (None, answer.get("total", 0)):
            return None
        total = answer.get("total", 0)
        for consumer in consumers:
            if f"{base}.>" not in (consumer["config"].get("filter_subjects") or ()):
                continue
            delivered = max(consumer["delivered"]["stream_seq"], consumer["config"].get("opt_start_seq", 1) - 1)
            if consumer["num_pending"] == 0:
                continue
            least = min(least, delivered)
        offset += len(consumers)
        if not consumers or offset >= total:
            return least if len(names) == total else None
