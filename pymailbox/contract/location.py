"""Where a mailbox is: a plain name or a URL, taken apart and checked without touching any storage."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes

from .errors import StorageUnavailableError
from .limits import LONGEST_NAME

DEFAULT_SQLITE_FILE = "pymailbox.db"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

_MISLEADING = re.compile(r":memory:|file:.*", re.DOTALL | re.IGNORECASE)
"""What SQLite and others take for a database in memory, or for a URL of a file."""

_LIKE_A_FILE = re.compile(
    r"(?P<file>.*?\.(?:db3?|sqlite3?)(?=#|$)|.*[/\\][^#]*)(?:#(?P<name>.*))?", re.DOTALL | re.IGNORECASE
)
"""What is meant as a file with mailboxes, maybe with the name of one."""

_URL_IN_PATH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):[/\\]")
"""What a ``Path`` makes of a URL. A drive has one letter."""

WITH_SERVERS = ("nats", "tls", "ws", "wss")
"""Schemes of locations on a server."""

IN_PYODIDE = sys.platform == "emscripten"


class Connect(Mapping[str, Any]):
    """How a client is to connect: what ``open_mailbox`` was given as ``connect``. It shows none of its values."""

    __slots__ = ("_options",)

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)

    def __getitem__(self, name: str) -> Any:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __repr__(self) -> str:
        return f"<options {', '.join(map(repr, self._options))}>"


class Location(NamedTuple):
    """A checked location."""

    scheme: str
    """Of its backend, see ``backends/registry.py``."""
    database: str
    """What names it there: the file of a SQLite mailbox; empty where there is one database."""
    name: str | None
    """The mailbox; None where the location names a database only, or a fresh mailbox in memory."""
    connect: Connect | None = None
    """For a backend with a server; not a part of where it is."""


def split_url(location: str) -> tuple[str, str] | None:
    """The scheme of a URL, in lower case, and what comes after its ``://``; None for a plain name."""
    url = _SCHEME.fullmatch(location)
    return None if url is None else (url[1].lower(), url[2])


def parse_plain_name(location: str) -> Location:
    """A plain name: the embedded default of this platform."""
    refuse_misleading(location, location)
    name = check_name(location)
    if IN_PYODIDE:
        return Location("indexeddb", "", name)
    if looks := _LIKE_A_FILE.fullmatch(location):
        raise ValueError(
            f"location {location!r} looks like a file, and would be the name of a mailbox in {DEFAULT_SQLITE_FILE}. "
            f"For the file write {sqlite_url(looks['file'].replace(chr(92), '/'), looks['name'])!r}, or give a "
            f"pathlib.Path; for a mailbox of that name, {sqlite_url(DEFAULT_SQLITE_FILE, name)!r}"
        )
    return Location("sqlite", DEFAULT_SQLITE_FILE, name)


def parse_path(location: os.PathLike[str] | os.PathLike[bytes]) -> Location:
    """A path: the mailbox ``default`` in that SQLite file."""
    file = os.fsdecode(location)
    refuse_misleading(file, file)
    if _URL_IN_PATH.match(file):
        raise ValueError(f"location {location!r} is a path made of a URL. Give the URL itself, as a str")
    if not file or "\0" in file:
        raise ValueError(f"location {location!r} is empty, or has a NUL character in it")
    return Location("sqlite", file, "default")


def sqlite_url(file: str, name: str | None = None) -> str:
    """The location of a mailbox in a file."""
    return f"sqlite:///{quote(file, safe='/:')}{'' if name is None else '#' + quote(name, safe='')}"


def parse_name(location: str, scheme: str, rest: str) -> Location:
    """``SCHEME://NAME``, where there is one database."""
    if any(character in rest for character in "/?#"):
        raise ValueError(f"location {location!r} must look like {scheme}://NAME, with '/', '?' and '#' percent-encoded")
    return Location(scheme, "", check_name(decode(location, rest)) if rest else None)


def resolved(location: Location) -> Location:
    """With an absolute path where there is one: a relative path is of the folder that the process is in now.

    Raises:
        StorageUnavailableError: that folder is gone.
    """
    if location.scheme != "sqlite":
        return location
    try:
        return location._replace(database=str(Path(location.database).absolute()))
    except OSError as error:
        raise StorageUnavailableError(
            f"location has the relative path {location.database}, and the current folder is gone. Use an absolute path"
        ) from error


def check_path(name: str, path: str | os.PathLike[str]) -> str:
    """The absolute path of a file; a ``TypeError`` or ``ValueError`` that names the argument."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be a path, as str or pathlib.Path, not {type(path).__name__}")
    text = os.fsdecode(path)
    if not text or "\0" in text:
        raise ValueError(f"{name} must not be empty, nor have a NUL character in it")
    if split_url(text) is not None or _URL_IN_PATH.match(text):
        raise ValueError(f"{name} must be the path of a file, not a URL: {text}")
    try:
        return str(Path(text).absolute())
    except OSError as error:
        raise StorageUnavailableError(
            f"{name} is the relative path {text}, and the current folder is gone. Use an absolute path"
        ) from error


def check_name(name: str) -> str:
    """The mailbox's name, unchanged; a ``ValueError`` that says which rule it breaks."""
    if not 1 <= len(name) <= LONGEST_NAME:
        raise ValueError(f"the mailbox's name in location must have 1 to {LONGEST_NAME} characters, not {len(name)}")
    for character in name:
        category = unicodedata.category(character)
        if category == "Cc":
            raise ValueError(f"the mailbox's name in location must not contain the control character {character!r}")
        if category == "Cs":
            raise ValueError(f"the mailbox's name in location must not contain the lone surrogate {character!r}")
    return name


def refuse_misleading(location: str, text: str) -> None:
    """A ``ValueError`` for a plain name or a path that is likely not meant as one."""
    if _MISLEADING.fullmatch(text):
        raise ValueError(
            f"location {location!r} means a database in memory or a URL of a file elsewhere, and would be a plain name "
            "here. Use memory://NAME for a mailbox in memory, sqlite:///FILE#NAME for one in a file"
        )


def check_connect(connect: Any, scheme: str) -> Connect:
    """A ``TypeError`` or ``ValueError`` that names the argument, and shows none of its values."""
    if not isinstance(connect, Mapping) or not all(isinstance(name, str) for name in connect):
        raise TypeError(f"connect must be a mapping of str to what the client takes, not {type(connect).__name__}")
    if scheme not in WITH_SERVERS:
        raise ValueError(f"connect is for {', '.join(f'{each}://' for each in WITH_SERVERS)}, not for {scheme}://")
    return Connect(connect)


def require_name(location: Location) -> str:
    if location.name is None:
        raise ValueError(f"location must name a mailbox, as in {location.scheme}://NAME")
    return location.name


def parse_sqlite(location: str, scheme: str, rest: str) -> Location:
    """``sqlite:///FILE#NAME``."""
    path, fragment_sign, fragment = rest.partition("#")
    refuse_misleading(location, unquote(path.removeprefix("/")))
    if not path.startswith("/") or "?" in path or "#" in fragment or path == "/":
        raise ValueError(
            f"location {location!r} must look like sqlite:///relative.db#NAME or sqlite:////absolute.db#NAME, "
            "with '?' and '#' percent-encoded. A mailbox in memory is memory://NAME"
        )
    file = decode(location, path[1:])
    if "\0" in file:
        raise ValueError(f"location {location!r} has a NUL character in its path")
    return Location(scheme, file, check_name(decode(location, fragment)) if fragment_sign else "default")


def decode(location: str, text: str) -> str:
    """Percent-decodes once, and refuses what would decode to something other than it seems."""
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        raise ValueError(f"location {location!r} has a '%' that is not a percent-encoding; write '%25' for '%'")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeError:
        raise ValueError(f"location {location!r} does not decode to UTF-8") from None


def missing_backend(
    scheme: str, why: str, kind: type[StorageUnavailableError] = StorageUnavailableError
) -> StorageUnavailableError:
    return kind(f"{scheme}:// is not available here: {why}")
