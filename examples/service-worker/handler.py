"""Handles what the service worker has stored, and what it stores meanwhile."""

from collections.abc import Callable

from pymailbox import MessageRecord, open_mailbox


async def run(show: Callable[[str], object]) -> None:
    """Hands each event to `show`, until it is cancelled."""

    def handle(message: MessageRecord) -> None:
        show(f"{message.sender.decode()}: {message.payload.decode()}")

    async with open_mailbox("events") as events:
        await events.consume(handle)
