"""What ``export`` writes and ``import_`` refuses; the conformance checks ``transfer.*`` cover the rest."""

from __future__ import annotations

import array
import json
import sqlite3
import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pymailbox import (
    ImportReport,
    Mailbox,
    NewMessage,
    RefusedLine,
    StorageFullError,
    UnsupportedError,
    export,
    import_,
    open_mailbox,
)
from pymailbox.contract.limits import PAGE_BYTES
from pymailbox.contract.plain_archive import PlainArchive
from pymailbox.testing import Fault, FaultKind, FaultyMailbox, run_checks
from tests.unit.example_mailboxes import Database, SeedMailbox, SmallMailbox

HEAD = '{"format":"pymailbox-export","version":1}\n'
GOOD: dict[str, Any] = {
    "id": "0b1f8a86-8ad6-4f2e-8d4b-1f7a3f6b9c11",
    "sender": "YQ==",
    "payload": "Yg==",
    "priority": "HIGH",
    "created_at": "2026-01-31T12:00:00.125+00:00",
    "delivery_count": 2,
}


def line_of(data: dict[str, Any]) -> str:
    return json.dumps(data) + "\n"


async def reasons(*lines: str | bytes) -> list[str]:
    async with open_mailbox("memory://") as mailbox:
        report = await import_(mailbox, [HEAD, *lines])
        assert (await mailbox.status()).queued_messages == report.stored
        return [str(refused) for refused in report.refused]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"payload": "abc"}, "payload must be base64, complete and with its padding, not 'abc'"),
        ({"payload": "a*=="}, "payload must be base64"),
        ({"sender": 5}, "sender must be a string of base64, not 5"),
        ({"priority": "LOW"}, "priority: 'LOW' is not a MessagePriority; there are NORMAL, HIGH"),
        ({"priority": None}, "priority: None is not a MessagePriority"),
        ({"priority": ["HIGH"]}, "priority: "),
        ({"id": "17"}, "id must be a UUID, not '17'"),
        ({"id": None}, "id must be a UUID, not None"),
        ({"created_at": "yesterday"}, "created_at must be a time with its offset"),
        ({"created_at": "2026-01-31T12:00:00"}, "created_at must be a time with its offset"),
        ({"created_at": "9999-12-31T23:59:59-05:00"}, "created_at must be a time"),
        ({"delivery_count": -1}, "delivery_count must be a whole number, 0 or more, not -1"),
        ({"delivery_count": True}, "delivery_count must be a whole number"),
        ({"delivery_count": 1e400}, "delivery_count must be a whole number"),
        ({"suspect": 1}, "suspect must be true or false, not 1"),
        ({"error": {}}, "error must be a string, not {}"),
        ({"dead": "yes"}, "dead must be an object with reason and died_at, not 'yes'"),
        ({"dead": {"reason": "old"}}, "dead.died_at is missing"),
        ({"colour": "red"}, "'colour' is not a field of a message"),
    ],
)
async def test_broken_field_is_named(change: dict[str, Any], reason: str) -> None:
    [refused] = await reasons(line_of(GOOD | change))
    assert refused.startswith(f"line 2: {reason}")
    assert len(refused) < 250


@pytest.mark.parametrize("name", GOOD)
async def test_missing_field_is_named(name: str) -> None:
    assert await reasons(line_of({key: value for key, value in GOOD.items() if key != name})) == [
        f"line 2: {name} is missing"
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense\n", "it is not JSON: Expecting value, at column 1"),
        (b"\xff\n", "it is not UTF-8, at byte 1 of the line"),
        ("[]\n", "it is not a JSON object"),
        ("[" * 100_000 + "\n", "it is not JSON that can be read"),
        ('{"n":' + "9" * 5000 + "}\n", "it is not JSON that can be read"),
        (HEAD, "id, sender, payload, priority, created_at, delivery_count are missing"),
        ('{"end":[]}\n', "end must be an object with messages and dead_letters, and nothing else"),
        ('{"end":{"messages":1}}\n', "end.dead_letters is missing"),
    ],
)
async def test_broken_line_is_refused(line: str | bytes, reason: str) -> None:
    assert await reasons(line, line_of(GOOD)) == [f"line 2: {reason}"]


async def test_lines_are_numbered_as_an_editor_does() -> None:
    refused = await reasons("\n", line_of(GOOD), "\r\n", line_of(GOOD), "  \n")
    assert refused == [f"line 5: the id {GOOD['id']} is already on line 3"]


async def test_nothing_comes_after_the_end() -> None:
    end = '{"end":{"messages":0,"dead_letters":0}}\n'
    assert await reasons(end, line_of(GOOD), end) == [f"line {n}: it comes after the end line" for n in (3, 4)]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ([], "source is empty"),
        ([b""], "source is empty"),
        (["hello\n"], "line 1 of source: this is not an export of a mailbox: it is not JSON"),
        (["{}\n"], "line 1 of source: this is not an export of a mailbox"),
        ([line_of(GOOD)], "line 1 of source: this is not an export of a mailbox"),
        ([HEAD.replace("1", "2")], "the export has version 2, written by a newer pymailbox; this one knows version 1"),
        ([HEAD.replace("1", '"1"')], "the export's version is '1'; this pymailbox knows version 1"),
        ([HEAD.replace("1", "true")], "the export's version is True"),
    ],
)
async def test_what_is_no_export_is_an_error(source: list[Any], reason: str) -> None:
    async with open_mailbox("memory://") as mailbox:
        with pytest.raises(ValueError, match=reason) as caught:
            await import_(mailbox, [*source, line_of(GOOD)] if source and source != [b""] else source)
        assert not hasattr(caught.value, "__notes__")
        assert (await mailbox.status()).queued_messages == 0


@pytest.mark.parametrize("source", [None, 5, [5], [None]])
async def test_source_of_something_else_is_a_type_error(source: Any) -> None:
    async with open_mailbox("memory://") as mailbox:
        with pytest.raises(TypeError, match="source must"):
            await import_(mailbox, source)


async def test_pieces_may_end_anywhere() -> None:
    text = "\ufeff" + HEAD + line_of(GOOD).replace("\n", "\r\n") + '{"end":{"messages":1,"dead_letters":0}}'
    data = text.encode()
    for source in (data, bytearray(data), text, [data[i : i + 1] for i in range(len(data))], text.splitlines(True)):
        async with open_mailbox("memory://") as mailbox:
            report = await import_(mailbox, source)
            assert (report.stored, report.refused, report.complete) == (1, [], True)
            [record] = await mailbox.dequeue()
            assert record.to_dict() == {
                **GOOD,
                "created_at": "2026-01-31T12:00:00.125000+00:00",
                "status": "INFLIGHT",
                "delivery_count": 3,
                "headers": {},
                "due_at": None,
            }


@pytest.mark.parametrize("messages", [0, 2])
async def test_export_that_lacks_lines_is_not_complete(messages: int) -> None:
    async with open_mailbox("memory://") as mailbox:
        end = line_of({"end": {"messages": messages, "dead_letters": 0}})
        assert not (await import_(mailbox, [HEAD, line_of(GOOD), end])).complete


async def test_refused_lines_are_told_at_once() -> None:
    told: list[RefusedLine] = []
    async with open_mailbox("memory://") as mailbox:
        report = await import_(mailbox, [HEAD, "x\n", line_of(GOOD), "y\n"], on_refused=told.append)
    assert [refused.line for refused in told] == [2, 4]
    assert told == report.refused
    assert ImportReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


async def test_lone_surrogate_is_no_obstacle(tmp_path: Path) -> None:
    async with open_mailbox("memory://") as mailbox, open_mailbox(f"sqlite:///{tmp_path}/a.db") as target:
        await mailbox.enqueue(b"", b"")
        [record] = await mailbox.dequeue()
        await mailbox.dead_letter(record.id, "🙃")
        # as another program, or an older version, may have written it
        lines = [line.replace(b"\\ud83d\\ude43", rb"a\ud800b \ud83d\ude43") async for line in export(mailbox)]
        assert (await import_(target, lines)).refused == []
        assert [letter.reason for letter in await target.dead_letters()] == [r"a\ud800b 🙃"]


def zeros(count: int) -> str:
    return b64encode(bytes(count)).decode()


async def test_line_with_a_message_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymailbox.transfer.lines.LARGEST_MESSAGE", 6)
    sizes = [(2, 4), (2, 5), (7, 0), (0, 6)]
    lines = [
        line_of(GOOD | {"id": str(uuid4()), "sender": zeros(sender), "payload": zeros(payload)})
        for sender, payload in sizes
    ]
    async with open_mailbox("memory://") as mailbox:
        report = await import_(mailbox, [HEAD, *lines])
        assert (report.stored, [refused.line for refused in report.refused]) == (2, [3, 4])
        assert "sender, payload and headers hold more than 6 bytes" in str(report.refused[0])


@pytest.mark.parametrize("piece", [array.array("d", [1.0]), memoryview(bytes(8)).cast("I"), 5, None])
async def test_pieces_are_bytes_or_text(piece: Any) -> None:
    async with open_mailbox("memory://") as mailbox:
        with pytest.raises(TypeError, match="a piece of source must be bytes"):
            await import_(mailbox, [HEAD, piece])


async def test_error_says_how_much_is_stored() -> None:
    async with open_mailbox("memory://") as source:
        await source.enqueue_many(NewMessage(b"", b"%d" % number) for number in range(1200))
        lines = [line async for line in export(source)]
    mailbox = FaultyMailbox(await open_mailbox("memory://"), [Fault(FaultKind.FULL, "enqueue_many", nth=2)])
    async with mailbox:
        with pytest.raises(StorageFullError) as caught:
            await import_(mailbox, lines)
        assert caught.value.__notes__ == [
            "500 messages of the export were stored before that; it can be imported again"
        ]
        report = await import_(mailbox, lines)
        assert (report.stored, report.already_there) == (700, 500)


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_payloads(tmp_path: Path) -> None:
    """100 MiB pass through much less: a few pages, their base64 and their JSON."""
    payload = bytes(1024 * 1024)
    passed = 0

    async def counted(mailbox: Mailbox) -> AsyncIterator[bytes]:
        nonlocal passed
        async for line in export(mailbox):
            passed += len(line)
            yield line

    location = f"sqlite:///{tmp_path}/a.db"
    async with (
        open_mailbox(location + "#from", durability="relaxed") as mailbox,
        open_mailbox(location + "#to", durability="relaxed") as target,
    ):
        for _ in range(100):
            await mailbox.enqueue(b"", payload)
        tracemalloc.start()
        try:
            report = await import_(target, counted(mailbox))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert report.stored == 100
    assert passed > 130 * len(payload)
    assert peak < 12 * PAGE_BYTES


async def test_row_that_is_no_message_is_exported_as_a_dead_letter(tmp_path: Path) -> None:
    async with open_mailbox(f"sqlite:///{tmp_path}/a.db") as mailbox:
        ids = [await mailbox.enqueue(b"", b"%d" % number) for number in range(3)]
        with sqlite3.connect(tmp_path / "a.db") as other:
            other.execute("UPDATE segments SET body = CAST('1' AS BLOB) WHERE last = 1")
        other.close()
        lines = [json.loads(line) async for line in export(mailbox)]
    assert [line["id"] for line in lines[1:3]] == [str(ids[0]), str(ids[2])]
    assert lines[3]["payload"] == "MQ=="
    assert "could not be read" in lines[3]["dead"]["reason"]
    assert lines[4:] == [{"end": {"messages": 3, "dead_letters": 1}}]


async def test_observer_hears_of_an_import() -> None:
    depths: list[int] = []

    class Observer:
        def on_depth_change(self, queued_messages: int) -> None:
            depths.append(queued_messages)

    async with open_mailbox("memory://") as mailbox:
        mailbox.set_depth_observer(Observer())
        for _ in range(2):
            await import_(mailbox, [HEAD, line_of(GOOD)])
        await import_(mailbox, [HEAD, line_of(GOOD | {"id": str(uuid4()), "dead": _DEAD})])
    assert depths == [1]


_DEAD = {"reason": "why", "died_at": "2026-01-31T12:00:00+00:00"}


# -- backends without an archive of their own --------------------------------------------------------------------------


class PlainMailbox(SmallMailbox):
    def _archive(self) -> PlainArchive:
        return PlainArchive(self)


async def test_verbs_alone_are_enough() -> None:
    results = await run_checks(
        Database(PlainMailbox).open,
        only=[
            "transfer.export_has_everything_and_changes_nothing",
            "transfer.import_keeps_messages_and_their_order",
            "transfer.import_can_be_repeated",
            "transfer.broken_lines_are_refused",
            "transfer.nothing_is_lost_on_the_way",
            "transfer.export_goes_on_while_messages_move",
        ],
    )
    assert [result for result in results if result.outcome != "passed"] == []


async def test_backend_without_peek_says_so() -> None:
    async with await Database(SeedMailbox).open("inbox") as mailbox:
        with pytest.raises(UnsupportedError, match="peek"):
            await import_(mailbox, [HEAD, line_of(GOOD)])


async def test_delay_that_is_left_is_kept_by_verbs_alone() -> None:
    async with await Database(PlainMailbox).open("inbox") as mailbox:
        later = line_of(GOOD | {"due": "2100-01-01T00:00:00+00:00"})
        assert (await import_(mailbox, [HEAD, later])).stored == 1
        assert await mailbox.dequeue() == []
        assert [record.id for record in await mailbox.peek()] == [UUID(GOOD["id"])]
