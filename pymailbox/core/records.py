"""Messages as callers see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, Final

from ..contract.headers import NO_HEADERS, unpack_headers
from ..contract.moments import moment
from ..contract.values import MessagePriority, MessageRecord, MessageStatus, maker_of
from . import delivery as deliveries
from .page import DELAYED

if TYPE_CHECKING:
    from .state import LaneRun
    from .store import Message

LANE_PRIORITIES: Final = tuple(MessagePriority)

record_of: Final[Callable[..., MessageRecord]] = maker_of(MessageRecord)
"""``MessageRecord``, from all of its fields."""


def records_of(
    runs: Iterable[LaneRun],
    messages: Callable[[LaneRun], Iterable[Message]],
    status: MessageStatus,
    hand_outs: int = 0,
    largest: float = inf,
) -> list[MessageRecord]:
    """Records of the messages of some runs, with ``hand_outs`` added to how often they were handed out; as many as fit
    into ``largest`` bytes of payload, but at least one.
    """
    records: list[MessageRecord] = []
    left = largest
    for run in runs:
        priority = LANE_PRIORITIES[run.priority]
        count = deliveries.hand_outs(run.delivery) + hand_outs
        due_at = moment(run.due) if run.where == DELAYED else None
        for message_id, sender, payload, created_at, headers in messages(run):
            left -= len(payload)
            if left < 0 and records:
                return records
            time, texts = moment(created_at), unpack_headers(headers) if headers else NO_HEADERS
            records.append(record_of(message_id, sender, payload, priority, time, status, count, texts, due_at))
    return records
