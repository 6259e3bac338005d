"""Each page's Python for CPython runs from its first block to its last, in a fresh interpreter and an empty folder."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs import reader
from tests.docs.blocks import Block, blocks_in
from tools.nats_servers import Servers
from tools.serve import ROOT

PAGES: Final = blocks_in("cpython")

PRINTED: Final = {
    "README.md#an-actor": r"2 tea\n",
    "docs/actors.md#what-becomes-of-a-message": r"b'nonsense' this is not JSON None\n",
    "docs/actors.md#questions-and-answers": r"b'4\.20 EUR' b'we have none'\n",
    "docs/actors.md#handlers-that-take-too-long": (
        r"TimeoutError: the handler took longer than 0\.1 s and was cancelled\n"
    ),
    "docs/actors.md#a-loop-of-your-own": (
        r"b'poison' 3 of at most 3 deliveries failed\n"
        r"ValueError: invalid literal for int\(\) with base 10: b'poison'\n"
    ),
    "docs/actors.md#the-log": r"MessageRecord\(.*b'hello'.*\) <.*Context object.*>\n",
    "docs/cpython.md#without-await": r"b'alice' b'hello'\n",
    "docs/cpython.md#a-worker": r"b'bye'\n",
    "docs/cpython.md#questions-and-answers": r"b'HELLO'\n",
    "docs/relay.md#from-one-place-to-another": r"b'alice' b'hello' 1\n",
    "docs/transfer.md#mailboxes-as-files": r"1 0 \[\] True\n",
    "docs/verbs.md#opening-a-mailbox-and-its-verbs": r"b'bob' b'fire!'\nb'alice' b'hello'\n",
}
"""Patterns of what blocks print; others print nothing."""

BEFORE: Final = {
    # that page's reader has a file and a folder
    "docs/sqlite.md#how-to-copy-it": """
from pathlib import Path
from pymailbox import sync
sync.open_mailbox("sqlite:///app.db#inbox").close()
Path("backups").mkdir()
""",
    "docs/transfer.md#mailboxes-as-files": """
from pymailbox import sync
with sync.open_mailbox("inbox") as mailbox:
    mailbox.enqueue(b"alice", b"hello")
""",
}
"""What blocks find, as code that is run before them."""

AFTER: Final = {
    "docs/actors.md#at-the-same-time-and-in-order": """
assert seen == [(b"alice", b"1"), (b"bob", b"1"), (b"alice", b"2"), (b"bob", b"2")]
""",
    "docs/actors.md#a-loop-of-your-own": "assert seen == [1, 2]",
    "docs/cpython.md#in-a-web-application": """
answer, status = order()
assert (status, [str(record.id) for record in jobs.peek()]) == (202, [answer["id"]])
jobs.close()
""",
    "docs/sqlite.md#how-to-copy-it": """
from pymailbox import list_mailboxes
assert await list_mailboxes(Path("backups/monday.db")) == ["inbox"]
""",
}
"""What has happened, as code that is run after them."""

SERVERS: Final = dict.fromkeys(("docs/jetstream.md", "docs/scaling.md"), "a:4222,b:4222,c:4222")
"""The addresses that a page uses for the reader's NATS servers."""

FLASK: Final = """
class Flask:
    def __init__(self, name): ...
    def post(self, path):
        return lambda view: view

class request:
    get_data = lambda: b"an order"
"""
"""As much of it as the page uses."""


def _steps(blocks: list[Block]) -> list[tuple[str, str, int, str]]:
    steps = []
    for block in blocks:
        steps += [(f"before {block.name}", "before", 1, BEFORE[block.name])] if block.name in BEFORE else []
        steps += [(block.name, str(ROOT / block.page), block.line, block.code)]
        steps += [(f"after {block.name}", "after", 1, AFTER[block.name])] if block.name in AFTER else []
    return steps


_PLAYED_BY_LANES = "docs/conformance.md"
"""It runs the suite, which daily work sees in the lanes."""


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow if page == _PLAYED_BY_LANES else ()) for page in PAGES]
)
def test_page(page: str, tmp_path: Path) -> None:
    (tmp_path / "flask.py").write_text(FLASK, "utf-8")
    with contextlib.ExitStack() as stack:
        steps = _steps(PAGES[page])
        if page in SERVERS:
            servers = stack.enter_context(Servers(3))
            steps = [
                (name, file, line, code.replace(SERVERS[page], servers.addresses)) for name, file, line, code in steps
            ]
        run = _run(steps, tmp_path)
    assert run.returncode == 0, run.stderr
    for name, printed in json.loads(run.stdout).items():
        assert re.fullmatch(PRINTED.get(name, ""), printed), (name, printed)


def _run(steps: list[tuple[str, str, int, str]], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    return subprocess.run(
        [sys.executable, reader.__file__],
        input=json.dumps(steps),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_what_is_named_is_there() -> None:
    names = {block.name for blocks in PAGES.values() for block in blocks}
    assert PRINTED.keys() | BEFORE.keys() | AFTER.keys() <= names
    assert all(address in block.code for page, address in SERVERS.items() for block in PAGES[page])
