"""The recipe of webhooks runs exactly as shown, against a server on this machine; every other recipe has a test,
too."""

from __future__ import annotations

import asyncio
import email.utils
import http.server
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from pymailbox import MailboxStats, open_mailbox, sync
from tests.unit.recipes import RECIPES, ROOT, cells_of, commands_of, count_blocks, files_of, outputs_of

FILES = {name.removesuffix(".py"): code for name, code in files_of("webhooks").items()}
COMMANDS = commands_of("webhooks")

TESTS = {
    "notebook": ["unit/test_recipe_notebook.py", "js/recipe-notebook.chromium.spec.js"],
    "outbox": ["js/recipe-outbox.chromium.spec.js"],
    "pyscript-pipeline": ["js/recipe-pyscript-pipeline.chromium.spec.js"],
    "service": ["unit/test_recipe_service.py"],
    "service-worker": ["js/recipe-service-worker.chromium.spec.js"],
    "webhooks": ["unit/test_recipes.py"],
}


def test_every_recipe_has_its_tests() -> None:
    assert {page.stem for page in RECIPES.glob("*.md")} == {*TESTS, "README"}
    for test in itertools.chain(*TESTS.values()):
        assert (ROOT / "tests" / test).is_file()


@pytest.mark.parametrize("recipe", TESTS)
def test_every_block_of_a_recipe_is_run(recipe: str) -> None:
    kinds = (files_of, commands_of, cells_of, outputs_of)
    assert count_blocks(recipe) == sum(len(blocks_of(recipe)) for blocks_of in kinds) > 0


def test_webhooks_has_these_blocks() -> None:
    assert (list(FILES), len(COMMANDS)) == (["hooks", "deliver", "dead"], 1)


ANSWERS: Final[dict[str, list[tuple[int, Callable[[], str] | None]]]] = {
    "/orders": [(204, None)],
    "/busy": [(503, lambda: "1"), (429, lambda: "0"), (200, None)],
    "/dated": [(503, lambda: email.utils.formatdate(time.time() + 1, usegmt=True)), (200, None)],
    "/vague": [(503, lambda: "soon"), (200, None)],
    "/flaky": [(500, None), (408, None), (200, None)],
    "/broken": [(500, None)],
    "/gone": [(410, None)],
    "/moved": [(302, None)],
}


class CustomersServer(http.server.ThreadingHTTPServer):
    """Answers as its paths say, and records the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CustomersHandler)
        self.received: dict[str, list[tuple[float, str, dict[str, Any]]]] = defaultdict(list)
        """By path: when, the Webhook-Id, and the body."""
        self.answers = {path: list(answers) for path, answers in ANSWERS.items()}
        """By path; the last answer is repeated."""
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class CustomersHandler(http.server.BaseHTTPRequestHandler):
    server: CustomersServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        received = self.server.received[self.path]
        answers = self.server.answers[self.path]
        status, retry_after = answers[min(len(received), len(answers) - 1)]
        received.append((time.monotonic(), self.headers["Webhook-Id"], body))
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", retry_after())
        if status == 302:
            self.send_header("Location", "/orders")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:  # as a client that follows a redirect does
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[CustomersServer]:
    with CustomersServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def folder(tmp_path: Path, server: CustomersServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the recipe's files are, for a server with another address and with shorter pauses."""
    shorter = FILES["deliver"].replace("first_delay=5.0, factor=3.0", "first_delay=0.02, factor=1.0")
    assert shorter != FILES["deliver"]
    for name, code in (FILES | {"deliver": shorter}).items():
        (tmp_path / f"{name}.py").write_text(code.replace("http://127.0.0.1:8000", server.url), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name, None)


async def status_of(hooks: ModuleType) -> MailboxStats:
    async with open_mailbox(hooks.HOOKS) as mailbox:
        return await mailbox.status()


async def work_until_done(deliver: ModuleType) -> None:
    """Runs the recipe's worker until nothing is left to be delivered, and stops it as Ctrl-C does."""
    task = asyncio.create_task(deliver.main())
    async with asyncio.timeout(60), open_mailbox(deliver.HOOKS) as mailbox:
        async for stats in mailbox.changes():
            if stats.queued_messages == stats.inflight_messages == 0:
                break
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_webhooks(folder: Path, server: CustomersServer, capsys: pytest.CaptureFixture[str]) -> None:
    hooks, deliver = importlib.import_module("hooks"), importlib.import_module("deliver")
    await hooks.main()
    async with open_mailbox(hooks.HOOKS) as mailbox:
        ids = {}
        for path in ANSWERS:
            event = {"id": f"evt {path}", "type": "order.paid"}
            ids[path] = [await hooks.send_hook(mailbox, server.url + path, event) for _ in range(2)]
        unreachable = "http://127.0.0.1:9/"  # the port "discard", where nobody listens
        await hooks.send_hook(mailbox, unreachable, {"id": "evt_lost"})
        assert (await mailbox.status()).ever_queued == 10
    await work_until_done(deliver)

    times = {path: [moment for moment, _, _ in server.received[path]] for path in server.received}
    counts = {path: len(moments) for path, moments in times.items()}
    assert counts == {
        "/orders": 2,
        "/busy": 3,
        "/dated": 2,
        "/vague": 2,
        "/flaky": 3,
        "/broken": 8,
        "/gone": 1,
        "/moved": 1,
    }
    assert times["/busy"][1] - times["/busy"][0] >= 0.9
    for path, (first, second) in ids.items():
        assert first == second
        assert {hook_id for _, hook_id, _ in server.received[path]} >= {str(first)}
    assert server.received["/gone"][0][2] == {
        "url": f"{server.url}/gone",
        "event": {"id": "evt /gone", "type": "order.paid"},
    }

    # delivered and known: the same event again is no new webhook
    async with open_mailbox(hooks.HOOKS) as mailbox:
        assert await hooks.send_hook(mailbox, f"{server.url}/busy", {"id": "evt /busy"}) == ids["/busy"][0]
        assert (await mailbox.status()).queued_messages == 0
        reasons = {letter.record.json()["url"]: letter.reason for letter in await mailbox.dead_letters()}
    assert reasons == {
        f"{server.url}/gone": f"{server.url}/gone answered 410",
        f"{server.url}/moved": f"{server.url}/moved answered 302",
        f"{server.url}/broken": "8 of at most 8 deliveries failed",
        unreachable: "8 of at most 8 deliveries failed",
    }

    # its server is repaired
    server.answers["/broken"].append((200, None))
    dead = await asyncio.to_thread(importlib.import_module, "dead")
    assert dead.HOOKS == hooks.HOOKS
    printed = capsys.readouterr().out.splitlines()
    assert f"{server.url}/gone evt /gone {server.url}/gone answered 410" in printed
    assert len(printed) == 4
    assert (await status_of(hooks)).queued_messages == 3
    await work_until_done(deliver)
    assert len(server.received["/broken"]) == 9
    assert (await status_of(hooks)).dead_letters == 3


def test_retry_after(folder: Path) -> None:
    seconds_of = importlib.import_module("deliver").seconds_of
    assert [seconds_of(text) for text in ("0", "30", "999999", "soon", "-1", "", None)] == [
        0.0,
        30.0,
        3600.0,
        *[None] * 4,
    ]
    assert 58 < seconds_of(email.utils.formatdate(time.time() + 60, usegmt=True)) <= 60
    assert seconds_of(email.utils.formatdate(0, usegmt=True)) == 0.0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_command_for_webhooks(folder: Path, server: CustomersServer) -> None:
    hooks = importlib.import_module("hooks")
    asyncio.run(hooks.main())
    [(command, first_line)] = COMMANDS
    program, *argv = command.split()
    assert program == "pymailbox"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "pymailbox", *argv], env=environment, stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stderr is not None
        assert worker.stderr.readline() == first_line
        with sync.open_mailbox(hooks.HOOKS) as mailbox:
            for stats in mailbox.changes():
                if stats.queued_messages == stats.inflight_messages == 0:
                    break
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    assert [body["event"]["id"] for _, _, body in server.received["/orders"]] == ["evt_4711"]
