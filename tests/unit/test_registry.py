"""A backend that another package adds: found by its scheme, and imported only then."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymailbox import MemoryMailbox, StorageUnavailableError, delete_mailbox, list_mailboxes, open_mailbox

PACKAGE = '''
from pymailbox.backends.memory import MemoryMailbox

class ShelfMailbox(MemoryMailbox):
    """One of another package."""

no_backend = str
'''

ENTRY_POINTS = """[pymailbox.backends]
Shelf = shelf_of_test:ShelfMailbox
broken = shelf_of_test:no_backend
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "shelf_of_test.py").write_text(PACKAGE, "utf-8")
    info = tmp_path / "shelf_of_test-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf-of-test\nVersion: 1\n", "utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("shelf_of_test", None)


async def test_its_mailboxes_are_opened_listed_and_deleted() -> None:
    async with await open_mailbox("SHELF://books%20and%20more", batch_size=1) as mailbox:
        assert isinstance(mailbox, MemoryMailbox)
        assert (type(mailbox).__name__, mailbox.name) == ("ShelfMailbox", "books and more")
        await mailbox.enqueue(b"me", b"hello")
        assert [message.payload for message in await mailbox.dequeue()] == [b"hello"]
    assert "books and more" in await list_mailboxes("shelf://")
    assert await delete_mailbox("shelf://books%20and%20more")


def test_it_is_imported_when_it_is_needed() -> None:
    open_mailbox("memory://")
    assert "shelf_of_test" not in sys.modules
    open_mailbox("shelf://books")
    assert "shelf_of_test" in sys.modules


def test_an_unknown_scheme_says_that_it_is_there() -> None:
    with pytest.raises(StorageUnavailableError, match=r"memory://NAME, broken://, shelf:// and a plain NAME"):
        open_mailbox("redis://host")


def test_its_rules_for_names_are_those_of_all() -> None:
    with pytest.raises(ValueError, match="location 'shelf://a/b' must look like shelf://NAME"):
        open_mailbox("shelf://a/b")


def test_what_is_no_backend_is_a_clear_error() -> None:
    with pytest.raises(TypeError, match="broken = shelf_of_test:no_backend is no subclass of EmbeddedMailbox"):
        open_mailbox("broken://name")
