"""The bytes of messages: those that came lately, and those that are fetched from the stream."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, cast
from uuid import UUID

from ...contract.archive import WholeMessage
from ...contract.headers import NO_HEADERS, unpack_headers
from ...contract.values import DeadLetter, MessageRecord
from ...core.records import record_of
from .codec import PLAIN, Reference
from .errors import NO_MESSAGE, RefusedError, TimedOutError
from .link import SEQUENCE_HEADER, Link
from .wire import headers_of, lower_case

_KEPT: Final = 8 * 1024 * 1024
"""Bytes of stream messages that a follower keeps."""

_KEPT_HEAD: Final = 300
"""Bytes that keeping one takes beside its own."""

_AT_ONCE: Final = 64
"""Stream messages that are fetched at the same time."""

SENDER_HEADER: Final = "Pymailbox-Sender"
PRIORITY_HEADER: Final = "Pymailbox-Priority"
ID_HEADER: Final = "Pymailbox-Id"


class Body(NamedTuple):
    sender: bytes
    payload: bytes
    headers: bytes


class Raw(NamedTuple):
    """A stream message."""

    data: bytes
    headers: bytes


class Bodies:
    """The bytes of one mailbox's messages."""

    def __init__(self, link: Link, present: Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, Reference]]]) -> None:
        self._link = link
        self._present = present
        """Says where messages' bytes are now."""
        self._kept: OrderedDict[int, Raw] = OrderedDict()
        self._size = 0

    def keep(self, seq: int, data: bytes, headers: bytes) -> None:
        """Keeps what was just heard, for whoever claims it soon."""
        if len(data) > _KEPT // 4 or seq in self._kept:
            return
        self._kept[seq] = Raw(data, headers)
        self._size += len(data) + _KEPT_HEAD
        while self._size > _KEPT:
            _, raw = self._kept.popitem(last=False)
            self._size -= len(raw.data) + _KEPT_HEAD

    async def joined(self, parts: tuple[int, ...]) -> bytes | None:
        """What parts hold together; None if one is gone."""
        fetched = await self._fetch(parts)
        raws = [fetched[seq] for seq in parts]
        return None if None in raws else b"".join(raw.data for raw in raws if raw is not None)

    def forget(self) -> None:
        self._kept.clear()
        self._size = 0

    async def records(self, records: Sequence[MessageRecord]) -> tuple[list[MessageRecord], list[MessageRecord]]:
        """Records with references for payloads as callers see them, and those whose bytes are gone."""
        bodies = await self.of([(record.id, cast(Reference, record.payload)) for record in records])
        filled, lost = [], []
        for record, body in zip(records, bodies, strict=True):
            if body is None:
                lost.append(record)
                continue
            sender, payload, headers = body
            filled.append(
                record_of(
                    record.id,
                    sender,
                    payload,
                    record.priority,
                    record.created_at,
                    record.status,
                    record.delivery_count,
                    unpack_headers(headers) if headers else NO_HEADERS,
                    record.due_at,
                )
            )
        return filled, lost

    async def letters(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """One whose bytes are gone has none."""
        bodies = await self.of([(each.record.id, cast(Reference, each.record.payload)) for each in letters])
        return [
            replace(
                letter,
                record=replace(
                    letter.record,
                    sender=body.sender,
                    payload=body.payload,
                    headers=unpack_headers(body.headers) if body.headers else NO_HEADERS,
                ),
            )
            for letter, body in zip(letters, (body or Body(b"", b"", b"") for body in bodies), strict=True)
        ]

    async def whole(self, messages: Sequence[WholeMessage]) -> list[WholeMessage]:
        """Without those whose bytes are gone."""
        bodies = await self.of([(whole.id, cast(Reference, whole.payload)) for whole in messages])
        return [
            replace(whole, sender=body.sender, payload=body.payload, headers=body.headers)
            for whole, body in zip(messages, bodies, strict=True)
            if body is not None
        ]

    # -- fetching ------------------------------------------------------------------------------------------------------

    async def of(self, messages: Sequence[tuple[UUID, Reference]]) -> list[Body | None]:
        """The bytes of messages; None where they are gone, and not because they have been stored anew meanwhile."""
        bodies = await self._at([reference for _, reference in messages])
        sought = dict(messages)
        while lost := [message_id for (message_id, _), body in zip(messages, bodies, strict=True) if body is None]:
            present = await self._present(lost)
            moved = {
                message_id: reference
                for message_id, reference in present.items()
                if reference.place != sought[message_id].place
            }
            if not moved:
                break
            sought |= moved
            found = dict(zip(moved, await self._at(list(moved.values())), strict=True))
            bodies = [body or found.get(message_id) for (message_id, _), body in zip(messages, bodies, strict=True)]
        return bodies

    async def _at(self, references: Sequence[Reference]) -> list[Body | None]:
        missing = {
            seq for reference in references for seq in reference.parts or (reference.seq,) if seq not in self._kept
        }
        fetched = await self._fetch(missing) if missing else {}
        return [self._body(reference, fetched) for reference in references]

    def _body(self, reference: Reference, fetched: Mapping[int, Raw | None]) -> Body | None:
        raws = [self._kept.get(seq) or fetched.get(seq) for seq in reference.parts or (reference.seq,)]
        if any(raw is None for raw in raws):
            return None
        data = raws[0].data if len(raws) == 1 and raws[0] else b"".join(raw.data for raw in raws if raw)
        if reference.at == PLAIN:
            headers = lower_case(headers_of(raws[0].headers if raws[0] else b""))
            sender = headers.get(SENDER_HEADER.lower(), "")
            return Body(sender.encode(), data, b"")
        at = reference.at
        middle, end = at + reference.sender, at + reference.sender + reference.payload
        return Body(data[at:middle], data[middle:end], data[end : end + reference.headers])

    async def _fetch(self, seqs: Iterable[int]) -> dict[int, Raw | None]:
        fetched: dict[int, Raw | None] = {}
        waiting = iter(sorted(seqs))

        async def fetch() -> None:
            for seq in waiting:
                fetched[seq] = await self._get(seq)

        fetching = asyncio.gather(*(fetch() for _ in range(_AT_ONCE)))
        try:
            # A cancellation is noticed in the next turn, so that what was claimed goes back before a later claim.
            await asyncio.shield(fetching)
        except asyncio.CancelledError:
            fetching.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody has to hear of it
            fetching.cancel()
            raise
        return fetched

    async def _get(self, seq: int) -> Raw | None:
        async def get() -> Raw | None:
            answer = await self._link.ask(f"$JS.API.DIRECT.GET.{self._link.stream}", b'{"seq":%d}' % seq)
            headers = headers_of(answer.headers)
            if SEQUENCE_HEADER in headers:
                return Raw(answer.data, answer.headers)
            if headers.get("Status") != "404":
                raise TimedOutError
            # a server that is behind may not have it yet: its leader knows
            return await self._get_from_leader(seq)

        try:
            raw: Raw | None = await self._link.patiently(get, f"message {seq} of the stream {self._link.stream!r}")
        except RefusedError as error:
            raise error.meaning("reading a message") from error
        return raw

    async def _get_from_leader(self, seq: int) -> Raw | None:
        try:
            answer = await self._link.api(f"STREAM.MSG.GET.{self._link.stream}", {"seq": seq})
        except RefusedError as error:
            if error.code == NO_MESSAGE:
                return None
            raise
        message = answer["message"]
        return Raw(b64decode(message.get("data", "")), b64decode(message.get("hdrs", "")))
