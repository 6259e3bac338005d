"""``export`` and ``import_``: a mailbox as a file and back, without loss."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.plain_archive import PlainArchive
from ...contract.values import MessagePriority, MessageRecord, MessageStatus, NewMessage
from ...transfer import export, import_
from .._expect import expect, expect_equal
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check

NORMAL, HIGH = MessagePriority.NORMAL, MessagePriority.HIGH

_NEEDED = (
    Capability.ENQUEUE_MANY,
    Capability.MESSAGE_ID,
    Capability.PEEK,
    Capability.DEAD_LETTERS,
    Capability.NACK,
    Capability.DELAY,
)


async def _exported(mailbox: Mailbox) -> list[bytes]:
    return [line async for line in export(mailbox)]


def _messages_in(lines: list[bytes]) -> list[dict[str, Any]]:
    """The lines of messages."""
    data = [json.loads(line) for line in lines]
    expect("format" in data[0], f"the first line is {data[0]}")
    expect("end" in data[-1], f"the last line is {data[-1]}")
    return data[1:-1]


def _ids_in(lines: list[bytes]) -> list[UUID]:
    return [UUID(message["id"]) for message in _messages_in(lines)]


async def _fill(mailbox: Mailbox, other: Mailbox) -> dict[str, UUID]:
    """A message in every state; the other handle holds ``held``."""
    ids = {}
    for label in ("held", "dead", "failed"):
        ids[label] = await mailbox.enqueue(b"\x00\xff", label.encode())
        [record] = await other.dequeue(1)
        if label == "dead":
            await other.dead_letter(record.id, "given up: Zoë")
        elif label == "failed":
            await other.nack(record.id, error="the last error")
    ids["later"] = await mailbox.enqueue(b"", b"later", delay=1000)
    ids["high"] = await mailbox.enqueue(b"alice", bytes(range(256)), HIGH, message_id=uuid4())
    ids["plain"] = await mailbox.enqueue(b"alice", b"")
    return ids


@check(*_NEEDED)
async def check_export_has_everything_and_changes_nothing(sandbox: Sandbox) -> None:
    """Queued, delayed and inflight messages and dead letters are exported, once each, and stay unchanged."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    ids = await _fill(mailbox, other)
    before = await mailbox.status(), await mailbox.peek(), await mailbox.dead_letters()
    lines = await _exported(mailbox)
    expect_equal(sorted(_ids_in(lines)), sorted(ids.values()), "ids in the export")
    after = await mailbox.status(), await mailbox.peek(), await mailbox.dead_letters()
    expect_equal(after, before, "status, messages and dead letters after the export")
    expect_equal(await other.ack(ids["held"]), True, "ack by the handle that held a message")


@check(*_NEEDED)
async def check_import_keeps_messages_and_their_order(sandbox: Sandbox) -> None:
    """Ids, bytes and priorities come back, in order within each priority; what was inflight is queued."""
    mailbox, target = await sandbox.open(), await sandbox.open("target")
    await send(mailbox, [b"a", b"b"])
    await mailbox.dequeue(1)
    await send(mailbox, [b"x", b"y"], priority=HIGH)
    await send(mailbox, [b"c"])
    await send(target, [b"here before"])
    shown = {record.id: record for record in await mailbox.peek()}
    report = await import_(target, export(mailbox))
    expect_equal((report.stored, report.refused, report.complete), (5, [], True), "the report")
    records = await drain(target)
    expect_equal(payloads_of(records), [b"x", b"y", b"here before", b"a", b"b", b"c"], "payloads")
    for record in records:
        if record.payload != b"here before":
            expect_equal(_told(record), _told(shown[record.id]), "id, sender, payload and priority")


def _told(record: MessageRecord) -> tuple[object, ...]:
    return record.id, record.sender, record.payload, record.priority


@check(*_NEEDED)
async def check_import_can_be_repeated(sandbox: Sandbox) -> None:
    """An import that is repeated, after being cut off or not, stores every message once."""
    mailbox, target = await sandbox.open(), await sandbox.open("target")
    ids = [*await mailbox.enqueue_many(NewMessage(b"", payload) for payload in numbered(6))]
    lines = await _exported(mailbox)

    async def cut_off() -> AsyncIterator[bytes]:
        yield b"".join(lines[:4])[:-20]

    report = await import_(target, cut_off())
    expect_equal((report.stored, len(report.refused), report.complete), (2, 1, False), "the report of a part")
    for stored, known in ((4, 2), (0, 6)):
        report = await import_(target, lines)
        expect_equal((report.stored, report.already_there, report.complete), (stored, known, True), "the report")
    expect_equal([record.id for record in await drain(target)], ids, "ids")
    expect_equal((await import_(mailbox, lines)).stored, 0, "stored where the messages came from")


@check(*_NEEDED)
async def check_broken_lines_are_refused(sandbox: Sandbox) -> None:
    """A line that is not a message is refused by number, and the messages around it are stored."""
    mailbox, target = await sandbox.open(), await sandbox.open("target")
    await send(mailbox, numbered(3))
    head, *good, end = await _exported(mailbox)
    wrong = json.dumps(json.loads(good[1]) | {"payload": "no base64!"}).encode() + b"\n"
    report = await import_(target, [head, good[0], b"nonsense\n", wrong, good[0], good[2], end, b"\n"])
    expect_equal([refused.line for refused in report.refused], [3, 4, 5], "lines that were refused")
    for refused, naming in zip(report.refused, ("JSON", "payload", "line 2"), strict=True):
        expect(naming in refused.reason, f"the reason does not name {naming}: {refused}")
    expect_equal(payloads_of(await drain(target)), [b"m0", b"m2"], "payloads")


@check(*_NEEDED, needs_limit=True)
async def check_nothing_is_lost_on_the_way(sandbox: Sandbox) -> None:
    """Times, counts, due times, failures and dead letters come back unchanged; or dead letters are refused."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    target = await sandbox.open("target", max_deliveries=2)
    ids = await _fill(mailbox, other)
    shown = {record.id: record for record in await mailbox.peek()}
    letters = await mailbox.dead_letters()
    lines = await _exported(mailbox)
    await asyncio.sleep(0.005)  # so that new times would differ
    report = await import_(target, lines)
    if isinstance(target._archive(), PlainArchive):
        [refused] = report.refused
        expect("dead letter" in refused.reason, f"why a dead letter is refused: {refused}")
        return
    expect_equal((report.stored, report.refused), (6, []), "stored and refused")
    expect_equal(await target.dead_letters(), letters, "dead letters")
    stats = await target.status()
    expect_equal((stats.queued_messages, stats.inflight_messages, stats.dead_letters), (5, 0, 1), "counts")
    for record in await target.peek():
        expect_equal(record.to_dict(), shown[record.id].to_dict() | {"status": "QUEUED"}, "a message")
    expect_equal(sorted(_facts(await _exported(target))), sorted(_facts(lines)), "what both exports say")
    taken = [record for record in await drain(target) if record.id != ids["later"]]
    expect_equal(len(taken), 4, "messages that are due")
    await target.nack(ids["failed"])
    [newest] = await target.dead_letters(1)
    expect_equal(newest.record.id, ids["failed"], "what died of one more failure")
    expect_equal(await target.redrive(ids["dead"]), True, "redrive of a dead letter that was imported")


def _facts(lines: list[bytes]) -> list[str]:
    """Everything about each message except its holder."""
    queued = MessageStatus.QUEUED.name
    return [json.dumps(message | {"status": queued}, sort_keys=True) for message in _messages_in(lines)]


@check(*_NEEDED)
async def check_export_goes_on_while_messages_move(sandbox: Sandbox) -> None:
    """A mailbox of many pages is exported completely, in order, while others claim, bury and redrive its messages."""
    mailbox, other = await sandbox.open(), await sandbox.open(max_deliveries=1)
    ids = [*await mailbox.enqueue_many(NewMessage(b"", payload) for payload in numbered(1200))]
    [dead] = await other.dequeue(1)
    await other.dead_letter(dead.id, "on purpose")
    await other.dequeue(2)
    lines = []
    async for line in export(mailbox):
        lines.append(line)
        if len(lines) == 1:
            await other.redrive(dead.id)
        elif len(lines) == 3:
            for record in await other.dequeue(3):
                await other.dead_letter(record.id, "on purpose")
    found = _ids_in(lines)
    expect_equal(sorted(found), sorted(ids), "ids in the export")
    unmoved = set(ids[10:])
    expect_equal([one for one in found if one in unmoved], ids[10:], "ids of what did not move")


@check(*_NEEDED, Capability.HEADERS, Capability.DEDUPE)
async def check_headers_and_known_ids_travel(sandbox: Sandbox) -> None:
    """Headers of messages and dead letters, and known ids, are exported and imported."""
    mailbox, target = await sandbox.open(), await sandbox.open("target")
    known = UUID(int=77)
    await mailbox.enqueue(b"", b"known", message_id=known, dedupe_for=600)
    await mailbox.ack(known)
    for payload in (b"dead", b"alive"):
        await mailbox.enqueue(b"", payload, headers={"name": payload.decode(), "é": ""})
    [dead, _] = await mailbox.dequeue()
    await mailbox.dead_letter(dead.id, "reason")
    lines = await _exported(mailbox)
    report = await import_(target, lines)
    if isinstance(target._archive(), PlainArchive):
        expect_equal((report.stored, len(report.refused)), (1, 1), "stored and refused, where verbs alone can be used")
        return
    expect_equal((report.stored, report.refused, report.complete), (2, [], True), "the report")
    [record] = await target.dequeue()
    [letter] = await target.dead_letters()
    headers = [dict(record.headers), dict(letter.record.headers)]
    expect_equal(headers, [{"name": "alive", "é": ""}, {"name": "dead", "é": ""}], "headers")
    await target.enqueue(b"", b"again", message_id=known)
    expect_equal(await target.dequeue(), [], "what a known id stored again")
    expect_equal((await import_(target, lines)).complete, True, "whether a repeated import is complete")
