"""The code that the demo shows: what is around the editor, with the handler of actor.py in it."""

import ast
import asyncio
import os
import re
import sys
from html import unescape
from pathlib import Path

import pytest

from pymailbox import open_mailbox
from tools.serve import ROOT

DEMO = ROOT / "demo"


def shown_code() -> str:
    """As a visitor reads it, from top to bottom."""
    page = (DEMO / "index.html").read_text(encoding="utf-8")
    before, after = (
        unescape(re.search(rf'<pre id="{name}">(.*?)</pre>', page, re.DOTALL)[1])  # type: ignore[index]
        for name in ("code-before", "code-after")
    )
    actor = (DEMO / "actor.py").read_text(encoding="utf-8")
    (handler,) = (
        ast.get_source_segment(actor, part)
        for part in ast.parse(actor).body
        if isinstance(part, ast.AsyncFunctionDef) and part.name == "handle"
    )
    return f"{before}\n\n{handler}\n\n{after}\n"


async def test_the_code_that_is_shown_is_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "actor.py"
    program.write_text(shown_code(), encoding="utf-8")
    async with open_mailbox("inbox") as inbox, open_mailbox("outbox") as outbox:
        await inbox.enqueue(b"alice", b"three short words")
        actor = await asyncio.create_subprocess_exec(
            sys.executable, program, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        try:
            (answer,) = await outbox.dequeue(wait=60)
            assert answer.payload == b"words: 3, characters: 17"
            await outbox.ack(answer.id)
            assert actor.returncode is None, "it waits for more"
        finally:
            actor.kill()
            await actor.wait()
        assert (await inbox.status()).queued_messages == 0


def test_there_are_few_lines_of_it() -> None:
    assert sum(line.strip() != "" for line in shown_code().splitlines()) <= 16
