"""Fixtures of several unit tests."""

from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mail.db"


@pytest.fixture
def location(file: Path) -> str:
    return f"sqlite:///{file}#inbox"
