"""The way to a target that cannot commit what is sent together with a cursor: a repeated hop may be stored again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..contract.capabilities import Capability
from ..contract.mailbox import Mailbox
from ..contract.values import MessageRecord, NewMessage
from .cursor import message_of


class PlainRoute:
    """A target that stores messages, and knows nothing of what came before."""

    another_may_have_more = False

    def __init__(self, target: Mailbox) -> None:
        self._target = target

    async def hold(self) -> list[MessageRecord] | None:
        """Nothing is known of what was sent last; whoever can reach the target relays."""
        await self._target.status()
        return []

    async def commits_with_target(self) -> None:
        """There is nothing to commit with; it only has to be open."""
        await self._target.status()

    async def send(
        self, records: Sequence[MessageRecord], before: Sequence[MessageRecord] = (), *, has_more: bool = False
    ) -> bool:
        """Sends messages in their order; after an error some may have been stored."""
        messages = [message_of(record) for record in records]
        if Capability.HEADERS not in self._target.capabilities and any(message.headers for message in messages):
            self._target._lacks(Capability.HEADERS)
        if {Capability.ENQUEUE_MANY, Capability.MESSAGE_ID} <= self._target.capabilities:
            await self._target.enqueue_many(messages)
        else:
            for message in messages:
                await self._enqueue(message)
        return True

    async def _enqueue(self, message: NewMessage) -> None:
        given: dict[str, Any] = {}
        if Capability.MESSAGE_ID in self._target.capabilities:
            given["message_id"] = message.message_id
        if message.headers:
            given["headers"] = message.headers
        await self._target.enqueue(message.sender, message.payload, message.priority, **given)

    @property
    def is_held(self) -> bool:
        """There is nothing to hold."""
        return True

    async def close(self) -> None:
        """Nothing was opened."""

    def die(self) -> None:
        """Nothing is held."""
