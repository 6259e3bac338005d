"""Checks of what callers pass: each raises a ``TypeError`` or ``ValueError`` that names the argument.

Everything here runs before a verb touches its storage, so a bad argument never leaves anything half written.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from .buffers import copy_of, size_of
from .headers import pack_headers
from .limits import LARGEST_COUNT, LARGEST_MESSAGE, LONGEST_DELAY
from .values import MessagePriority, MessageStatus, NewMessage

Durability = Literal["strict", "relaxed"]
"""Whether a commit that stores messages waits for the disk; see ``open_mailbox``."""

_CERTAIN_LENGTH = 2**31 - 1
"""How many items a list can hold anywhere."""


class PreparedMessage(NamedTuple):
    """A checked message: its bytes are the mailbox's own copy."""

    sender: bytes
    payload: bytes
    priority: MessagePriority
    message_id: UUID | None
    delay_ms: int
    """Milliseconds, 0 for none."""
    headers: bytes = b""
    """As ``pack_headers`` makes them."""
    dedupe_ms: int = 0
    """Milliseconds for which the id stays known; 0 for as long as the message is in the mailbox."""

    @property
    def is_plain(self) -> bool:
        """Whether it has nothing but what every message has."""
        return self.message_id is None and not self.delay_ms and not self.headers


# a named tuple is made by a function of Python's, which its own kind need not ask
_new_tuple: Final = tuple.__new__


class Options(NamedTuple):
    """What a handle was opened with. Two handles on one mailbox may differ."""

    batch_size: int = 32
    max_deliveries: int | None = None
    lease: float = 300.0
    """Seconds."""
    durability: Durability = "strict"


def check_options(batch_size: Any, max_deliveries: Any, lease: Any, durability: Any) -> Options:
    if max_deliveries is not None:
        check_count("max_deliveries", max_deliveries)
    check_period("lease", lease)
    if durability not in ("strict", "relaxed"):
        raise ValueError(f"durability must be 'strict' or 'relaxed', not {durability!r}")
    return Options(_check_length("batch_size", batch_size), max_deliveries, float(lease), durability)


def prepare_message(
    sender: Any,
    payload: Any,
    priority: Any,
    message_id: Any,
    delay: Any,
    headers: Any = None,
    dedupe_for: Any = None,
    where: str = "",
) -> PreparedMessage:
    """The checked copy of a message; ``where`` goes before an argument's name, as in ``messages[3].``."""
    if (
        type(sender) is bytes
        and type(payload) is bytes
        and type(priority) is MessagePriority
        and (message_id is None or type(message_id) is UUID)
        and delay is None
        and headers is None
        and dedupe_for is None
        and len(sender) + len(payload) <= LARGEST_MESSAGE
    ):  # the usual message: there is nothing more to check
        return _new_tuple(PreparedMessage, (sender, payload, priority, message_id, 0, b"", 0))
    if type(priority) is not MessagePriority:
        raise TypeError(f"{where}priority must be a MessagePriority, not {priority!r}")
    packed = pack_headers(headers, where)
    _check_size(size_of(f"{where}sender", sender) + size_of(f"{where}payload", payload) + len(packed), where)
    sender, payload = copy_of(f"{where}sender", sender), copy_of(f"{where}payload", payload)
    if dedupe_for is not None and message_id is None:
        raise ValueError(f"{where}dedupe_for needs a message_id: without one, every message gets a new id")
    return PreparedMessage(
        sender,
        payload,
        priority,
        None if message_id is None else check_id(message_id, f"{where}message_id"),
        0 if delay is None else check_delay(delay, f"{where}delay"),
        packed,
        0 if dedupe_for is None else check_delay(dedupe_for, f"{where}dedupe_for"),
    )


def prepare_messages(messages: Any) -> list[PreparedMessage]:
    """All of an iterable, checked; if the iterable raises, its error reaches the caller, and nothing was stored."""
    if isinstance(messages, (str, bytes, NewMessage)) or not isinstance(messages, Iterable):
        raise TypeError(f"messages must be an iterable of NewMessage, not {_kind(messages)}")
    return [
        _as_it_is(message) or _prepare_new_message(message, f"messages[{index}]")
        for index, message in enumerate(messages)
    ]


def _as_it_is(message: Any) -> PreparedMessage | None:
    """The usual message, which needs none of the checks: a thousand of them may come at once."""
    if (
        type(message) is NewMessage
        and type(message.sender) is bytes
        and type(message.payload) is bytes
        and type(message.priority) is MessagePriority
        and len(message.sender) + len(message.payload) <= LARGEST_MESSAGE
        and (message.message_id is None or type(message.message_id) is UUID)
        and message.delay is None
        and message.headers is None
        and message.dedupe_for is None
    ):
        values = (message.sender, message.payload, message.priority, message.message_id, 0, b"", 0)
        return _new_tuple(PreparedMessage, values)
    return None


def _prepare_new_message(message: Any, where: str) -> PreparedMessage:
    if not isinstance(message, NewMessage):
        raise TypeError(f"{where} must be a NewMessage, not {_kind(message)}")
    return prepare_message(
        message.sender,
        message.payload,
        message.priority,
        message.message_id,
        message.delay,
        message.headers,
        message.dedupe_for,
        f"{where}.",
    )


def check_id(value: Any, name: str = "message_id") -> UUID:
    if not isinstance(value, UUID):
        raise TypeError(f"{name} must be a uuid.UUID, not {_kind(value)}")
    return value


def check_ids(ids: Any, name: str = "ids") -> list[UUID]:
    if isinstance(ids, (str, bytes, UUID)) or not isinstance(ids, Iterable):
        raise TypeError(f"{name} must be an iterable of uuid.UUID, not {_kind(ids)}")
    checked = list(ids)
    for index, value in enumerate(checked):
        if not isinstance(value, UUID):
            check_id(value, f"{name}[{index}]")
    return checked


def distinct_ids(ids: list[UUID]) -> list[UUID]:
    """Each once, in their order."""
    # hashing a UUID calls Python code, hashing its number does not
    return ids if len({message_id.int for message_id in ids}) == len(ids) else list(dict.fromkeys(ids))


def check_limit(limit: Any) -> int | None:
    if limit is None or (type(limit) is int and 0 < limit <= _CERTAIN_LENGTH):
        return limit
    return _check_length("limit", limit)


def check_seconds(name: str, seconds: Any, most: float) -> None:
    if not _is_number(seconds):
        raise TypeError(f"{name} must be a number of seconds, not {_kind(seconds)}")
    if not 0 <= seconds <= most:
        raise ValueError(f"{name} must be between 0 and {most:.0f} seconds, not {shown(seconds)}")


def check_period(name: str, seconds: Any) -> None:
    if not _is_number(seconds):
        raise TypeError(f"{name} must be a number of seconds, not {_kind(seconds)}")
    if not 0 < seconds <= LONGEST_DELAY:
        raise ValueError(
            f"{name} must be a positive number of seconds, at most {LONGEST_DELAY:.0f} (100 years), "
            f"not {shown(seconds)}"
        )


def check_wait(wait: Any) -> float | None:
    """Seconds, ``math.inf`` for ever."""
    if wait is None:
        return None
    if not _is_number(wait):
        raise TypeError(f"wait must be a number of seconds, not {_kind(wait)}")
    if not (0 <= wait <= LONGEST_DELAY or wait == math.inf):
        raise ValueError(
            f"wait must be between 0 and {LONGEST_DELAY:.0f} seconds (100 years), or math.inf, not {shown(wait)}"
        )
    return float(wait)


def check_text(name: str, text: Any) -> str:
    """A text that every store can hold."""
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, not {_kind(text)}")
    return storable(text)


def storable(text: str) -> str:
    """A text with its lone surrogates, which UTF-8 cannot hold, written as ``\\udcff``; as in `js/api/validate.js`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def prepare_sends(messages: Any) -> list[tuple[Any, PreparedMessage]]:
    """Pairs of whatever was given as the mailbox, and a checked message."""
    if isinstance(messages, (str, bytes)) or not isinstance(messages, Iterable):
        raise TypeError(f"messages must be an iterable of (mailbox, NewMessage) pairs, not {_kind(messages)}")
    return [_prepare_send(pair, index) for index, pair in enumerate(messages)]


def _prepare_send(pair: Any, index: int) -> tuple[Any, PreparedMessage]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise TypeError(f"messages[{index}] must be a pair of a mailbox and a NewMessage, not {_kind(pair)}")
    mailbox, message = pair
    return mailbox, _as_it_is(message) or _prepare_new_message(message, f"messages[{index}][1]")


def check_offset(offset: Any) -> int:
    """How many are passed over."""
    if not isinstance(offset, int) or isinstance(offset, bool):
        raise TypeError(f"offset must be an int, not {_kind(offset)}")
    if not 0 <= offset <= LARGEST_COUNT:
        raise ValueError(f"offset must be between 0 and {LARGEST_COUNT} (2**53 - 1), not {shown(offset)}")
    return min(offset, sys.maxsize)


def check_flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {_kind(value)}")
    return value


def check_status(status: Any) -> MessageStatus | None:
    if status is not None and not isinstance(status, MessageStatus):
        raise TypeError(f"status must be a MessageStatus or None, not {status!r}")
    return status


def check_observer(observer: Any) -> None:
    if observer is not None and not callable(getattr(observer, "on_depth_change", None)):
        raise TypeError(f"observer must have a method on_depth_change(queued_messages); {_kind(observer)} has none")


def check_delay(delay: Any, name: str = "delay") -> int:
    """Whole milliseconds, rounded up so that a message is never due too early."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if not _is_number(seconds):
        raise TypeError(f"{name} must be a number of seconds or a timedelta, not {_kind(delay)}")
    if not 0 <= seconds <= LONGEST_DELAY:
        raise ValueError(f"{name} must be between 0 and {LONGEST_DELAY:.0f} seconds (100 years), not {shown(delay)}")
    return math.ceil(seconds * 1000)


def check_count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {_kind(value)}")
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, not {shown(value)}")
    if value > LARGEST_COUNT:
        raise ValueError(f"{name} must be at most {LARGEST_COUNT} (2**53 - 1), not {shown(value)}")
    return value


def _check_size(size: int, where: str) -> None:
    if size > LARGEST_MESSAGE:
        raise ValueError(
            f"{where}sender, payload and headers must hold at most {LARGEST_MESSAGE} bytes (64 MiB) together, "
            f"not {size}"
        )


def _check_length(name: str, value: Any) -> int:
    """The largest number of messages in one answer: never more than a list can hold, which is 2**31 - 1 in a page."""
    return min(check_count(name, value), sys.maxsize)


def shown(value: Any) -> str:
    """A number for the text of an error; Python refuses to write out an int of thousands of digits."""
    return (
        f"an int of {value.bit_length()} bits" if isinstance(value, int) and value.bit_length() > 128 else repr(value)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
