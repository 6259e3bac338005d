"""Handing messages out to holders, and taking them back. Each function runs inside a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from ..._handle import LARGEST_BATCH
from ..._values import MessageRecord, MessageStatus
from ...core import delivery as deliveries
from ...core.claims import Terms
from ...core.page import HELD, QUEUED
from ...core.reasons import died_reason, failed_reason
from ...core.state import LaneRun
from .._clock import now_in_ms
from . import letters, mending, rows
from .holders import Holder, Lives
from .session import INSERT_ERROR, OpenMailbox, Session


class Handed(NamedTuple):
    """What a look for messages found."""

    records: list[MessageRecord]
    next_due: int | None
    """If it found none."""
    others_hold: bool
    """If it found none."""
    returned: int
    """How many messages it took back from holders that are gone."""
    more: bool
    """Whether messages are left, delayed ones included."""
    acked: int
    """How many messages were acknowledged first."""


# -- out ---------------------------------------------------------------------------------------------------------------


def hand_out(
    session: Session, name: str, holder: Holder, limit: int, lives: Lives, look_around: bool, acked: int = 0
) -> Handed:
    """Claims the next batch, after ``acked`` messages were acknowledged.

    It looks for holders that are gone if it finds less than asked for, or is told to.
    """
    mailbox = session.mailbox(name)
    if mailbox is None:
        return Handed([], None, others_hold=False, returned=0, more=False, acked=acked)
    recovered = _recover(mailbox, holder.number, lives) if look_around else 0
    records = claim(mailbox, holder, limit)
    if len(records) < limit and not look_around:
        recovered = _recover(mailbox, holder.number, lives)
        if recovered and not records:
            records = claim(mailbox, holder, limit)
    state = mailbox.state
    if records:  # else whoever asked may wait
        return Handed(records, None, False, recovered, state.queued > 0, acked)
    return Handed(records, state.next_due, state.others_hold(holder.number), recovered, state.queued > 0, acked)


def claim(mailbox: OpenMailbox, holder: Holder, limit: int) -> list[MessageRecord]:
    """Hands the next batch to a holder.

    Raises:
        UnreadableError: there is something among it that is no message.
    """
    state = mailbox.state
    runs = state.first_to_claim(limit, now_in_ms())
    if not runs and any(lane.queued > lane.delayed for lane in state.lanes):
        mending.recount(mailbox)
        runs = state.first_to_claim(limit, now_in_ms())
    if not runs:
        return []
    records = mailbox.bodies.records(runs, mailbox.id_base, MessageStatus.INFLIGHT, 1, LARGEST_BATCH)
    if holder.number not in state.holders.by_number and holder.number not in mailbox.shown:
        holder.show_life()
        if holder.lease is None:
            mailbox.shown.add(holder.number)
    state.claim(holder.number, Terms(holder.max_deliveries, holder.lease), holder.beats, _first(runs, len(records)))
    return records


def _first(runs: list[LaneRun], count: int) -> list[LaneRun]:
    """The first so many messages of some runs."""
    if len(runs) == 1 and runs[0].end - runs[0].first == count:  # as it mostly is
        return runs
    first = []
    for run in runs:
        size = min(count, run.end - run.first)
        if size:
            first.append(run if run.first + size == run.end else run._replace(end=run.first + size))
        count -= size
    return first


# -- back --------------------------------------------------------------------------------------------------------------


def give_back(session: Session, name: str, holder: int, ids: Iterable[UUID]) -> int:
    """Takes back what a holder has of some messages, as if they had not been handed out; how many that were."""
    given_back = 0
    for message_id in ids:
        mailbox, place = _find_held(session, name, holder, message_id)
        if mailbox is not None and place is not None:
            mailbox.state.move(place.priority, place.number, QUEUED, deliveries.undelivered(place.delivery))
            given_back += 1
    return given_back


def give_back_all(session: Session, name: str, holder: int) -> int:
    """Takes back all that a holder has, as if it had not been handed out; how many messages that were."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else _count(mailbox.state.give_all_back(holder, deliveries.undelivered))


def recover(session: Session, name: str, me: int | None, lives: Lives) -> int:
    """Takes back what other holders had who are gone; returns how many messages that were."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else _recover(mailbox, me, lives)


def _recover(mailbox: OpenMailbox, me: int | None, lives: Lives) -> int:
    if not mailbox.state.others_hold(me if me is not None else -1):
        return 0
    return sum(_recover_from(mailbox, number) for number in lives.gone_from(mailbox.state.holders, me))


def recover_from(session: Session, name: str, holder: int) -> int:
    """Takes back what one holder had who is gone."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else _recover_from(mailbox, holder)


def _recover_from(mailbox: OpenMailbox, holder: int) -> int:
    claims = mailbox.state.holders.by_number.get(holder)
    if claims is None:
        return 0
    most = claims.terms.max_deliveries
    taken = mailbox.state.give_all_back(holder, deliveries.abandoned)
    for priority, first, end, before, _, _ in taken if most is not None else ():
        failures = deliveries.failures(deliveries.abandoned(before))
        if most is None or failures < most or not before & deliveries.SOLO:
            continue
        for number in range(first, end):
            delivery = deliveries.abandoned(before) & ~deliveries.SUSPECT
            letters.bury(mailbox, priority, number, delivery, died_reason(failures, most))
    return _count(taken)


def fail(session: Session, name: str, holder: Holder, message_id: UUID, delay_ms: int, error: str | None) -> bool | str:
    """Gives a message of a holder's back as a failed delivery; the reason if it has become a dead letter after that."""
    mailbox, place = _find_held(session, name, holder.number, message_id)
    if mailbox is None or place is None:
        return False
    priority, number, _, delivery, _ = place
    delivery = deliveries.failed(delivery)
    if error is not None:
        mailbox.execute(INSERT_ERROR, (mailbox.key, priority, number, error))
        delivery |= deliveries.HAS_ERROR
    failures, most = deliveries.failures(delivery), holder.max_deliveries
    if most is not None and failures >= most:
        reason = failed_reason(failures, most)
        letters.bury(mailbox, priority, number, delivery, reason)
        return reason
    mailbox.state.move(priority, number, QUEUED, delivery, now_in_ms() + delay_ms if delay_ms else 0)
    return True


def bury(session: Session, name: str, holder: int, message_id: UUID, reason: str) -> bool:
    """Makes a dead letter of a message of a holder's."""
    mailbox, place = _find_held(session, name, holder, message_id)
    if mailbox is None or place is None:
        return False
    letters.bury(mailbox, place.priority, place.number, place.delivery, reason)
    return True


def beat(session: Session, name: str, holder: Holder) -> None:
    """Shows that a holder lives, if it has something."""
    mailbox = session.mailbox(name)
    if mailbox is not None and mailbox.state.beat(holder.number, holder.beats + 1):
        holder.beats += 1


def _find_held(
    session: Session, name: str, holder: int, message_id: UUID
) -> tuple[OpenMailbox | None, rows.Place | None]:
    mailbox = session.mailbox(name)
    if mailbox is None:
        return None, None
    claims = mailbox.state.holders.by_number.get(holder)
    place = None if claims is None else rows.find(mailbox, message_id)
    if claims is None or place is None or place.where != HELD + claims.slot:
        return mailbox, None
    return mailbox, place


def _count(runs: list[LaneRun]) -> int:
    return sum(run.end - run.first for run in runs)
