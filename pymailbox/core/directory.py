"""Which pages a lane has, and which of them have what a claim looks for.

Pages that are in memory are here, with what is known of them. Pages that lie elsewhere are asked for through ``Rows``.
Several pages in a row may be *fresh*: all of their messages are queued and were never handed out, so they need no page.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from heapq import merge
from typing import Final, Protocol

from .page import Page

MOST_FRESH: Final = 64
"""The most ranges of fresh pages that are kept; beyond that, the smallest one gets pages."""


class Rows(Protocol):
    """The pages of a lane that lie outside of memory, as they were when they were last written."""

    def read(self, number: int) -> Page | None:
        """The page of a number."""

    def ready(self, at: int, now: int) -> int | None:
        """The first page from a number on that has queued messages, or delayed ones that are due."""

    def waiting(self, at: int) -> int | None:
        """The first page from a number on that has queued messages, delayed or not."""

    def dues(self) -> Iterator[tuple[int, int]]:
        """When the first delayed message of a page is due, and the page's number; the earliest first."""

    def after(self, number: int) -> int | None:
        """The first page behind a number."""

    def numbers(self) -> list[int]:
        """The numbers of all pages."""


class NoRows:
    """For backends that keep everything in memory."""

    def read(self, number: int) -> Page | None:
        return None

    def ready(self, at: int, now: int) -> int | None:
        return None

    def waiting(self, at: int) -> int | None:
        return None

    def dues(self) -> Iterator[tuple[int, int]]:
        return iter(())

    def after(self, number: int) -> int | None:
        return None

    def numbers(self) -> list[int]:
        return []


class Directory:
    """The pages of one lane."""

    def __init__(self, rows: Rows) -> None:
        self.pages: dict[int, Page] = {}
        """Those in memory."""
        self.rows_count = 0
        """How many have a row of their own."""
        self.gone: set[int] = set()
        """Pages whose rows have to be deleted."""
        self.fresh: list[tuple[int, int]] = []
        """First and last (exclusive) of fresh pages, in order."""
        self._rows = rows
        self._ready: list[int] = []
        """Those in memory that have queued messages, in order."""
        self._dues: list[tuple[int, int]] = []
        """When the first delayed message of a page is due, and the page's number, for those in memory."""
        self._fallen: list[int] = []
        """Pages in memory that have been found due and are no longer in ``_dues``, in order: there may be many."""

    def find(self, number: int) -> Page | None:
        """The page of a number, unless it is fresh."""
        page = self.pages.get(number)
        if page is None and self.rows_count and number not in self.gone:
            page = self._rows.read(number)
            if page is not None:
                self.keep(page)
        return page

    def keep(self, page: Page) -> None:
        """Keeps a page in memory from now on."""
        self.pages[page.number] = page
        self.note(page)

    def note(self, page: Page) -> None:
        """Notes what a page has now."""
        ready = page.queued > 0
        if ready is not page.listed_ready:
            page.listed_ready = ready
            if ready:
                insort(self._ready, page.number)
            else:
                del self._ready[bisect_left(self._ready, page.number)]
        if not (page.delayed or page.listed_due is not None):
            return
        due = page.due
        if due != page.listed_due:
            if page.listed_due is not None:
                self._unlist_due(page.listed_due, page.number)
            page.listed_due = due
            if due is not None:
                insort(self._dues, (due, page.number))

    def remove(self, page: Page) -> None:
        """Takes out a page whose messages are all dead."""
        self.forget(page)
        if page.has_row:
            self.gone.add(page.number)

    def forget(self, page: Page) -> None:
        """Drops a page from memory."""
        del self.pages[page.number]
        if page.listed_ready:
            del self._ready[bisect_left(self._ready, page.number)]
        if page.listed_due is not None:
            self._unlist_due(page.listed_due, page.number)
        page.listed_ready, page.listed_due = False, None

    def _unlist_due(self, due: int, number: int) -> None:
        index = bisect_left(self._dues, (due, number))
        if index < len(self._dues) and self._dues[index] == (due, number):
            del self._dues[index]
        else:
            del self._fallen[bisect_left(self._fallen, number)]

    def ready(self, at: int, now: int) -> int | None:
        """The first page from a number on that has something to hand out; it may be fresh."""
        best: int | None = None
        index = bisect_left(self._ready, at)
        if index < len(self._ready):
            best = self._ready[index]
        if self._fallen or (self._dues and self._dues[0][0] <= now):
            due = self._first_due(at, now)
            if due is not None and (best is None or due < best):
                best = due
        index = self._fresh_at(at)
        if index < len(self.fresh):
            number = max(at, self.fresh[index][0])
            if best is None or number < best:
                best = number
        if self.rows_count:
            found = self._rows.ready(at, now)
            while found is not None and (best is None or found < best):
                if self._is_outside(found):
                    return found
                found = self._rows.ready(found + 1, now)
        return best

    def _first_due(self, at: int, now: int) -> int | None:
        """The first page in memory from a number on that has delayed messages which are due."""
        fallen, dues = self._fallen, self._dues
        while dues and dues[0][0] <= now:
            insort(fallen, dues.pop(0)[1])
        index = bisect_left(fallen, at)
        return fallen[index] if index < len(fallen) else None  # it may not be due yet if the clock was set back

    def first_waiting(self) -> int | None:
        """The first page that has queued messages, delayed or not; it may be fresh."""
        candidates = [*self._ready[:1], *self._fallen[:1], *(first for first, _ in self.fresh[:1])]
        if self._dues:
            candidates.append(min(number for _, number in self._dues))
        if self.rows_count:
            found = self._rows.waiting(0)
            while found is not None and not self._is_outside(found):
                found = self._rows.waiting(found + 1)
            if found is not None:
                candidates.append(found)
        return min(candidates, default=None)

    @property
    def next_due(self) -> int | None:
        """When the first delayed message is due."""
        return next((due for due, _ in self.dues()), None)

    def dues(self) -> Iterator[tuple[int, int]]:
        """When the first delayed message of a page is due, and the page's number; the earliest first."""
        fallen = sorted((self.pages[number].listed_due or 0, number) for number in self._fallen)
        if not self.rows_count:
            return merge(fallen, self._dues) if fallen else iter(self._dues)
        outside = (entry for entry in self._rows.dues() if self._is_outside(entry[1]))
        return merge(fallen, list(self._dues), outside)

    def after(self, number: int) -> int | None:
        """The first page behind a number; it may be fresh."""
        candidates = [page for page in self.pages if page > number]
        index = self._fresh_at(number + 1)
        if index < len(self.fresh):
            candidates.append(max(number + 1, self.fresh[index][0]))
        if self.rows_count:
            found = self._rows.after(number)
            while found is not None and not self._is_outside(found):
                found = self._rows.after(found)
            if found is not None:
                candidates.append(found)
        return min(candidates, default=None)

    def numbers(self) -> list[int]:
        """The numbers of all pages that are not fresh, in order."""
        if not self.rows_count:
            return sorted(self.pages)
        return sorted({*self.pages, *filter(self._is_outside, self._rows.numbers())})

    def stored_numbers(self) -> list[int]:
        """The numbers of all pages that have rows of their own."""
        return self._rows.numbers()

    def _is_outside(self, number: int) -> bool:
        return number not in self.pages and number not in self.gone

    # -- fresh ones ----------------------------------------------------------------------------------------------------

    def fresh_range(self, number: int) -> tuple[int, int] | None:
        """The range of fresh pages that a page is in."""
        if not self.fresh:
            return None
        index = self._fresh_at(number)
        return self.fresh[index] if index < len(self.fresh) and self.fresh[index][0] <= number else None

    def add_fresh(self, first: int, end: int) -> None:
        """Adds fresh pages behind all others."""
        if self.fresh and self.fresh[-1][1] == first:
            self.fresh[-1] = self.fresh[-1][0], end
        else:
            self.fresh.append((first, end))

    def take_fresh(self, first: int, end: int) -> None:
        """Takes some pages out of a range of fresh ones."""
        index = self._fresh_at(first)
        start, stop = self.fresh[index]
        parts = [(start, first)] if start < first else []
        if end < stop:
            parts.append((end, stop))
        self.fresh[index : index + 1] = parts

    def _fresh_at(self, number: int) -> int:
        """Index of the first range that ends after a page."""
        index = bisect_right(self.fresh, (number,)) - 1
        if index >= 0 and self.fresh[index][1] > number:
            return index
        return index + 1
