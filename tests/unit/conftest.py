"""Fixtures of several unit tests."""

import os
from pathlib import Path

import pytest

from pymailbox.backends.sqlite import database
from pymailbox.backends.sqlite.watcher import Watcher


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mail.db"


@pytest.fixture
def thread_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of a SQLite file does nothing by itself, as when it looks after a handle after its first claim."""
    monkeypatch.setattr(Watcher, "timeout", lambda watcher: None)
    monkeypatch.setattr(database, "_REDELIVERY", 60.0)


@pytest.fixture
def unmeasured() -> dict[str, str]:
    """The environment of a process without coverage, which itself needs sqlite3."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@pytest.fixture
def location(file: Path) -> str:
    return f"sqlite:///{file}#inbox"
