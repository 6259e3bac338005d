"""The examples of ``docs/actors.md`` run as they stand there."""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from pymailbox import list_mailboxes

PAGE = Path(__file__).parents[2] / "docs" / "actors.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
EXPECTED: dict[str, dict[str, Any]] = {
    "inbox": {"seen": None, "printed": ""},
    "jobs": {"seen": None, "printed": "b'nonsense' this is not JSON None\n"},
    "webhooks": {"seen": None, "printed": ""},
    "prices": {"seen": None, "printed": "b'4.20 EUR' b'we have none'\n"},
    "slow": {"seen": None, "printed": "TimeoutError: the handler took longer than 0.1 s and was cancelled\n"},
    "later": {"seen": None, "printed": ""},
    "chat": {"seen": [(b"alice", b"1"), (b"bob", b"1"), (b"alice", b"2"), (b"bob", b"2")], "printed": ""},
    "numbers": {
        "seen": [1, 2],
        "printed": "b'poison' 3 of at most 3 deliveries failed\n"
        "ValueError: invalid literal for int() with base 10: b'poison'\n",
    },
    "work": {"seen": None, "printed": "b'hello'"},
    "frames": {"seen": None, "printed": ""},
}
"""By the mailbox that an example works on, what comes out of it."""


def name_of(example: str) -> str:
    match = re.search(r'open_mailbox\("(\w+)"', example)
    assert match
    return match[1]


def test_every_example_is_known() -> None:
    assert [name_of(example) for example in EXAMPLES] == list(EXPECTED)


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_example(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("pymailbox"), "disabled", True)
    code = compile(example, PAGE, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    namespace: dict[str, Any] = {}

    async def main() -> list[str]:
        running = eval(code, namespace)
        if inspect.isawaitable(running):
            await asyncio.wait_for(running, 20)
        return await list_mailboxes("sqlite:///pymailbox.db")

    name = name_of(example)
    assert name in asyncio.run(main())
    assert namespace.get("seen") == EXPECTED[name]["seen"]
    printed = capsys.readouterr().out
    wanted = EXPECTED[name]["printed"]
    assert printed == wanted or (name == "work" and wanted in printed)
