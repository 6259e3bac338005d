"""Handing messages out to holders, and taking them back. Each function runs inside a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from ...contract.moments import now_in_ms
from ...contract.values import MessageRecord
from ...core import claiming
from . import mending
from .holders import Holder, Lives
from .session import Session
from .store import OpenMailbox


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

    Raises:
        UnreadableError: there is something among it that is no message.
    """
    mailbox = session.mailbox(name)
    if mailbox is None:
        return Handed([], None, others_hold=False, returned=0, more=False, acked=acked)
    state = mailbox.state
    recovered = _recover(mailbox, holder.number, lives) if look_around else 0
    records = claiming.claim(mailbox, holder, limit, now_in_ms())
    if not records and any(lane.queued > lane.delayed for lane in state.lanes):
        mending.recount(mailbox)
        records = claiming.claim(mailbox, holder, limit, now_in_ms())
    if len(records) < limit and not look_around:
        recovered = _recover(mailbox, holder.number, lives)
        if recovered and not records:
            records = claiming.claim(mailbox, holder, limit, now_in_ms())
    if records:  # else whoever asked may wait
        return Handed(records, None, False, recovered, state.queued > 0, acked)
    return Handed(records, state.next_due, state.others_hold(holder.number), recovered, state.queued > 0, acked)


# -- back --------------------------------------------------------------------------------------------------------------


def release(session: Session, name: str, holder: int, ids: Iterable[UUID]) -> int:
    """Takes back what a holder has of some messages, as if they had not been handed out; how many that were."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else claiming.release(mailbox, holder, ids)


def release_all(session: Session, name: str, holder: int) -> int:
    """Takes back all that a holder has, as if it had not been handed out; how many messages that were."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else claiming.release_all(mailbox, holder)


def recover(session: Session, name: str, me: int | None, lives: Lives) -> int:
    """Takes back what other holders had who are gone; returns how many messages that were."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else _recover(mailbox, me, lives)


def _recover(mailbox: OpenMailbox, me: int | None, lives: Lives) -> int:
    if not mailbox.state.others_hold(me if me is not None else -1):
        return 0
    now = now_in_ms()
    return sum(claiming.recover_from(mailbox, number, now) for number in lives.gone_from(mailbox.state.holders, me))


def recover_from(session: Session, name: str, holder: int) -> int:
    """Takes back what one holder had who is gone."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else claiming.recover_from(mailbox, holder, now_in_ms())


def nack(session: Session, name: str, holder: Holder, message_id: UUID, delay_ms: int, error: str | None) -> bool | str:
    """Gives a message of a holder's back as a failed delivery; the reason if it has become a dead letter after that."""
    mailbox = session.mailbox(name)
    return mailbox is not None and claiming.nack(mailbox, holder, message_id, delay_ms, error, now_in_ms())


def bury(session: Session, name: str, holder: int, message_id: UUID, reason: str) -> bool:
    """Makes a dead letter of a message of a holder's."""
    mailbox = session.mailbox(name)
    return mailbox is not None and claiming.bury_held(mailbox, holder, message_id, reason, now_in_ms())


def beat(session: Session, name: str, holder: Holder) -> None:
    """Shows that a holder lives, if it has something."""
    mailbox = session.mailbox(name)
    if mailbox is not None and mailbox.state.beat(holder.number, holder.beats + 1):
        holder.beats += 1
