"""The examples of ``docs/cpython.md``, of a worker in ``docs/command-line.md``, and of a copy in ``docs/sqlite.md``."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from pymailbox import list_mailboxes, sync

ROOT = Path(__file__).parents[2]


def examples(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / page).read_text("utf-8"), re.M | re.S)


FIRST, WEB, WORKER, QUESTION = examples("cpython.md")


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_first_example(capsys: pytest.CaptureFixture[str]) -> None:
    exec(FIRST, {})
    assert capsys.readouterr().out == "b'alice' b'hello'\n"


def test_worker(capsys: pytest.CaptureFixture[str]) -> None:
    exec(WORKER, {})
    assert capsys.readouterr().out == "b'bye'\n"


def test_question(capsys: pytest.CaptureFixture[str]) -> None:
    exec(QUESTION, {})
    assert capsys.readouterr().out == "b'HELLO'\n"


def test_web_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Flask:
        """As much of it as the example uses."""

        def __init__(self, name: str) -> None: ...

        def post(self, path: str) -> Any:
            return lambda view: view

    request = types.SimpleNamespace(get_data=lambda: b"an order")
    monkeypatch.setitem(sys.modules, "flask", types.SimpleNamespace(Flask=Flask, request=request))
    assert "/var/lib/shop" in WEB
    namespace: dict[str, Any] = {"__name__": "app"}
    exec(WEB.replace("/var/lib/shop", str(tmp_path)), namespace)
    answer, status = namespace["order"]()
    assert (status, [str(record.id) for record in namespace["jobs"].peek()]) == (202, [answer["id"]])
    namespace["jobs"].close()


def test_work(tmp_path: Path) -> None:
    [session] = [one for one in re.findall(r"^```\n(.*?)^```$", page("command-line.md"), re.M | re.S) if "$ cat" in one]
    cat, source, command, line = re.fullmatch(
        r"\$ cat (\S+)\n(.*?)\n\$ pymailbox (.*?)\n(.*?)\n", session, re.S
    ).groups()  # type: ignore[union-attr]
    (tmp_path / cat).write_text(source + "\n    context.stop()\n", "utf-8")
    with sync.open_mailbox("sqlite:///app.db#inbox") as inbox:
        inbox.enqueue(b"alice", b"hello")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "pymailbox", *command.split()]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("b'hello'\n", f"{line}\n")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def test_backup(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    with sync.open_mailbox("sqlite:///app.db#inbox"):
        pass
    [example] = examples("sqlite.md")
    code = compile(example, "sqlite.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def main() -> list[str]:
        running = eval(code, {})
        assert inspect.isawaitable(running)
        await running
        return await list_mailboxes(tmp_path / "backups" / "monday.db")

    assert asyncio.run(main()) == ["inbox"]
