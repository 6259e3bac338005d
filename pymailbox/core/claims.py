"""Who holds messages of a mailbox: their terms, how many messages they have, and in which pages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from ..contract.limits import LONGEST_LEASE, MOST_DELIVERIES
from .page import DamagedError, pack

_FIXED: Final = 6
"""Numbers of a holder before those of its pages."""


class Terms(NamedTuple):
    """What a holder asked for when it was first handed something."""

    max_deliveries: int | None
    lease: int | None
    """Milliseconds; None if a lock, not a heartbeat, shows whether it lives."""


class Claims:
    """One holder of something."""

    __slots__ = ("bytes", "count", "heartbeats", "number", "pages", "slot", "terms")

    def __init__(self, number: int, slot: int, terms: Terms, heartbeats: int = 0) -> None:
        self.number = number
        """Its identity."""
        self.slot = slot
        """By which pages know it."""
        most, lease = terms
        if (most or 0) > MOST_DELIVERIES or (lease or 0) > LONGEST_LEASE:
            terms = Terms(most and min(most, MOST_DELIVERIES), lease and min(lease, LONGEST_LEASE))
        self.terms = terms
        self.heartbeats = heartbeats
        """A number that changes while it lives and has something, if it has a lease."""
        self.count = 0
        self.pages: dict[tuple[int, int], int] = {}
        """How many it has in each page, by lane and number."""
        self.bytes: bytes | None = None
        """As it was last encoded, until it changes."""

    @property
    def lease(self) -> int | None:
        return self.terms.lease

    def encode(self) -> bytes:
        if self.bytes is None:
            most, lease = self.terms
            numbers = [self.slot, self.number, most or 0, lease or 0, self.heartbeats, len(self.pages)]
            for (lane, page), count in self.pages.items():
                numbers += lane, page, count
            self.bytes = pack(numbers)
        return self.bytes

    @classmethod
    def decode(cls, numbers: Iterator[int], lanes: int) -> Claims:
        """Raises ``DamagedError`` if the numbers are not claims."""
        slot, number, most, lease, heartbeats, pages = islice(numbers, _FIXED)
        if slot < 0 or number < 0 or not 0 <= most <= MOST_DELIVERIES or not 0 <= lease <= LONGEST_LEASE or pages < 1:
            raise DamagedError("a holder's numbers are not valid")
        claims = cls(number, slot, Terms(most or None, lease or None), heartbeats)
        for _ in range(pages):
            lane, page, count = islice(numbers, 3)
            if not 0 <= lane < lanes or page < 0 or count < 1 or (lane, page) in claims.pages:
                raise DamagedError("a holder's pages are not valid")
            claims.pages[lane, page] = count
            claims.count += count
        return claims


class Holders:
    """All holders of a mailbox."""

    def __init__(self) -> None:
        self.by_number: dict[int, Claims] = {}
        self.by_slot: dict[int, Claims] = {}
        self._first_free = 0
        """No slot before it is free."""

    def add(self, claims: Claims) -> None:
        if claims.number in self.by_number or claims.slot in self.by_slot:
            raise DamagedError("a holder is listed twice")
        self.by_number[claims.number] = self.by_slot[claims.slot] = claims

    def admit(self, number: int, terms: Terms, heartbeats: int) -> Claims:
        while self._first_free in self.by_slot:
            self._first_free += 1
        claims = Claims(number, self._first_free, terms, heartbeats)
        self.add(claims)
        return claims

    def count(self, slot: int, lane: int, page: int, count: int) -> None:
        """Counts messages into a page of a holder's, or out of it."""
        claims = self.by_slot[slot]
        claims.bytes = None
        claims.count += count
        key = lane, page
        there = claims.pages.get(key, 0) + count
        if there:
            claims.pages[key] = there
        else:
            del claims.pages[key]
            if not claims.pages:
                del self.by_number[claims.number], self.by_slot[slot]
                self._first_free = min(self._first_free, slot)
