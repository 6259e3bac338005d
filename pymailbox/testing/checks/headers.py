"""``headers``: named texts that travel with a message, whatever happens to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from ...contract.capabilities import Capability
from ...contract.limits import LARGEST_HEADERS, LARGEST_MESSAGE, MOST_HEADERS
from ...contract.values import MessagePriority, MessageRecord, NewMessage
from .._expect import expect, expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check

ODD = {"": "", "trace-id": "5", "é🙃": 'quotes " and \\', "tab\t": "a\0b\n", "10": "ten", "2": "two"}


def _texts(record: MessageRecord) -> dict[str, str]:
    return dict(record.headers)


@check(Capability.HEADERS)
async def check_headers_come_with_the_message(sandbox: Sandbox) -> None:
    """Headers of any text come back as they were given; a message without headers has none."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"with", headers=ODD)
    await mailbox.enqueue(b"sender", b"without")
    await mailbox.enqueue(b"sender", b"empty", headers={})
    records = await drain(mailbox)
    expect_equal([_texts(record) for record in records], [ODD, {}, {}], "headers")
    expect_equal((records[0].sender, records[0].payload), (b"sender", b"with"), "sender and payload beside them")


@check(Capability.HEADERS)
async def check_headers_of_a_record_are_read_only(sandbox: Sandbox) -> None:
    """A record's headers cannot be changed, and survive a conversion to JSON and back."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload", headers={"name": "text"})
    [record] = await drain(mailbox)
    with suppress(TypeError):
        record.headers["name"] = "other"  # type: ignore[index]
    expect_equal(_texts(record), {"name": "text"}, "headers after an attempt to change them")
    expect_equal(MessageRecord.from_dict(record.to_dict()), record, "the record, to a dictionary and back")


@check(Capability.HEADERS)
async def check_headers_are_copied_at_the_call(sandbox: Sandbox) -> None:
    """Changing the mapping after the call does not change the message."""
    mailbox = await sandbox.open()
    headers = {"name": "at the call"}
    call = mailbox.enqueue(b"sender", b"payload", headers=headers)
    headers["name"] = "later"
    headers["more"] = "later"
    await call
    [record] = await drain(mailbox)
    expect_equal(_texts(record), {"name": "at the call"}, "headers")


@check(Capability.HEADERS, Capability.ENQUEUE_MANY)
async def check_headers_in_a_batch(sandbox: Sandbox) -> None:
    """Each message of a batch has its own headers, even beside others without any."""
    mailbox = await sandbox.open()
    given: list[Mapping[str, str] | None] = [None, {"a": "1"}, None, ODD, {"a": "2"}]
    await mailbox.enqueue_many(NewMessage(b"", b"%d" % n, headers=headers) for n, headers in enumerate(given))
    records = await drain(mailbox)
    expect_equal([_texts(record) for record in records], [dict(headers or {}) for headers in given], "headers")
    expect_equal(payloads_of(records), [b"0", b"1", b"2", b"3", b"4"], "payloads")


@check(Capability.HEADERS, Capability.NACK, Capability.DEAD_LETTERS)
async def check_headers_stay_through_a_life(sandbox: Sandbox) -> None:
    """Headers survive a nack, becoming a dead letter, and a redrive."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload", headers=ODD)
    [record] = await mailbox.dequeue()
    await mailbox.nack(record.id, error="no")
    [record] = await mailbox.dequeue()
    expect_equal(_texts(record), ODD, "headers after a nack")
    await mailbox.dead_letter(record.id, "reason")
    [letter] = await mailbox.dead_letters()
    expect_equal(_texts(letter.record), ODD, "headers of a dead letter")
    await mailbox.redrive(record.id)
    [record] = await mailbox.dequeue()
    expect_equal(_texts(record), ODD, "headers after a redrive")


@check(Capability.HEADERS, Capability.MESSAGE_ID, Capability.DELAY, Capability.PEEK)
async def check_headers_beside_id_and_delay(sandbox: Sandbox) -> None:
    """Headers, a custom id and a delay do not affect each other."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload", headers={"a": "1"}, delay=60)
    own_id = await mailbox.enqueue(b"", b"", headers={"a": "2"})
    await mailbox.enqueue(b"other", b"more", message_id=own_id, headers={"a": "3"})
    shown = {record.payload: _texts(record) for record in await mailbox.peek()}
    expect_equal(shown, {b"payload": {"a": "1"}, b"": {"a": "2"}}, "headers by payload")


@check(Capability.HEADERS, Capability.ACK_AND_SEND)
async def check_headers_of_what_is_sent(sandbox: Sandbox) -> None:
    """A message that ``ack_and_send`` sends has its headers."""
    mailbox, target = await sandbox.open(), await sandbox.open("target")
    await send(mailbox, numbered(1))
    [record] = await mailbox.dequeue()
    await mailbox.ack_and_send(record.id, [(target, NewMessage(b"", b"sent", headers=ODD))])
    expect_equal([_texts(sent) for sent in await drain(target)], [ODD], "headers of what was sent")


@check(Capability.HEADERS)
async def check_largest_headers(sandbox: Sandbox) -> None:
    """64 headers with 8 KiB in all are stored, whatever their texts."""
    mailbox = await sandbox.open()
    room = LARGEST_HEADERS - 2 * MOST_HEADERS - 2 * (MOST_HEADERS - 1)
    many = {f"{number:02}": "xx" for number in range(MOST_HEADERS - 1)} | {"63": "\0" * room}
    await mailbox.enqueue(b"sender", b"payload", headers=many)
    [record] = await drain(mailbox)
    expect_equal(_texts(record), many, "headers")
    expect_equal((record.sender, record.payload), (b"sender", b"payload"), "sender and payload beside them")


@check(Capability.HEADERS)
async def check_bad_headers_are_refused(sandbox: Sandbox) -> None:
    """Headers that are not text, too many, too long, or not valid in UTF-8 are refused by name; nothing is stored."""
    mailbox = await sandbox.open()
    too_many = {str(number): "" for number in range(MOST_HEADERS + 1)}
    too_long = {"name": "é" * (LARGEST_HEADERS // 2)}
    bad: list[Any] = [
        5,
        "text",
        [("a", "b")],
        {"a": 5},
        {"a": None},
        {b"a": "b"},
        {"a": b"b"},
        {5: "b"},
        {"a": bytearray(b"b")},
        True,
    ]
    for headers in [*bad, too_many, too_long, {"a": "\ud800"}, {"\udfff": "a"}]:
        what = f"headers={str(headers)[:40]}"
        calls: list[Any] = [lambda headers=headers: mailbox.enqueue(b"", b"", headers=headers)]
        if Capability.ENQUEUE_MANY in mailbox.capabilities:
            calls.append(lambda headers=headers: mailbox.enqueue_many([NewMessage(b"", b"", headers=headers)]))
        for call in calls:
            await expect_error((TypeError, ValueError), call, naming="headers", what=what)
    large = bytes(LARGEST_MESSAGE - 5)
    await expect_error(
        ValueError, lambda: mailbox.enqueue(b"", large, headers={"name": "text"}), naming="headers", what="over 64 MiB"
    )
    expect_equal((await mailbox.status()).queued_messages, 0, "queued messages")


@check(Capability.HEADERS)
async def check_json_there_and_back(sandbox: Sandbox) -> None:
    """``enqueue_json`` stores a value as UTF-8 JSON and says so in a header; ``record.json()`` gives it back."""
    mailbox = await sandbox.open()
    value = {"text": "é🙃\ud800", "list": [1, 2.5, None, True], "nested": {"": []}}
    await mailbox.enqueue_json(value, sender=b"me", headers={"trace-id": "5"})
    await mailbox.enqueue_json("text", headers={"content-type": "text/x"})
    [first, second] = await drain(mailbox)
    expect_equal((first.json(), first.sender), (value, b"me"), "value and sender")
    expect_equal(_texts(first), {"content-type": "application/json", "trace-id": "5"}, "headers")
    expect(first.payload.startswith('{"text":"é🙃'.encode()), f"the payload is {first.payload!r}")
    expect_equal((second.json(), _texts(second)), ("text", {"content-type": "text/x"}), "what names its own type")


@check(Capability.HEADERS, Capability.ENQUEUE_MANY)
async def check_json_in_a_batch(sandbox: Sandbox) -> None:
    """``NewMessage.of_json`` does the same for batches."""
    mailbox = await sandbox.open()
    await mailbox.enqueue_many([NewMessage.of_json([1], sender=b"me"), NewMessage.of_json({"a": None})])
    records = await drain(mailbox)
    expect_equal([record.json() for record in records], [[1], {"a": None}], "values")
    expect_equal([record.headers.get("content-type") for record in records], ["application/json"] * 2, "types")


@check(Capability.HEADERS, Capability.ENQUEUE_MANY, Capability.DELAY, Capability.DEDUPE)
async def check_json_takes_what_enqueue_takes(sandbox: Sandbox) -> None:
    """``enqueue_json`` and ``NewMessage.of_json`` take priority, id, delay and ``dedupe_for`` as ``enqueue`` does."""
    mailbox = await sandbox.open()
    for own_id, in_a_batch in ((UUID(int=5), False), (UUID(int=6), True)):
        urgent: dict[str, Any] = {"priority": MessagePriority.HIGH, "message_id": own_id, "dedupe_for": 600}
        await mailbox.enqueue(b"", b"before")
        if in_a_batch:
            await mailbox.enqueue_many([NewMessage.of_json(1, **urgent), NewMessage.of_json(2, delay=600)])
        else:
            await mailbox.enqueue_json(1, **urgent)
            await mailbox.enqueue_json(2, delay=600)
        [first, *others] = await drain(mailbox)
        expect_equal((first.id, first.priority), (own_id, MessagePriority.HIGH), "id and priority of what comes first")
        expect_equal(payloads_of(others), [b"before"], "what comes after it, the delayed one apart")
        await mailbox.ack(own_id)
        await mailbox.enqueue_json(3, message_id=own_id)
        stats = await mailbox.status()
        expect_equal((stats.queued_messages, stats.delayed_messages), (1, 1), "queued messages: the delayed one")
        await mailbox.purge()


@check(Capability.HEADERS)
async def check_what_is_no_json(sandbox: Sandbox) -> None:
    """A value that JSON cannot express is refused by name; a payload that is not JSON raises with the message's id."""
    mailbox = await sandbox.open()
    itself: list[Any] = []
    itself.append(itself)
    tree: dict[str, Any] = {}  # it contains itself in more and more places, level by level
    tree["children"] = [{"parent": tree}, {"parent": tree}]
    deep: Any = None
    for _ in range(1000):
        deep = [deep]
    for value in (float("nan"), float("inf"), b"bytes", {"a": {1, 2}}, itself, tree, {(1, 2): 3}, deep, {"a": deep}):
        await expect_error(
            (TypeError, ValueError), mailbox.enqueue_json, value, naming="value", what="what is not JSON"
        )
    expect_equal((await mailbox.status()).queued_messages, 0, "queued messages")
    for payload in (b"", b"{", b"\xff", b"NaN", b"[" * 100_000, b'["]"' * 501):
        message_id = await mailbox.enqueue(b"sender", payload)
        [record] = await drain(mailbox)
        try:
            record.json()
        except ValueError as error:
            expect(str(message_id) in str(error), f"the error does not name the message: {error}")
        else:
            expect(False, f"{payload[:20]!r} was taken for JSON")
