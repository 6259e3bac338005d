"""How a relay is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """What a relay has done, and what keeps it from doing more."""

    waiting: int | None
    """Messages in the source, inflight ones included; None if it gave no answer within a second."""
    oldest_waiting_at: datetime | None
    """When the oldest queued one of them was made; None if there is none, or no answer."""
    sent: int
    """Messages that this relay has sent."""
    last_success_at: datetime | None
    """When the target last took something."""
    active: bool
    """Whether this relay holds the cursor, so that no other one sends; it still does during a hop without an answer."""
    connected: bool
    """Whether the last call that needed a connection worked, and no server is known to be away since."""
    disconnected_since: datetime | None
    """Since when not; None while connected."""
    last_error: str | None
    """What went wrong last, also if that is over: see ``last_error_at`` and ``last_success_at``."""
    last_error_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: one.isoformat() if isinstance(one, datetime) else one for name, one in values.items()}

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Back from ``to_dict``."""
        values = {field.name: data[field.name] for field in fields(cls)}
        moments = [name for name, one in values.items() if name.endswith(("_at", "_since")) and one is not None]
        return cls(**values | {name: datetime.fromisoformat(values[name]) for name in moments})
