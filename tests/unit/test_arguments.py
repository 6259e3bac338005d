"""The checks of arguments: what passes, what it becomes, and how the rest is named."""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from pymailbox import MessagePriority, MessageStatus, NewMessage
from pymailbox import _arguments as arguments
from pymailbox._arguments import Options, PreparedMessage, prepare_message, prepare_messages

ID = UUID(int=7)
NORMAL, HIGH = MessagePriority.NORMAL, MessagePriority.HIGH


def prepare(**changes: Any) -> PreparedMessage:
    good: dict[str, Any] = {"sender": b"s", "payload": b"p", "priority": NORMAL, "message_id": None, "delay": None}
    return prepare_message(**good | changes)


def options(**changes: Any) -> Options:
    good: dict[str, Any] = {"batch_size": 32, "max_deliveries": None, "lease": 300.0, "durability": "strict"}
    return arguments.check_options(**good | changes)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (b"abc", b"abc"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"a-b-c")[::2], b"abc"),
        (array.array("B", b"abc"), b"abc"),
        (memoryview(bytes(6)).cast("B", (2, 3)), bytes(6)),
        (b"", b""),
    ],
)
def test_bytes_like_values_become_bytes(value: Any, stored: bytes) -> None:
    message = prepare(sender=value, payload=value)
    assert (message.sender, message.payload) == (stored, stored)
    assert type(message.sender) is bytes


def test_copies_do_not_follow_their_buffer() -> None:
    buffer = bytearray(b"before")
    message = prepare(payload=buffer)
    buffer[:] = b"after, and longer"
    assert message.payload == b"before"


def test_subclass_of_bytes_becomes_bytes() -> None:
    class Labelled(bytes):
        pass

    assert type(prepare(payload=Labelled(b"abc")).payload) is bytes


@pytest.mark.parametrize(
    ("delay", "milliseconds"),
    [
        (None, 0),
        (0, 0),
        (-0.0, 0),
        (1, 1000),
        (1.5, 1500),
        (0.0001, 1),
        (timedelta(minutes=1), 60_000),
        (timedelta(microseconds=1), 1),
        (arguments.LONGEST_DELAY, 3_155_760_000_000),
    ],
)
def test_delay_becomes_milliseconds_rounded_up(delay: Any, milliseconds: int) -> None:
    assert prepare(delay=delay).delay_ms == milliseconds


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: prepare(sender="text"), TypeError, "sender must be bytes or another bytes-like value, not str"),
        (lambda: prepare(sender=5), TypeError, "sender must be .* not int"),
        (lambda: prepare(payload=None), TypeError, "payload must be .* not None"),
        (lambda: prepare(payload=[1]), TypeError, "payload must be .* not list"),
        (lambda: prepare(priority=1), TypeError, "priority must be a MessagePriority, not 1"),
        (lambda: prepare(priority=True), TypeError, "priority must be a MessagePriority, not True"),
        (lambda: prepare(priority="HIGH"), TypeError, "priority must be a MessagePriority, not 'HIGH'"),
        (lambda: prepare(message_id=str(ID)), TypeError, "message_id must be a uuid.UUID, not str"),
        (lambda: prepare(message_id=0), TypeError, "message_id must be a uuid.UUID, not int"),
        (lambda: prepare(delay=-1), ValueError, "delay must be between 0 and 3155760000 seconds .* not -1"),
        (lambda: prepare(delay=timedelta(seconds=-1)), ValueError, "delay must be between"),
        (lambda: prepare(delay=math.inf), ValueError, "delay must be between .* not inf"),
        (lambda: prepare(delay=math.nan), ValueError, "delay must be between .* not nan"),
        (lambda: prepare(delay=arguments.LONGEST_DELAY + 1), ValueError, "delay must be between"),
        (lambda: prepare(delay="1"), TypeError, "delay must be a number of seconds or a timedelta, not str"),
        (lambda: prepare(delay=True), TypeError, "delay must be a number of seconds or a timedelta, not bool"),
        (lambda: prepare(delay=Decimal(1)), TypeError, "delay must be a number"),
        (lambda: prepare_messages(5), TypeError, "messages must be an iterable of NewMessage, not int"),
        (lambda: prepare_messages("text"), TypeError, "messages must be an iterable of NewMessage, not str"),
        (lambda: prepare_messages(NewMessage(b"", b"")), TypeError, "messages must be an iterable .* not NewMessage"),
        (lambda: prepare_messages([b""]), TypeError, r"messages\[0\] must be a NewMessage, not bytes"),
        (
            lambda: prepare_messages([NewMessage(b"", b""), NewMessage(b"", "x")]),  # type: ignore[arg-type]
            TypeError,
            r"messages\[1\]\.payload must be bytes",
        ),
        (
            lambda: prepare_messages([NewMessage(b"", b"", delay=-1)]),
            ValueError,
            r"messages\[0\]\.delay must be between",
        ),
        (lambda: arguments.check_id("7"), TypeError, "message_id must be a uuid.UUID, not str"),
        (lambda: arguments.check_ids(ID), TypeError, "ids must be an iterable of uuid.UUID, not UUID"),
        (lambda: arguments.check_ids(str(ID)), TypeError, "ids must be an iterable of uuid.UUID, not str"),
        (lambda: arguments.check_ids(None), TypeError, "ids must be an iterable of uuid.UUID, not None"),
        (lambda: arguments.check_ids([ID, 7]), TypeError, r"ids\[1\] must be a uuid.UUID, not int"),
        (lambda: arguments.check_limit(0), ValueError, "limit must be 1 or more, not 0"),
        (lambda: arguments.check_limit(-3), ValueError, "limit must be 1 or more, not -3"),
        (lambda: arguments.check_limit(1.0), TypeError, "limit must be an int, not float"),
        (lambda: arguments.check_limit(True), TypeError, "limit must be an int, not bool"),
        (lambda: arguments.check_wait(-0.1), ValueError, "wait must be 0 seconds or more, not -0.1"),
        (lambda: arguments.check_wait(math.nan), ValueError, "wait must be 0 seconds or more, not nan"),
        (lambda: arguments.check_wait("1"), TypeError, "wait must be a number of seconds, not str"),
        (lambda: arguments.check_status("queued"), TypeError, "status must be a MessageStatus or None, not 'queued'"),
        (lambda: arguments.check_observer(print), TypeError, "observer must have a method on_depth_change"),
        (lambda: options(batch_size=0), ValueError, "batch_size must be 1 or more, not 0"),
        (lambda: options(batch_size="32"), TypeError, "batch_size must be an int, not str"),
        (lambda: options(max_deliveries=0), ValueError, "max_deliveries must be 1 or more, not 0"),
        (lambda: options(max_deliveries=2.5), TypeError, "max_deliveries must be an int, not float"),
        (lambda: options(lease=0), ValueError, "lease must be a positive, finite number of seconds, not 0"),
        (lambda: options(lease=math.inf), ValueError, "lease must be a positive, finite number"),
        (lambda: options(lease=math.nan), ValueError, "lease must be a positive, finite number"),
        (lambda: options(lease="300"), TypeError, "lease must be a number of seconds, not str"),
        (
            lambda: options(durability="eventual"),
            ValueError,
            "durability must be 'strict' or 'relaxed', not 'eventual'",
        ),
        (lambda: options(durability=None), ValueError, "durability must be 'strict' or 'relaxed', not None"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_good_arguments_pass() -> None:
    assert prepare(priority=HIGH, message_id=ID) == PreparedMessage(b"s", b"p", HIGH, ID, 0)
    assert prepare_messages(iter([NewMessage(b"a", b"b", HIGH, ID, 2)])) == [
        PreparedMessage(b"a", b"b", HIGH, ID, 2000)
    ]
    assert prepare_messages(()) == []
    assert arguments.check_ids({ID: None}) == [ID]
    assert (arguments.check_limit(None), arguments.check_limit(5)) == (None, 5)
    assert (arguments.check_wait(None), arguments.check_wait(0), arguments.check_wait(math.inf)) == (
        None,
        0.0,
        math.inf,
    )
    assert arguments.check_status(MessageStatus.QUEUED) is MessageStatus.QUEUED
    assert arguments.check_status(None) is None
    arguments.check_observer(None)
    assert options(batch_size=1, max_deliveries=3, lease=1, durability="relaxed") == Options(1, 3, 1.0, "relaxed")
    assert options() == Options()


def test_error_of_an_iterable_passes_through() -> None:
    def torn() -> Iterator[NewMessage]:
        yield NewMessage(b"", b"")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        prepare_messages(torn())
