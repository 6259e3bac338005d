"""What follows a mailbox in the log, with a link that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from traceback import extract_tb
from typing import Any, cast

import pytest

pytest.importorskip("nats")

from pymailbox import ConnectionLostError, MailboxClosedError, MailboxError, StorageUnavailableError
from pymailbox.backends.jetstream import replica as replica_module
from pymailbox.backends.jetstream import snapshots
from pymailbox.backends.jetstream.codec import RULES
from pymailbox.backends.jetstream.errors import TimedOutError
from pymailbox.backends.jetstream.follower import Entry, Follower
from pymailbox.backends.jetstream.link import Link
from pymailbox.backends.jetstream.replica import Replica
from pymailbox.backends.jetstream.snapshots import Snapshot
from pymailbox.backends.jetstream.state import LogState
from pymailbox.backends.jetstream.writer import Call
from pymailbox.backends.notifier import Notifier


class FakeLink:
    """Makes a consumer, and notes who listens."""

    stream = "s"

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.on_reconnect: set[Callable[[], None]] = set()
        self.listening: dict[int, Any] = {}
        self.told: list[str] = []

    def new_inbox(self) -> str:
        return "inbox"

    async def listen(self, _: str, on_message: Any) -> int:
        self.listening[len(self.told)] = on_message
        return len(self.told)

    async def ignore(self, subscription: int) -> None:
        del self.listening[subscription]

    async def api(self, *_: Any) -> Any:
        return {"name": f"consumer-{len(self.told)}"}

    def tell(self, subject: str) -> None:
        self.told.append(subject)


async def test_what_was_held_back_is_forgotten_if_it_begins_anew() -> None:
    """It may be of a stream that is no more, while the log was replaced."""
    count, heard, is_heard = 2000, list[int](), asyncio.Event()

    class Busy(FakeLink):
        async def api(self, *_: Any) -> Any:
            for number in range(1, count + 1):
                reply = f"$JS.ACK.s.c.1.{number}.{number}.1000000.0"
                self.listening[len(self.told)](b"s.m.inbox.in", reply.encode(), b"", b"")
            return await super().api()

    async def place(there: bool) -> int | None:
        return None if there else 1

    def hear(entry: Entry) -> None:
        heard.append(entry.seq)
        is_heard.set()

    follower = Follower(cast(Link, Busy()), [], hear, place, print, lambda: None)
    starting = asyncio.create_task(follower.start())
    await is_heard.wait()
    first = len(heard)
    assert first < count
    follower.restart()
    await starting
    assert heard[first : first + 1] in ([], [1])
    await follower.stop()


def newer(there: bool) -> None:
    if there:
        raise StorageUnavailableError("newer rules")


def follow(link: FakeLink, place: Callable[[bool], int | None], on_error: Callable[[MailboxError], None]) -> Follower:
    async def placed(there: bool) -> int | None:
        return place(there)

    def heard(_: Entry) -> None:
        """Nothing is."""

    return Follower(cast(Link, link), ["s.>"], heard, placed, on_error, lambda: None)


async def test_who_cannot_begin_listens_no_more() -> None:
    link = FakeLink()
    follower = follow(link, newer, lambda _: None)
    with pytest.raises(StorageUnavailableError):
        await follower.start()
    assert (link.listening, follower._held_back) == ({}, None)
    assert link.told == ["$JS.API.CONSUMER.DELETE.s.consumer-0"]


async def test_who_cannot_begin_again_listens_no_more() -> None:
    link, errors, can_begin = FakeLink(), list[MailboxError](), True
    follower = follow(link, lambda there: None if can_begin else newer(there), errors.append)
    await follower.start()
    assert len(link.listening) == 1
    can_begin = False
    follower.restart()
    async with asyncio.timeout(5):
        while not errors:  # noqa: ASYNC110  in a test
            await asyncio.sleep(0.01)
    assert (link.listening, follower._held_back, link.on_reconnect) == ({}, None, set())
    assert follower._watching is not None
    await asyncio.sleep(0)
    assert follower._watching.done()
    await follower.stop()
    assert len(errors) == 1


async def test_who_has_to_wait_begins_again_later() -> None:
    link, attempts = FakeLink(), 0

    def place(there: bool) -> int | None:
        nonlocal attempts
        attempts += there
        if there and attempts == 2:
            raise TimedOutError
        return None

    follower = follow(link, place, lambda _: None)
    await follower.start()
    follower.restart()
    async with asyncio.timeout(5):
        while follower._is_restarting:  # noqa: ASYNC110  in a test
            await asyncio.sleep(0.01)
    assert len(link.listening) == 1
    await follower.stop()
    assert link.listening == {}


# -- a replica ---------------------------------------------------------------------------------------------------------


class StreamLink(FakeLink):
    """One of a stream, with which a replica works."""

    created = ""
    wipes = 0
    room = 1 << 20
    is_closed = False
    is_connected = False

    def __init__(self) -> None:
        super().__init__()
        self.replicas: dict[str, Any] = {}
        self.notifier = Notifier()

    def check(self, _: str) -> None:
        """It is never closed."""


async def test_a_snapshot_of_a_stream_that_was_made_anew_meanwhile_is_not_gone_on_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = StreamLink()
    replica = Replica(cast(Link, link), "inbox")
    monkeypatch.setattr(replica, "_last_snapshot", lambda: given((7, Snapshot(RULES, 5, 1, b"", (), b""))))
    monkeypatch.setattr(snapshots, "unpack", lambda *_: given(b""))

    async def decode(*_: Any) -> LogState:
        link.wipes += 1
        replica.start_afresh()
        return LogState()

    monkeypatch.setattr(snapshots, "decode", decode)
    with pytest.raises(TimedOutError):
        await replica._place(True)
    assert replica._snapshot_at == 0


async def given(value: Any) -> Any:
    return value


async def test_a_replica_whose_mark_fails_makes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    link, marks = StreamLink(), list[Call]()
    replica = Replica(cast(Link, link), "inbox")
    monkeypatch.setattr(replica_module, "_MARK_AGAIN", 0.01)

    def submit(call: Call, *, first: bool = False) -> asyncio.Future[Any]:
        call.future = link.loop.create_future()
        marks.append(call)
        return call.future

    monkeypatch.setattr(replica.writer, "submit", submit)
    replica.following = True
    replica.listen()
    replica.listen()
    assert len(marks) == 1
    marks[0].fail(ConnectionLostError("no answer"))
    async with asyncio.timeout(5):
        while len(marks) < 2:  # noqa: ASYNC110  in a test
            await asyncio.sleep(0.01)
    # one that is stored is heard, or was; nobody makes another when the mailbox is closed
    marks[1].finish(None)
    await asyncio.sleep(0.05)
    replica._live_from = None
    replica.listen()
    replica.following = False
    marks[2].fail(MailboxClosedError())
    await asyncio.sleep(0.05)
    assert len(marks) == 3


async def test_what_keeps_a_replica_from_going_on_is_told_each_time_as_if_for_the_first() -> None:
    replica = Replica(cast(Link, StreamLink()), "inbox")
    replica._break(StorageUnavailableError("newer rules"))
    told = []
    for _ in range(3):
        with pytest.raises(StorageUnavailableError) as raised:
            replica.check()
        told.append(len(extract_tb(raised.value.__traceback__)))
    assert len(set(told)) == 1
