"""Locations: what each one means, and what is wrong with the bad ones."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymailbox import StorageUnavailableError
from pymailbox.backends.registry import parse_location
from pymailbox.contract import location as location_module
from pymailbox.contract.location import Location


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("inbox", Location("sqlite", "pymailbox.db", "inbox")),
        ("a b c%20?#ü", Location("sqlite", "pymailbox.db", "a b c%20?#ü")),
        ("v1.0", Location("sqlite", "pymailbox.db", "v1.0")),
        ("my.database", Location("sqlite", "pymailbox.db", "my.database")),
        ("app.db.old", Location("sqlite", "pymailbox.db", "app.db.old")),
        ("sqlite:///pymailbox.db#app.db", Location("sqlite", "pymailbox.db", "app.db")),
        ("x" * 200, Location("sqlite", "pymailbox.db", "x" * 200)),
        ("memory:inbox", Location("sqlite", "pymailbox.db", "memory:inbox")),
        ("profile:x", Location("sqlite", "pymailbox.db", "profile:x")),
        ("memory://:memory:", Location("memory", "", ":memory:")),
        ("sqlite:///file.db#:memory:", Location("sqlite", "file.db", ":memory:")),
        ("sqlite:////tmp/:memory:", Location("sqlite", "/tmp/:memory:", "default")),
        ("memory://inbox", Location("memory", "", "inbox")),
        ("memory://", Location("memory", "", None)),
        ("MEMORY://Inbox", Location("memory", "", "Inbox")),
        ("memory://a%2Fb%3Fc%23d", Location("memory", "", "a/b?c#d")),
        ("memory://%C3%BC", Location("memory", "", "ü")),
        ("memory://ü", Location("memory", "", "ü")),
        ("memory://a%2520b", Location("memory", "", "a%20b")),
        ("memory://a+b", Location("memory", "", "a+b")),
        ("memory://a b", Location("memory", "", "a b")),
        ("memory://" + "%C3%BC" * 200, Location("memory", "", "ü" * 200)),
        ("indexeddb://inbox", Location("indexeddb", "", "inbox")),
        ("indexeddb://", Location("indexeddb", "", None)),
        ("sqlite:///file.db", Location("sqlite", "file.db", "default")),
        ("sqlite:///file.db#inbox", Location("sqlite", "file.db", "inbox")),
        ("sqlite:///folder/file.db#a%2Fb%23c", Location("sqlite", "folder/file.db", "a/b#c")),
        ("sqlite:////tmp/file.db#inbox", Location("sqlite", "/tmp/file.db", "inbox")),
        ("sqlite:////tmp/a%20b%3F%23.db", Location("sqlite", "/tmp/a b?#.db", "default")),
        ("sqlite:///file.db#a/b?c", Location("sqlite", "file.db", "a/b?c")),
    ],
)
def test_good_locations(text: str, location: Location) -> None:
    assert parse_location(text) == location


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (None, TypeError, "location must be a str or a path, not NoneType"),
        (b"inbox", TypeError, "location must be a str or a path, not bytes"),
        ("app.db", ValueError, r"looks like a file, .* 'sqlite:///app\.db', .* 'sqlite:///pymailbox\.db#app\.db'"),
        ("app.db#in box", ValueError, r"For the file write 'sqlite:///app\.db#in%20box'"),
        ("App.SQLite3", ValueError, r"'sqlite:///App\.SQLite3'"),
        ("app.sqlite", ValueError, r"'sqlite:///app\.sqlite'"),
        ("app.db3", ValueError, r"'sqlite:///app\.db3'"),
        (".db", ValueError, r"'sqlite:///\.db'"),
        ("a/b", ValueError, r"'sqlite:///a/b', .* 'sqlite:///pymailbox\.db#a%2Fb'"),
        ("/tmp/app", ValueError, r"'sqlite:////tmp/app'"),
        ("./app.db#inbox", ValueError, r"'sqlite:///\./app\.db#inbox'"),
        ("C:\\data\\inbox", ValueError, r"'sqlite:///C:/data/inbox'"),
        ("a#b/c.db", ValueError, r"'sqlite:///a%23b/c\.db'"),
        (Path("sqlite:///app.db"), ValueError, "a path made of a URL"),
        (Path("memory://inbox"), ValueError, "a path made of a URL"),
        (Path(":memory:"), ValueError, "memory://NAME"),
        (Path("a\0b"), ValueError, "NUL"),
        ("", ValueError, "location must not be empty; there are indexeddb://NAME"),
        ("x" * 201, ValueError, "1 to 200 characters, not 201"),
        ("a\nb", ValueError, r"control character '\\n'"),
        ("a\x00b", ValueError, r"control character '\\x00'"),
        ("a\x85b", ValueError, r"control character '\\x85'"),
        ("a\ud800b", ValueError, "lone surrogate"),
        ("memory://a%0Ab", ValueError, r"control character '\\n'"),
        ("memory://" + "x" * 201, ValueError, "not 201"),
        ("memory://a/b", ValueError, "percent-encoded"),
        ("memory://a?b", ValueError, "percent-encoded"),
        ("memory://a#b", ValueError, "percent-encoded"),
        ("memory://100%", ValueError, "write '%25' for '%'"),
        ("memory://%zz", ValueError, "write '%25' for '%'"),
        ("memory://%FF", ValueError, "UTF-8"),
        ("indexeddb://a/b", ValueError, "must look like indexeddb://NAME"),
        ("sqlite://", ValueError, "must look like sqlite:///relative.db#NAME .* A mailbox in memory is memory://NAME"),
        ("sqlite:///", ValueError, "must look like sqlite:///relative.db#NAME"),
        ("sqlite:///#inbox", ValueError, "must look like sqlite:///relative.db#NAME"),
        ("sqlite://file.db", ValueError, "must look like sqlite:///relative.db#NAME"),
        ("sqlite:///file.db?mode=ro", ValueError, "must look like sqlite:///relative.db#NAME"),
        ("sqlite:///file.db#", ValueError, "1 to 200 characters, not 0"),
        ("sqlite:///file.db#a#b", ValueError, "must look like sqlite:///relative.db#NAME"),
        ("sqlite:///a%00b", ValueError, "NUL"),
        (":memory:", ValueError, "location ':memory:' means .* Use memory://NAME for a mailbox in memory"),
        ("file:app.db", ValueError, "Use memory://NAME .* sqlite:///FILE#NAME for one in a file"),
        ("FILE::memory:?cache=shared", ValueError, "memory://NAME"),
        ("sqlite:///:memory:", ValueError, "memory://NAME"),
        ("sqlite://:memory:", ValueError, "memory://NAME"),
        ("sqlite:///:memory:#inbox", ValueError, "memory://NAME"),
        ("sqlite:///%3Amemory%3A", ValueError, "memory://NAME"),
        ("sqlite:///file:app.db#inbox", ValueError, "memory://NAME"),
        ("sqlite:///file::memory:?cache=shared", ValueError, "memory://NAME"),
        ("redis://host/inbox", ValueError, "unknown scheme; there are indexeddb://NAME"),
        ("http://example.org/inbox", ValueError, "unknown scheme"),
        ("://inbox2" * 30, ValueError, "not 270"),
    ],
)
def test_bad_locations(text: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        parse_location(text)
    assert "location" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "file"),
    [
        (Path("app.db"), "app.db"),
        (Path("/tmp/inbox"), "/tmp/inbox"),
        (Path("a b?#%20.db"), "a b?#%20.db"),
        (PureWindowsPath("C:/data/app.db"), "C:\\data\\app.db"),
    ],
)
def test_path_is_a_sqlite_file(path: Any, file: str) -> None:
    assert parse_location(path) == Location("sqlite", file, "default")


def test_url_in_the_error_is_the_file_that_was_meant() -> None:
    for meant, location in {
        "app.db": Location("sqlite", "app.db", "default"),
        "a b/ü?%.db#x y": Location("sqlite", "a b/ü?%.db", "x y"),
        "app.db#rooms/1": Location("sqlite", "app.db", "rooms/1"),
        "a/b#c": Location("sqlite", "a/b", "c"),
    }.items():
        with pytest.raises(ValueError, match="looks like a file") as caught:
            parse_location(meant)
        for_file, for_name = re.findall(r"'(sqlite:///[^']*)'", str(caught.value))
        assert parse_location(for_file) == location
        assert parse_location(for_name) == Location("sqlite", "pymailbox.db", meant)


def test_unknown_scheme_is_also_a_missing_backend() -> None:
    with pytest.raises(StorageUnavailableError, match="sqlite:///FILE#NAME, memory://NAME"):
        parse_location("redis://host/inbox")


def test_plain_name_in_pyodide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location_module, "IN_PYODIDE", True)
    for name in ("inbox", "app.db", "rooms/1"):
        assert parse_location(name) == Location("indexeddb", "", name)


names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200)


@given(names)
def test_any_name_survives_encoding(name: str) -> None:
    for prefix in ("memory://", "indexeddb://", "sqlite:///file.db#"):
        assert parse_location(prefix + quote(name, safe="")).name == name


@given(st.text())
def test_any_text_is_a_location_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_location(text).scheme in ("indexeddb", "sqlite", "memory")
