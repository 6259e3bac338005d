"""The limits of what callers pass and of what is stored. ``js/model/limits.js`` has the same; a test compares them."""

from __future__ import annotations

from typing import Final

LONGEST_NAME: Final = 200
"""Characters of a mailbox's name."""

LARGEST_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of sender, payload and headers together. Every browser stores that much as one value."""

MOST_HEADERS: Final = 64

LARGEST_HEADERS: Final = 8 * 1024
"""Bytes of UTF-8 of all names and texts of a message's headers."""

LARGEST_BATCH: Final = 64 * 1024 * 1024
"""Bytes of payload that one ``dequeue`` hands out at most, unless it hands out a single message."""

LARGEST_COUNT: Final = 2**53 - 1
"""The largest whole number that is exact in every store and in JavaScript."""

LONGEST_DELAY: Final = 100 * 365.25 * 86400.0
"""Seconds (in JavaScript milliseconds): 100 years. A due time stays an exact integer in every store."""

MOST_DELIVERIES: Final = 1 << 31
"""A larger ``max_deliveries`` is stored as this: no number that a handle was opened with makes a state unreadable."""

LONGEST_LEASE: Final = 1 << 40
"""Milliseconds. A longer ``lease`` is stored as this."""

MOST_COUNTED: Final = (1 << 20) - 1
"""Hand-outs of a message are counted up to here, and failures too."""

EARLIEST: Final = -62_135_596_800_000
LATEST: Final = 253_402_300_799_999
"""The first and the last moment that a ``datetime`` can hold, in milliseconds since 1970."""

PAGE_MESSAGES: Final = 500
PAGE_BYTES: Final = 4 * 1024 * 1024
"""Messages, and bytes of sender and payload, that an export reads and an import stores in one transaction."""
