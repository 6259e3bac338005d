"""Each page's commands run from the first to the last, in a folder beside a clone of the repository."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.blocks import Block, blocks_in
from tools.serve import ROOT

PAGES: Final = blocks_in("shell")

SPARED: Final = {
    "make bench": "takes minutes, on a quiet machine",
    "make demo": "does not end; the tests of the demo drive what it serves",
    "make test": "runs this",
    "make wheel": "make test has made it",
    "pymailbox stats 'nats:": "is for servers elsewhere; tests/nats/test_command_line.py has its own",
    "pymailbox work tasks:handle 'nats:": "so is this",
    "pip install .": "downloads what builds it; tests/js/test_wheels.py builds it with what there is",
}
"""Beginnings of commands that are not run, and why."""

BEFORE: Final = {"docs/sqlite.md#how-to-copy-it 2": "echo hello | pymailbox enqueue app.db#inbox"}
"""Commands that make something that already exists."""

AFTER: Final = {
    "README.md#install 2": "env -u PYTHONPATH ../installed/bin/pymailbox --help",
    "docs/javascript.md#pymailbox-in-javascript": "node --input-type=module --eval 'import \"pymailbox\"'",
    "docs/sqlite.md#how-to-copy-it 2": "pymailbox stats tuesday.db && pymailbox stats wednesday.db",
}
"""What shows that it worked."""

_COMMENT: Final = re.compile(r"\s+# .*")
_CHANGING: Final = {r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "ID", r" +\d+s ": " AGE "}
"""What a command prints differently every time."""


def _is_spared(command: str) -> bool:
    return any(command.startswith(beginning) for beginning in SPARED)


def _commands(block: Block) -> list[str]:
    """Those of a block without prompts."""
    commands = [_COMMENT.sub("", line) for line in block.code.splitlines()]
    return [command for command in commands if not _is_spared(command)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands are run; `pip` installs into ../installed."""
    (tmp_path / "pymailbox").symlink_to(ROOT)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "build").symlink_to(ROOT / "build")
    installed = tmp_path / "installed"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", installed], check=True)
    programs = {
        "pip": f'exec {sys.executable} -m pip --python {installed} "$@"',
        "pymailbox": f'exec {sys.executable} -m pymailbox "$@"',
        "python": f'exec {sys.executable} "$@"',
    }
    path = tmp_path / "bin"
    path.mkdir()
    for name, script in programs.items():
        (path / name).write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        (path / name).chmod(0o755)
    for name, value in {
        "COLUMNS": "120",
        "NPM_CONFIG_OFFLINE": "true",
        "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return folder


def _run(folder: Path, command: str) -> None:
    run = subprocess.run(["bash", "-ec", command], cwd=folder, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, (command, run.stdout, run.stderr)


def _run_with_prompts(folder: Path, session: str) -> None:
    """Run each command, and compare what it prints; `cat` shows a file that should be there."""
    for step in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, _, wanted = step.partition("\n")
        if command.startswith("cat "):
            (folder / command.removeprefix("cat ")).write_text(wanted, "utf-8")
            continue
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}" if command.startswith("pymailbox") else command],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            printed = "".join(process.stdout.readline() for _ in wanted.splitlines())
            if command.startswith("pymailbox work"):
                process.send_signal(signal.SIGINT)  # Ctrl-C, whose output the page does not show
                process.stdout.read()
            printed += process.stdout.read()
            assert process.wait(60) == 0, (command, printed)
        for pattern, name in _CHANGING.items():
            printed, wanted = re.sub(pattern, name, printed), re.sub(pattern, name, wanted)
        assert printed == wanted, command


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="its shell is another one")
@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, folder: Path) -> None:
    for block in PAGES[page]:
        _run(folder, BEFORE.get(block.name, ":"))
        if block.language == "console":
            _run_with_prompts(folder, block.code)
        else:
            for command in _commands(block):
                _run(folder, command)
        _run(folder, AFTER.get(block.name, ":"))


def test_what_is_named_is_there() -> None:
    blocks = [block for page in PAGES.values() for block in page]
    assert {block.name for block in blocks} >= BEFORE.keys() | AFTER.keys()
    lines = [line for block in blocks for line in block.code.splitlines()]
    assert [one for one in SPARED if not any(line.startswith(one) for line in lines)] == []


def test_make_has_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    blocks = [block for page in PAGES.values() for block in page]
    targets = {target for block in blocks for target in re.findall(r"^make ([\w-]+)", block.code, re.MULTILINE)}
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
