"""All backends by the schemes of their locations: those of this package, and those that other packages add.

A package adds one by an entry point whose name is the scheme and whose object is a subclass of ``EmbeddedMailbox``
(``backends/base.py`` says what it fills in)::

    [project.entry-points."pymailbox.backends"]
    redis = "pymailbox_redis:RedisMailbox"

It is imported only when a location with that scheme is met. A scheme belongs to one package only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..contract.errors import MissingImportError, StorageUnavailableError, UnknownSchemeError
from ..contract.location import (
    WITH_SERVERS,
    Location,
    missing_backend,
    parse_name,
    parse_path,
    parse_plain_name,
    parse_sqlite,
    split_url,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .base import EmbeddedMailbox

ENTRY_POINTS: Final = "pymailbox.backends"

# imported on demand, so that importing pymailbox costs nothing that is not used


def _indexeddb() -> type[EmbeddedMailbox]:
    from .indexeddb import IndexedDbMailbox

    return IndexedDbMailbox


def _sqlite() -> type[EmbeddedMailbox]:
    from .sqlite import SqliteMailbox

    return SqliteMailbox


def _memory() -> type[EmbeddedMailbox]:
    from .memory import MemoryMailbox

    return MemoryMailbox


def _jetstream() -> type[EmbeddedMailbox]:
    from .jetstream import JetStreamMailbox

    return JetStreamMailbox


def _parse_nats(location: str, scheme: str, rest: str) -> Location:
    from .jetstream.location import parse

    return parse(location, scheme, rest)


class _BuiltIn(NamedTuple):
    """A backend of this package."""

    form: str
    parse: Callable[[str, str, str], Location]
    load: Callable[[], type[EmbeddedMailbox]]


_BUILT_IN: Final = {
    "indexeddb": _BuiltIn("indexeddb://NAME", parse_name, _indexeddb),
    "sqlite": _BuiltIn("sqlite:///FILE#NAME", parse_sqlite, _sqlite),
    "memory": _BuiltIn("memory://NAME", parse_name, _memory),
    **{scheme: _BuiltIn(f"{scheme}://HOST:PORT/NAME", _parse_nats, _jetstream) for scheme in WITH_SERVERS},
}


_added: Final[dict[str, type[EmbeddedMailbox]]] = {}
"""Those of other packages that have been met: looking for them takes milliseconds."""


def parse_location(location: Any) -> Location:
    """Parses a location, without touching any storage.

    Raises:
        TypeError, ValueError: it is neither a string nor a path, is empty, or breaks a rule for names.
        UnknownSchemeError: its scheme belongs to no backend.
        StorageUnavailableError: the package that adds the scheme cannot be used.
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
    backend = _added_backend(scheme)
    if backend is None:
        raise UnknownSchemeError(f"location {location!r} has an unknown scheme; {_forms()}")
    parsed = backend.parse(location, scheme, rest)
    if not isinstance(parsed, Location) or parsed.scheme != scheme:
        by = f"{backend.__module__}.{backend.__qualname__}"
        raise missing_backend(scheme, f"{by}.parse gave {parsed!r}, which is not a location of that scheme")
    return parsed


def backend_of(location: Location) -> type[EmbeddedMailbox]:
    """The class for the mailboxes at a location that was parsed here."""
    built_in = _BUILT_IN.get(location.scheme)
    return _added[location.scheme] if built_in is None else built_in.load()


def _added_backend(scheme: str) -> type[EmbeddedMailbox] | None:
    """The backend that another package adds for a scheme."""
    if scheme not in _added:
        entry_point = _entry_point(scheme)
        if entry_point is None:
            return None
        _added[scheme] = _load(entry_point, scheme)
    return _added[scheme]


def _entry_point(scheme: str) -> EntryPoint | None:
    found = None
    for entry_point in _entry_points():
        name = entry_point.name.lower()
        if name in _BUILT_IN:
            raise _claimed_twice(name, "pymailbox", _package_of(entry_point))
        if name == scheme:
            if found is not None:
                raise _claimed_twice(name, _package_of(found), _package_of(entry_point))
            found = entry_point
    return found


def _load(entry_point: EntryPoint, scheme: str) -> type[EmbeddedMailbox]:
    from .base import EmbeddedMailbox

    told = f"the package {_package_of(entry_point)} adds it as {entry_point.value}, "
    try:
        backend = entry_point.load()
    except StorageUnavailableError:
        raise  # which says what to do
    except Exception as error:
        why = f"{told}which cannot be imported ({type(error).__name__}: {error}). Install what it lacks, or update it"
        raise missing_backend(scheme, why, MissingImportError) from error
    if not (isinstance(backend, type) and issubclass(backend, EmbeddedMailbox)):
        raise missing_backend(
            scheme, f"{told}which is not a subclass of EmbeddedMailbox. Update or uninstall that package"
        )
    return backend


def _claimed_twice(scheme: str, one: str, other: str) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"{scheme}:// belongs to two packages, {one} and {other}. Uninstall the one that you do not need"
    )


def _package_of(entry_point: EntryPoint) -> str:
    return entry_point.value if entry_point.dist is None else entry_point.dist.name


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)


def _forms() -> str:
    added = sorted({entry_point.name.lower() for entry_point in _entry_points()} - _BUILT_IN.keys())
    forms = [*dict.fromkeys(backend.form for backend in _BUILT_IN.values()), *(f"{scheme}://" for scheme in added)]
    return f"there are {', '.join(forms)} and a plain NAME"
