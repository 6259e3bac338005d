"""Values as a line of a program shows them."""

from __future__ import annotations

from reprlib import Repr
from uuid import UUID

from ...contract.values import DeadLetter, MailboxStats, MessagePriority, MessageRecord, MessageStatus, NewMessage

_HEADERS = Repr()
_HEADERS.maxstring = 20


def brief(value: object) -> str:
    """A value in a line of a program."""
    match value:
        case bytes():
            text = value.rstrip(b"\0")[:20]
            return repr(text) if len(text) == len(value) else f"{text!r}+{len(value) - len(text)}"
        case UUID():
            return f"id:{value.hex[:4]}..{value.hex[-6:]}"
        case MessagePriority() | MessageStatus():
            return value.name
        case NewMessage():
            own_id = "" if value.message_id is None else f" as {brief(value.message_id)}"
            delay = "" if value.delay is None else f" in {value.delay} s"
            headers = f" with {_HEADERS.repr(dict(value.headers))}" if value.headers else ""
            remembered = "" if value.dedupe_for is None else ", remembered"
            return f"{brief(bytes(value.payload))} {value.priority.name}{own_id}{delay}{headers}{remembered}"
        case MessageRecord():
            return f"{brief(value.payload)} x{value.delivery_count}"
        case DeadLetter():
            error = "" if value.error is None else f" after {value.error!r}"
            return f"{brief(value.record)} dead: {value.reason!r}{error}"
        case MailboxStats():
            return f"{value.queued_messages} queued {value.inflight_messages} inflight {value.dead_letters} dead"
        case list() | tuple():
            parts = [brief(part) for part in value[:12]]
            more = [f"... {len(value)} in all"] if len(value) > 12 else []
            return f"[{', '.join(parts + more)}]"
        case _:
            return repr(value)
