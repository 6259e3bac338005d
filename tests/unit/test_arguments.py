"""The checks of arguments: what passes, what it becomes, and how errors name the rest."""

from __future__ import annotations

import array
import ctypes
import math
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy
import pytest

from pymailbox import MessagePriority, MessageStatus, NewMessage
from pymailbox.contract import arguments, limits
from pymailbox.contract.arguments import Options, PreparedMessage, prepare_message, prepare_messages, prepare_sends

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
        (memoryview(bytes(range(6))).cast("B", (2, 3)), bytes(range(6))),
        (memoryview(bytes(range(6))).cast("B", (2, 3))[::-1], bytes((3, 4, 5, 0, 1, 2))),
        (array.array("b", [-1]), b"\xff"),
        (memoryview(b"abc").cast("c"), b"abc"),
        ((ctypes.c_ubyte * 3)(*b"abc"), b"abc"),
        (pickle.PickleBuffer(b"abc"), b"abc"),
        (numpy.frombuffer(b"a-b-c", numpy.uint8)[::2], b"abc"),
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
        (limits.LONGEST_DELAY, 3_155_760_000_000),
    ],
)
def test_delay_becomes_milliseconds_rounded_up(delay: Any, milliseconds: int) -> None:
    assert prepare(delay=delay).delay_ms == milliseconds


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: prepare(sender="text"),
            TypeError,
            "sender must be bytes or another bytes-like .* not str; text.encode",
        ),
        (
            lambda: prepare(sender=array.array("d", [1])),
            TypeError,
            "sender must be .* not array with items of the format",
        ),
        (lambda: prepare(payload=array.array("i", [1])), TypeError, "payload must be .* with items of the format 'i'"),
        (
            lambda: prepare(payload=(ctypes.c_char_p * 1)(b"x")),
            TypeError,
            "payload must be .* not c_char_p_Array_1 with",
        ),
        (lambda: prepare(payload=numpy.array(["a", "b"], object)), TypeError, "payload must be .* of the format 'O'"),
        (lambda: prepare(payload=numpy.array([1.5])), TypeError, "payload must be .* with items of the format 'd'"),
        (lambda: prepare(sender=numpy.array(["a"])[0]), TypeError, "sender must be bytes .* not str_"),
        (lambda: prepare(payload=numpy.int64(7)), TypeError, "payload must be bytes .* not int64"),
        (lambda: prepare(payload=ctypes.c_ubyte(7)), TypeError, "payload must be bytes .* not c_ubyte$"),
        (lambda: prepare(payload=memoryview(bytes(8)).cast("P")), TypeError, "payload must be .* of the format 'P'"),
        (lambda: prepare(payload=memoryview(bytes(8)).cast("?")), TypeError, r"payload must be .* of the format '\?'"),
        (lambda: prepare(payload=released()), TypeError, "payload has no bytes that can be read: .* released"),
        (
            lambda: prepare(sender=b"x", payload=too_large(0)),
            ValueError,
            "sender, payload and headers must hold at most 67108864",
        ),
        (lambda: prepare(payload=too_large(1)), ValueError, r"headers must .* \(64 MiB\) together, not 67108866"),
        (lambda: prepare(sender=memoryview(too_large(1))), ValueError, "sender, payload and headers must hold at most"),
        (
            lambda: prepare_messages([NewMessage(b"", b""), NewMessage(b"", too_large(1))]),
            ValueError,
            r"messages\[1\].sender, payload and headers must hold at most",
        ),
        (
            lambda: prepare_sends([(None, NewMessage(b"", too_large(1)))]),
            ValueError,
            r"messages\[0\]\[1\].sender, payload and headers must hold at most",
        ),
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
        (lambda: prepare(delay=limits.LONGEST_DELAY + 1), ValueError, "delay must be between"),
        (lambda: prepare(delay=10**400), ValueError, "delay must be between .* not an int of 1329 bits"),
        (lambda: prepare(delay=timedelta.max), ValueError, "delay must be between"),
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
        (
            lambda: arguments.check_limit(2**53),
            ValueError,
            r"limit must be at most 9007199254740991 \(2\*\*53 - 1\), not 90",
        ),
        (lambda: arguments.check_limit(10**5000), ValueError, "limit must be at most .* not an int of 16610 bits"),
        (lambda: arguments.check_limit(-(10**5000)), ValueError, "limit must be 1 or more, not an int of 16610 bits"),
        (lambda: arguments.check_limit(1.0), TypeError, "limit must be an int, not float"),
        (lambda: arguments.check_limit(True), TypeError, "limit must be an int, not bool"),
        (
            lambda: arguments.check_wait(-0.1),
            ValueError,
            "wait must be between 0 and 3155760000 .* or math.inf, not -0.1",
        ),
        (lambda: arguments.check_wait(math.nan), ValueError, "wait must be between .* not nan"),
        (lambda: arguments.check_wait(1e10), ValueError, "wait must be between .* not 10000000000.0"),
        (lambda: arguments.check_wait(10**400), ValueError, "wait must be between .* not an int of 1329 bits"),
        (lambda: arguments.check_wait("1"), TypeError, "wait must be a number of seconds, not str"),
        (lambda: arguments.check_status("queued"), TypeError, "status must be a MessageStatus or None, not 'queued'"),
        (lambda: arguments.check_observer(print), TypeError, "observer must have a method on_depth_change"),
        (lambda: options(batch_size=0), ValueError, "batch_size must be 1 or more, not 0"),
        (lambda: options(batch_size="32"), TypeError, "batch_size must be an int, not str"),
        (lambda: options(max_deliveries=0), ValueError, "max_deliveries must be 1 or more, not 0"),
        (lambda: options(max_deliveries=2.5), TypeError, "max_deliveries must be an int, not float"),
        (lambda: options(max_deliveries=2**53), ValueError, "max_deliveries must be at most 9007199254740991"),
        (lambda: options(batch_size=2**63), ValueError, "batch_size must be at most 9007199254740991"),
        (
            lambda: options(lease=0),
            ValueError,
            "lease must be a positive number of seconds, at most 3155760000 .* not 0",
        ),
        (lambda: options(lease=math.inf), ValueError, "lease must be a positive number"),
        (lambda: options(lease=math.nan), ValueError, "lease must be a positive number"),
        (lambda: options(lease=10**400), ValueError, "lease must be a positive number .* not an int of 1329 bits"),
        (lambda: options(lease=True), TypeError, "lease must be a number of seconds, not bool"),
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


def released() -> memoryview:
    view = memoryview(b"released")
    view.release()
    return view


def too_large(by: int) -> bytes:
    return bytes(limits.LARGEST_MESSAGE + by)


def test_what_is_too_large_is_not_copied() -> None:
    buffer = bytearray(limits.LARGEST_MESSAGE + 1)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="payload"):
            prepare(payload=buffer)
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_refused_buffer_can_be_resized() -> None:
    buffer = bytearray(limits.LARGEST_MESSAGE + 1)
    with pytest.raises(ValueError, match="payload") as refused:
        prepare(payload=buffer)
    buffer.clear()  # a BufferError if something looked at it still
    assert refused.value.__traceback__ is not None


def test_text_is_made_storable() -> None:
    assert arguments.check_text("error", "no file \udcff.txt, half \ud83d, whole 🙃") == (
        r"no file \udcff.txt, half \ud83d, whole 🙃"
    )


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


def test_headers_are_measured_as_they_are_stored() -> None:
    class Small(str):
        def encode(self, *_: Any, **__: Any) -> bytes:
            return b""

    with pytest.raises(ValueError, match="headers must hold at most 8192 bytes of UTF-8 in all, not 9001"):
        prepare(headers={"a": Small("x" * 9000)})
