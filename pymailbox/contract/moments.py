"""Times as they are stored: whole milliseconds since 1970, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def now_in_ms() -> int:
    """What the wall clock shows."""
    return time.time_ns() // 1_000_000


def moment(milliseconds: int) -> datetime:
    # in whole seconds and microseconds: it takes a third of the time
    return _EPOCH + timedelta(0, milliseconds // 1000, milliseconds % 1000 * 1000)


def aware(time: datetime) -> datetime:
    """One without a zone, which a backend should not give, is taken for UTC."""
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def milliseconds(aware: datetime) -> int:
    """Rounded down."""
    return (aware - _EPOCH) // timedelta(milliseconds=1)
