"""The command line on a NATS server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest

from pymailbox import MessagePriority, open_mailbox
from pymailbox.cli.servers import connect_options
from tests.command_line import Run, runner
from tools.nats_servers import PASSWORDS, Servers, free_ports
from tools.serve import HOST, ROOT

SERVERS = ("one",)
SECONDS = 20.0

VARIABLES = ("USER", "PASSWORD", "TOKEN", "CREDS", "NKEY", "INBOX_PREFIX", "CA", "CERT", "KEY")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in an empty folder, with nothing in the environment about servers."""
    monkeypatch.chdir(tmp_path)
    for variable in VARIABLES:
        monkeypatch.delenv(f"NATS_{variable}", raising=False)
    return runner(monkeypatch, capsys)


@pytest.fixture
def inbox(servers: Servers, stream: str) -> str:
    return servers.location("inbox", stream)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Servers]:
    """A server that lets in nobody without a name."""
    with Servers(1, anonymous=False) as servers:
        yield servers


def database_of(location: str) -> str:
    return location.replace("/inbox?", "/?")


def streams_of(servers: Servers) -> list[str]:
    async def names() -> list[str]:
        async with await nats.connect(f"nats://{servers.servers[0].address}") as client:
            return [str(info.config.name) for info in await client.jetstream().streams_info()]

    return asyncio.run(names())


def bury(location: str, count: int) -> list[str]:
    """Dead letters; their ids, the oldest first."""

    async def bury() -> list[str]:
        async with open_mailbox(location) as mailbox:
            for number in range(count):
                await mailbox.enqueue(b"bob", b"poison %d" % number)
            records = await mailbox.dequeue(count)
            for record in records:
                await mailbox.dead_letter(record.id, "no JSON")
            return [str(record.id) for record in records]

    return asyncio.run(bury())


def test_a_message_is_stored_counted_looked_at_and_taken_out(run: Run, inbox: str) -> None:
    sent = run("enqueue", inbox, "--sender", "alice", stdin=b"hello")
    assert (sent.code, sent.err) == (0, "")
    assert run("enqueue", inbox, "--lines", "--priority", "high", stdin=b"one\ntwo\n").out == "2 messages stored.\n"
    assert run("enqueue", inbox, "--id", sent.out.strip(), stdin=b"again").out == sent.out
    assert run("stats", inbox).out == (
        "MAILBOX  QUEUED  HIGH  NORMAL  DELAYED  INFLIGHT  DEAD\n"
        "inbox         3     2       1        0         0     0\n"
    )
    shown = run("stats", database_of(inbox), "--json").json
    assert shown["location"] == f"nats://{inbox.split('/')[2]}/?{inbox.split('?')[1]}"
    assert [(one["name"], one["queued_messages"]) for one in shown["mailboxes"]] == [("inbox", 3)]
    assert run("stats", inbox.partition("&")[0]).code == 0  # whatever its replicas
    [high, _, normal] = run("peek", inbox, "--json").json
    assert (high["priority"], normal["id"]) == ("HIGH", sent.out.strip())
    assert "alice   hello" in run("peek", database_of(inbox)).out  # the only one of the stream
    drained = [json.loads(line) for line in run("drain", inbox).out.splitlines()]
    assert [record["id"] for record in drained][2] == sent.out.strip()
    assert run("peek", inbox).out == "No messages.\n"
    assert run("drain", inbox, "--wait", "0.1") == (0, "", "")


def test_names_that_an_address_has_to_encode(run: Run, servers: Servers, stream: str) -> None:
    name = "für/alle?#1"
    database = servers.location("", stream)
    assert run("enqueue", database, "-m", name, stdin=b"x").code == 0
    assert run("enqueue", database, "-m", "other", stdin=b"x").code == 0
    assert [one["name"] for one in run("stats", database, "--json").json["mailboxes"]] == [name, "other"]
    assert len(run("peek", servers.location(name, stream), "--json").json) == 1
    which = run("peek", database)
    assert which.code == 1
    assert "there are für/alle?#1, other. Write nats://" in which.err
    assert "/NAME?stream=" in which.err
    assert run("peek", servers.location("other", stream), "-m", "other").code == 2


def test_dead_letters(run: Run, inbox: str) -> None:
    first, second, third, *_ = bury(inbox, 5)
    shown = run("dead", inbox)
    assert shown.out.count("no JSON") == 5
    assert run("redrive", inbox, first, first).out == "1 dead letter redriven.\n"
    missing = run("discard", inbox, first, second, "--json")
    assert (missing.code, missing.json) == (1, {"discarded": 1, "not_found": [first]})
    assert run("discard", inbox, "--all").code == 2  # nobody is there to ask
    assert run("discard", inbox, "--all", stdin=b"no\n", terminal=True).code == 1
    asked = run("discard", inbox, "--all", stdin=b"yes\n", terminal=True)
    assert (asked.code, asked.out) == (0, "3 dead letters discarded.\n")
    assert "Delete 3 dead letters of nats://" in asked.err
    assert [record["id"] for record in run("peek", inbox, "--json").json] == [first]
    assert run("redrive", inbox, third).code == 1
    assert run("purge", inbox, "--yes", "--json").json == {"purged": 1}


def test_dead_letters_that_are_many_share_commits(run: Run, inbox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bury(inbox, 1200)
    assert run("redrive", inbox, "--all").out == "1,200 dead letters redriven.\n"
    records = run("peek", inbox, "-n", "1200", "--json").json
    assert [record["delivery_count"] for record in records] == [0] * 1200


def test_a_mailbox_goes_to_a_file_and_back(run: Run, inbox: str, servers: Servers, stream: str) -> None:
    bury(inbox, 1)
    run("enqueue", inbox, "--lines", stdin=b"one\ntwo\n")
    assert run("export", inbox, "-o", "inbox.ndjson").out == "3 messages exported to inbox.ndjson.\n"
    assert run("import", "app.db#inbox", "inbox.ndjson").out == "3 messages stored.\n"
    copy = servers.location("copy", stream)
    assert run("import", copy, "inbox.ndjson").out == "3 messages stored.\n"
    assert run("import", copy, "inbox.ndjson").out == "0 messages stored, 3 already there.\n"
    assert run("peek", copy, "--json").json == run("peek", inbox, "--json").json
    assert run("dead", copy, "--json").json == run("dead", inbox, "--json").json


def test_what_is_about_files_says_so(run: Run, inbox: str) -> None:
    for command, more in (("backup", ["copy.db"]), ("compact", [])):
        told = run(command, inbox, *more)
        assert (told.code, told.out) == (2, "")
        assert f"{command} is for SQLite files" in told.err
    assert list(Path().iterdir()) == []


def test_looking_makes_nothing(run: Run, servers: Servers, inbox: str, stream: str) -> None:
    for command in (["stats"], ["peek"], ["dead"], ["export"], ["drain"], ["purge", "-y"], ["redrive", "--all"]):
        told = run(command[0], inbox, *command[1:])
        assert (told.code, told.out) == (1, "")
        assert f"there is no mailbox inbox in nats://{servers.addresses}/?stream={stream}" in told.err
    assert run("stats", database_of(inbox)).out.startswith("There is no mailbox in nats://")
    assert stream not in streams_of(servers)
    run("enqueue", servers.location("other", stream), stdin=b"x")
    assert "there is other" in run("peek", inbox).err
    assert [one["name"] for one in run("stats", database_of(inbox), "--json").json["mailboxes"]] == ["other"]


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("nats:///inbox", "HOST"),
        ("nats://127.0.0.1:x/inbox", "HOST:PORT"),
        ("nats://127.0.0.1/inbox?replicas=none", "replicas"),
        ("nats://me:secret@127.0.0.1/inbox", "NATS_PASSWORD"),
        ("nats://me:se/cret@127.0.0.1/inbox", "NATS_PASSWORD"),
        ("nats://127.0.0.1/inbox?password=secret", "password"),
        ("postgres://me:secret@127.0.0.1/inbox", "postgres://: the command line works on SQLite files"),
        ("memory://secret", "memory://: the command line works on SQLite files"),
    ],
)
def test_a_location_that_is_none_is_not_shown(run: Run, location: str, told: str) -> None:
    for command in ("stats", "enqueue", "compact"):
        ran = run(command, location)
        assert ran.code == 2
        assert told in ran.err
        assert "cret" not in ran.err


def test_no_server(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymailbox.backends.jetstream.link.CONNECT_TIMEOUT", 1.0)
    (port,) = free_ports(1)
    ran = run("stats", f"nats://{HOST}:{port}/inbox")
    assert (ran.code, ran.out) == (1, "")
    assert f"no NATS server answers at nats://{HOST}:{port}" in ran.err


def test_more_replicas_than_servers(run: Run, servers: Servers, stream: str) -> None:
    ran = run("enqueue", f"nats://{servers.addresses}/inbox?stream={stream}&replicas=3", stdin=b"x")
    assert ran.code == 1
    assert "replicas=3" in ran.err
    assert stream not in streams_of(servers)


def test_the_environment_says_who_connects(
    run: Run, guarded: Servers, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = guarded.location("inbox", stream)
    refused = run("enqueue", inbox, stdin=b"x")
    assert (refused.code, refused.out) == (1, "")
    assert "Check what the environment says: NATS_USER and NATS_PASSWORD" in refused.err
    monkeypatch.setenv("NATS_USER", "mailboxes")
    monkeypatch.setenv("NATS_PASSWORD", "wrong-secret")
    refused = run("enqueue", inbox, stdin=b"x")
    assert refused.code == 1
    assert "secret" not in refused.err
    monkeypatch.setenv("NATS_PASSWORD", PASSWORDS["MAILBOXES_PASSWORD"])
    assert run("enqueue", inbox, stdin=b"x").code == 0
    assert run("enqueue", guarded.location("inbox", "alice"), stdin=b"x").code == 0
    monkeypatch.setenv("NATS_USER", "alice")
    monkeypatch.setenv("NATS_PASSWORD", PASSWORDS["ALICE_PASSWORD"])
    monkeypatch.setenv("NATS_INBOX_PREFIX", "_INBOX_alice")
    assert [record["payload"] for record in run("peek", guarded.location("inbox", "alice"), "--json").json] == ["eA=="]
    refused = run("peek", inbox)
    assert refused.code == 1
    assert f"may not touch the subject '$JS.API.STREAM.INFO.{stream}'" in refused.err


def test_what_the_environment_names_has_to_be_there(
    run: Run, servers: Servers, inbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, told in (
        ("NATS_CREDS", "must name a file of credentials"),
        ("NATS_CA", "NATS_CA, NATS_CERT and NATS_KEY"),
    ):
        monkeypatch.setenv(variable, "missing.file")
        ran = run("stats", inbox)
        assert ran.code == 1
        assert told in ran.err
        monkeypatch.delenv(variable)
    assert connect_options({"NATS_TOKEN": "t", "NATS_USER": "", "NATS_NKEY": "file"}) == {
        "token": "t",
        "nkeys_seed": "file",
    }


def test_work_handles_what_comes_until_it_is_stopped(servers: Servers, inbox: str, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        "import os\n\ndef handle(message, context):\n    os.write(1, message.payload + b'\\n')\n", "utf-8"
    )
    command = [sys.executable, "-m", "pymailbox", "work", "tasks:handle", inbox, "-c", "2", "--max-deliveries", "3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, **pipes) as worker:
        assert worker.stdout
        assert worker.stderr
        try:
            started = worker.stderr.readline()
            assert f"tasks:handle works on nats://{servers.addresses}/inbox?" in started

            async def send() -> None:
                async with open_mailbox(inbox) as mailbox:
                    await mailbox.enqueue(b"", b"one")
                    await mailbox.enqueue(b"", b"two", MessagePriority.HIGH)

            asyncio.run(send())
            assert {worker.stdout.readline(), worker.stdout.readline()} == {"one\n", "two\n"}
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(SECONDS) == 0
        finally:
            worker.kill()

    async def left() -> tuple[int, int]:
        async with open_mailbox(inbox) as mailbox:
            status = await mailbox.status()
            return status.queued_messages, status.inflight_messages

    assert asyncio.run(left()) == (0, 0)
