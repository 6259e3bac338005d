"""The examples of docs/reference.md, which are those of docstrings, run on CPython and do what their texts say.

Those of JavaScript are run by tests/js/reference.spec.js.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

import pymailbox
from pymailbox import Context, Mailbox, MessageRecord, open_mailbox, sync
from tests.docs.blocks import BLOCKS, Block

PAGE: Final = "docs/reference.md"
TIMEOUT: Final = 30

IN_PYODIDE: Final = {"run_sync"}
"""tests/js/docs.chromium.spec.js runs that of docs/actors.md."""


def is_example(block: Block) -> bool:
    """Whether it can be run: a signature is no Python, and an alias says only what it is."""
    try:
        statements = compile(block.code, PAGE, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT).body
    except SyntaxError:
        return False
    return not all(isinstance(one, ast.AnnAssign | ast.Expr) and not _calls(one) for one in statements)


def _calls(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Call | ast.Await) for node in ast.walk(statement))


EXAMPLES: Final = {
    block.heading.partition("#")[2]: block.code
    for block in BLOCKS
    if block.page == PAGE and block.language == "python" and is_example(block)
}


async def run(heading: str, **names: Any) -> dict[str, Any]:
    """Runs an example among these names, and returns all names after it."""
    namespace = {name: getattr(pymailbox, name) for name in pymailbox.__all__} | names
    running = eval(compile(EXAMPLES[heading], PAGE, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), namespace)
    if inspect.isawaitable(running):
        await asyncio.wait_for(running, TIMEOUT)
    return namespace


async def payload_in(mailbox: Mailbox) -> bytes:
    [record] = await mailbox.dequeue(wait=TIMEOUT)
    return record.payload


async def ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


def test_each_example_is_run() -> None:
    assert EXAMPLES.keys() - IN_PYODIDE == {
        "relay",
        "export",
        "import_",
        "mailboxconsume",
        "ask",
        "backpressure",
        "syncask",
    }


async def test_relay() -> None:
    opened: list[Mailbox] = []

    async def open_in_memory(location: str) -> Mailbox:
        opened.append(await open_mailbox(f"memory://reference-{location.rpartition('/')[2]}"))
        return opened[-1]

    outbox, inbox = await open_in_memory("outbox"), await open_in_memory("nats://example.org/inbox")
    await outbox.enqueue(b"alice", b"hello")
    relaying = asyncio.ensure_future(run("relay", open_mailbox=open_in_memory))
    assert await payload_in(inbox) == b"hello"
    await ended(relaying)
    for mailbox in opened:
        await mailbox.close()


async def test_export_and_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_mailbox("memory://") as mailbox, open_mailbox("memory://") as copy:
        await mailbox.enqueue(b"alice", b"hello")
        await run("export", mailbox=mailbox)
        report = (await run("import_", mailbox=copy))["report"]
        assert (report.stored, report.complete) == (1, True)
        assert await payload_in(copy) == b"hello"


async def test_consume() -> None:
    async with open_mailbox("memory://reference-in") as mailbox, open_mailbox("memory://reference-out") as outbox:
        await mailbox.enqueue(b"alice", b"hello")
        consuming = asyncio.ensure_future(
            run("mailboxconsume", mailbox=mailbox, outbox=outbox, answer_to=bytes.upper),
        )
        assert await payload_in(outbox) == b"HELLO"
        await ended(consuming)


def price(message: MessageRecord, context: Context) -> None:
    context.reply(b"4.20 EUR" if message.payload == b"tea" else b"")


async def test_ask(capsys: pytest.CaptureFixture[str]) -> None:
    async with open_mailbox("memory://reference-prices") as prices:
        shop = asyncio.ensure_future(prices.consume(price))
        await run("ask", prices=prices)
        assert capsys.readouterr().out == "b'4.20 EUR'\n"
        await ended(shop)


async def test_ask_without_await() -> None:
    with sync.open_mailbox("memory://reference-without-await") as prices:
        shop = Thread(target=prices.consume, args=[price])
        shop.start()
        try:
            assert (await run("syncask", prices=prices, ask=sync.ask))["answer"].payload == b"4.20 EUR"
        finally:
            prices.stop_consuming()
            shop.join()


async def test_backpressure() -> None:
    async def frames() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number

    async with open_mailbox("memory://") as mailbox:
        await run("backpressure", mailbox=mailbox, frames=frames(), sender=b"camera")
        assert [record.payload for record in await mailbox.dequeue()] == [b"0", b"1", b"2"]
