"""The bytes in ``tests/golden.json``: Python packs exactly these, and unpacks their meaning."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from pymailbox import MessagePriority, MessageRecord, MessageStatus
from pymailbox.backends.indexeddb import frames
from pymailbox.contract import limits
from pymailbox.contract.archive import Death, Remembered, WholeMessage
from pymailbox.contract.arguments import PreparedMessage, storable
from pymailbox.contract.headers import pack_headers
from pymailbox.contract.ids import id_at, location_of
from pymailbox.contract.reasons import died_reason, failed_reason, unreadable_reason
from pymailbox.core import delivery
from pymailbox.transfer.lines import End, end_line, head_line, message_line, read_line, remembered_line

GOLDEN: Final[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden.json").read_text("utf-8"))

DELAYED: Final = 2
STATUSES: Final = (MessageStatus.QUEUED, MessageStatus.INFLIGHT, MessageStatus.QUEUED)


ALONE: Final = delivery.handed_out(delivery.NEVER, True)
FAILED: Final = delivery.failed(delivery.handed_out(delivery.CUSTOM_ID, True)) | delivery.HAS_ERROR

DELIVERIES: Final = {
    "fresh": delivery.NEVER,
    "custom": delivery.CUSTOM_ID,
    "handed out": delivery.handed_out(delivery.NEVER, False),
    "handed out alone": delivery.handed_out(delivery.CUSTOM_ID, True),
    "released": delivery.undelivered(delivery.handed_out(delivery.HAS_ERROR, True)),
    "failed": delivery.failed(ALONE) | delivery.HAS_ERROR,
    "failed twice": delivery.failed(delivery.handed_out(FAILED, True)),
    "abandoned": delivery.abandoned(delivery.handed_out(delivery.CUSTOM_ID | delivery.HAS_ERROR, False)),
    "abandoned alone": delivery.abandoned(ALONE),
    "restored": delivery.restored(7, 3, suspect=True, has_error=True),
    "restored with the most": delivery.restored(
        limits.MOST_COUNTED + 5, limits.MOST_COUNTED, suspect=False, has_error=False
    ),
}
"""Delivery states; the names are those of the golden values."""


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)


def prepared(message: dict[str, Any], created_at: int) -> PreparedMessage:
    return PreparedMessage(
        bytes.fromhex(message["sender"]),
        bytes.fromhex(message["payload"]),
        MessagePriority(message["priority"]),
        None if message["id"] is None else UUID(message["id"]),
        0 if message["due"] is None else message["due"] - created_at,
        pack_headers(dict(message["headers"])),
        0 if message["until"] is None else message["until"] - created_at,
    )


def record(message: dict[str, Any]) -> MessageRecord:
    return MessageRecord(
        UUID(message["id"]),
        bytes.fromhex(message["sender"]),
        bytes.fromhex(message["payload"]),
        MessagePriority(message["priority"]),
        moment(message["createdAt"]),
        STATUSES[message["status"]],
        message["deliveryCount"],
        dict(message["headers"]),
        moment(message["due"]) if message["status"] == DELAYED else None,
    )


def whole(message: dict[str, Any]) -> WholeMessage:
    return WholeMessage(
        UUID(message["id"]),
        bytes.fromhex(message["sender"]),
        bytes.fromhex(message["payload"]),
        MessagePriority(message["priority"]),
        message["createdAt"],
        message["deliveryCount"],
        STATUSES[message["status"]],
        message["due"],
        message["failures"],
        message["suspect"],
        message["error"],
        None if message["reason"] is None else Death(message["reason"], message["diedAt"]),
        pack_headers(dict(message["headers"])),
    )


def test_limits_are_the_same() -> None:
    ours = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert ours | {"LONGEST_DELAY": limits.LONGEST_DELAY * 1000} == GOLDEN["limits"]


def test_reasons_are_the_same() -> None:
    assert GOLDEN["reasons"] == {
        "unreadable": [unreadable_reason(count) for count in range(3)],
        "failed": failed_reason(2, 3),
        "died": died_reason(2, 3),
    }


@pytest.mark.parametrize("name", GOLDEN["ids"])
def test_ids_say_the_places_that_they_were_made_of(name: str) -> None:
    golden = GOLDEN["ids"][name]
    base, place = UUID(golden["base"]).int, (golden["priority"], golden["sequence"])
    assert id_at(base, *place) == UUID(golden["id"])
    assert location_of(base, UUID(golden["id"])) == place


@pytest.mark.parametrize("name", GOLDEN["frames"])
def test_messages_are_packed_into_these_frames(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = GOLDEN["frames"][name]
    monkeypatch.setattr(time, "time_ns", lambda: golden["createdAt"] * 1_000_000 + 999_999)
    messages = [prepared(message, golden["createdAt"]) for message in golden["messages"]]
    assert frames.pack_messages(messages).hex() == golden["frames"]
    assert b"".join(map(frames.pack_message, messages)).hex() == golden["frames"]


@pytest.mark.parametrize("name", GOLDEN["batches"])
def test_batches_say_the_messages_that_were_handed_out(name: str) -> None:
    golden = GOLDEN["batches"][name]
    assert frames.unpack_batch(bytes.fromhex(golden["batch"])) == [record(message) for message in golden["messages"]]


@pytest.mark.parametrize("name", GOLDEN["deliveries"])
def test_delivery_states_are_the_same(name: str) -> None:
    golden = GOLDEN["deliveries"][name]
    number = golden["number"]
    assert DELIVERIES[name] == number
    assert (delivery.hand_outs(number), delivery.failures(number)) == (golden["handOuts"], golden["failures"])


def test_ids_cross_one_after_the_other() -> None:
    ids = [UUID(golden["id"]) for golden in GOLDEN["ids"].values()]
    packed = bytes.fromhex("".join(golden["id"].replace("-", "") for golden in GOLDEN["ids"].values()))
    assert frames.pack_ids(ids) == packed
    assert frames.unpack_ids(packed) == ids


def test_dead_letters_say_why() -> None:
    golden = GOLDEN["dead letters"]
    letters = frames.unpack_dead_letters(bytes.fromhex(golden["batch"]), golden["deaths"])
    assert [
        {"id": letter.record.id.bytes.hex(), "deliveries": letter.record.delivery_count, "reason": letter.reason}
        | ({} if letter.error is None else {"error": letter.error})
        | {"diedAt": (letter.died_at - moment(0)) // timedelta(milliseconds=1)}
        for letter in letters
    ] == [
        {name: stored["hex"] if name == "id" else stored for name, stored in kept.items() if name != "frame"}
        for kept in golden["records"]
    ]


def test_lines_of_an_export_are_the_same() -> None:
    golden = GOLDEN["exported"]
    assert head_line().decode() == golden["head"]
    for each in golden["messages"]:
        message = whole(each["message"])
        assert message_line(message).decode() == each["line"]
        assert read_line(each["line"].encode()) == replace(message, error=message.error and storable(message.error))
    for each in golden["known"]:
        known = Remembered(UUID(each["id"]), each["until"])
        assert remembered_line(known).decode() == each["line"]
        assert read_line(each["line"].encode()) == known
    end = End(len(golden["messages"]), 1, len(golden["known"]))
    assert end_line(end).decode() == golden["end"]
    assert read_line(golden["end"].encode()) == end


@pytest.mark.parametrize("section", ["living", "dead"])
def test_pages_of_an_archive_say_all_that_is_known(section: str) -> None:
    golden = GOLDEN["archive"][section]
    messages = frames.unpack_whole(bytes.fromhex(golden["batch"]), golden["details"])
    assert messages == [whole(message) for message in golden["messages"]]


def test_whole_messages_are_packed_into_these_frames_and_details() -> None:
    golden = GOLDEN["archive"]["adopted"]
    packed, details = frames.pack_whole([whole(message) for message in golden["messages"]])
    assert packed.hex() == golden["frames"]
    assert json.loads(details) == json.loads(golden["details"])
