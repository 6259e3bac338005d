"""The backends there are, by the schemes of their locations: those of this package, and those that other packages add.

A package adds one by an entry point whose name is the scheme and whose object is a subclass of ``EmbeddedMailbox``
(``backends/base.py`` says what it fills in)::

    [project.entry-points."pymailbox.backends"]
    redis = "pymailbox_redis:RedisMailbox"

It is imported when a location with that scheme is met, and not before.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..contract.errors import UnknownSchemeError
from ..contract.location import Location, parse_name, parse_path, parse_plain_name, parse_sqlite, split_url

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .base import EmbeddedMailbox

ENTRY_POINTS: Final = "pymailbox.backends"

# imported when asked for, so that importing pymailbox costs nothing that is not used


def _indexeddb() -> type[EmbeddedMailbox]:
    from .indexeddb import IndexedDbMailbox

    return IndexedDbMailbox


def _sqlite() -> type[EmbeddedMailbox]:
    from .sqlite import SqliteMailbox

    return SqliteMailbox


def _memory() -> type[EmbeddedMailbox]:
    from .memory import MemoryMailbox

    return MemoryMailbox


class _BuiltIn(NamedTuple):
    """A backend of this package."""

    form: str
    parse: Callable[[str, str, str], Location]
    load: Callable[[], type[EmbeddedMailbox]]


_BUILT_IN: Final = {
    "indexeddb": _BuiltIn("indexeddb://NAME", parse_name, _indexeddb),
    "sqlite": _BuiltIn("sqlite:///FILE#NAME", parse_sqlite, _sqlite),
    "memory": _BuiltIn("memory://NAME", parse_name, _memory),
}


def parse_location(location: Any) -> Location:
    """Takes a location apart, without touching any storage.

    Raises:
        TypeError, ValueError: it is neither a string nor a path, is empty, or breaks a rule for names.
        UnknownSchemeError: its scheme belongs to no backend.
    """
    if isinstance(location, os.PathLike):
        return parse_path(location)
    if not isinstance(location, str):
        raise TypeError(f"location must be a str or a path, not {type(location).__name__}")
    if not location:
        raise ValueError(f"location must not be empty; {_forms()}")
    url = split_url(location)
    if url is None:
        return parse_plain_name(location)
    scheme, rest = url
    built_in = _BUILT_IN.get(scheme)
    if built_in is not None:
        return built_in.parse(location, scheme, rest)
    added = _added().get(scheme)
    if added is None:
        raise UnknownSchemeError(f"location {location!r} has an unknown scheme; {_forms()}")
    return _class_of(added).parse(location, scheme, rest)


def backend_of(location: Location) -> type[EmbeddedMailbox]:
    """The class whose mailboxes are at such a location."""
    built_in = _BUILT_IN.get(location.scheme)
    return _class_of(_added()[location.scheme]) if built_in is None else built_in.load()


def _added() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry_point.name.lower(): entry_point for entry_point in entry_points(group=ENTRY_POINTS)}


def _class_of(entry_point: EntryPoint) -> type[EmbeddedMailbox]:
    from .base import EmbeddedMailbox

    backend = entry_point.load()
    if not (isinstance(backend, type) and issubclass(backend, EmbeddedMailbox)):
        raise TypeError(f"the entry point {entry_point.name} = {entry_point.value} is no subclass of EmbeddedMailbox")
    return backend


def _forms() -> str:
    added = [f"{scheme}://" for scheme in sorted(_added()) if scheme not in _BUILT_IN]
    return f"there are {', '.join([*(backend.form for backend in _BUILT_IN.values()), *added])} and a plain NAME"
