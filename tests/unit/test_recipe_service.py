"""The recipe of a web service runs exactly as shown: served by uvicorn, killed, restarted, stopped."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pymailbox import sync
from tests.unit.recipes import ROOT, commands_of, files_of

FILES = files_of("service")
(SERVE, SERVING), (WORK, WORKING) = commands_of("service")
SECONDS = 60

HELD = """

async def handle(message, *, handle_at_once=handle):
    from pathlib import Path

    while message.json()["customer"] == "bob" and Path("held").exists():
        await asyncio.sleep(0.02)
    await handle_at_once(message)
"""
"""What the test adds to the recipe's handler: while a file with that name is in the folder, Bob's orders take long."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the recipe's files are, with a handler that the test can hold up."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, "utf-8")
    with (tmp_path / "tasks.py").open("a", encoding="utf-8") as tasks:
        tasks.write(HELD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def running(command: str, first_line: str, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """One of the recipe's commands, on any free port, once it has said what the recipe says; and its line."""
    argv = [sys.executable, "-m", *re.sub(r"--port \d+", "--port 0", command).split()]
    said = re.sub(r":\d+ ", r":\\d+ ", re.escape(first_line).replace(r"\ ", " "))
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if re.fullmatch(said, line):
                    yield process, line
                    break
            else:
                pytest.fail("".join(lines))
        finally:
            watchdog.cancel()
            process.kill()


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service, and its address."""
    with running(SERVE, SERVING, environment) as (process, line):
        [address] = re.findall(r"http://\S+", line)
        yield process, address


def request(
    url: str, order: dict[str, Any] | None = None, key: str | None = None, method: str = "GET"
) -> tuple[int, Any]:
    """The status and the content of a request's answer."""
    headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
    body = None if order is None else json.dumps(order).encode()
    asked = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=SECONDS) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def send(address: str, key: str, customer: str, total: int) -> None:
    assert request(f"{address}/orders", {"customer": customer, "total": total}, key, "POST") == (202, {"id": key})


def receipts() -> dict[str, tuple[str, int]]:
    with closing(sqlite3.connect("shop.db")) as shop:
        return {order_id: (customer, total) for order_id, customer, total in shop.execute("SELECT * FROM receipts")}


def wait(queued: int, inflight: int) -> None:
    """Waits until there are that many orders."""
    with sync.open_mailbox("sqlite:///orders.db#orders") as orders:
        for stats in orders.changes():
            if (stats.queued_messages, stats.inflight_messages) == (queued, inflight):
                break


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_service(folder: Path, unmeasured: dict[str, str]) -> None:
    environment = unmeasured | {"PYTHONPATH": str(ROOT)}
    orders = {str(uuid4()): ("alice" if number < 10 else "bob", number + 1) for number in range(16)}
    *_, bobs_first, _, _, _, _, bobs_last = orders
    held = folder / "held"

    held.touch()
    with serving(environment) as (process, address):
        for key, (customer, total) in orders.items():
            send(address, key, customer, total)
        wait(2, 4)
        assert request(f"{address}/orders/{bobs_first}") == (200, {"state": "inflight", "tried": 1})
        assert request(f"{address}/orders/{bobs_last}") == (200, {"state": "queued", "tried": 0})
        process.kill()
    assert [customer for customer, _ in receipts().values()] == ["alice"] * 10

    held.unlink()
    wrong = str(uuid4())
    with serving(environment) as (process, address):
        # the answers were lost: the same orders come again
        for key, (customer, total) in orders.items():
            send(address, key, customer, total)
        status, counts = request(f"{address}/ready")
        assert (status, counts["dead_letters"]) == (200, 0)
        wait(0, 0)
        assert receipts() == orders
        assert request(f"{address}/orders/{bobs_last}")[0] == 404
        send(address, bobs_last, *orders[bobs_last])

        send(address, wrong, "carol", 0)
        wait(0, 0)
        status, said = request(f"{address}/orders/{wrong}")
        assert (status, said["state"], said["reason"][:11]) == (200, "given up", "no receipt:")
        assert request(f"{address}/orders/{wrong}/again", method="POST") == (200, None)
        assert request(f"{address}/orders/{bobs_last}/again", method="POST")[0] == 404
        for bad in (None, "4711"):
            assert request(f"{address}/orders", {"customer": "carol", "total": 1}, bad, "POST")[0] == 422
        wait(0, 0)

        # stopped in the middle: what runs is finished, and the rest goes back
        held.touch()
        later = {str(uuid4()): ("bob", number + 1) for number in range(6)}
        for key, (customer, total) in later.items():
            send(address, key, customer, total)
        wait(2, 4)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert any("Waiting for application shutdown" in line for line in process.stderr)
        held.unlink()
        assert process.wait(SECONDS) in (0, -signal.SIGTERM)
    done = receipts()
    assert len(done) == len(orders) + 4
    with sync.open_mailbox("sqlite:///orders.db#orders") as mailbox:
        assert [(str(record.id), record.delivery_count) for record in mailbox.peek()] == [
            (key, 0) for key in later if key not in done
        ]
        assert [str(letter.record.id) for letter in mailbox.dead_letters()] == [wrong]

    # a worker of its own does the rest
    with running(WORK, WORKING, environment) as (process, _):
        wait(0, 0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    assert receipts() == orders | later
