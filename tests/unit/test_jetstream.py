"""The parts of the JetStream backend that need no server: locations, settings, commits, states and their snapshots."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Mapping
from time import process_time
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

pytest.importorskip("nats")

from pymailbox import StorageCorruptError, StorageFullError, StorageUnavailableError, open_mailbox
from pymailbox.backends.jetstream import bodies, cleaning, codec, settings, snapshots
from pymailbox.backends.jetstream.bodies import Bodies
from pymailbox.backends.jetstream.codec import PLAIN, Op, Reference
from pymailbox.backends.jetstream.errors import RefusedError
from pymailbox.backends.jetstream.link import Link
from pymailbox.backends.jetstream.liveness import Vigil
from pymailbox.backends.jetstream.location import Address, address_of, name_of, token_of
from pymailbox.backends.jetstream.shelves import SHELF, Shelves
from pymailbox.backends.jetstream.state import EXPIRED, RELEASED, Claimed, Effects, LogState, NotAdmitted
from pymailbox.backends.registry import parse_location
from pymailbox.contract.arguments import PreparedMessage
from pymailbox.contract.ids import new_id
from pymailbox.contract.values import MessagePriority, MessageStatus
from pymailbox.core import verbs
from pymailbox.core.state import LaneRun
from pymailbox.core.store import Message
from pymailbox.testing.checks.names import ODD_NAMES
from tools.serve import ROOT

ALICE, BOB = 1 << 40, 2 << 40
NONCE, OTHER = b"nonce  1", b"nonce  2"
SECOND = 1000


# -- locations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("nats://localhost/inbox", Address(("nats://localhost:4222",), "pymailbox", None), "inbox"),
        (
            "NATS://a:1,b:2,[::1]:3/a%2Fb?stream=orders&replicas=3",
            Address(("nats://a:1", "nats://b:2", "nats://[::1]:3"), "orders", 3),
            "a/b",
        ),
        ("tls://host:4443/", Address(("tls://host:4443",), "pymailbox", None), None),
        ("ws://host/x", Address(("ws://host:80",), "pymailbox", None), "x"),
        ("wss://host/x", Address(("wss://host:443",), "pymailbox", None), "x"),
    ],
)
def test_good_locations(text: str, address: Address, name: str | None) -> None:
    location = parse_location(text)
    assert address_of(location) == address
    assert location.name == name


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("nats:///inbox", "HOST:PORT"),
        ("nats://host:0/inbox", "port 0"),
        ("nats://host:99999/inbox", "port 99999"),
        ("nats://host/a/b", "percent-encoded"),
        ("nats://host/a#b", "percent-encoded"),
        ("nats://host/a?replica=3", "'replica'"),
        ("nats://host/a?replicas=six", "replicas='six'"),
        ("nats://host/a?replicas=6", "replicas='6'"),
        ("nats://host/a?stream=a.b", "'a.b'"),
        ("nats://host/a?stream=a&stream=b", "twice"),
    ],
)
def test_bad_locations(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=r"^location ") as raised:
        open_mailbox(text)
    assert what in str(raised.value)


def test_a_password_is_shown_nowhere() -> None:
    with pytest.raises(ValueError, match="connect=") as raised:
        open_mailbox("nats://me:secret@host/inbox")
    assert "secret" not in str(raised.value)
    for secret in (
        "nats://me:se/cret@host/inbox",
        "nats://me:se?cret@host/inbox",
        "nats://me:se#cret@host/inbox",
        "nats://host/me:secret@inbox",
        "nats://host/inbox?password=secret",
        "nats://host/inbox?token=secret&replicas=9",
        "nats://host/inbox?replicas=9&token=secret",
        "nats://host/inbox?token=se#cret",
        "nats://host:x/inbox?token=secret",
    ):
        with pytest.raises(ValueError, match=r"^location ") as raised:
            open_mailbox(secret)
        assert "cret" not in str(raised.value)
    location = parse_location("nats://host/inbox")
    with pytest.raises(ValueError, match="connect is for nats://"):
        open_mailbox("memory://inbox", connect={"password": "secret"})
    with pytest.raises(TypeError, match="connect must be a mapping"):
        open_mailbox("nats://host/inbox", connect="secret")  # type: ignore[arg-type]
    opening = open_mailbox("nats://host/inbox", connect={"password": "secret"})
    opening._is_used = True
    assert opening._location == location._replace(connect=opening._location.connect)
    assert "secret" not in repr(opening._location)


def test_names_are_tokens_of_subjects_and_back() -> None:
    tokens = [token_of(name) for name in ODD_NAMES]
    assert len(set(tokens)) == len(ODD_NAMES)
    assert [name_of(token) for token in tokens] == list(ODD_NAMES)
    assert not any(character in token for token in tokens for character in ". *>\t\r\n")
    assert token_of("inbox_2-A") == "inbox_2-A"
    assert [name_of(token) for token in ("=", "=YQ", "a.b", "=_")] == [None] * 4


# -- settings ----------------------------------------------------------------------------------------------------------


def test_our_own_stream_is_as_it_has_to_be() -> None:
    ours = settings.wanted("s", 3)
    assert settings.differences(ours | {"max_bytes": 5, "description": "theirs", "sealed": False}, "s", 3) == []
    assert settings.differences({key: value for key, value in ours.items() if key != "max_age"}, "s", None) == []


def test_the_settings_are_those_that_the_page_tells() -> None:
    (told,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "jetstream.md").read_text("utf-8"), re.DOTALL)
    assert json.loads(told) | {"name": "STREAM"} == settings.wanted("STREAM", None)


def test_each_setting_of_another_shape_is_told() -> None:
    theirs = settings.wanted("s", 1) | {
        "retention": "workqueue",
        "max_age": 7,
        "allow_atomic": None,
        "deny_purge": True,
    }
    with pytest.raises(StorageUnavailableError) as raised:
        settings.check_stream(theirs, "s", 3)
    for told in (
        "retention is 'workqueue' there and has to be 'limits'",
        "max_age is 7 there and has to be 0",
        "allow_atomic is None there and has to be True",
        "num_replicas is 1 there and has to be 3",
        "deny_purge is True there and has to be off",
    ):
        assert told in str(raised.value)


@pytest.mark.parametrize("version", ["2.9.10", "2.11.99", "1.0.0", "?"])
def test_an_old_server_is_told_what_is_needed(version: str) -> None:
    with pytest.raises(StorageUnavailableError) as raised:
        settings.check_version(version)
    assert version in str(raised.value)
    assert "2.12.0" in str(raised.value)
    settings.check_version("2.12.0")
    settings.check_version("2.15.1-RC.1")


def test_what_the_server_says_has_a_meaning() -> None:
    assert isinstance(RefusedError({"err_code": 10077, "description": "full"}).meaning("x"), StorageFullError)
    assert "-js" in str(RefusedError({"err_code": 10039, "description": "no"}).meaning("x"))
    assert isinstance(RefusedError({"code": 400}).meaning("x"), StorageUnavailableError)
    crowded = RefusedError({"err_code": 10026, "description": "maximum consumers limit reached"}).meaning("x")
    assert isinstance(crowded, StorageUnavailableError)
    assert crowded.passing
    assert "default_max_consumers" in str(crowded)


# -- commits -----------------------------------------------------------------------------------------------------------


def message(payload: bytes = b"payload", message_id: UUID | None = None, delay: int = 0) -> PreparedMessage:
    return PreparedMessage(b"me", payload, MessagePriority.NORMAL, message_id or new_id(), delay, b"[]", 0)


def test_a_commit_is_read_as_it_was_written() -> None:
    messages = [message(b"one"), message(b"", delay=5)]
    enqueue = codec.encode_command(Op.ENQUEUE, codec.encode_messages(messages))
    data = codec.encode(NONCE, 7, [enqueue, codec.encode_command(Op.MARK, for_target=True)])
    commit = codec.decode(data)
    assert (commit.rules, commit.nonce, commit.number) == (codec.RULES, NONCE, 7)
    assert [(command.op, command.for_target) for command in commit.commands] == [(Op.ENQUEUE, False), (Op.MARK, True)]
    sent, sent_on = codec.decode_messages(commit.commands[0], 3)
    assert sent_on is None
    assert [(each.id, each.delay_ms) for each in sent] == [(messages[0].message_id, 0), (messages[1].message_id, 5)]
    reference = sent[0].reference
    assert data[reference.at : reference.at + reference.size] == b"meone[]"
    assert (reference.seq, reference.first, len(reference)) == (3, 3, 3)


@pytest.mark.parametrize("damage", [b"", b"hello", b"\x93pmb" + bytes(60)])
def test_what_is_no_commit_is_not_read(damage: bytes) -> None:
    with pytest.raises(codec.UnreadableError):
        codec.decode(damage)
    whole = codec.encode(NONCE, 1, [codec.encode_command(Op.MARK)])
    with pytest.raises(codec.UnreadableError):
        codec.decode(whole[:-1])


def test_a_commit_of_messages_alone_is_read_quickly_and_any_other_as_usual() -> None:
    one = enqueue(message())
    plain = codec.decode_plain(codec.encode(NONCE, 1, [one, one]))
    assert plain is not None
    assert len(plain.messages) == 2
    short = [codec.encode_command(op, body) for op, body in [(Op.MARK, b""), (Op.BEAT, bytes(8)), (Op.ENQUEUE, b"")]]
    of_three = bytearray(enqueue(message(), message()))
    of_three[codec.COMMAND_SIZE + 20] = 3  # it says that it has one message more
    urgent = enqueue(message()._replace(priority=cast(MessagePriority, len(MessagePriority))))
    for other in (*short, one[:-1], bytes(of_three), urgent, b"\1"):
        assert codec.decode_plain(codec.encode(NONCE, 1, [other])) is None
        assert codec.decode_plain(codec.encode(NONCE, 1, [one, other])) is None


# -- states ------------------------------------------------------------------------------------------------------------


class Log:
    """A log, and a state that follows it."""

    def __init__(self) -> None:
        self.state = LogState()
        self.entries: list[tuple[bytes, int, int | None]] = []
        self.number = 0

    def commit(self, *commands: bytes, time: int = 0, subject: int | None = None, nonce: bytes = NONCE) -> list[Any]:
        self.number += 1
        return self.add(codec.encode(nonce, self.number, commands), time, subject)

    def add(self, data: bytes, time: int, subject: int | None) -> list[Any]:
        self.entries.append((data, time, subject))
        return follow(self.state, len(self.entries), data, time, subject)

    def followed_anew(self) -> LogState:
        state = LogState()
        for seq, (data, time, subject) in enumerate(self.entries, 1):
            follow(state, seq, data, time, subject)
        return state


def follow(state: LogState, seq: int, data: bytes, time: int, subject: int | None) -> list[Any]:
    state.advance(seq, time, len(data))
    commit = codec.decode(data)
    return state.apply(commit, seq, subject, False, Effects()) if state.is_new(commit) else []


def enqueue(*messages: PreparedMessage) -> bytes:
    return codec.encode_command(Op.ENQUEUE, codec.encode_messages(messages))


def claim(holder: int, limit: int = 10, lease: int = 10 * SECOND) -> bytes:
    return codec.encode_command(Op.CLAIM, codec.pack_fields(holder, limit, 0, lease, 0, 0))


def ack(holder: int, *ids: UUID, witnesses: int = 0) -> bytes:
    return codec.encode_command(Op.ACK, codec.pack_fields(holder, 0, witnesses) + codec.encode_ids(ids))


def gone(holder: int, how: int = EXPIRED) -> bytes:
    return codec.encode_command(Op.GONE, codec.pack_fields(holder, how))


def ids_of(claimed: Any) -> list[UUID]:
    assert isinstance(claimed, Claimed)
    return [record.id for record in claimed.records]


def test_a_second_copy_of_a_commit_is_void() -> None:
    log = Log()
    log.commit(enqueue(message()))
    assert log.add(log.entries[0][0], 5, None) == []
    assert log.state.store.state.queued == 1
    assert log.state.now == 5


def test_a_command_in_pieces_is_what_it_is_in_one() -> None:
    state = LogState()
    ids = [new_id() for _ in range(20)]
    follow(state, 1, codec.encode(NONCE, 1, [enqueue(*(message(message_id=each) for each in ids))]), 0, None)
    pieces = codec.encode_pieces(Op.ACK, codec.pack_fields(ALICE, 0, 0) + codec.encode_ids(ids), 100)
    assert [len(piece) - codec.COMMAND_SIZE for piece in pieces] == [100, 100, 100, 44]
    for number, piece in enumerate(pieces, 2):
        (result,) = follow(state, number, codec.encode(NONCE, number, [piece]), 0, None)
    assert result.acked == 20
    assert codec.encode_pieces(Op.PURGE, b"", 100) == [codec.encode_command(Op.PURGE)]


def test_the_log_s_time_never_goes_back() -> None:
    log = Log()
    log.commit(enqueue(message()), time=50)
    log.commit(enqueue(message()), time=20)
    assert log.state.now == 50


def test_a_holder_is_admitted_on_its_own_subject() -> None:
    log, one = Log(), message()
    log.commit(enqueue(one))
    assert isinstance(log.commit(claim(ALICE))[0], NotAdmitted)
    assert ids_of(log.commit(claim(ALICE), subject=ALICE)[0]) == [one.message_id]
    assert ids_of(log.commit(claim(ALICE))[0]) == []


def test_the_log_decides_who_is_gone() -> None:
    log, one = Log(), message()
    log.commit(enqueue(one))
    log.commit(claim(ALICE), subject=ALICE)
    log.commit(codec.encode_command(Op.BEAT, codec.pack_fields(ALICE)), time=8 * SECOND)
    assert log.commit(gone(ALICE), time=17 * SECOND, subject=ALICE) == [0]
    assert log.state.expired(19 * SECOND, lambda _: False) == [(ALICE, EXPIRED)]
    assert log.state.expired(0, lambda _: True) == [(ALICE, RELEASED)]
    assert log.commit(gone(ALICE), time=19 * SECOND, subject=ALICE) == [1]
    assert log.commit(gone(ALICE), time=19 * SECOND, subject=ALICE) == [0]
    assert ids_of(log.commit(claim(BOB), subject=BOB)[0]) == [one.message_id]


def test_what_others_hold_is_acknowledged_with_a_mark_on_their_subjects_only() -> None:
    log, one, two = Log(), message(), message()
    assert one.message_id is not None
    assert two.message_id is not None
    log.commit(enqueue(one, two))
    log.commit(claim(ALICE, 1), subject=ALICE)
    (refused,) = log.commit(ack(BOB, one.message_id, two.message_id))
    assert (refused.acked, refused.elsewhere) == (0, [one.message_id])
    log.commit(codec.encode_command(Op.MARK), subject=ALICE)
    (acked,) = log.commit(ack(BOB, one.message_id, two.message_id, witnesses=1))
    assert (acked.acked, acked.elsewhere) == (2, [])


def test_what_is_looked_at_after_a_claim_of_others_has_its_records() -> None:
    log = Log()
    log.commit(enqueue(message(), message()))
    others = codec.decode(codec.encode(OTHER, 1, [claim(ALICE, limit=1)]))
    (claimed,) = log.state.apply(others, 2, ALICE, False, Effects(), wanted=False)
    assert claimed.records == [None]
    seen = verbs.peek(log.state.store, 10, None, 0, log.state.now)
    assert [record.status for record in seen] == [MessageStatus.QUEUED, MessageStatus.INFLIGHT]


def test_nothing_is_deleted_while_somebody_holds_something() -> None:
    log, reset = Log(), codec.encode_command(Op.RESET)
    assert log.commit(reset) == [False]
    log.commit(enqueue(message(), message()))
    log.commit(claim(ALICE, 1), subject=ALICE)
    log.commit(reset)
    assert log.state.store.state.queued == 1
    log.commit(gone(ALICE, RELEASED), subject=ALICE)
    assert log.commit(reset) == [True]
    assert (log.state.store.state.queued, log.state.touched) == (0, False)


def busy_log() -> Log:
    """One with everything in it that a state has."""
    log = Log()
    kept, failing, dead = message(b"kept"), message(b"failing"), message(b"dead")
    assert failing.message_id is not None
    assert dead.message_id is not None
    log.commit(enqueue(kept, failing, dead, message(delay=9 * SECOND)), time=SECOND)
    log.commit(enqueue(message()._replace(dedupe_ms=60 * SECOND)), time=SECOND, nonce=OTHER)
    log.commit(claim(ALICE, 3), time=2 * SECOND, subject=ALICE)
    nack = codec.pack_fields(ALICE, 0, 0, True, failing.message_id, "it failed")
    log.commit(codec.encode_command(Op.NACK, nack), time=3 * SECOND)
    log.commit(codec.encode_command(Op.BURY, codec.pack_fields(ALICE, dead.message_id, "no good")), time=3 * SECOND)
    log.commit(codec.encode_command(Op.UPLOAD, codec.pack_fields(2)), time=4 * SECOND)
    log.commit(codec.encode_command(Op.CHECKPOINT, b"now"), time=4 * SECOND)
    return log


def test_followers_have_the_same_state_byte_by_byte() -> None:
    log = busy_log()
    encoded = snapshots.encode(log.state)
    assert snapshots.encode(log.followed_anew()) == encoded


def decoded(encoded: bytes, seq: int) -> LogState:
    return asyncio.run(snapshots.decode(encoded, seq))


def test_a_state_goes_on_from_its_snapshot() -> None:
    log = busy_log()
    encoded = snapshots.encode(log.state)
    again = decoded(encoded, log.state.seq)
    again.commits, again.bytes = log.state.commits, log.state.bytes
    assert snapshots.encode(again) == encoded
    log.commit(claim(BOB), time=12 * SECOND, subject=BOB)
    log.commit(enqueue(message()), time=12 * SECOND)
    for seq, (data, time, subject) in list(enumerate(log.entries, 1))[-2:]:
        follow(again, seq, data, time, subject)
    assert snapshots.encode(again) == snapshots.encode(log.state)


@pytest.mark.parametrize("seed", range(12))
def test_what_many_messages_lead_to_together_is_what_each_would(seed: int) -> None:
    """Who has followed all along applies each commit when it comes, who catches up many enqueues at once."""
    chance, log, later = random.Random(seed), Log(), LogState()
    ids = [new_id() for _ in range(400)]
    time = put_off = 0
    for seq in range(1, 401):
        time += chance.randrange(3)
        if chance.random() < 0.02:
            log.commit(claim(ALICE, chance.randrange(20)), time=time, subject=ALICE)
        elif chance.random() < 0.02:
            log.commit(ack(ALICE, *chance.choices(ids, k=9)), time=time)
        elif chance.random() < 0.02:
            log.commit(enqueue(message()), codec.encode_command(Op.MARK), time=time)
        else:
            many = chance.choice((1, 1, 3, 40))
            batch = [varied(chance, chance.choice(ids) if chance.random() < 0.5 else new_id()) for _ in range(many)]
            if chance.random() < 0.02:
                batch[0] = batch[0]._replace(dedupe_ms=chance.choice((5, 60)) * (seed % 3))
            log.commit(enqueue(*batch), time=time, nonce=chance.choice((NONCE, OTHER)))
        data, _, subject = log.entries[-1]
        plain = codec.decode_plain(data)
        if plain is not None and later.is_new(plain) and later.apply_later(plain, seq, time, len(data)):
            put_off += 1
        else:
            follow(later, seq, data, time, subject)
        foreign = chance.randbytes(16)
        log.state.advance(seq, time, 5)
        log.state.enqueue_plain(codec.Sent(UUID(bytes=foreign), 0, 0, 0, Reference(seq, PLAIN, 0, 5, 0)), Effects())
        if not later.enqueue_plain_later(foreign, seq, time, 5):
            later.advance(seq, time, 5)
            later.enqueue_plain(codec.Sent(UUID(bytes=foreign), 0, 0, 0, Reference(seq, PLAIN, 0, 5, 0)), Effects())
    assert snapshots.encode(later) == snapshots.encode(log.state)
    assert (later.commits, later.bytes, later.seq) == (log.state.commits, log.state.bytes, log.state.seq)
    assert put_off > 10 or seed % 3  # while ids stay known nothing is put off


def varied(chance: random.Random, message_id: UUID) -> PreparedMessage:
    delay = SECOND if chance.random() < 0.01 else 0
    plain = message(chance.randbytes(chance.randrange(9)), delay=delay)
    return plain._replace(message_id=message_id, priority=chance.choice(list(MessagePriority)))


def test_parts_of_which_nobody_speaks_any_more_are_forgotten() -> None:
    log = busy_log()
    for second in (30, 60, 90):
        log.commit(codec.encode_command(Op.MARK), time=second * SECOND)
    log.commit(codec.encode_command(Op.UPLOAD, codec.pack_fields(3)), time=100 * SECOND)
    log.commit(codec.encode_command(Op.CHECKPOINT, b"now"), time=160 * SECOND)
    assert log.state.uploads == {3: log.state.age - 30 * SECOND}


def test_a_clock_that_jumps_ahead_makes_nothing_old() -> None:
    log = busy_log()
    age, hour = log.state.age, 3600 * SECOND
    log.commit(codec.encode_command(Op.CHECKPOINT, b"now"), time=hour, nonce=b"nonce  3")
    assert (log.state.now, log.state.age) == (hour, age + 30 * SECOND)
    assert list(log.state.uploads) == [2]  # its parts are not cleared away
    assert log.add(log.entries[0][0], hour, None) == []  # a second copy


def test_writers_are_not_known_for_ever() -> None:
    log = Log()
    for writer in range(1500):
        log.commit(codec.encode_command(Op.MARK), time=writer * SECOND // 10, nonce=b"%8d" % writer)
    assert len(log.state.applied) == 1500  # a copy of any of these may still come
    for writer in range(1500, 3000):
        log.commit(codec.encode_command(Op.MARK), time=writer * SECOND // 5, nonce=b"%8d" % writer)
    assert 900 < len(log.state.applied) <= 1000
    for second in range(600, 1300, 10):
        log.commit(codec.encode_command(Op.MARK), time=second * SECOND)
    assert list(log.state.applied) == [NONCE]


def test_a_snapshot_holds_no_payload() -> None:
    assert b"kept" not in snapshots.encode(busy_log().state)


async def test_a_snapshot_travels_whole_or_in_parts() -> None:
    state = busy_log().state
    digest, packed = await snapshots.take(snapshots.Capture(state), pack=True)
    assert await snapshots.take(snapshots.Capture(state), pack=False) == (digest, b"")
    whole = snapshots.decode_snapshot(snapshots.encode_snapshot(1, 9, digest, packed))
    assert whole is not None
    assert (whole.checkpoint, whole.seq, whole.parts) == (1, 9, ())
    assert await snapshots.unpack(whole.packed, whole) == snapshots.encode(state)
    in_parts = snapshots.decode_snapshot(snapshots.encode_snapshot(1, 9, digest, b"", (3, 4)))
    assert in_parts is not None
    assert (in_parts.parts, in_parts.packed) == ((3, 4), b"")
    assert snapshots.decode_snapshot(b"hello") is None


async def test_a_damaged_snapshot_is_told() -> None:
    log = busy_log()
    digest, packed = await snapshots.take(snapshots.Capture(log.state), pack=True)
    log.commit(enqueue(message()))
    _, another = await snapshots.take(snapshots.Capture(log.state), pack=True)
    snapshot = snapshots.Snapshot(1, 1, 9, digest, (), b"")
    with pytest.raises(StorageCorruptError, match="damaged"):
        await snapshots.unpack(b"no zlib", snapshot)
    for damaged in (another, packed[:-9], b""):
        with pytest.raises(StorageCorruptError, match="checksum"):
            await snapshots.unpack(damaged, snapshot)
    encoded = snapshots.encode(log.state)
    for damaged in (encoded[:50], encoded[:-1], encoded + b"x"):
        with pytest.raises(StorageCorruptError, match="cannot be read"):
            await snapshots.decode(damaged, 9)


async def test_a_state_is_encoded_while_the_log_goes_on() -> None:
    log = busy_log()
    capture, encoded = snapshots.Capture(log.state), snapshots.encode(log.state)
    pieces = capture.pieces()
    first = next(pieces)
    log.commit(enqueue(*(message() for _ in range(2000))), time=5 * SECOND)
    log.commit(codec.encode_command(Op.PURGE), time=6 * SECOND)
    assert first + b"".join(pieces) == encoded


async def test_a_large_state_is_decoded_while_others_go_on() -> None:
    """Ids that stay known and dead letters, of which there may be many more than messages that wait."""
    log = Log()
    many = [message() for _ in range(3000)]
    log.commit(enqueue(*many), time=1)
    log.commit(claim(ALICE, len(many)), time=2, subject=ALICE)
    ids = [each.message_id for each in many]
    nacks = [codec.pack_fields(ALICE, 1, 0, True, message_id, "it failed") for message_id in ids]
    log.commit(*(codec.encode_command(Op.NACK, nack) for nack in nacks), time=3)
    known = [field for _ in range(3000) for field in (new_id(), 60 * SECOND)]
    log.commit(codec.encode_command(Op.REMEMBER, codec.pack_fields(*known)), time=4)
    encoded, turns = snapshots.encode(log.state), 0
    decoding = asyncio.create_task(snapshots.decode(encoded, log.state.seq))
    while not decoding.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 3
    assert snapshots.encode(decoding.result()) == encoded


def test_a_message_that_was_stored_anew_is_where_it_was() -> None:
    log, one = Log(), message(b"old place")
    assert one.message_id is not None
    log.commit(enqueue(one))
    moved = codec.encode_command(Op.MOVE, codec.encode_moved([(one.message_id, 1, (b"me", b"old place", b"[]"))]))
    log.commit(moved)
    (record,) = log.commit(claim(ALICE), subject=ALICE)[0].records
    reference: Any = record.payload
    assert reference.seq == 2
    log.commit(moved)
    assert reference.seq == 2
    data = log.entries[1][0]
    assert data[reference.at :][: reference.size] == b"meold place[]"


# -- what the server answers -------------------------------------------------------------------------------------------


class FakeLink:
    """Gives prepared answers."""

    def __init__(self, *answers: Any) -> None:
        self.stream = "pymailbox"
        self.answers = list(answers)

    async def ask(self, *_: Any) -> Any:
        return self.answers.pop(0)

    async def api(self, *_: Any) -> Any:
        return self.answers.pop(0)

    async def patiently(self, call: Any, _: str) -> Any:
        return await call()


def fake(*answers: Any) -> Link:
    return cast(Link, FakeLink(*answers))


def stored(headers: Mapping[str, str], data: bytes = b"hello") -> Any:
    """A message of the stream, as the server hands it out."""
    lines = [f"{name}: {text}" for name, text in {**headers, "Nats-Sequence": "7", "Nats-Stream": "pymailbox"}.items()]
    return SimpleNamespace(data=data, headers="\r\n".join(["NATS/1.0", *lines, "", ""]).encode())


async def present(_: object) -> dict[UUID, Reference]:
    """Nothing is."""
    return {}


@pytest.mark.parametrize("status", ["404", "503", "open"])
def test_a_header_of_a_sender_s_is_not_the_server_s_word(status: str) -> None:
    there = Bodies(fake(stored({"Status": status, "pymailbox-sender": "me"})), present)
    assert asyncio.run(there.of([(new_id(), Reference(7, PLAIN, 0, 5, 0))])) == [(b"me", b"hello", b"")]


def test_many_small_messages_are_not_kept_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_KEPT", 100_000)
    kept = Bodies(fake(), present)
    for seq in range(1000):
        kept.keep(seq, b"x", b"")
    assert len(kept._kept) < 400


def consumers(*names: str, total: int, **more: Any) -> Any:
    """A page of the consumers of a stream: each follows a mailbox, and has been told of 5 messages of 6."""
    config = {"filter_subjects": ["base.>"]}
    page = [{"name": name, "config": config, "delivered": {"stream_seq": 5}, "num_pending": 1} for name in names]
    return {"consumers": page, "total": total, **more}


@pytest.mark.parametrize(
    ("pages", "heard"),
    [
        ([consumers(total=0)], 9),
        ([consumers("one", "two", total=2)], 5),
        ([consumers("one", total=2), consumers("two", total=2)], 5),
        ([consumers("one", total=1, missing=["two"])], None),
        ([consumers("one", total=2), consumers("two", total=3)], None),
        ([consumers("one", total=2), consumers("one", total=2)], None),
        ([consumers("one", total=2), consumers(total=2)], None),
    ],
)
def test_nothing_is_purged_unless_all_followers_are_known(pages: list[Any], heard: int | None) -> None:
    assert asyncio.run(cleaning._heard_by_all(fake(*pages), "base", 9)) == heard


# -- messages in columns -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_shelves_hold_what_a_dictionary_would(seed: int) -> None:
    chance = random.Random(seed)
    shelves, there = Shelves(), {}
    following = [0, 0]
    for _ in range(400):
        lane = chance.randrange(2)
        if chance.random() < 0.6:
            following[lane] += chance.choice((0, 0, 0, 700, 3000))  # numbers that were skipped
            for _ in range(chance.randrange(30)):
                parts = (5, 6, chance.randrange(7, 99)) if chance.random() < 0.05 else ()
                reference = Reference(chance.randrange(1 << 40), chance.choice((PLAIN, 77)), 2, 1 << 26, 3, parts)
                number = following[lane]
                there[lane, number] = Message(new_id(), b"", cast(bytes, reference), chance.randrange(1 << 42))
                shelves.append(lane, number, there[lane, number], True)
                following[lane] += 1
        elif chance.random() < 0.5 and there:
            place = chance.choice(list(there))
            if not reference_of(there[place]).parts:
                moved = Reference(chance.randrange(1 << 40), 5, 1, 2, 3)
                there[place] = there[place]._replace(payload=cast(bytes, moved))
                shelves.set_reference(*place, moved)
        else:
            first = chance.randrange(max(1, following[lane]))
            end = first + chance.choice((1, 1, 1, 5, 40, 5000))
            for number in range(first, end):
                there.pop((lane, number), None)
            shelves.remove(lane, first, end)
    again = Shelves()
    encoded = b"".join(shelves.capture())
    assert list(again.restore(encoded + b"more", 0))[-1] == len(encoded)
    for held in (shelves, again):
        assert list(map(told, held.all())) == [told(there[place]) for place in sorted(there)]
        assert all(held.find(message.id) == place for place, message in there.items())
        assert all(told(held.get(*place)) == told(message) for place, message in there.items())
        assert held.find(new_id()) is None
        references = [reference_of(message) for message in there.values()]
        seqs = {reference.seq for reference in references if not reference.parts}
        assert held.first_body == min(seqs, default=None)
        assert held.stream_messages == len(seqs)
        assert held.first_part == min((each.parts[0] for each in references if each.parts), default=None)
        assert len(held) == len(there)
        oldest = [reference_of(message).seq for message in held.oldest(1 << 39, 1 << 40, 64)]
        assert sorted(oldest) == sorted(seq for seq in seqs if seq < 1 << 39)
        assert len(held.oldest(1 << 39, 3 * ((1 << 26) + 70), 64)) <= 3


def reference_of(message: Message) -> Reference:
    return cast(Reference, message.payload)


def told(message: Message) -> tuple[Any, ...]:
    """All of a message."""
    reference = reference_of(message)
    return message.id, message.created_at, reference.place, reference.sender, reference.payload, reference.headers


def test_a_run_of_messages_goes_over_shelves() -> None:
    shelves = Shelves()
    for number in range(10, 2 * SHELF + 10):
        shelves.append(1, number, Message(new_id(), b"", cast(bytes, Reference(number, 0, 1, 2, 3)), number), True)
    run = LaneRun(1, 500, 2 * SHELF + 5, 0)
    assert [message.created_at for message in shelves.messages(run, 0)] == list(range(500, 2 * SHELF + 5))
    shelves.remove(1, 20, 500)
    assert [message.created_at for message in shelves.messages(run, 0)] == list(range(500, 2 * SHELF + 5))
    assert [message.created_at for message in shelves.messages(LaneRun(1, 12, 20, 0), 0)] == list(range(12, 20))


def test_many_messages_are_quickly_there() -> None:
    """Measured against work that does not depend on them, in the same process."""
    log = Log()
    for _ in range(25):
        log.commit(enqueue(*(message() for _ in range(1000))), time=SECOND)

    def seconds(work: Callable[[], object]) -> float:
        began = process_time()
        work()
        return process_time() - began

    encoded = snapshots.encode(log.state)
    one_by_one = min(seconds(lambda: [UUID(int=number) for number in range(25_000)]) for _ in range(3))
    assert min(seconds(lambda: decoded(encoded, 1)) for _ in range(3)) < one_by_one
    assert min(seconds(lambda: snapshots.Capture(log.state)) for _ in range(3)) < one_by_one / 5
    assert len(encoded) < 60 * 25_000


# -- who is gone -------------------------------------------------------------------------------------------------------


class Watch:
    """A log of which Alice holds something for ten seconds of its time, and who watches it."""

    def __init__(self) -> None:
        self.clock = 100.0
        self.vigil = Vigil(lambda: self.clock)
        self.log = Log()
        self.log.commit(enqueue(message()))
        self.log.commit(claim(ALICE), subject=ALICE, time=SECOND)

    def beat(self, second: float) -> None:
        self.log.commit(codec.encode_command(Op.BEAT, codec.pack_fields(ALICE)), time=int(second * SECOND))

    def after(self, seconds: float, log_second: float) -> tuple[bool, bool]:
        """Whether Alice is gone then, and whether she is asked for a sign."""
        for _ in range(int(seconds)):
            self.clock += 1
            self.vigil.tick()
        self.clock += seconds % 1
        found, asked = self.vigil.gone(self.log.state, int(log_second * SECOND))
        return found == [(ALICE, EXPIRED)], asked == [ALICE]


def test_who_watched_all_the_time_needs_no_grace() -> None:
    watch = Watch()
    assert watch.after(0, 1) == (False, False)
    watch.beat(3)
    assert watch.after(2, 3) == (False, False)
    assert watch.after(9, 12.5) == (False, False)
    assert watch.after(1.5, 14) == (True, True)


def test_a_holder_of_whom_nothing_is_known_has_a_grace() -> None:
    watch = Watch()
    assert watch.after(0, 3600) == (False, True)
    assert watch.after(4.5, 3605) == (False, False)
    assert watch.after(1, 3606) == (True, False)
    watch.beat(3606)
    assert watch.after(0, 3606) == (False, False)


def test_a_jump_says_nothing_of_who_was_just_there() -> None:
    watch = Watch()
    watch.after(0, 1)
    watch.beat(3)
    assert watch.after(2, 3) == (False, False)
    assert watch.after(1, 3600) == (False, True)
    assert watch.after(8, 3608) == (False, False)
    assert watch.after(2, 3610) == (True, False)


def test_who_stood_still_knows_nothing() -> None:
    watch = Watch()
    watch.after(0, 1)
    watch.beat(3)
    watch.after(2, 3)
    watch.clock += 3600
    assert watch.after(0, 3600) == (False, True)
    assert watch.after(6, 3606) == (True, False)
