"""What the page asks of Python: it starts and stops the actor, and hears of what was handled."""

import asyncio
import json
from collections import deque
from collections.abc import Callable

from actor import PEER, Actor
from answering import Answering, describe
from handler import DemoHandler, HandlerError

from pymailbox import MailboxError, MessageRecord

STOP_SECONDS = 1.0
"""For what the actor has in hand to be finished; then it goes back unfinished."""

NEWS_LENGTH = 50
NEWS_SECONDS = 0.1
EXCERPT_LENGTH = 160


class Rpc(Answering):
    """What the page can ask for."""

    EXPLAINED = (MailboxError, HandlerError)

    def __init__(self) -> None:
        self._actor: Actor
        self._handler = DemoHandler(self._note_failure)
        self._tell: Callable[[str], None]
        self._work: asyncio.Task[None] | None = None
        self._changing_work = asyncio.Lock()
        self._handled: deque[dict[str, str | int]] = deque(maxlen=NEWS_LENGTH)
        self._back: list[str] = []
        self._telling: asyncio.TimerHandle | None = None

    async def open(self, mailbox: str, tell: Callable[[str], None]) -> None:
        """Makes the actor of `mailbox`; `tell` gets the news as JSON."""
        self._actor = Actor(mailbox, self._note_answer, self._handler)
        self._tell = tell

    async def set_working(self, working: bool) -> None:
        """Starts or stops the actor; a stopped one has nothing in hand any more."""
        async with self._changing_work:
            if self._work is not None and (self._work.done() or self._work.cancelling() or not working):
                self._work.cancel()
                await asyncio.wait([self._work], timeout=STOP_SECONDS)
                self._work.cancel()
                await asyncio.wait([self._work])
                self._work = None
            if self._work is None and working:
                self._work = asyncio.create_task(self._actor.run())
                self._work.add_done_callback(self._ended)

    async def set_mended(self, mended: bool) -> None:
        """Whether the actor can handle poison."""
        self._handler.mended = mended

    async def set_pace(self, milliseconds: int) -> None:
        """How long the work on a message takes."""
        self._handler.seconds = milliseconds / 1000

    async def set_handler(self, source: str) -> None:
        """Takes another handler; what is in hand is finished by the one before."""
        self._handler.replace(source)

    def _note_answer(self, message: MessageRecord, answer: str) -> None:
        if message.delivery_count > 1:
            self._back.append(str(message.id))
        self._note(message, "answered", _excerpt(answer.encode()))

    def _note_failure(self, message: MessageRecord, error: str, by_text: bool) -> None:
        self._note(message, "broken" if by_text else "failed", error)

    def _note(self, message: MessageRecord, how: str, result: str) -> None:
        self._handled.append(
            {
                "how": how,
                "sender": message.sender.hex()
                if message.sender.startswith(PEER)
                else message.sender.decode("utf-8", "replace"),
                "priority": message.priority.name,
                "delivery": message.delivery_count,
                "text": _excerpt(message.payload),
                "result": result,
            }
        )
        # Told from time to time, not for each of thousands.
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(NEWS_SECONDS, self._tell_handled)

    def _tell_handled(self) -> None:
        self._telling = None
        self._tell(json.dumps({"handled": list(self._handled), "back": self._back}))
        self._handled.clear()
        self._back = []

    def _ended(self, work: asyncio.Task[None]) -> None:
        """Tells why the actor stopped if it did so by itself."""
        error = None if work.cancelled() else work.exception()
        if error is not None:
            self._tell(json.dumps({"stopped": describe(error)}))


def _excerpt(payload: bytes) -> str:
    # A character has at most four bytes; a cut through the last one leaves a replacement character, which goes.
    text = payload[: 4 * EXCERPT_LENGTH].decode(errors="replace")
    return text if len(payload) <= EXCERPT_LENGTH else text[: EXCERPT_LENGTH - 1] + "…"


answering = Rpc()
