"""Records, made quickly."""

from __future__ import annotations

from dataclasses import fields, make_dataclass
from typing import Any, Final

from .._values import MessageRecord

_FIELDS: Final = [(field.name, field.type) for field in fields(MessageRecord)]
_Thawed: Final[Any] = make_dataclass("_Thawed", _FIELDS, slots=True)
"""A record before it is frozen, by becoming a ``MessageRecord``: a frozen one takes a call for each of its fields."""


def record_of(*values: Any) -> MessageRecord:
    """``MessageRecord(*values)``, in a third of the time."""
    record = _Thawed(*values)
    record.__class__ = MessageRecord
    made: MessageRecord = record
    return made
