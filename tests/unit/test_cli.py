"""The command line, most of it in this process."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pymailbox import MessagePriority, NewMessage, open_mailbox
from pymailbox.backends.sqlite import verbs
from pymailbox.backends.sqlite.session import Session
from pymailbox.cli.tables import Column, table
from pymailbox.cli.text import age, cut, one_line, preview, width_of
from tests.command_line import Run, runner

ROOT = Path(__file__).parents[2]
TIMEOUT = 60
"""Seconds for a process to do next to nothing."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return runner(monkeypatch, capsys)


async def _fill(location: str, bury: int = 1) -> list[str]:
    """A HIGH message, a NORMAL one, and dead letters; the ids of these."""
    dead = []
    async with open_mailbox(location) as mailbox:
        for number in range(bury):
            await mailbox.enqueue(b"bob", b"poison %d" % number)
            [record] = await mailbox.dequeue()
            await mailbox.dead_letter(record.id, "no JSON")
            dead.append(str(record.id))
        await mailbox.enqueue(b"alice", b"hello")
        await mailbox.enqueue(b"alice", b"fire!", MessagePriority.HIGH)
    return dead


def fill(location: str, bury: int = 1) -> list[str]:
    return asyncio.run(_fill(location, bury))


# -- looking -----------------------------------------------------------------------------------------------------------


def test_stats_lists_all_mailboxes_of_a_file(run: Run) -> None:
    fill("sqlite:///app.db#inbox")
    fill("sqlite:///app.db#out", bury=0)
    assert run("stats", "app.db") == (
        0,
        "MAILBOX  QUEUED  HIGH  NORMAL  DELAYED  INFLIGHT  DEAD\n"
        "inbox         2     1       1        0         0     1\n"
        "out           2     1       1        0         0     0\n",
        "",
    )
    shown = run("stats", "app.db", "--json").json
    assert [(one["name"], one["queued_messages"], one["dead_letters"]) for one in shown["mailboxes"]] == [
        ("inbox", 2, 1),
        ("out", 2, 0),
    ]


@pytest.mark.parametrize(
    "location",
    ["inbox", "pymailbox.db#inbox", "./pymailbox.db#inbox", "sqlite:///pymailbox.db#inbox", "pymailbox.db -m inbox"],
)
def test_mailbox_has_several_names(run: Run, location: str) -> None:
    fill("inbox")
    fill("other")
    assert [one["name"] for one in run("stats", *location.split(), "--json").json["mailboxes"]] == ["inbox"]


def test_mailbox_need_not_be_named_if_there_is_one(run: Run) -> None:
    fill("sqlite:///app.db#inbox")
    assert len(run("peek", "app.db", "--json").json) == 2
    fill("sqlite:///app.db#out")
    assert run("peek", "app.db") == (
        1,
        "",
        "pymailbox: which mailbox of app.db? there are inbox, out. Write app.db#NAME\n",
    )


def test_file_with_a_number_sign_in_its_name(run: Run) -> None:
    fill("sqlite:///a%23b.db#inbox")
    assert run("stats", "a#b.db").code == 0
    assert run("stats", "a#b.db#inbox").code == 0


def test_peek_shows_what_is_there(run: Run) -> None:
    fill("inbox")
    code, out, err = run("peek", "inbox")
    head, high, normal = out.splitlines()
    assert (code, err) == (0, "")
    assert head.split() == ["ID", "AGE", "PRIORITY", "STATUS", "TRIES", "SENDER", "PAYLOAD"]
    assert high.split()[2:] == ["high", "queued", "0", "alice", "fire!"]
    assert normal.split()[2:] == ["normal", "queued", "0", "alice", "hello"]
    assert run("peek", "inbox", "--limit", "1").out.endswith("\n\n1 of 2 messages; --limit shows more.\n")
    assert run("peek", "inbox", "--status", "inflight").out == "No messages.\n"
    assert [record["payload"] for record in run("peek", "inbox", "--json").json] == ["ZmlyZSE=", "aGVsbG8="]


def test_delays_and_headers_are_shown_where_there_are_any(run: Run) -> None:
    async def send() -> None:
        async with open_mailbox("inbox") as mailbox:
            await mailbox.enqueue(b"bob", b"now")
            await mailbox.enqueue(b"bob", b"later", delay=7300, headers={"trace": "4bf92f35", "evil": "\x1b[2J"})

    asyncio.run(send())
    assert run("stats", "inbox").out.splitlines()[1].split() == ["inbox", "2", "0", "2", "1", "0", "0"]
    head, now, later = run("peek", "inbox").out.splitlines()
    assert head.split()[:4] == ["ID", "AGE", "DUE", "PRIORITY"]
    assert now.split()[2:] == ["normal", "queued", "0", "bob", "now"]
    assert later.split()[2:] == ["in", "2h", "normal", "queued", "0", "bob", "later"]
    full = run("peek", "inbox", "--full").out
    assert "HEADERS   trace: 4bf92f35\n          evil: \\x1b[2J\n" in full
    [due_at] = [record["due_at"] for record in run("peek", "inbox", "--json").json if record["due_at"]]
    assert re.findall(r"^DUE +(.*?)$", full, re.M) == [due_at.replace("T", " ").replace("000+00:00", "+00:00")]


def test_payload_is_shown_and_never_obeyed(run: Run) -> None:
    run("enqueue", "inbox", stdin=b"\x1b]0;owned\x07line\nnext \xe2\x80\xae evil")
    out = run("peek", "inbox").out
    assert r"\x1b]0;owned\x07line\nnext \u202e evil" in out
    assert len(out.splitlines()) == 2


@pytest.mark.parametrize("columns", [24, 40, 60, 80, 100, 200])
def test_everything_fits_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    [dead] = fill("inbox")
    run("enqueue", "inbox", "--sender", "日本語" * 20, stdin=b"wide " * 100)
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in ("stats", "peek", "dead"):
        out = run(command, "inbox").out
        assert max(map(width_of, out.splitlines())) <= columns, out
    assert dead in "".join(run("dead", "inbox").out.split())


def test_dead_letters_say_why(run: Run) -> None:
    async def fail() -> None:
        async with open_mailbox("inbox", max_deliveries=1) as mailbox:
            await mailbox.enqueue(b"bob", b"poison")
            [record] = await mailbox.dequeue()
            await mailbox.nack(record.id, error="Traceback:\n  somewhere\nValueError: no JSON\n")

    asyncio.run(fail())
    assert "1 of at most 1 deliveries failed  ValueError: no JSON  bob     poison" in run("dead", "inbox").out
    full = run("dead", "inbox", "--full").out
    assert "ERROR    Traceback:\n           somewhere\n         ValueError: no JSON\n" in full
    assert run("dead", "inbox", "--json").json[0]["error"].endswith("no JSON\n")


# -- mistakes ----------------------------------------------------------------------------------------------------------

READING = ["stats", "peek", "drain", "dead", "purge", "export"]


@pytest.mark.parametrize("command", READING)
def test_looking_makes_no_file(run: Run, tmp_path: Path, command: str) -> None:
    assert run(command, "nothere.db") == (1, "", "pymailbox: there is no file nothere.db\n")
    assert run(command, "nothere.db#inbox").code == 1
    assert run(command, "inbox").err.startswith("pymailbox: there is no file pymailbox.db. Name another with FILE")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    assert run(command, "empty.db") == (1, "", "pymailbox: the file empty.db is empty, with no mailbox in it\n")
    assert (tmp_path / "empty.db").stat().st_size == 0


@pytest.mark.parametrize("command", READING)
def test_looking_makes_no_mailbox(run: Run, command: str) -> None:
    fill("inbox")
    assert run(command, "other") == (1, "", "pymailbox: there is no mailbox other in pymailbox.db; there is inbox\n")
    assert len(run("stats", "--json").json["mailboxes"]) == 1


@pytest.mark.parametrize("command", [*READING, "enqueue"])
def test_file_of_something_else(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "notes.txt").write_text("not a database" * 100)
    code, out, err = run(command, "notes.txt#inbox")
    assert (code, out) == (1, "")
    assert "notes.txt: it is not a SQLite database. Choose another path" in err
    with sqlite3.connect(tmp_path / "songs.db") as songs:
        songs.execute("CREATE TABLE songs (title)")
    songs.close()
    code, out, err = run(command, "songs.db#inbox")
    assert (code, out) == (1, "")
    assert "is a SQLite database of another program, not a mailbox file. Choose another path" in err


def test_damaged_file(run: Run, tmp_path: Path) -> None:
    fill("inbox")
    file = tmp_path / "pymailbox.db"
    file.write_bytes(file.read_bytes()[:4096] + b"\xff" * 20_000)
    code, _, err = run("peek", "inbox")
    assert code == 1
    assert "Restore it from a backup" in err
    assert "Traceback" not in err


def test_locked_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill("inbox")
    monkeypatch.setattr("pymailbox.backends.sqlite.schema.BUSY_TIMEOUT", 0.1)
    other = sqlite3.connect(tmp_path / "pymailbox.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    code, _, err = run("peek", "inbox")
    other.close()
    assert code == 1
    assert "another program keeps it locked" in err


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["peek"], "LOCATION"),
        (["peek", "inbox", "--limit", "0"], "must be a whole number, 1 or more, not '0'"),
        (["peek", ""], "LOCATION must be a file or the name of a mailbox"),
        (["peek", "memory://inbox"], "the command line works on SQLite files"),
        (["enqueue", ":memory:"], "means a database in memory"),
        (["enqueue", "file:app.db#inbox"], "means a database in memory or a URL of a file elsewhere"),
        (["peek", "nonsense://inbox"], "nonsense://: the command line works on SQLite files"),
        (["peek", "sqlite:///a.db?x"], "must look like sqlite:///"),
        (["peek", "a.db#b", "-m", "c"], "already names a mailbox"),
        (["peek", "a.db#" + "x" * 201], "1 to 200 characters"),
        (["enqueue", "inbox", "--delay", "soon"], "must be a number of seconds, 0 or more, not 'soon'"),
        (["enqueue", "inbox", "--delay", "nan"], "must be a number of seconds"),
        (["enqueue", "inbox", "--id", "7"], "must be a UUID"),
        (["enqueue", "inbox", "--lines", "--id", str(uuid4())], "--id is for one message"),
        (["export", "inbox", "-o", ""], "argument -o/--output: must be the name of a file, not ''"),
        (["import", "inbox", ""], "argument FILE: must be the name of a file"),
        (["backup", "inbox", ""], "argument PATH: must be the name of a file"),
    ],
)
def test_command_without_sense(run: Run, tmp_path: Path, argv: list[str], text: str) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert text in err
    assert list(tmp_path.iterdir()) == []


def test_help_and_version(run: Run) -> None:
    assert run("--version").out.startswith("pymailbox ")
    code, out, _ = run("--help")
    assert code == 0
    for command in (*READING, "enqueue", "redrive", "discard", "import", "backup", "compact", "work"):
        assert command in out
        assert "LOCATION is FILE" in run(command, "--help").out


# -- files -------------------------------------------------------------------------------------------------------------


def test_backup_and_compact(run: Run, tmp_path: Path) -> None:
    fill("sqlite:///app.db#inbox")
    fill("sqlite:///app.db#out")
    code, out, err = run("backup", "app.db", "copy.db")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"app\.db copied to copy\.db \([0-9.]+ [kM]B\)\.\n", out)
    assert [one["name"] for one in run("stats", "copy.db", "--json").json["mailboxes"]] == ["inbox", "out"]
    again = run("backup", "app.db#inbox", "copy.db")
    assert (again.code, again.out) == (1, "")
    assert "copy.db already exists" in again.err
    other = run("backup", "sqlite:///app.db", str(tmp_path / "other.db"), "--json").json
    assert (other["file"], other["bytes"]) == ("app.db", (tmp_path / "other.db").stat().st_size)
    assert re.fullmatch(r"[0-9.]+ k?B freed in app\.db\.\n", run("compact", "app.db").out)
    assert run("compact", "app.db", "--json").json["freed_bytes"] >= 0


@pytest.mark.parametrize("argv", [["backup", "app.db", "copy.db"], ["compact", "app.db"], ["compact", "inbox"]])
def test_file_that_is_not_there(run: Run, tmp_path: Path, argv: list[str]) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (1, "")
    assert "there is no mailbox file" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are not any bytes here")
def test_file_whose_name_is_not_utf_8(run: Run, tmp_path: Path) -> None:
    file, copy, lines = (os.fsdecode(name) for name in (b"caf\xe9.db", b"cop\xe9.db", b"caf\xe9.ndjson"))
    assert run("enqueue", f"{file}#inbox", stdin=b"hello").code == 0
    assert "inbox" in run("stats", file).out
    assert run("stats", file, "--json").json["file"] == file
    assert [record["payload"] for record in run("peek", file, "--json").json] == ["aGVsbG8="]
    assert run("export", file, "-o", lines) == (0, "1 message exported to caf\\udce9.ndjson.\n", "")
    assert run("import", copy, lines) == (0, "1 message stored.\n", "")
    assert run("drain", copy).code == 0
    assert run("purge", file, "--yes").out == "1 message deleted.\n"
    assert run("backup", file, "copy.db").code == 0
    assert run("compact", file).code == 0
    assert run("peek", f"{file}#other").err == "pymailbox: there is no mailbox other in caf\\udce9.db; there is inbox\n"
    assert (tmp_path / file).stat().st_size > 0


# -- storing and taking ------------------------------------------------------------------------------------------------


def test_enqueue_and_drain(run: Run) -> None:
    given = str(uuid4())
    assert run("enqueue", "new.db#inbox", "--id", given, stdin=b"a\n\xff\n") == (0, f"{given}\n", "")
    assert run("enqueue", "new.db#inbox", "--id", given, stdin=b"again").code == 0
    argv = ["enqueue", "new.db#inbox", "--lines", "--priority", "high", "--sender", "Zoë"]
    assert run(*argv, stdin=b"one\r\n\nthree").out == "3 messages stored.\n"
    assert run("enqueue", "new.db#inbox", "--delay", "1000", "--json", stdin=b"").json.keys() == {"id"}
    lines = [json.loads(line) for line in run("drain", "new.db", "-n", "2").out.splitlines()]
    lines += [json.loads(line) for line in run("drain", "new.db").out.splitlines()]
    assert [(line["payload"], line["sender"], line["priority"]) for line in lines] == [
        ("b25lDQ==", "Wm/Dqw==", "HIGH"),
        ("", "Wm/Dqw==", "HIGH"),
        ("dGhyZWU=", "Wm/Dqw==", "HIGH"),
        ("YQr/Cg==", "", "NORMAL"),
    ]
    [stats] = run("stats", "new.db", "--json").json["mailboxes"]
    assert (stats["queued_messages"], stats["inflight_messages"]) == (1, 0)


def test_message_that_is_too_large_makes_no_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymailbox.contract.arguments.LARGEST_MESSAGE", 1000)
    assert "must hold at most 1000 bytes" in run("enqueue", "inbox", stdin=bytes(1001)).err
    assert "must hold at most 1000 bytes" in run("enqueue", "inbox", "--lines", stdin=b"small\n" + bytes(1001)).err
    assert list(tmp_path.iterdir()) == []


def test_drain_keeps_what_it_could_not_write(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fill("inbox", bury=0)

    class Full(io.BytesIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(Full(), write_through=True))
        patch.setattr(sys.stdout, "close", lambda: None)
        ran = run("drain", "inbox")
    assert (ran.code, ran.err) == (1, "pymailbox: reading or writing failed: No space left on device\n")
    [stats] = run("stats", "inbox", "--json").json["mailboxes"]
    assert (stats["queued_messages"], stats["inflight_messages"]) == (2, 0)
    assert [record["delivery_count"] for record in run("peek", "inbox", "--json").json] == [0, 0]


def test_closed_standard_error_ends_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    for arguments, code in ((("stats", "missing.db"), 1), (("stats", "memory://x"), 2), (("no-command",), 2)):
        assert run(*arguments).code == code
    assert run("enqueue", "inbox", stdin=b"hello", terminal=True).code == 0
    assert sys.stderr is None


# -- dead letters and deleting -----------------------------------------------------------------------------------------


def test_redrive(run: Run) -> None:
    first, second, third = fill("inbox", bury=3)
    assert run("redrive", "inbox", second, second) == (0, "1 dead letter redriven.\n", "")
    code, out, err = run("redrive", "inbox", second, first, "--json")
    assert (code, json.loads(out)) == (1, {"redriven": 1, "not_found": [second]})
    assert err == f"pymailbox: {second} is not a dead letter of this mailbox\n"
    assert run("redrive", "inbox", "--all").out == "1 dead letter redriven.\n"
    assert run("redrive", "inbox", "--all").out == "0 dead letters redriven.\n"
    ids = [record["id"] for record in run("peek", "inbox", "--json").json]
    assert ids[-3:] == [second, first, third]


def test_all_are_redriven_in_the_order_in_which_they_died(run: Run) -> None:
    dead = fill("inbox", bury=3)
    run("redrive", "inbox", "--all")
    assert [record["id"] for record in run("peek", "inbox", "--json").json][-3:] == dead


@pytest.mark.parametrize(("command", "left"), [("redrive", (2100, 0)), ("discard", (0, 0))])
def test_a_thousand_dead_letters_share_a_transaction(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, left: tuple[int, int]
) -> None:
    async def bury_many() -> None:
        async with open_mailbox("inbox", batch_size=2100, durability="relaxed") as mailbox:
            await mailbox.enqueue_many([NewMessage(b"", b"")] * 2100)
            await asyncio.gather(*(mailbox.dead_letter(record.id, "") for record in await mailbox.dequeue()))

    asyncio.run(bury_many())
    settled: list[bytes] = []
    settle = getattr(verbs, command)

    def in_a_transaction(session: Session, name: str, message_id: UUID) -> Any:
        settled.append(session.execute("SELECT head FROM mailboxes").fetchone()[0])  # as of the last commit
        return settle(session, name, message_id)

    monkeypatch.setattr(verbs, command, in_a_transaction)
    assert run(command, "inbox", "--all", "--json", *(["--yes"] if command == "discard" else [])).code == 0
    assert [len(list(group)) for _, group in groupby(settled)] == [1000, 1000, 100]
    [stats] = run("stats", "inbox", "--json").json["mailboxes"]
    assert (stats["queued_messages"], stats["dead_letters"]) == left


@pytest.mark.parametrize("command", ["redrive", "discard"])
def test_ids_or_all(run: Run, command: str) -> None:
    [dead] = fill("inbox")
    for argv in ([], [dead, "--all"]):
        assert run(command, "inbox", *argv) == (
            2,
            "",
            "pymailbox: give the ids of dead letters, or --all for all of them, but not both\n",
        )


@pytest.mark.parametrize(
    ("argv", "left"), [(["purge", "inbox"], (0, 2)), (["discard", "inbox", "--all"], (2, 0))], ids=["purge", "discard"]
)
def test_deleting_asks_first(run: Run, argv: list[str], left: tuple[int, int]) -> None:
    fill("inbox", bury=2)

    def counts() -> tuple[int, int]:
        [stats] = run("stats", "inbox", "--json").json["mailboxes"]
        return stats["queued_messages"], stats["dead_letters"]

    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert "Delete 2 " in err
    assert "--yes" in err
    assert run(*argv, stdin=b"n\n", terminal=True).code == 1
    assert run(*argv, stdin=b"", terminal=True).code == 1
    assert counts() == (2, 2)
    assert run(*argv, stdin=b"y\n", terminal=True).code == 0
    assert counts() == left
    assert run(*argv).code == 0  # there is nothing left to ask about


def test_discard_of_one_does_not_ask(run: Run) -> None:
    first, second = fill("inbox", bury=2)
    assert run("discard", "inbox", first).out == "1 dead letter discarded.\n"
    assert run("discard", "inbox", "--all", "--yes", "--json").json == {"discarded": 1, "not_found": []}
    assert run("purge", "inbox", "--yes", "--json").json == {"purged": 2}
    assert run("discard", "inbox", second).code == 1


# -- files -------------------------------------------------------------------------------------------------------------


def test_export_and_import(run: Run, tmp_path: Path) -> None:
    fill("inbox")
    assert run("export", "inbox", "-o", "inbox.ndjson") == (0, "3 messages exported to inbox.ndjson.\n", "")
    text = (tmp_path / "inbox.ndjson").read_text()
    assert run("export", "inbox").out == text
    assert run("import", "copy.db", "inbox.ndjson").out == "3 messages stored.\n"
    assert run("export", "copy.db").out == text
    assert run("import", "copy.db", "-", stdin=text.encode()).out == "0 messages stored, 3 already there.\n"
    assert {path.name for path in tmp_path.iterdir() if "ndjson" in path.name} == {"inbox.ndjson"}


def test_refused_lines_are_told(run: Run, tmp_path: Path) -> None:
    fill("inbox", bury=0)
    head, first, second, end = run("export", "inbox").out.splitlines(keepends=True)
    (tmp_path / "broken.ndjson").write_text(head + first + "junk\x1b[m\n" + second + end)
    code, out, err = run("import", "copy.db", "broken.ndjson")
    assert (code, out) == (1, "2 messages stored, 1 line refused.\n")
    assert err.splitlines() == [
        "pymailbox: broken.ndjson, line 3: it is not JSON: Expecting value, at column 1",
        "pymailbox: the export is incomplete: its last line, which counts the others, is missing or wrong",
    ]
    ran = run("import", "copy.db", "--json", stdin=(head + first + first + second + end).encode())
    assert ran.code == 1
    assert ran.json["already_there"] == 2
    assert [refused["line"] for refused in ran.json["refused"]] == [3]


def test_export_that_was_cut_off(run: Run) -> None:
    fill("inbox")
    lines = run("export", "inbox").out.splitlines(keepends=True)
    code, out, err = run("import", "copy.db", stdin="".join(lines[:3]).encode())
    assert (code, out) == (1, "2 messages stored.\n")
    assert "the export is incomplete" in err


def test_import_of_something_else(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert run("import", "inbox", "notes.txt") == (
        1,
        "",
        "pymailbox: line 1 of notes.txt: this is not an export of a mailbox: "
        "it is not JSON: Expecting value, at column 1\n",
    )
    assert run("import", "inbox", "nothere") == (1, "", "pymailbox: nothere: No such file or directory\n")
    assert "the standard input is empty" in run("import", "inbox").err
    assert "not JSON" in run("import", "inbox", stdin=b"x" * 100_000).err
    newer = b'{"format":"pymailbox-export","version":2}'
    assert "written by a newer pymailbox" in run("import", "inbox", stdin=newer).err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"], "no mailbox was made"


def test_export_that_fails_leaves_the_old_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill("inbox")
    (tmp_path / "inbox.ndjson").write_text("the old one")

    def fail(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        ran = run("export", "inbox", "-o", "inbox.ndjson")
    assert (ran.code, ran.err) == (1, "pymailbox: inbox.ndjson: No space left on device\n")
    assert (tmp_path / "inbox.ndjson").read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []
    assert run("export", "inbox", "-o", "nowhere/x").err == "pymailbox: nowhere/x: No such file or directory\n"


def test_export_keeps_links_and_permissions(run: Run, tmp_path: Path) -> None:
    fill("inbox")
    private, link = tmp_path / "private.ndjson", tmp_path / "link.ndjson"
    private.write_text("the old one")
    private.chmod(0o600)
    link.symlink_to("private.ndjson")
    assert run("export", "inbox", "-o", "link.ndjson").code == 0
    assert link.is_symlink()
    assert private.read_text().startswith('{"format"')
    assert sys.platform == "win32" or stat.S_IMODE(private.stat().st_mode) == 0o600


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no names of open files here")
def test_export_goes_into_a_pipe(run: Run) -> None:
    """As ``-o >(gzip >x)`` passes one; what such a name leads to on Linux is the name of no file."""
    fill("inbox")
    reading, writing = os.pipe()
    assert run("export", "inbox", "-o", f"/dev/fd/{writing}").code == 0
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read().startswith('{"format"')


@pytest.mark.parametrize("output", ["pymailbox.db", "./pymailbox.db", "link", "pymailbox.db-wal", "pymailbox.db-shm"])
def test_export_never_overwrites_its_mailbox(run: Run, tmp_path: Path, output: str) -> None:
    fill("inbox")
    (tmp_path / "link").symlink_to("pymailbox.db")
    ran = run("export", "inbox", "-o", output)
    assert (ran.code, ran.err) == (
        2,
        f"pymailbox: --output {output} is the mailbox file itself, or belongs to it. Name another file\n",
    )
    assert run("stats", "inbox").code == 0


# -- processes ---------------------------------------------------------------------------------------------------------


def start(folder: Path, *argv: str, **options: Any) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "pymailbox", *argv], cwd=folder, env=environment, **options)


def queued(folder: Path) -> tuple[int, int]:
    async def count() -> tuple[int, int]:
        async with open_mailbox(f"sqlite:///{folder}/pymailbox.db#inbox") as mailbox:
            stats = await mailbox.status()
            return stats.queued_messages, stats.inflight_messages

    return asyncio.run(count())


def test_reader_that_goes_loses_nothing(run: Run, tmp_path: Path) -> None:
    """It reads the first lines and goes; everything written and not read is back in the mailbox."""
    run("enqueue", "inbox", "--lines", stdin=b"x" * 1000 + b"\n" + b"y\n" * 2000)
    pipe = subprocess.PIPE
    with start(tmp_path, "drain", "inbox", stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        os.read(process.stdout.fileno(), 100)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(TIMEOUT) == 141
    assert queued(tmp_path) == (2001, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.parametrize("argv", [["drain", "inbox", "--wait", "1000"], ["enqueue", "inbox"], ["import", "inbox"]])
def test_interrupt_ends_at_once_and_quietly(run: Run, tmp_path: Path, argv: list[str]) -> None:
    """It is sent while the command waits for a message or for its input."""
    run("enqueue", "inbox", stdin=b"hello")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, *argv],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=pipe,  # open until the end: nothing comes
        stdout=subprocess.DEVNULL,
        stderr=pipe,
    ) as process:
        assert process.stderr is not None
        err = process.stderr.read()
        assert process.wait(TIMEOUT) == 130
    assert err == b"\n"
    assert queued(tmp_path)[1] == 0


_INTERRUPTED = """
import signal, sys, threading
from pymailbox.cli import main, streams, write_commands

def soon():
    main_thread = threading.main_thread().ident
    threading.Timer(0.2, signal.pthread_kill, [main_thread, signal.SIGINT]).start()

def standard_input(hint, original=streams.standard_input):
    soon()
    return original(hint)

async def have_been_read(out):
    soon()

streams.standard_input = write_commands.standard_input = standard_input
write_commands.have_been_read = have_been_read
sys.exit(main(sys.argv[1:]))
"""


def test_module_runs_and_says_what_it_is(tmp_path: Path) -> None:
    with start(tmp_path, "--version", stdout=subprocess.PIPE) as process:
        out, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert out.startswith(b"pymailbox ")


def test_importing_the_library_leaves_the_command_line_out() -> None:
    script = "import sys, pymailbox; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-S", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    unwanted = ("argparse", "pymailbox.cli", "pymailbox.transfer")
    assert [name for name in ran.stdout.split() if name.startswith(unwanted)] == []


# -- text --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", ""),
        (b"hello", "hello"),
        ("Zoë 🙃".encode(), "Zoë 🙃"),
        (b"\xff\x00", "0xff00"),
        (b"a\tb\0", r"a\tb\x00"),
        (b"x" * 201, "x" * 200 + "…"),
        (("x" + "ë" * 120).encode(), "x" + "ë" * 99 + "…"),
        (b"\xff" * 201, "0x" + "ff" * 200 + "…"),
    ],
)
def test_preview(data: bytes, shown: str) -> None:
    assert preview(data) == shown


def test_cut_counts_columns() -> None:
    assert cut("日本語", 6) == "日本語"
    assert cut("日本語", 5) == "日本…"
    assert cut("日本語", 4) == "日…"
    assert cut("abc", 1) == "…"
    assert width_of("e\u0301") == 1
    assert one_line("a\u2028b\ud800") == r"a\u2028b\ud800"


def test_table_takes_from_the_widest() -> None:
    columns = [Column("ID"), Column("A", least=3), Column("B", least=3)]
    lines = list(table(columns, [["1", "a" * 20, "b" * 9]], 20))
    assert lines == ["ID  A        B", "1   aaaaaa…  bbbbbb…"]


def test_age_is_never_negative() -> None:
    now = datetime.now(UTC)
    assert [age(now - timedelta(seconds=s), now) for s in (-5, 0, 59, 60, 3600, 86400 * 400)] == [
        "0s",
        "0s",
        "59s",
        "1m",
        "1h",
        "400d",
    ]
