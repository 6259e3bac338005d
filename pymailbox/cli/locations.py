"""Which mailbox is meant, and whether it exists: a command that only looks must not create a file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeAlias

from .._open import MailboxOpening
from ..actors.reply_mailboxes import marker_of
from ..backends.registry import parse_location
from ..backends.sqlite import SqliteMailbox
from ..backends.sqlite.read_only import Reader, ReadOnlyMailbox, may_write
from ..contract.arguments import Options
from ..contract.location import (
    DEFAULT_SQLITE_FILE,
    WITH_SERVERS,
    Location,
    check_name,
    refuse_misleading,
    resolved,
    split_url,
)
from ..contract.mailbox import Mailbox
from .errors import ProblemError, UsageError
from .servers import ServerLocation, refuse_passwords
from .text import one_line


class FileLocation(NamedTuple):
    """A file, and the mailbox in it if one was named."""

    file: str
    name: str | None
    is_url: bool = False

    @property
    def database(self) -> str:
        """For people."""
        return one_line(self.file)

    @property
    def text(self) -> str:
        """For people."""
        return self.database if self.name is None else self.named(self.name)

    def named(self, name: str) -> str:
        """A mailbox of the file, for people."""
        return one_line(f"{self.file}#{name}")

    def with_name(self, name: str) -> FileLocation:
        return self._replace(name=name)

    def to_dict(self) -> dict[str, str]:
        """Where it is, for programs."""
        return {"file": self.file}

    async def names(self) -> list[str]:
        """The mailboxes of the file; none if it is not there."""
        return await SqliteMailbox.list_at(self._place())

    async def names_to_read(self) -> list[str]:
        """The mailboxes of the file.

        Raises:
            ProblemError: it is not there.
        """
        _require_file(self)
        if may_write(self.file):
            return await self.names()
        with closing(Reader(self.file)) as reader:
            return reader.names()

    def opening(self, name: str, *, max_deliveries: int | None = None) -> MailboxOpening:
        """Opens a mailbox of the file."""
        return MailboxOpening(self._place(name), Options(max_deliveries=max_deliveries), (__file__, 0))

    def opening_to_read(self, name: str) -> MailboxOpening | Mailbox:
        """A mailbox of the file, to be looked at; read-only where this process may not write."""
        return self.opening(name) if may_write(self.file) else ReadOnlyMailbox(self.file, name)

    def check_writable(self) -> None:
        """Raises ``ProblemError`` if the file is there and this process may not write."""
        # SQLite would create its files beside it all the same, and they would stand in the way of those who may write
        if _is_there(self.file) and not may_write(self.file):
            raise ProblemError(
                f"{self.database} can't be written. Give yourself write permission for the file and its folder"
            )

    def _place(self, name: str = "default") -> Location:
        """Not by way of a URL, which cannot hold every name that a file may have."""
        return resolved(Location("sqlite", self.file, name))


AnyLocation: TypeAlias = FileLocation | ServerLocation


def location_of(text: str, mailbox: str | None) -> AnyLocation:
    """What was written on the command line: a location as in ``open_mailbox``, or a path with or without ``#NAME``.

    A URL without a name leaves it open here; see ``opening``.

    A plain word is a file if there is one of that name or if it looks like one, with a ``/`` or a ``.`` in it; else it
    is the name of a mailbox in the default file, as everywhere.

    Raises:
        UsageError: it is neither in a SQLite file nor on NATS servers, or names two mailboxes.
    """
    try:
        location = _location_of(text)
        if mailbox is not None:
            if location.name is not None:
                raise UsageError(f"{location.text} already names a mailbox; leave --mailbox out")
            location = location.with_name(check_name(mailbox))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return location


def file_of(text: str, command: str, instead: str) -> FileLocation:
    """A location for a command that is about a whole SQLite file.

    Raises:
        UsageError: it is not a SQLite file.
    """
    location = location_of(text, None)
    if not isinstance(location, FileLocation):
        raise UsageError(f"{command} is for SQLite files. {instead}")
    return location


def _location_of(text: str) -> AnyLocation:
    url = split_url(text)
    if url is not None:
        scheme, rest = url
        if scheme in WITH_SERVERS:
            refuse_passwords(rest)
            return ServerLocation(parse_location(text))
        if scheme != "sqlite":  # the rest is not shown: a password may be in it
            raise UsageError(
                f"{scheme}://: the command line works on SQLite files (sqlite:///FILE#NAME, or just FILE) and on "
                "NATS servers (nats://HOST:PORT/NAME)"
            )
        parsed = parse_location(text)
        return FileLocation(parsed.database, parsed.name if "#" in text else None, is_url=True)
    if "\0" in text or not text:
        raise UsageError("LOCATION must be a file or the name of a mailbox")
    refuse_misleading(text, text)
    if _is_there(text) or text == DEFAULT_SQLITE_FILE:
        return FileLocation(text, None)
    file, sign, name = text.rpartition("#")
    if sign and file:
        return FileLocation(file, check_name(name))
    if "/" in text or "\\" in text or "." in text:
        return FileLocation(text, None)
    return FileLocation(DEFAULT_SQLITE_FILE, check_name(text))


async def names_in(location: AnyLocation) -> list[str]:
    """The mailboxes of the database, or the one that was named.

    Raises:
        ProblemError: there is no such file, or no such mailbox in it.
    """
    names = await location.names_to_read()
    if location.name is None:
        return names
    if location.name not in names:
        named = f"there is no mailbox {one_line(location.name)} in {location.database}"
        raise ProblemError(f"{named}; {_there_are(names)}")
    return [location.name]


async def opening_to_read(location: AnyLocation) -> MailboxOpening | Mailbox:
    """Opens the mailbox that is meant, as ``opening`` does, for a command that only looks."""
    return location.opening_to_read(await _name_of(location, make=False))


async def opening(location: AnyLocation, *, make: bool = False, max_deliveries: int | None = None) -> MailboxOpening:
    """Opens the mailbox that is meant: the one that was named, or the only one; ``default`` if a file's URL names none.

    With ``make`` a mailbox that is not there is made, and its file or stream too.

    Raises:
        ProblemError: it is not there, there are several and none was named, or this process may not write there.
    """
    location.check_writable()
    return location.opening(await _name_of(location, make=make), max_deliveries=max_deliveries)


async def _name_of(location: AnyLocation, *, make: bool) -> str:
    if isinstance(location, FileLocation) and location.is_url and location.name is None:
        location = location.with_name("default")
    if make:
        names = [location.name] if location.name else await location.names()
    else:
        names = await names_in(location)
    if location.name is None:  # those for answers come and go, and are not meant
        names = [name for name in names if marker_of(name) is None]
    if make and not names:
        names = ["default"]
    if len(names) != 1:
        raise ProblemError(f"which mailbox of {location.text}? {_there_are(names)}. Write {location.named('NAME')}")
    return names[0]


def _require_file(location: FileLocation) -> None:
    file = location.database
    if not _is_there(location.file):
        hint = ""
        if location.file == DEFAULT_SQLITE_FILE:
            hint = ". Name another with FILE, FILE#NAME or sqlite:///FILE#NAME"
        raise ProblemError(f"there is no file {file}{hint}")
    path = Path(location.file)
    if path.is_file() and path.stat().st_size == 0:
        raise ProblemError(f"the file {file} is empty, with no mailbox in it")


def _is_there(file: str) -> bool:
    try:
        Path(file).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return "/" in file  # and opening it says what is wrong; a word may be too long for a file
    return True


def _there_are(names: list[str]) -> str:
    if not names:
        return "there is none"
    shown = ", ".join(one_line(name) for name in names[:10])
    return f"there are {shown}{', …' if len(names) > 10 else ''}" if len(names) > 1 else f"there is {shown}"
