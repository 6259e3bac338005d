"""Commands that store, take out and delete messages."""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import BinaryIO, Final
from uuid import UUID

from ..backends.sqlite import SqliteMailbox
from ..contract.arguments import prepare_message
from ..contract.mailbox import Mailbox
from ..contract.values import MessagePriority, MessageRecord, NewMessage
from .errors import OK, PROBLEM, UsageError
from .locations import location_of, opening
from .streams import confirm, have_been_read, print_json, print_lines, standard_input, warn
from .text import counted

_BATCH: Final = 250
"""Messages that are stored, or written and deleted, together."""

_BATCH_OF_IDS: Final = 1000
"""Dead letters that are redriven or discarded in one transaction."""

_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Bytes after which no more lines are added to those that are stored together."""


async def enqueue(arguments: Namespace) -> int:
    if arguments.lines and arguments.id is not None:
        raise UsageError("--id is for one message: leave out either it or --lines")
    location = location_of(arguments.location, arguments.mailbox)
    priority = MessagePriority[arguments.priority.upper()]
    sender = arguments.sender.encode("utf-8", "surrogateescape")

    def new(payload: bytes) -> NewMessage:
        return NewMessage(sender, payload, priority, arguments.id, arguments.delay)

    source = standard_input("messages, one a line," if arguments.lines else "the message")
    if not arguments.lines:
        message = new(source.read())
        prepare_message(sender, message.payload, priority, arguments.id, arguments.delay)  # before a mailbox is made
        async with await opening(location, make=True) as mailbox:
            [message_id] = await mailbox.enqueue_many([message])
        if arguments.json:
            print_json({"id": str(message_id)})
        else:
            print_lines([str(message_id)])
        return OK

    def some_new() -> list[NewMessage]:
        return [new(line.removesuffix(b"\n")) for line in _some_lines(source)]

    stored, batch = 0, some_new()
    for message in batch:  # before a mailbox is made
        prepare_message(sender, message.payload, priority, None, arguments.delay)
    async with await opening(location, make=True) as mailbox:
        try:
            while batch:
                stored += len(await mailbox.enqueue_many(batch))
                batch = some_new()
        except BaseException as error:
            error.add_note(f"{counted(stored, 'line')} before that were stored")
            raise
    if arguments.json:
        print_json({"stored": stored})
    else:
        print_lines([f"{counted(stored, 'message')} stored."])
    return OK


def _some_lines(source: BinaryIO) -> Iterable[bytes]:
    """The next lines: up to a batch, and only a few MiB."""
    size = 0
    for line in islice(source, _BATCH):
        yield line
        size += len(line)
        if size > _BATCH_BYTES:
            return


async def drain(arguments: Namespace) -> int:
    out = sys.stdout.buffer
    left = arguments.limit
    async with await opening(location_of(arguments.location, arguments.mailbox)) as mailbox:
        while left is None or left > 0:
            records = await mailbox.dequeue(_BATCH if left is None else min(left, _BATCH), wait=arguments.wait or None)
            if not records:
                break
            out.writelines(_json_line(record) for record in records)
            out.flush()
            await have_been_read(out)
            # only what is written is deleted; the rest goes back when the mailbox is closed
            await mailbox.ack_many(record.id for record in records)
            left = None if left is None else left - len(records)
    return OK


def _json_line(record: MessageRecord) -> bytes:
    return json.dumps(record.to_dict()).encode("ascii") + b"\n"


async def redrive(arguments: Namespace) -> int:
    async with await opening(location_of(arguments.location, arguments.mailbox)) as mailbox:
        ids = await _letters(arguments, mailbox)
        redrive_many = mailbox._redrive_many if isinstance(mailbox, SqliteMailbox) else _at_once(mailbox.redrive)
        return _report("redriven", await _in_batches(redrive_many, ids, "redriven"), arguments)


async def discard(arguments: Namespace) -> int:
    location = location_of(arguments.location, arguments.mailbox)
    async with await opening(location) as mailbox:
        ids = await _letters(arguments, mailbox)
        question = f"Delete {counted(len(ids), 'dead letter')} of {location.text} for good?"
        if arguments.all and ids and not confirm(question, yes=arguments.yes):
            return PROBLEM
        discard_many = mailbox._discard_many if isinstance(mailbox, SqliteMailbox) else _at_once(mailbox.discard)
        return _report("discarded", await _in_batches(discard_many, ids, "discarded"), arguments)


def _at_once(settle: Callable[[UUID], Awaitable[bool]]) -> Callable[[list[UUID]], Awaitable[list[bool]]]:
    """Calls that are made together share a commit."""

    async def settle_many(ids: list[UUID]) -> list[bool]:
        return await asyncio.gather(*map(settle, ids))

    return settle_many


async def _in_batches(
    settle: Callable[[list[UUID]], Awaitable[list[bool]]], ids: list[UUID], done: str
) -> dict[UUID, bool]:
    """Whether each was a dead letter; a thousand share a transaction."""
    answers: dict[UUID, bool] = {}
    try:
        for first in range(0, len(ids), _BATCH_OF_IDS):
            some = ids[first : first + _BATCH_OF_IDS]
            answers |= zip(some, await settle(some), strict=True)
    except BaseException as error:
        error.add_note(f"{counted(sum(answers.values()), 'dead letter')} before that {done}")
        raise
    return answers


async def _letters(arguments: Namespace, mailbox: Mailbox) -> list[UUID]:
    """The ids that were named, or those of all dead letters, the oldest first."""
    if bool(arguments.ids) == arguments.all:
        raise UsageError("give the ids of dead letters, or --all for all of them, but not both")
    if not arguments.all:
        return list(dict.fromkeys(arguments.ids))
    there = (await mailbox.status()).dead_letters
    return [letter.record.id for letter in reversed(await mailbox.dead_letters(there))] if there else []


def _report(done: str, answers: dict[UUID, bool], arguments: Namespace) -> int:
    missing = [str(message_id) for message_id, settled in answers.items() if not settled]
    settled = len(answers) - len(missing)
    if arguments.json:
        print_json({done: settled, "not_found": missing})
    else:
        print_lines([f"{counted(settled, 'dead letter')} {done}."])
    for message_id in missing:
        warn(f"{message_id} is not a dead letter of this mailbox")
    return PROBLEM if missing else OK


async def purge(arguments: Namespace) -> int:
    location = location_of(arguments.location, arguments.mailbox)
    async with await opening(location) as mailbox:
        there = (await mailbox.status()).queued_messages
        question = f"Delete {counted(there, 'queued message')} of {location.text} for good?"
        if there and not confirm(question, yes=arguments.yes):
            return PROBLEM
        purged = await mailbox.purge() if there else 0
    if arguments.json:
        print_json({"purged": purged})
    else:
        print_lines([f"{counted(purged, 'message')} deleted."])
    return OK
