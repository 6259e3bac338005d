"""The verbs: which capability each needs, whether it needs room, and a harmless call of it.

One table for the promises about all verbs, the mailbox that fails on demand, the random programs, and the tests of the
tables in the docs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from ..contract.capabilities import Capability
from ..contract.mailbox import Mailbox
from ..contract.values import NewMessage

VerbCall: TypeAlias = Callable[[Mailbox], Awaitable[object]]

_UNKNOWN_ID: Final = UUID("5eed5eed-5eed-4eed-8eed-5eed5eed5eed")


class VerbUse(NamedTuple):
    """A verb, or a use of one."""

    call: VerbCall
    """A harmless call."""
    capability: Capability | None = None
    """A mailbox has it only if it claims this; None if every mailbox has it."""
    stores: bool = False
    """It needs room; everything else still works when the storage is full."""
    touches_storage: bool = True
    """It asks the storage, so that it can fail and lets other tasks run; one that answers by itself does neither."""
    concerns_messages: bool = True
    """The model and the random programs have it; one that says nothing about messages is none of their business."""
    asks_the_user: bool = False
    """It may wait for an answer that no test gives, and it may be unsupported in this environment."""


async def _install_observer(mailbox: Mailbox) -> bool:
    return mailbox.set_depth_observer(None)


USES: Final[dict[str, VerbUse]] = {
    "enqueue": VerbUse(lambda mailbox: mailbox.enqueue(b"sender", b"payload"), stores=True),
    "enqueue(message_id=...)": VerbUse(
        lambda mailbox: mailbox.enqueue(b"sender", b"payload", message_id=_UNKNOWN_ID),
        Capability.MESSAGE_ID,
        stores=True,
    ),
    "enqueue(delay=...)": VerbUse(
        lambda mailbox: mailbox.enqueue(b"sender", b"payload", delay=0.001), Capability.DELAY, stores=True
    ),
    "enqueue(headers=...)": VerbUse(
        lambda mailbox: mailbox.enqueue(b"sender", b"payload", headers={"name": "text"}),
        Capability.HEADERS,
        stores=True,
    ),
    "enqueue(dedupe_for=...)": VerbUse(
        lambda mailbox: mailbox.enqueue(b"sender", b"payload", message_id=_UNKNOWN_ID, dedupe_for=0.001),
        Capability.DEDUPE,
        stores=True,
    ),
    "enqueue_json": VerbUse(lambda mailbox: mailbox.enqueue_json({"key": 1}), Capability.HEADERS, stores=True),
    "enqueue_many": VerbUse(
        lambda mailbox: mailbox.enqueue_many([NewMessage(b"sender", b"payload")]),
        Capability.ENQUEUE_MANY,
        stores=True,
    ),
    "dequeue": VerbUse(lambda mailbox: mailbox.dequeue()),
    "dequeue(wait=...)": VerbUse(lambda mailbox: mailbox.dequeue(wait=0.001)),
    "dequeue(ack=...)": VerbUse(lambda mailbox: mailbox.dequeue(ack=[_UNKNOWN_ID])),
    "ack": VerbUse(lambda mailbox: mailbox.ack(_UNKNOWN_ID)),
    "ack_many": VerbUse(lambda mailbox: mailbox.ack_many([_UNKNOWN_ID]), Capability.ACK_MANY),
    "ack_and_send": VerbUse(
        lambda mailbox: mailbox.ack_and_send(_UNKNOWN_ID, [(mailbox, NewMessage(b"sender", b"payload"))]),
        Capability.ACK_AND_SEND,
        stores=True,
    ),
    "nack": VerbUse(lambda mailbox: mailbox.nack(_UNKNOWN_ID), Capability.NACK),
    "nack(failed=...)": VerbUse(lambda mailbox: mailbox.nack(_UNKNOWN_ID, failed=False), Capability.NACK),
    "dead_letter": VerbUse(
        lambda mailbox: mailbox.dead_letter(_UNKNOWN_ID, "reason"), Capability.DEAD_LETTERS, stores=True
    ),
    "dead_letters": VerbUse(lambda mailbox: mailbox.dead_letters(), Capability.DEAD_LETTERS),
    "redrive": VerbUse(lambda mailbox: mailbox.redrive(_UNKNOWN_ID), Capability.DEAD_LETTERS, stores=True),
    "discard": VerbUse(lambda mailbox: mailbox.discard(_UNKNOWN_ID), Capability.DEAD_LETTERS),
    "recover": VerbUse(lambda mailbox: mailbox.recover(), Capability.RECOVER),
    "status": VerbUse(lambda mailbox: mailbox.status()),
    "peek": VerbUse(lambda mailbox: mailbox.peek(), Capability.PEEK),
    "get": VerbUse(lambda mailbox: mailbox.get(_UNKNOWN_ID), Capability.GET),
    "promote": VerbUse(lambda mailbox: mailbox.promote(), Capability.PROMOTE),
    "purge": VerbUse(lambda mailbox: mailbox.purge(), Capability.PURGE),
    "set_depth_observer": VerbUse(_install_observer, Capability.DEPTH_OBSERVER, touches_storage=False),
    "storage_report": VerbUse(
        lambda mailbox: mailbox.storage_report(), Capability.STORAGE_REPORT, concerns_messages=False
    ),
    "request_persistence": VerbUse(
        lambda mailbox: mailbox.request_persistence(),
        Capability.STORAGE_REPORT,
        concerns_messages=False,
        asks_the_user=True,
    ),
}
"""The verbs of a mailbox except ``close`` and its loops, by names that begin with the verb's."""

VERBS: Final = {use.partition("(")[0]: USES[use.partition("(")[0]] for use in USES}
"""Each verb in its plainest use."""


def verbs_of(mailbox: Mailbox, *, to_the_end: bool = False) -> dict[str, VerbCall]:
    """Every use that the mailbox claims, by name. With ``to_the_end`` only those that certainly end."""
    return {
        name: use.call
        for name, use in USES.items()
        if use.capability in (None, *mailbox.capabilities) and not (to_the_end and use.asks_the_user)
    }
