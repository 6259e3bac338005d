"""What a handler has besides its message."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from ..contract.arguments import prepare_message
from ..contract.capabilities import Capability
from ..contract.errors import UnsupportedError
from ..contract.mailbox import Mailbox, check_mailbox
from ..contract.values import BytesLike, MessagePriority, MessageRecord, NewMessage
from .reply_mailboxes import CORRELATION_ID, REPLY_TO
from .replying import ReplyTo, Sends


class Stopper(Protocol):
    """Whatever runs the handler."""

    @property
    def stopping(self) -> bool:
        """Whether it has been asked to stop."""

    def stop(self) -> None:
        """Asks it to stop."""


class Context:
    """One delivery of one message, for the handler that works on it."""

    message: MessageRecord
    """The message itself."""
    mailbox: Mailbox
    """Where it came from."""

    def __init__(self, mailbox: Mailbox, message: MessageRecord, consumer: Stopper) -> None:
        self.mailbox = mailbox
        self.message = message
        self._consumer = consumer
        self._sends: Sends = []
        self._over = False

    def send(
        self,
        mailbox: Mailbox,
        sender: BytesLike,
        payload: BytesLike,
        priority: MessagePriority = MessagePriority.NORMAL,
        *,
        message_id: UUID | None = None,
        delay: float | timedelta | None = None,
        headers: Mapping[str, str] | None = None,
        dedupe_for: float | timedelta | None = None,
    ) -> None:
        """Sends a message once the handler has returned, in one transaction with the acknowledgement of its own.

        So both happen, exactly once, or neither: a handler that raises has sent nothing. The bytes are copied now. The
        arguments are those of ``enqueue``; ``mailbox`` may also be the one that the handler's message came from.

        Raises:
            TypeError, ValueError: an argument is invalid. If ``mailbox`` is in another database, or closed, that is
                noticed only when the handler has returned, and is a failed delivery.
            UnsupportedError: the backend of the handler's message cannot do that.
            RuntimeError: the handler has returned already.
        """
        self._check_sending()
        check_mailbox("mailbox", mailbox)
        checked = prepare_message(sender, payload, priority, message_id, delay, headers, dedupe_for)
        copied = None if headers is None else dict(headers)
        self._sends.append((mailbox, NewMessage(*checked[:4], delay, copied, dedupe_for)))

    def reply(
        self,
        payload: BytesLike,
        *,
        sender: BytesLike = b"",
        priority: MessagePriority = MessagePriority.NORMAL,
        headers: Mapping[str, str] | None = None,
        message_id: UUID | None = None,
    ) -> None:
        """Answers a message that was sent with ``ask``, once the handler has returned; as ``send`` in all else.

        The answer goes to the mailbox that the message's header ``reply-to`` names, in the same database, and has its
        ``correlation-id``. If there is no such mailbox any more (the asker has closed its handle) the answer is
        dropped, and the log says so. Of several answers to one question, the asker gets the first.

        Args:
            payload: the answer; copied at the call.
            sender: who answers, in the caller's own encoding.
            priority: of the answer.
            headers: more headers of the answer.
            message_id: the answer's id.

        Raises:
            TypeError, ValueError: an argument is invalid; the message has no ``reply-to``; or ``headers`` have a
                ``correlation-id`` of their own.
            UnsupportedError: the backend of the handler's message cannot do that.
            RuntimeError: the handler has returned already.
        """
        self._check_sending()
        asked = self.message.headers
        if REPLY_TO not in asked:
            raise ValueError(
                f"message {self.message.id} has no header {REPLY_TO!r}, so nobody waits for an answer; ask() sends one"
            )
        if self.mailbox._nearby is None:
            self.mailbox._lacks(Capability.ASK)
        prepare_message(sender, payload, priority, message_id, None, headers)  # whose errors name the argument
        texts = {} if headers is None else dict(headers)
        if CORRELATION_ID in texts:
            raise ValueError(f"headers must not have {CORRELATION_ID!r}, which an answer has from its question")
        if CORRELATION_ID in asked:
            texts[CORRELATION_ID] = asked[CORRELATION_ID]
        checked = prepare_message(sender, payload, priority, message_id, None, texts)
        self._sends.append((ReplyTo(asked[REPLY_TO]), NewMessage(*checked[:4], None, texts)))

    @property
    def stopping(self) -> bool:
        """Whether the consumer has been asked to stop: a long handler should then come to an end."""
        return self._consumer.stopping

    def stop(self) -> None:
        """Asks the consumer to stop once the handlers that run now have ended; see ``Consumer.stop``."""
        self._consumer.stop()

    def _check_sending(self) -> None:
        if self._over:
            raise RuntimeError("this handler has ended: it must send before it returns")
        if Capability.ACK_AND_SEND not in self.mailbox.capabilities:
            raise UnsupportedError(
                f"{type(self.mailbox).__name__} cannot commit a message together with an acknowledgement; "
                "enqueue it, with a message_id made from the handled message's id: a repeat then stores no second copy"
            )

    def _end(self) -> Sends:
        """Ends sending; what was sent."""
        self._over = True
        return self._sends
