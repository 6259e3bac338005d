"""Claiming messages and taking them back. Each function runs inside a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from ...contract.moments import now_in_ms
from ...contract.values import MessageRecord
from ...core import claiming
from . import mending
from .liveness import Holder, Liveness
from .session import Session
from .store import OpenMailbox


class ClaimResult(NamedTuple):
    """The result of a claim."""

    records: list[MessageRecord]
    next_due: int | None
    """Set if it found none."""
    others_hold: bool
    """Set if it found none."""
    recovered: int
    """How many messages it took back from gone holders."""
    more: bool
    """Whether messages remain, delayed ones included."""
    acked: int
    """How many messages were acknowledged first."""


# -- out ---------------------------------------------------------------------------------------------------------------


def claim(
    session: Session, name: str, holder: Holder, limit: int, liveness: Liveness, recover: bool, acked: int = 0
) -> ClaimResult:
    """Claims the next batch, after ``acked`` messages were acknowledged.

    It takes back what gone holders held if it finds less than asked for or if ``recover`` is set.

    Raises:
        UnreadableError: something in it is not a message.
    """
    mailbox = session.mailbox(name)
    if mailbox is None:
        return ClaimResult([], None, others_hold=False, recovered=0, more=False, acked=acked)
    state = mailbox.state
    recovered = _recover(mailbox, holder.number, liveness) if recover else 0
    records = claiming.claim(mailbox, holder, limit, now_in_ms())
    if not records and any(lane.queued > lane.delayed for lane in state.lanes):
        mending.recount(mailbox)
        records = claiming.claim(mailbox, holder, limit, now_in_ms())
    if len(records) < limit and not recover:
        recovered = _recover(mailbox, holder.number, liveness)
        if recovered and not records:
            records = claiming.claim(mailbox, holder, limit, now_in_ms())
    if records:  # otherwise the caller may wait
        return ClaimResult(records, None, False, recovered, state.queued > 0, acked)
    return ClaimResult(records, state.next_due, state.others_hold(holder.number), recovered, state.queued > 0, acked)


# -- back --------------------------------------------------------------------------------------------------------------


def release(session: Session, name: str, holder: int, ids: Iterable[UUID]) -> int:
    """Takes back those of some messages that a holder has, as if they had not been handed out; returns how many."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else claiming.release(mailbox, holder, ids)


def release_all(session: Session, name: str, holder: int) -> int:
    """Takes back everything that a holder has, as if it had not been handed out; returns how many messages."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else claiming.release_all(mailbox, holder)


def recover(session: Session, name: str, me: int | None, liveness: Liveness) -> int:
    """Takes back what other, gone holders had; returns how many messages."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else _recover(mailbox, me, liveness)


def _recover(mailbox: OpenMailbox, me: int | None, liveness: Liveness) -> int:
    if not mailbox.state.others_hold(me if me is not None else -1):
        return 0
    return sum(_take_back(mailbox, number, liveness) for number in liveness.gone_from(mailbox.state.holders, me))


def take_back(session: Session, name: str, holder: int, liveness: Liveness) -> int:
    """Takes back what one gone holder had."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else _take_back(mailbox, holder, liveness)


def _take_back(mailbox: OpenMailbox, holder: int, liveness: Liveness) -> int:
    if liveness.has_died(holder):
        return claiming.recover_from(mailbox, holder, now_in_ms())
    return claiming.release_all(mailbox, holder)


def nack(
    session: Session, name: str, holder: Holder, message_id: UUID, delay_ms: int, error: str | None, failed: bool
) -> bool | str:
    """Gives back a holder's message, as a failed delivery or as not handed out; returns the reason if it became a dead
    letter.
    """
    mailbox = session.mailbox(name)
    return mailbox is not None and claiming.nack(mailbox, holder, message_id, delay_ms, error, failed, now_in_ms())


def bury(session: Session, name: str, holder: int, message_id: UUID, reason: str) -> bool:
    """Turns a holder's message into a dead letter."""
    mailbox = session.mailbox(name)
    return mailbox is not None and claiming.bury_held(mailbox, holder, message_id, reason, now_in_ms())


def heartbeat(session: Session, name: str, holder: Holder) -> None:
    """Shows that a holder lives, if it holds something."""
    mailbox = session.mailbox(name)
    if mailbox is not None and mailbox.state.heartbeat(holder.number, holder.heartbeats + 1):
        holder.heartbeats += 1
