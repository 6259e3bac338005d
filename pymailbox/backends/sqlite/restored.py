"""Whether a database's tables are those of a mailbox file, whatever its header says: dumps lose the header."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from ...contract.errors import StorageCorruptError

_CREATES: Final = re.compile(r"\s*CREATE (?:UNIQUE )?(TABLE|INDEX|TRIGGER) (\w+)")

_COMMENT: Final = re.compile(r"--[^\n]*")
_NO_MATTER: Final = re.compile(r"""IF NOT EXISTS|["'`\[\]]""", re.IGNORECASE)
_SPACE_AROUND: Final = re.compile(r"\s*([(),=<>])\s*")

_BESIDE: Final = re.compile(r"lost_and_found(_\d+)?")
"""Where the command line tool's ``.recover`` puts rows whose table it does not know."""


def definitions(connection: sqlite3.Connection) -> dict[str, str]:
    """The statements that made the database's tables and indexes, by name, without SQLite's own."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    return {name: sql or "" for name, sql in rows}


def is_ours(found: Iterable[str], statements: Iterable[str]) -> bool:
    """Whether most of the statements' tables exist: then it is a mailbox file, sound or not."""
    tables = _made_by(statements, "TABLE")
    return 2 * len(tables.keys() & found) > len(tables)


def missing(found: Iterable[str], statements: Iterable[str], file: str) -> list[str]:
    """The statements that make missing indexes and triggers.

    Raises:
        StorageCorruptError: a table is missing.
    """
    statements, found = list(statements), set(found)
    lost = [name for name in _made_by(statements, "TABLE") if name not in found]
    if lost:
        raise StorageCorruptError(
            f"the mailbox file {file} has no table {', '.join(lost)}: some of it was deleted, or not restored. "
            "Restore all of it from a backup, or move it away and start afresh"
        )
    rest = _made_by(statements, "INDEX") | _made_by(statements, "TRIGGER")
    return [statement for name, statement in rest.items() if name not in found]


def require_same(found: Mapping[str, str], statements: Iterable[str], file: str, header: str) -> None:
    """Checks that a database without a mailbox file's header has exactly the tables that the statements make.

    Raises:
        StorageCorruptError: it has other or additional tables; the error names ``header`` as the statement that says
        what it is.
    """
    made = {name: sql for kind in ("TABLE", "INDEX", "TRIGGER") for name, sql in _made_by(statements, kind).items()}
    others = [name for name in found if name not in made and not _BESIDE.fullmatch(name)]
    if others:
        raise StorageCorruptError(
            f"{file} holds the tables of a mailbox file, restored from a dump, beside others ({', '.join(others)}). "
            "Restore the dump into a file of its own"
        )
    different = [name for name, sql in found.items() if name in made and _essence(sql) != _essence(made[name])]
    if different:
        raise StorageCorruptError(
            f"{file} seems to be a mailbox file that was restored from a dump, but it is not as this version of "
            f"pymailbox makes them: {', '.join(different)}. Copy the original with sqlite3's .backup instead. If that "
            f'is gone and another version wrote it, say which: sqlite3 {file} "{header}", where N is its user_version'
        )


def _made_by(statements: Iterable[str], kind: str) -> dict[str, str]:
    matches = ((_CREATES.match(statement), statement) for statement in statements)
    return {match[2]: statement for match, statement in matches if match is not None and match[1] == kind}


def _essence(statement: str) -> str:
    """A statement without what dumping tools may change: comments, quotes, space, upper and lower case."""
    bare = _NO_MATTER.sub(" ", _COMMENT.sub(" ", statement))
    return " ".join(_SPACE_AROUND.sub(r" \1 ", bare).split()).rstrip("; ").lower()
