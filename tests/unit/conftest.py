"""Fixtures of several unit tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mail.db"


@pytest.fixture
def unmeasured() -> dict[str, str]:
    """The environment of a process without coverage, which itself needs sqlite3."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@pytest.fixture
def location(file: Path) -> str:
    return f"sqlite:///{file}#inbox"
