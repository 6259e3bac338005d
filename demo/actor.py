"""The actor of the demo: counts the words of every message in its mailbox. Copy it and write your own `handle`."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from pymailbox import Context, Mailbox, MessageRecord, RetryPolicy, open_mailbox

BATCH = 32
"""Messages in hand at a time. What is in hand when the worker dies is handled again, so a batch is small."""

MAX_DELIVERIES = 3
"""Failures after which a message is a dead letter."""

RETRY = RetryPolicy(first_delay=0.4, longest_delay=2.0)
"""Short pauses: somebody is watching."""

PEER = b"\x0a\x10"
"""How a peer's id begins, which a Protobuf encoder has written; see peer.js. Other senders are plain text."""

ANSWER = b"\x02"
"""What goes to a peer begins with its kind; see frames.js."""

Handler = Callable[[MessageRecord], Awaitable[str]]
"""The work itself: what comes of a message."""

Report = Callable[[MessageRecord, str], None]
"""Is told of each message whose handler has come to an end, and of its answer."""


async def handle(message: MessageRecord) -> str:
    text = str(message.payload, errors="replace")
    words = f"words: {len(text.split()):,}"
    return f"{words}, characters: {len(text):,}"


class Actor:
    """Handles what is in the mailbox `name`, and leaves its answers in others of the same database."""

    def __init__(self, name: str, report: Report, handler: Handler = handle) -> None:
        self._name = name
        self._handler = handler
        self._report = report
        self._outboxes: dict[bytes, Mailbox] = {}

    async def run(self) -> None:
        """Handles messages as they come, until it is cancelled; then it finishes those in hand.

        An answer is committed together with the acknowledgement of its message. So there is exactly one for each
        message, whenever the worker dies.
        """
        async with AsyncExitStack() as self._open:
            inbox = await self._open_mailbox(f"indexeddb://{self._name}")
            self._done = await self._open_mailbox(f"indexeddb://{self._name}-done")
            self._outboxes.clear()
            await inbox.consume(self._handle, concurrency=BATCH, retry=RETRY)

    async def _handle(self, message: MessageRecord, context: Context) -> None:
        answer = await self._handler(message)
        # What the page reads to find out whether anything was handled twice.
        done = f"{message.id} {message.delivery_count} {answer}"
        context.send(self._done, message.sender, done.encode())
        if message.sender.startswith(PEER):
            context.send(await self._outbox(message.sender), message.sender, ANSWER + answer.encode())
        self._report(message, answer)

    async def _outbox(self, peer: bytes) -> Mailbox:
        """From where the page sends what is there to a peer."""
        if peer not in self._outboxes:
            self._outboxes[peer] = await self._open_mailbox(f"indexeddb://{self._name}-to-{peer.hex()}")
        return self._outboxes[peer]

    async def _open_mailbox(self, location: str) -> Mailbox:
        return await self._open.enter_async_context(
            open_mailbox(location, batch_size=BATCH, max_deliveries=MAX_DELIVERIES)
        )
