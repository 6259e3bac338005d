"""A backend from another package: found by its scheme, and imported only then."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from pymailbox import MemoryMailbox, StorageUnavailableError, delete_mailbox, list_mailboxes, open_mailbox
from pymailbox.backends import registry

PACKAGE = '''
from pymailbox.backends.memory import MemoryMailbox

class ShelfMailbox(MemoryMailbox):
    """One of another package."""

class ElsewhereMailbox(MemoryMailbox):
    """Its locations are another backend's."""

    @classmethod
    def parse(cls, location, scheme, rest):
        return super().parse(location, "memory", rest)

no_backend = str
'''

ENTRY_POINTS = """[pymailbox.backends]
Shelf = shelf_of_test:ShelfMailbox
broken = shelf_of_test:no_backend
elsewhere = shelf_of_test:ElsewhereMailbox
absent = absent_of_test:Mailbox
nameless = shelf_of_test:Nameless
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "shelf_of_test.py").write_text(PACKAGE, "utf-8")
    install(tmp_path, "shelf-of-test", ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_added", {})
    yield
    sys.modules.pop("shelf_of_test", None)


def install(folder: Path, name: str, entry_points: str) -> None:
    """What an installer writes about a package."""
    info = folder / f"{name.replace('-', '_')}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", "utf-8")
    (info / "entry_points.txt").write_text(entry_points, "utf-8")


async def test_its_mailboxes_are_opened_listed_and_deleted() -> None:
    async with await open_mailbox("SHELF://books%20and%20more", batch_size=1) as mailbox:
        assert isinstance(mailbox, MemoryMailbox)
        assert (type(mailbox).__name__, mailbox.name) == ("ShelfMailbox", "books and more")
        await mailbox.enqueue(b"me", b"hello")
        assert [message.payload for message in await mailbox.dequeue()] == [b"hello"]
    assert "books and more" in await list_mailboxes("shelf://")
    assert await delete_mailbox("shelf://books%20and%20more")


async def test_it_is_imported_when_it_is_needed() -> None:
    async with open_mailbox("memory://"):
        assert "shelf_of_test" not in sys.modules
    async with open_mailbox("shelf://books"):
        pass
    assert "shelf_of_test" in sys.modules


def test_an_unknown_scheme_says_that_it_is_there() -> None:
    with pytest.raises(StorageUnavailableError, match=r"nats://.*, absent://, broken://, .* and a plain NAME"):
        open_mailbox("redis://host")


def test_its_rules_for_names_are_those_of_all() -> None:
    with pytest.raises(ValueError, match="location 'shelf://a/b' must look like shelf://NAME"):
        open_mailbox("shelf://a/b")


UNUSABLE = {
    "broken": r"the package shelf-of-test adds it as .*:no_backend, which is not a subclass of EmbeddedMailbox",
    "absent": r"shelf-of-test adds it as absent_of_test:Mailbox, .* imported \(ModuleNotFoundError: .*absent_of_test",
    "nameless": r"shelf-of-test adds it as shelf_of_test:Nameless, .* imported \(AttributeError: .*Nameless",
    "elsewhere": r"shelf_of_test.ElsewhereMailbox.parse gave .*memory.*, which is not a location of that scheme",
}


@pytest.mark.parametrize("scheme", UNUSABLE)
def test_what_cannot_be_used_says_whose_it_is(scheme: str) -> None:
    with pytest.raises(StorageUnavailableError, match=f"^{scheme}:// is not available here: .*{UNUSABLE[scheme]}"):
        open_mailbox(f"{scheme}://name")


def test_a_package_may_say_itself_what_it_lacks(tmp_path: Path) -> None:
    why = "redis:// needs a server"
    text = f"import pymailbox\nraise pymailbox.StorageUnavailableError({why!r})\n"
    (tmp_path / "absent_of_test.py").write_text(text, "utf-8")
    with pytest.raises(StorageUnavailableError, match=f"^{why}$"):
        open_mailbox("absent://name")


@pytest.mark.parametrize(
    ("scheme", "owner", "met"), [("shelf", "shelf-of-test", "shelf"), ("SQLite", "pymailbox", "shelf")]
)
def test_a_scheme_belongs_to_one_package(tmp_path: Path, scheme: str, owner: str, met: str) -> None:
    install(tmp_path, "rival-of-test", f"[pymailbox.backends]\n{scheme} = rival_of_test:Mailbox\n")
    with pytest.raises(StorageUnavailableError) as raised:
        open_mailbox(f"{met}://name")
    assert str(raised.value).startswith(f"{scheme.lower()}:// belongs to two packages, ")
    assert owner in str(raised.value)
    assert "rival-of-test" in str(raised.value)
    with pytest.raises(ValueError, match="location must not be empty; there are"):
        open_mailbox("")


async def test_the_installation_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Mock(wraps=registry._entry_points)
    monkeypatch.setattr(registry, "_entry_points", look)
    for _ in range(2):
        async with open_mailbox("shelf://books"):
            pass
    assert look.call_count == 1
