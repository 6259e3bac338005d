"""What the tests of the SQLite backend share."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pymailbox import (
    open_mailbox,
)
from pymailbox.backends.sqlite import SqliteMailbox, engine, schema

MIB = 1024 * 1024


async def open_sqlite(location: str, **options: Any) -> SqliteMailbox:
    mailbox = await open_mailbox(location, **options)
    assert isinstance(mailbox, SqliteMailbox)
    return mailbox


@contextmanager
def held_up(mailbox: SqliteMailbox) -> Iterator[None]:
    """Keeps the file's thread in a commit of its own: all calls made meanwhile share the next one."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        begun.set()
        assert go_on.wait(30)

    mailbox._file.start(wait, engine.Access.READ, lambda _: None)
    assert begun.wait(30)
    try:
        yield
    finally:
        go_on.set()


def content(file: Path) -> bytes:
    return file.read_bytes()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def query(file: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(file)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def run_script(script: str, *arguments: object, within: Sequence[str] = ()) -> str:
    """Runs Python in a process of its own, and returns what it printed."""
    command = [*within, sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def run_with_mounts(script: str, *arguments: object) -> str:
    """As ``run_script``, for one that mounts something: on Linux, where nobody else sees it, until the process ends."""
    within = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    attempt = subprocess.run([*within, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    if attempt.returncode:
        pytest.fail(
            f"nothing can be mounted here ({attempt.stderr.decode().strip()}). Run this test as root, or allow user "
            "namespaces: sysctl -w kernel.unprivileged_userns_clone=1"
        )
    return run_script(script, *arguments, within=within)


def limit_connections(monkeypatch: pytest.MonkeyPatch, pragma: str) -> None:
    """Connections opened from now on get the pragma."""

    def connect(file: str) -> sqlite3.Connection:
        connection = schema.connect(file)
        connection.execute(pragma)
        return connection

    monkeypatch.setattr(engine, "connect", connect)
