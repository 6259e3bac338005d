"""Every verb as a call that does no harm, for promises that hold for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import NewMessage

VerbCall: TypeAlias = Callable[[Mailbox], Awaitable[object]]

_UNKNOWN_ID: Final = UUID("5eed5eed-5eed-4eed-8eed-5eed5eed5eed")


class ClaimedVerb(NamedTuple):
    """A verb, or a use of one, that a mailbox has only if it claims it."""

    capability: Capability
    call: VerbCall
    asks_the_user: bool = False
    """It may wait for an answer that no test gives, and it may be unsupported in this very place."""


async def _install_observer(mailbox: Mailbox) -> bool:
    return mailbox.set_depth_observer(None)


SEED_VERBS: Final[dict[str, VerbCall]] = {
    "enqueue": lambda mailbox: mailbox.enqueue(b"sender", b"payload"),
    "dequeue": lambda mailbox: mailbox.dequeue(),
    "dequeue(wait=...)": lambda mailbox: mailbox.dequeue(wait=0.001),
    "dequeue(ack=...)": lambda mailbox: mailbox.dequeue(ack=[_UNKNOWN_ID]),
    "ack": lambda mailbox: mailbox.ack(_UNKNOWN_ID),
    "status": lambda mailbox: mailbox.status(),
}

CLAIMED_VERBS: Final[dict[str, ClaimedVerb]] = {
    "enqueue_many": ClaimedVerb(
        Capability.ENQUEUE_MANY, lambda mailbox: mailbox.enqueue_many([NewMessage(b"sender", b"payload")])
    ),
    "enqueue(message_id=...)": ClaimedVerb(
        Capability.MESSAGE_ID, lambda mailbox: mailbox.enqueue(b"sender", b"payload", message_id=_UNKNOWN_ID)
    ),
    "enqueue(delay=...)": ClaimedVerb(
        Capability.DELAY, lambda mailbox: mailbox.enqueue(b"sender", b"payload", delay=0.001)
    ),
    "ack_many": ClaimedVerb(Capability.ACK_MANY, lambda mailbox: mailbox.ack_many([_UNKNOWN_ID])),
    "ack_and_send": ClaimedVerb(
        Capability.ACK_AND_SEND,
        lambda mailbox: mailbox.ack_and_send(_UNKNOWN_ID, [(mailbox, NewMessage(b"sender", b"payload"))]),
    ),
    "nack": ClaimedVerb(Capability.NACK, lambda mailbox: mailbox.nack(_UNKNOWN_ID)),
    "dead_letter": ClaimedVerb(Capability.DEAD_LETTERS, lambda mailbox: mailbox.dead_letter(_UNKNOWN_ID, "reason")),
    "dead_letters": ClaimedVerb(Capability.DEAD_LETTERS, lambda mailbox: mailbox.dead_letters()),
    "redrive": ClaimedVerb(Capability.DEAD_LETTERS, lambda mailbox: mailbox.redrive(_UNKNOWN_ID)),
    "discard": ClaimedVerb(Capability.DEAD_LETTERS, lambda mailbox: mailbox.discard(_UNKNOWN_ID)),
    "recover": ClaimedVerb(Capability.RECOVER, lambda mailbox: mailbox.recover()),
    "peek": ClaimedVerb(Capability.PEEK, lambda mailbox: mailbox.peek()),
    "purge": ClaimedVerb(Capability.PURGE, lambda mailbox: mailbox.purge()),
    "set_depth_observer": ClaimedVerb(Capability.DEPTH_OBSERVER, _install_observer),
    "storage_report": ClaimedVerb(Capability.STORAGE_REPORT, lambda mailbox: mailbox.storage_report()),
    "request_persistence": ClaimedVerb(
        Capability.STORAGE_REPORT, lambda mailbox: mailbox.request_persistence(), asks_the_user=True
    ),
}


def verbs_of(mailbox: Mailbox, *, to_the_end: bool = False) -> dict[str, VerbCall]:
    """Every verb that the mailbox claims, by name; not ``close``. With ``to_the_end`` only those that surely end."""
    claimed = {
        name: verb.call
        for name, verb in CLAIMED_VERBS.items()
        if verb.capability in mailbox.capabilities and not (to_the_end and verb.asks_the_user)
    }
    return SEED_VERBS | claimed
