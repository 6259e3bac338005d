"""pymailbox on JetStream."""

from __future__ import annotations

from bench.competitors.ours import PACKAGE, MailboxQueue
from bench.competitors.servers import PLACE
from bench.queues import Durability
from pymailbox import delete_mailbox, open_mailbox

__all__ = ["PACKAGE", "destroy", "open"]


def _location() -> str:
    return f"nats://{PLACE.addresses}/bench?stream=bench&replicas={PLACE.replicas}"


async def open(durability: Durability) -> MailboxQueue:  # noqa: A001 - the competitors' common interface
    return MailboxQueue(await open_mailbox(_location(), durability=durability))


async def destroy() -> None:
    await delete_mailbox(_location())
