"""From lines to a mailbox."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from ..contract.archive import Adopted, Archive, Remembered, WholeMessage
from ..contract.buffers import copy_of
from ..contract.limits import PAGE_BYTES, PAGE_MESSAGES
from ..contract.mailbox import Mailbox
from ..contract.values import BytesLike
from ..runtime.turns import take_turn_if_due
from .lines import End, LineError, check_head, read_line

Source: TypeAlias = BytesLike | str | Iterable[BytesLike | str] | AsyncIterable[BytesLike | str]
"""The content of a file, as a whole or in pieces."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
"""Some editors put it in front."""


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that was not stored."""

    line: int
    """Its number; the first is 1."""
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"line": self.line, "reason": self.reason}

    @classmethod
    def from_dict(cls, data: Any) -> RefusedLine:
        """Back from ``to_dict``."""
        return cls(data["line"], data["reason"])

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass(slots=True)
class ImportReport:
    """What an import did."""

    stored: int = 0
    """Messages, dead letters included."""
    already_there: int = 0
    """Messages whose id was already in the mailbox; they were not stored."""
    refused: list[RefusedLine] = field(default_factory=list)
    complete: bool = False
    """Whether the file has its end line, and as many messages before it as that says."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "stored": self.stored,
            "already_there": self.already_there,
            "refused": [line.to_dict() for line in self.refused],
            "complete": self.complete,
        }

    @classmethod
    def from_dict(cls, data: Any) -> ImportReport:
        """Back from ``to_dict``."""
        refused = [RefusedLine.from_dict(line) for line in data["refused"]]
        return cls(data["stored"], data["already_there"], refused, data["complete"])


async def import_(
    mailbox: Mailbox,
    source: Source,
    *,
    on_refused: Callable[[RefusedLine], object] | None = None,
) -> ImportReport:
    """Stores the messages of an export behind those that are in a mailbox, in their order.

    They keep ids, bytes, priorities, times, delivery counts and due times, and dead letters are dead letters again.
    What was inflight is queued. A broken line is refused, with its number, and the others are stored. A message whose
    id is already in the mailbox is not stored again, so an import that was cut off, or raised, can be repeated.

        with open("inbox.ndjson", "rb") as file:
            report = await import_(mailbox, file)

    Args:
        mailbox: an open mailbox. A backend of your own needs ``enqueue_many``, ``message_id`` and ``peek``; what it
            takes gets new times and counts, and it refuses dead letters.
        source: the file's content in pieces of any size: an open file, what ``export`` yields, chunks of an upload.
        on_refused: called with each refused line as it is met.

    Returns:
        What was stored and what was not. A few hundred messages are stored in each transaction; after a cancellation,
        some are stored and the others are not.

    Raises:
        TypeError: ``source`` gives something other than bytes or text.
        ValueError: ``source`` is not an export, or one of a newer version; nothing was stored.
        StorageFullError: there is no room for more; the error's note says how many messages are stored.
        MailboxError: as the verbs of the mailbox raise it.
    """
    intake = _Intake(mailbox._archive(), on_refused)
    number = 0
    try:
        async for line in _lines_of(source):
            number += 1
            await take_turn_if_due()  # there may be many lines between two that are stored
            if number == 1:
                check_first_line(line or b"\n")
            elif line.strip():
                await intake.take(number, line)
        if not number:
            check_first_line(b"")
        await intake.store()
    except Exception as error:
        if number > 1:
            error.add_note(
                f"{intake.report.stored} messages of the export were stored before that; it can be imported again"
            )
        raise
    return intake.report


class _Intake:
    """Gathers messages and stores them by the hundred."""

    def __init__(self, archive: Archive, on_refused: Callable[[RefusedLine], object] | None) -> None:
        self.report = ImportReport()
        self._archive = archive
        self._on_refused = on_refused
        self._met: dict[bytes, int] = {}
        """The line of each id."""
        self._messages = self._known = self._broken = 0
        """Lines that are messages, known ids, and neither, though they should be."""
        self._end: End | None = None
        self._waiting: list[WholeMessage] = []
        self._known_waiting: list[tuple[int, Remembered]] = []
        """With their lines."""
        self._size = 0

    async def take(self, number: int, line: bytes) -> None:
        try:
            if self._end is not None:
                raise LineError("it comes after the end line")
            read = read_line(line)
            if isinstance(read, WholeMessage):
                first = self._met.setdefault(read.id.bytes, number)
                if first != number:
                    raise LineError(f"the id {read.id} is already on line {first}")
        except LineError as error:
            self._broken += self._end is None
            self._refuse(number, str(error))
            return
        if isinstance(read, End):
            self._end = read
            missing = read.messages + read.known_ids - self._messages - self._known
            self.report.complete = missing == self._broken
            return
        if isinstance(read, Remembered):
            self._known += 1
            self._known_waiting.append((number, read))
            if len(self._known_waiting) >= PAGE_MESSAGES:
                await self.store()
            return
        self._messages += 1
        self._waiting.append(read)
        self._size += read.size
        if len(self._waiting) >= PAGE_MESSAGES or self._size >= PAGE_BYTES:
            await self.store()

    async def store(self) -> None:
        messages, self._waiting, self._size = self._waiting, [], 0
        outcomes = await self._archive.adopt(messages) if messages else []
        for message, outcome in zip(messages, outcomes, strict=True):
            if outcome is Adopted.STORED:
                self.report.stored += 1
            elif outcome is Adopted.KNOWN:
                self.report.already_there += 1
            else:
                number = self._met[message.id.bytes]
                what = "is a dead letter" if message.death is not None else "has headers"
                self._refuse(number, f"it {what}, which the backend of this mailbox cannot take")
        known, self._known_waiting = self._known_waiting, []
        if known and not await self._archive.remember([each for _, each in known]):
            for number, _ in known:
                self._refuse(number, "it is a known id, and the backend of this mailbox cannot keep one")

    def _refuse(self, number: int, reason: str) -> None:
        refused = RefusedLine(number, reason)
        self.report.refused.append(refused)
        if self._on_refused is not None:
            self._on_refused(refused)


def check_first_line(line: bytes) -> None:
    """Raises ``ValueError`` if what begins with this line is not an export; it is empty only if that is."""
    if not line:
        raise ValueError("source is empty; an export has at least a head line")
    try:
        check_head(line.removeprefix(_BYTE_ORDER_MARK))
    except LineError as error:
        raise ValueError(f"line 1 of source: {error}") from None


async def _lines_of(source: Source) -> AsyncIterator[bytes]:
    """The lines of a text that comes in pieces, without their line ends."""
    begun: list[bytes] = []
    async for piece in _pieces_of(source):
        *lines, rest = _bytes_of(piece).split(b"\n")
        for line in lines:
            yield b"".join((*begun, line)) if begun else line
            begun.clear()
        if rest:
            begun.append(rest)
    if begun:
        yield b"".join(begun)


async def _pieces_of(source: Any) -> AsyncIterator[Any]:
    if isinstance(source, (bytes, bytearray, memoryview, str)):
        yield source
    elif isinstance(source, AsyncIterable):
        async for piece in source:
            yield piece
    elif isinstance(source, Iterable):
        for piece in source:
            yield piece
    else:
        raise TypeError(f"source must be an iterable of bytes, async or not, not {type(source).__name__}")


def _bytes_of(piece: Any) -> bytes:
    if isinstance(piece, str):
        return piece.encode("utf-8", "surrogatepass")
    return copy_of("a piece of source", piece)
