"""Messages that are handed to holders and come back."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from ..contract.limits import LARGEST_BATCH
from ..contract.reasons import died_reason, failed_reason
from ..contract.values import MessageRecord, MessageStatus
from . import dead_letters
from . import delivery as deliveries
from .claims import Terms
from .page import QUEUED
from .state import LaneRun
from .store import Holder, Store, find_held


def claim(store: Store, holder: Holder, limit: int, now: int) -> list[MessageRecord]:
    """Hands the next batch to a holder."""
    state = store.state
    runs = state.first_to_claim(limit, now)
    if not runs:
        return []
    records = store.bodies.records(runs, store.id_base, MessageStatus.INFLIGHT, 1, LARGEST_BATCH)
    if holder.number not in state.holders.by_number and holder.number not in store.known_live:
        holder.show_liveness()
        if holder.lease is None:
            store.known_live.add(holder.number)
    terms = Terms(holder.max_deliveries, holder.lease)
    state.claim(holder.number, terms, holder.heartbeats, _first(runs, len(records)))
    return records


def _first(runs: list[LaneRun], count: int) -> list[LaneRun]:
    """The first ``count`` messages of some runs."""
    if len(runs) == 1 and runs[0].end - runs[0].first == count:  # the usual case
        return runs
    first = []
    for run in runs:
        size = min(count, run.end - run.first)
        if size:
            first.append(run if run.first + size == run.end else run._replace(end=run.first + size))
        count -= size
    return first


def release(store: Store, holder: int, ids: Iterable[UUID]) -> int:
    """Takes back those of some messages that a holder has, as if never handed out; how many there were."""
    released = 0
    for message_id in ids:
        place = find_held(store, holder, message_id)
        if place is not None:
            store.state.move(place.priority, place.number, QUEUED, deliveries.undelivered(place.delivery))
            released += 1
    return released


def release_all(store: Store, holder: int) -> int:
    """Takes back everything that a holder has, as if never handed out; how many messages there were."""
    return _count(store.state.requeue_all(holder, deliveries.undelivered))


def recover_from(store: Store, holder: int, now: int) -> int:
    """Takes back everything that a gone holder had; how many messages there were."""
    claims = store.state.holders.by_number.get(holder)
    if claims is None:
        return 0
    most = claims.terms.max_deliveries
    taken = store.state.requeue_all(holder, deliveries.abandoned)
    for priority, first, end, before, _, _ in taken if most is not None else ():
        failures = deliveries.failures(deliveries.abandoned(before))
        if most is None or failures < most or not before & deliveries.SOLO:
            continue
        for number in range(first, end):
            delivery = deliveries.abandoned(before) & ~deliveries.SUSPECT
            dead_letters.bury(store, priority, number, delivery, died_reason(failures, most), now)
    return _count(taken)


def nack(
    store: Store, holder: Holder, message_id: UUID, delay_ms: int, error: str | None, failed: bool, now: int
) -> bool | str:
    """Gives back a message that a holder has, as a failed delivery or as not handed out; if that made it a dead letter,
    the reason.
    """
    place = find_held(store, holder.number, message_id)
    if place is None:
        return False
    priority, number, _, delivery, _ = place
    delivery = deliveries.failed(delivery) if failed else deliveries.undelivered(delivery)
    if error is not None:
        store.note_error(priority, number, error)
        delivery |= deliveries.HAS_ERROR
    failures, most = deliveries.failures(delivery), holder.max_deliveries
    if failed and most is not None and failures >= most:
        reason = failed_reason(failures, most)
        dead_letters.bury(store, priority, number, delivery, reason, now)
        return reason
    store.state.move(priority, number, QUEUED, delivery, now + delay_ms if delay_ms else 0)
    return True


def bury_held(store: Store, holder: int, message_id: UUID, reason: str, now: int) -> bool:
    """Makes a dead letter of a message that a holder has."""
    place = find_held(store, holder, message_id)
    if place is None:
        return False
    dead_letters.bury(store, place.priority, place.number, place.delivery, reason, now)
    return True


def _count(runs: list[LaneRun]) -> int:
    return sum(run.end - run.first for run in runs)
