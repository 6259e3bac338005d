"""The values: immutable, comparable, and convertible to plain data for JSON and back without loss."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymailbox import (
    MailboxDepthObserver,
    MailboxStats,
    MessagePriority,
    MessageRecord,
    MessageStatus,
    NewMessage,
)
from pymailbox.contract.headers import Headers

priorities = st.sampled_from(MessagePriority)
counts = st.integers(0, 2**53)

records = st.builds(
    MessageRecord,
    id=st.uuids(allow_nil=True),
    sender=st.binary(),
    payload=st.binary(),
    priority=priorities,
    created_at=st.datetimes(timezones=st.just(UTC)),
    status=st.sampled_from(MessageStatus),
    delivery_count=counts,
)
new_messages = st.builds(
    NewMessage,
    sender=st.binary(),
    payload=st.binary(),
    priority=priorities,
    message_id=st.none() | st.uuids(allow_nil=True),
    delay=st.none() | st.floats(0, 1e9),
)
stats = st.builds(
    MailboxStats,
    queued_messages=counts,
    inflight_messages=counts,
    queued_by_priority=st.fixed_dictionaries(dict.fromkeys(MessagePriority, counts)),
)


@given(st.one_of(records, new_messages, stats, priorities, st.sampled_from(MessageStatus)))
def test_round_trip_through_json(value: Any) -> None:
    back = type(value).from_dict(json.loads(json.dumps(value.to_dict(), allow_nan=False)))
    assert back == value
    assert type(back) is type(value)


def test_record_as_dict() -> None:
    record = MessageRecord(
        UUID(int=0),
        b"\xff",
        b"",
        MessagePriority.HIGH,
        datetime(2026, 1, 2, 3, 4, 5, 6000, UTC),
        MessageStatus.INFLIGHT,
        2,
    )
    assert record.to_dict() == {
        "id": "00000000-0000-0000-0000-000000000000",
        "sender": "/w==",
        "payload": "",
        "priority": "HIGH",
        "created_at": "2026-01-02T03:04:05.006000+00:00",
        "status": "INFLIGHT",
        "delivery_count": 2,
        "headers": {},
        "due_at": None,
    }


def test_stats_as_dict() -> None:
    value = MailboxStats(3, 1, {MessagePriority.NORMAL: 1, MessagePriority.HIGH: 2})
    assert value.to_dict() == {
        "queued_messages": 3,
        "inflight_messages": 1,
        "queued_by_priority": {"NORMAL": 1, "HIGH": 2},
        "dead_letters": 0,
        "delayed_messages": 0,
        "oldest_queued_at": None,
        "ever_queued": 0,
    }


def test_headers_are_a_value() -> None:
    headers = Headers({"a": "1"})
    assert headers == {"a": "1"}
    assert hash(headers) == hash(Headers({"a": "1"}))
    assert pickle.loads(pickle.dumps(headers)) == headers
    assert copy.deepcopy(headers) == headers
    assert repr(headers) == "Headers({'a': '1'})"


def test_new_message_from_other_bytes_and_a_timedelta() -> None:
    message = NewMessage(bytearray(b"a"), memoryview(b"b"), delay=timedelta(milliseconds=1500))
    assert NewMessage.from_dict(message.to_dict()) == NewMessage(b"a", b"b", delay=1.5)


def test_priorities_are_ordered_integers() -> None:
    assert MessagePriority.NORMAL < MessagePriority.HIGH
    assert [int(priority) for priority in MessagePriority] == [0, 1]
    assert sorted([MessagePriority.HIGH, MessagePriority.NORMAL])[-1] is MessagePriority.HIGH


@pytest.mark.parametrize("kind", [MessagePriority, MessageStatus])
def test_unknown_member_is_named(kind: type[MessagePriority] | type[MessageStatus]) -> None:
    with pytest.raises(ValueError, match=f"'URGENT' is not a {kind.__name__}; there are {', '.join(kind.__members__)}"):
        kind.from_dict("URGENT")


def test_damaged_base64_is_refused() -> None:
    data = NewMessage(b"sender", b"payload").to_dict() | {"payload": "not base64!"}
    with pytest.raises(ValueError, match=r"base64|characters"):
        NewMessage.from_dict(data)


VALUES = [
    MessageRecord(UUID(int=1), b"", b"", MessagePriority.HIGH, datetime.now(UTC), MessageStatus.QUEUED, 0),
    NewMessage(b"", b""),
    MailboxStats(0, 0, {MessagePriority.NORMAL: 0, MessagePriority.HIGH: 0}),
    Headers({"a": "1"}),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_immutable(value: Any) -> None:
    for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
    # a class with slots says AttributeError, one without would take it
    with pytest.raises((AttributeError, TypeError)):
        value.something_new = 1


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_can_be_hashed_copied_and_pickled(value: Any) -> None:
    for twin in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert twin == value
        assert hash(twin) == hash(value)


def test_observer_is_anything_with_the_method() -> None:
    class Observer:
        def on_depth_change(self, queued_messages: int) -> None: ...

    assert isinstance(Observer(), MailboxDepthObserver)
    assert not isinstance(object(), MailboxDepthObserver)
