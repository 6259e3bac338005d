"""Times as they are stored: whole milliseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(milliseconds: int) -> datetime:
    # in whole seconds and microseconds: it takes a third of the time
    return _EPOCH + timedelta(0, milliseconds // 1000, milliseconds % 1000 * 1000)


def milliseconds(time: datetime) -> int:
    """Of an aware time; rounded down."""
    return (time - _EPOCH) // timedelta(milliseconds=1)
