"""Verbs that settle messages, and the consumers of a handle, which are notified of it.

A handler may settle its message itself; the consumer that called it must then not settle it again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from .arguments import check_ids, check_wait
from .values import MessageRecord

if TYPE_CHECKING:
    from .mailbox import Mailbox

SETTLING_VERBS: Final = ("ack", "ack_many", "ack_and_send", "nack", "dead_letter")
"""Verbs after which a message is no longer its holder's."""


class SettlingListener(Protocol):
    """Somebody who is notified when messages are settled through a handle, and when that is closed."""

    def _settling(self, verb: str, ids: list[UUID]) -> Callable[[Any], None]:
        """A call of a settling verb begins; the function returned is called with its result, None if there was none."""

    async def _before_settling(self, ids: list[UUID]) -> None:
        """Does what has to come before that call."""

    def _before_closing(self) -> bool:
        """Begins what the end of the handle must not forestall; whether that takes a turn of the event loop."""


def notifying(verb: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A settling verb that notifies the handle's consumers, if it has any."""

    @functools.wraps(call)
    def call_and_notify(self: Mailbox, *arguments: Any, **keywords: Any) -> Awaitable[Any]:
        if not self._settling_listeners:
            return call(self, *arguments, **keywords)
        if verb != "ack_many":
            ids = [arguments[0] if arguments else keywords.get("message_id")]
        else:
            given = arguments[0] if arguments else keywords.get("ids")
            ids = list(given) if isinstance(given, Iterable) else []
            if isinstance(given, Iterator):  # used up now
                arguments, keywords = (ids,), {}
        return _notify_of(self, verb, ids, call(self, *arguments, **keywords))

    return call_and_notify


async def _notify_of(mailbox: Mailbox, verb: str, ids: list[Any], call: Awaitable[Any]) -> Any:
    listeners = mailbox._settling_listeners
    settled = [listener._settling(verb, ids) for listener in listeners]
    result = None
    try:
        try:
            for listener in listeners:
                await listener._before_settling(ids)
        except BaseException:
            if inspect.iscoroutine(call):
                call.close()  # it never began
            raise
        result = await call
    finally:
        for notify in settled:
            notify(result)
    return result


def notifying_dequeue(
    dequeue: Callable[..., Coroutine[Any, Any, list[MessageRecord]]],
) -> Callable[..., Coroutine[Any, Any, list[MessageRecord]]]:
    """A ``dequeue`` that notifies the handle's consumers, if it has any, of its acknowledgements."""

    @functools.wraps(dequeue)
    def call_and_notify(
        self: Mailbox, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> Coroutine[Any, Any, list[MessageRecord]]:
        if not self._settling_listeners or not ack:
            return dequeue(self, limit, wait=wait, ack=ack)
        return _dequeue_and_notify(self, dequeue, limit, wait, ack)

    return call_and_notify


async def _dequeue_and_notify(
    mailbox: Mailbox,
    dequeue: Callable[..., Coroutine[Any, Any, list[MessageRecord]]],
    limit: int | None,
    wait: float | None,
    ack: Iterable[UUID],
) -> list[MessageRecord]:
    seconds, ids = check_wait(wait), check_ids(ack, "ack")
    # first without waiting: consumers must not have to wait for more messages to be notified
    records: list[MessageRecord] = await _notify_of(mailbox, "ack_many", ids, dequeue(mailbox, limit, ack=ids))
    return records if records or not seconds else await dequeue(mailbox, limit, wait=wait)
