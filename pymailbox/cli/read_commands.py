"""Commands that show something and change nothing."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from ..contract.values import DeadLetter, MailboxStats, MessagePriority, MessageRecord, MessageStatus
from .errors import OK
from .locations import location_of, names_in, opening_to_read
from .streams import print_json, print_lines
from .tables import Column, blocks, table, terminal_width
from .text import age, counted, one_line, preview

_RARE: Final = ("DUE", "HEADERS")
"""Columns that are shown only if a message has something there."""


async def stats(arguments: Namespace) -> int:
    location = location_of(arguments.location, arguments.mailbox)
    found: dict[str, MailboxStats] = {}
    for name in await names_in(location):
        async with location.opening_to_read(name) as mailbox:
            found[name] = await mailbox.status()
    if arguments.json:
        print_json(location.to_dict() | {"mailboxes": [{"name": name} | one.to_dict() for name, one in found.items()]})
    elif not found:
        print_lines([f"There is no mailbox in {location.database}."])
    else:
        columns = [
            Column("MAILBOX", least=12),
            *(Column(title, right=True) for title in ("QUEUED", "HIGH", "NORMAL", "DELAYED", "INFLIGHT", "DEAD")),
        ]
        print_lines(table(columns, [[one_line(name), *_counts(one)] for name, one in found.items()], _width()))
    return OK


def _counts(one: MailboxStats) -> Iterable[str]:
    by_priority = one.queued_by_priority
    counts = (
        one.queued_messages,
        by_priority[MessagePriority.HIGH],
        by_priority[MessagePriority.NORMAL],
        one.delayed_messages,
        one.inflight_messages,
        one.dead_letters,
    )
    return (f"{count:,}" for count in counts)


async def peek(arguments: Namespace) -> int:
    status = MessageStatus[arguments.status.upper()] if arguments.status else None
    async with await opening_to_read(location_of(arguments.location, arguments.mailbox)) as mailbox:
        records = await mailbox.peek(arguments.limit, status=status)
        counts = await mailbox.status()
    if arguments.json:
        print_json([record.to_dict() for record in records])
        return OK
    there = {
        None: counts.queued_messages + counts.inflight_messages,
        MessageStatus.QUEUED: counts.queued_messages,
        MessageStatus.INFLIGHT: counts.inflight_messages,
    }[status]
    now = datetime.now(UTC)
    columns = [
        Column("ID"),
        Column("AGE", right=True),
        Column("DUE", right=True),
        Column("PRIORITY"),
        Column("STATUS"),
        Column("TRIES", right=True),
        Column("SENDER", least=8),
        Column("HEADERS"),
        Column("PAYLOAD", least=12),
    ]
    rows = [
        [
            str(record.id),
            _whole(record.created_at) if arguments.full else age(record.created_at, now),
            _due(record, now, full=arguments.full),
            record.priority.name.lower(),
            record.status.name.lower(),
            f"{record.delivery_count:,}",
            *_contents(record, full=arguments.full),
        ]
        for record in records
    ]
    _show(columns, rows, there, "message", arguments)
    return OK


async def dead(arguments: Namespace) -> int:
    async with await opening_to_read(location_of(arguments.location, arguments.mailbox)) as mailbox:
        letters = await mailbox.dead_letters(arguments.limit)
        there = (await mailbox.status()).dead_letters
    if arguments.json:
        print_json([letter.to_dict() for letter in letters])
        return OK
    now = datetime.now(UTC)
    columns = [
        Column("ID"),
        Column("DIED", right=True),
        Column("TRIES", right=True),
        Column("REASON", least=12),
        Column("ERROR", least=12),
        Column("SENDER", least=8),
        Column("HEADERS"),
        Column("PAYLOAD", least=12),
    ]
    rows = [
        [
            str(letter.record.id),
            _whole(letter.died_at) if arguments.full else age(letter.died_at, now),
            f"{letter.record.delivery_count:,}",
            _lines(letter.reason) if arguments.full else one_line(letter.reason),
            _lines(letter.error or "") if arguments.full else _last_line(letter),
            *_contents(letter.record, full=arguments.full),
        ]
        for letter in letters
    ]
    _show(columns, rows, there, "dead letter", arguments)
    return OK


def _whole(moment: datetime) -> str:
    return moment.isoformat(" ", "milliseconds")


def _due(record: MessageRecord, now: datetime, *, full: bool) -> str:
    """When its delay ends, if it has one."""
    if record.due_at is None:
        return ""
    return _whole(record.due_at) if full else f"in {age(now, record.due_at)}"


def _contents(record: MessageRecord, *, full: bool) -> tuple[str, str, str]:
    """Sender, headers, and payload; headers only where there is room for all of them."""
    if not full:
        return preview(record.sender), "", preview(record.payload)
    headers = "\n".join(one_line(f"{name}: {value}") for name, value in record.headers.items())
    return preview(record.sender, len(record.sender)), headers, preview(record.payload, len(record.payload))


def _last_line(letter: DeadLetter) -> str:
    """Of a traceback, the line that says what happened."""
    return one_line(((letter.error or "").strip().splitlines() or [""])[-1])


def _lines(text: str) -> str:
    return "\n".join(one_line(line) for line in text.rstrip().splitlines())


def _show(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], there: int, noun: str, arguments: Namespace
) -> None:
    if not rows:
        print_lines([f"No {noun}s."])
        return
    shown = [i for i, column in enumerate(columns) if column.title not in _RARE or any(row[i] for row in rows)]
    columns, rows = [columns[i] for i in shown], [[row[i] for i in shown] for row in rows]
    lines = blocks([c.title for c in columns], rows, _width()) if arguments.full else table(columns, rows, _width())
    print_lines(lines)
    if there > len(rows):
        print_lines(["", f"{len(rows):,} of {counted(there, noun)}; --limit shows more."])


def _width() -> int | None:
    return terminal_width(sys.stdout)
