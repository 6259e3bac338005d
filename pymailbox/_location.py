"""Where a mailbox is: a plain name or a URL, taken apart and checked without touching any storage."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from ._errors import StorageUnavailableError, UnknownSchemeError

LONGEST_NAME = 200
"""Characters."""

DEFAULT_SQLITE_FILE = "pymailbox.db"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

_FORMS = {
    "indexeddb": "indexeddb://NAME",
    "sqlite": "sqlite:///FILE#NAME",
    "memory": "memory://NAME",
}
BACKENDS_TEXT = f"there are {', '.join(_FORMS.values())} and a plain NAME"

IN_PYODIDE = sys.platform == "emscripten"


class Location(NamedTuple):
    """A checked location."""

    scheme: str
    """``indexeddb``, ``sqlite`` or ``memory``."""
    database: str
    """The file of a SQLite mailbox; else empty, since there is one database."""
    name: str | None
    """The mailbox; None where the location names a database only, or a fresh mailbox in memory."""


def parse_location(location: Any) -> Location:
    """Takes a location apart.

    Raises:
        TypeError, ValueError: it is no string, empty, or breaks a rule for names.
        UnknownSchemeError: its scheme belongs to no backend.
    """
    if not isinstance(location, str):
        raise TypeError(f"location must be a str, not {type(location).__name__}")
    if not location:
        raise ValueError(f"location must not be empty; {BACKENDS_TEXT}")
    url = _SCHEME.fullmatch(location)
    if url is None:
        name = check_name(location)
        return Location("indexeddb", "", name) if IN_PYODIDE else Location("sqlite", DEFAULT_SQLITE_FILE, name)
    scheme, rest = url[1].lower(), url[2]
    if scheme not in _FORMS:
        raise UnknownSchemeError(f"location {location!r} has an unknown scheme; {BACKENDS_TEXT}")
    if scheme == "sqlite":
        return _parse_sqlite(location, rest)
    if any(character in rest for character in "/?#"):
        raise ValueError(
            f"location {location!r} must look like {_FORMS[scheme]}, with '/', '?' and '#' percent-encoded"
        )
    return Location(scheme, "", check_name(_decode(location, rest)) if rest else None)


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


def require_name(location: Location) -> str:
    if location.name is None:
        raise ValueError(f"location must name a mailbox, as in {_FORMS[location.scheme]}")
    return location.name


def _parse_sqlite(location: str, rest: str) -> Location:
    path, fragment_sign, fragment = rest.partition("#")
    if not path.startswith("/") or "?" in path or "#" in fragment or path == "/":
        raise ValueError(
            f"location {location!r} must look like sqlite:///relative.db#NAME or sqlite:////absolute.db#NAME, "
            "with '?' and '#' percent-encoded"
        )
    file = _decode(location, path[1:])
    if "\0" in file:
        raise ValueError(f"location {location!r} has a NUL character in its path")
    return Location("sqlite", file, check_name(_decode(location, fragment)) if fragment_sign else "default")


def _decode(location: str, text: str) -> str:
    """Percent-decodes once, and refuses what would decode to something else than it seems."""
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        raise ValueError(f"location {location!r} has a '%' that is no percent-encoding; write '%25' for '%'")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeError:
        raise ValueError(f"location {location!r} does not decode to UTF-8") from None


def missing_backend(scheme: str, why: str) -> StorageUnavailableError:
    return StorageUnavailableError(f"{scheme}:// is not available here: {why}")
