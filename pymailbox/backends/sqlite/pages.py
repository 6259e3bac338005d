"""The pages of a mailbox that have rows of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final

from ...core.page import DamagedError, Page, unpack
from ...core.state import MailboxState
from .rows import UnreadablePageError

READ_PAGE: Final = "SELECT queued, due, body FROM pages WHERE mailbox = ? AND lane = ? AND page = ?"
REWRITE_PAGE: Final = "UPDATE pages SET body = ? WHERE mailbox = ? AND lane = ? AND page = ?"
UPDATE_PAGE_COLUMNS: Final = "UPDATE pages SET queued = ?, due = ? WHERE mailbox = ? AND lane = ? AND page = ?"
WRITE_PAGE: Final = "INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?, ?)"
DELETE_PAGE: Final = "DELETE FROM pages WHERE mailbox = ? AND lane = ? AND page = ?"
FIRST_QUEUED: Final = """
    SELECT page FROM pages INDEXED BY pages_queued
    WHERE mailbox = ? AND lane = ? AND page >= ? AND queued = 1 ORDER BY page LIMIT 1
"""
FIRST_DUE: Final = """
    SELECT min(page) FROM pages INDEXED BY pages_due WHERE mailbox = ? AND lane = ? AND due <= ? AND page >= ?
"""
FIRST_WAITING: Final = """
    SELECT page FROM pages WHERE mailbox = ? AND lane = ? AND page >= ? AND (queued = 1 OR due IS NOT NULL)
    ORDER BY page LIMIT 1
"""
DUES: Final = """
    SELECT due, page FROM pages INDEXED BY pages_due
    WHERE mailbox = ? AND lane = ? AND due IS NOT NULL AND (due, page) > (?, ?) ORDER BY due, page LIMIT ?
"""
NEXT_NUMBER: Final = "SELECT page FROM pages WHERE mailbox = ? AND lane = ? AND page > ? ORDER BY page LIMIT 1"
NUMBERS: Final = "SELECT page FROM pages WHERE mailbox = ? AND lane = ? ORDER BY page"

_MOST_PAGES: Final = 1 << 47

_DUES_AT_FIRST: Final = 2
_DUES_AT_MOST: Final = 256


def write(execute: Callable[..., sqlite3.Cursor], mailbox: int, priority: int, page: Page) -> None:
    """Gives a page a row of its own, or changes its row, and the indexes if necessary."""
    row_columns = int(page.queued > 0), page.due
    if page.row_columns == row_columns:
        execute(REWRITE_PAGE, (page.encode(), mailbox, priority, page.number))
    else:
        page.row_columns = row_columns
        execute(WRITE_PAGE, (mailbox, priority, page.number, *row_columns, page.encode()))


def is_number(number: object) -> bool:
    """Whether a page can have this number."""
    return type(number) is int and 0 <= number < _MOST_PAGES


def retell(execute: Callable[..., sqlite3.Cursor], mailbox: int, priority: int, page: Page) -> None:
    """Corrects a row's columns beside its messages."""
    page.row_columns = int(page.queued > 0), page.due
    execute(UPDATE_PAGE_COLUMNS, (*page.row_columns, mailbox, priority, page.number))


class PageRows:
    """The pages of one lane."""

    def __init__(
        self, execute: Callable[..., sqlite3.Cursor], mailbox: int, state: MailboxState, priority: int
    ) -> None:
        self._execute = execute
        self._lane = mailbox, priority
        self._state = state
        self._priority = priority

    def read(self, number: int) -> Page | None:
        """Raises ``UnreadablePageError`` if it is not a page."""
        row = self._execute(READ_PAGE, (*self._lane, number)).fetchone()
        if row is None:
            return None
        queued, due, body = row
        try:
            if not isinstance(body, bytes):
                raise DamagedError("a page is not bytes")
            page = self._state.decode_page(self._priority, number, unpack(body))
        except DamagedError as error:
            raise UnreadablePageError(self._priority, number) from error
        page.has_row, page.row_columns = True, (queued, due)
        return page

    def ready(self, at: int, now: int) -> int | None:
        row = self._execute(FIRST_QUEUED, (*self._lane, at)).fetchone()
        first = None if row is None else self._number(row[0])
        if self._state.lanes[self._priority].delayed:
            (due,) = self._execute(FIRST_DUE, (*self._lane, now, at)).fetchone()
            if due is not None and (first is None or self._number(due) < first):
                return self._number(due)
        return first

    def waiting(self, at: int) -> int | None:
        row = self._execute(FIRST_WAITING, (*self._lane, at)).fetchone()
        return None if row is None else self._number(row[0])

    def dues(self) -> Iterator[tuple[int, int]]:
        limit, after = _DUES_AT_FIRST, (-1, -1)
        while True:
            found = self._execute(DUES, (*self._lane, *after, limit)).fetchall()
            for due, number in found:
                if type(due) is not int:
                    raise UnreadablePageError(self._priority, number)
                yield due, self._number(number)
            if len(found) < limit:
                return
            after, limit = found[-1], min(4 * limit, _DUES_AT_MOST)

    def after(self, number: int) -> int | None:
        row = self._execute(NEXT_NUMBER, (*self._lane, number)).fetchone()
        return None if row is None else self._number(row[0])

    def numbers(self) -> list[int]:
        return [self._number(number) for (number,) in self._execute(NUMBERS, self._lane).fetchall()]

    def _number(self, number: Any) -> int:
        if not is_number(number):
            raise UnreadablePageError(self._priority, number)
        return int(number)
